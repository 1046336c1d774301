"""The task with a listener: what is rewarded becomes likelier, and what the reward is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data.phones import SYMBOL_IDS
from data.said import NOTHING
from data.utterances import Rows, batches
from experiments import lm_heard
from experiments.listener import Listener
from experiments.listening import ListeningTask, advantage
from experiments.speaking import SpeakingTask
from lm.aligner import SILENCE
from tests.lm.conftest import made_utterances
from tests.voiceloom.tiny import write_release


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    config = lm_heard.get_config("tiny")
    config.codec = str(write_release(tmp_path_factory.mktemp("release")))
    config.takes, config.optimizer.learning_rate = 4, 1e-2
    return ListeningTask(config)


@pytest.fixture(scope="module")
def batch(task):
    rows = Rows(
        made_utterances(12, books=task.cfg.books),
        frames=32, units=48, limit=task.cfg.advance, voice_frames=(8, 16),
    )  # fmt: skip
    return next(iter(batches(rows, 4)))


def test_what_may_sound_is_what_the_text_says():
    a, s, comma = (SYMBOL_IDS[symbol] for symbol in "as,")
    said = np.full((1, 3, 4), NOTHING)
    said[0, 1, 1:3] = a, s  # of the three frames, the second goes from silence to an a, and an s
    said[0, 2, :2] = s, comma
    asked = np.asarray(Listener(12.5).asked(jnp.asarray(said), 23)[0])
    may = [set(np.flatnonzero(frame)) for frame in asked]
    assert len(may) == 23  # three frames of 80 ms, without the decoder's delay
    assert may[0] == may[5] == {SILENCE}
    assert may[6] == may[8] == may[15] == {SILENCE, a, s}, "from 20 ms before its frame"
    assert may[16] == may[17] == {SILENCE, a, s} and may[18] == {SILENCE, s}


def test_a_frame_is_better_or_worse_than_the_other_takes_of_its_row():
    reward = jnp.array([[0, 0, 0, 4.0], [0, 0, 0, 0], [1, 1, 1, 1], [1, 1, 1, 1]])
    expected = np.array([[0, 1, 2, 4], [0, -1, -2, -4], [0, 0, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_allclose(advantage(reward, takes=2), expected)


def test_what_is_heard_better_becomes_likelier(task, batch, monkeypatch):
    """A listener who likes the upper half of the first book gets it."""
    upper = lambda codes: codes[..., 0] >= task.cfg.entries // 2  # noqa: E731
    monkeypatch.setattr(task, "nats", lambda codes, *_: 1.0 - upper(codes))
    monkeypatch.setattr(SpeakingTask, "loss", lambda *_: (0.0, {}))  # recordings say otherwise
    step, state = jax.jit(task.train_step), jax.jit(task.init)(jax.random.key(0))
    nats = []
    for _ in range(12):
        state, metrics = step(state, batch)
        nats.append(float(metrics["heard"]))
    assert np.mean(nats[:3]) > 0.3 and np.mean(nats[-3:]) < 0.1


def test_recordings_weigh_as_before(task, batch):
    params = jax.jit(task.init)(jax.random.key(0)).params
    key = jax.random.key(1)

    @jax.jit
    def parts(params, batch, key):
        takes_key, key = jax.random.split(key)
        recorded, _ = SpeakingTask.loss(task, params, params, batch, key)
        return recorded, task.takes(params, batch, takes_key)

    total, metrics = jax.jit(task.loss)(params, params, batch, key)
    recorded, (own, heard) = parts(params, batch, key)
    np.testing.assert_allclose(total, recorded + task.config.weights.heard * own, rtol=1e-5)
    np.testing.assert_allclose(metrics["heard"], heard, rtol=1e-5)


def test_the_listener_is_asked_for_the_symbols_of_every_frame(task, monkeypatch):
    """Those that the pointer stands on and passes, where their codes sound."""
    a, s = SYMBOL_IDS["a"], SYMBOL_IDS["s"]
    asked = {}

    def nats(heard, said):
        asked["said"] = np.asarray(said)
        return jnp.arange(heard.shape[1], dtype=jnp.float32)[None]

    monkeypatch.setattr(task.listener, "nats", nats)
    symbol, advance = jnp.array([[-1, a, s, -1]]), jnp.array([[0, 2, 0, 1]])
    found = task.nats(jnp.zeros((1, 4, task.cfg.books), jnp.int32), symbol, advance)
    np.testing.assert_array_equal(
        asked["said"][0], [[-1, -1, -1, -1], [-1, a, s, -1], [s, -1, -1, -1], [s, -1, -1, -1]]
    )
    np.testing.assert_allclose(found, [[3.5, 11.5, 19.5, 27.125]])  # of 10 ms each; two are missing
