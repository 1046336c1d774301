"""The LM's task: what it learns from made speech, and that a step is a pure function."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data.utterances import Rows, batches
from lm.task import LMTask, cross_entropy, schedule
from tests.lm.conftest import made_utterances


@pytest.fixture(scope="module")
def task(config):
    config = config.copy_and_resolve_references()
    config.steps, config.optimizer.learning_rate, config.optimizer.warmup = 120, 3e-3, 10
    return LMTask(config)


@pytest.fixture(scope="module")
def data(task):
    """Endless batches of made speech."""
    rows = Rows(
        made_utterances(120, books=task.cfg.books),
        frames=64, units=96, limit=task.cfg.advance, voice_frames=(8, 16),
    )  # fmt: skip
    return lambda: iter(batches(rows, 8))


@pytest.fixture(scope="module")
def steps(task):
    """Jitted init, train_step and eval_step, compiled once."""
    return jax.jit(task.init), jax.jit(task.train_step), jax.jit(task.eval_step)


def test_it_learns_what_is_a_function_of_the_text(task, data, steps):
    """5 % of the first book is noise; the unigram entropy is that of ~30 equally likely codes."""
    init, train_step, eval_step = steps
    state, stream = init(jax.random.key(0)), data()
    before = eval_step(state.params, next(stream))
    for _ in range(task.config.steps):
        state, metrics = train_step(state, next(stream))
    after = eval_step(state.params, next(stream))
    assert float(before["book_1"].mean()) > 6.5
    assert float(after["book_1"].mean()) < 1.0
    assert float(after["book_3"].mean()) < 2.0
    assert float(after["advance_right"].mean()) > 0.9
    assert np.isfinite(float(metrics["gradient"]))


def test_a_step_is_a_pure_function(data, steps):
    init, train_step, _ = steps
    stream = data()
    first, second = next(stream), next(stream)
    runs = []
    for _ in range(2):
        state = init(jax.random.key(1))
        for batch in (first, second):
            state, metrics = train_step(state, batch)
        runs.append((state._replace(key=jax.random.key_data(state.key)), metrics))
    jax.tree.map(np.testing.assert_array_equal, *runs)


def test_padding_frames_do_not_count(task, data, steps):
    """Codes, advances and units beyond a row's end change neither losses nor gradients."""
    init, _, eval_step = steps
    params, batch = init(jax.random.key(0)).params, dict(next(data()))
    garbage = batch | {
        "codes": np.where(batch["mask"][..., None], batch["codes"], 5),
        "symbol": np.where(np.arange(96) < batch["length"][:, None], batch["symbol"], 7),
        "word": np.where(np.arange(96) < batch["length"][:, None], batch["word"], 0),
    }
    assert not batch["mask"].all()
    expected, actual = eval_step(params, batch), eval_step(params, garbage)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), actual, expected)


def test_some_rows_hear_their_own_past(config, data):
    config = config.copy_and_resolve_references()
    config.own_past = 0.25
    task = LMTask(config)
    params, batch = jax.jit(task.init)(jax.random.key(0)).params, next(data())
    heard = np.asarray(jax.jit(task.heard)(params, batch, jax.random.key(1)))
    same = (heard == batch["codes"][..., : task.cfg.books]).all(axis=2)
    assert same[2:].all()
    for row, count in zip(same[:2], batch["mask"].sum(axis=1), strict=False):
        begin = int(np.argmin(row))  # true up to there, from there on its own
        assert begin <= count / 2 and row[begin:count].mean() < 0.1


def test_cross_entropy_is_that_of_the_softmax():
    logits = jax.random.normal(jax.random.key(0), (5, 7))
    target = jnp.array([0, 6, 3, 3, 1])
    expected = -jax.nn.log_softmax(logits)[jnp.arange(5), target]
    np.testing.assert_allclose(cross_entropy(logits, target), expected, rtol=1e-5)


def test_schedule_rises_stays_and_falls(config):
    opt = config.optimizer.copy_and_resolve_references()
    opt.learning_rate, opt.warmup, opt.decay, opt.final = 1.0, 10, 0.5, 0.1
    rate = schedule(opt, 100)
    assert [round(float(rate(s)), 3) for s in (0, 5, 10, 50, 75, 100)] == [0, 0.5, 1, 1, 0.55, 0.1]
