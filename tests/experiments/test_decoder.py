"""The decoder's task: alone in learning, and told the text."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from data.phones import SYMBOL_IDS
from data.said import NOTHING
from experiments import codec_decoder, codec_told
from experiments.decoder import DecoderTask, ToldTask
from tests.voiceloom.tiny import speechlike


def test_only_the_decoder_learns():
    config = codec_decoder.get_config("tiny")
    task = DecoderTask(config)
    state = jax.jit(task.init)(jax.random.key(0))
    batch = {
        "samples": jnp.asarray(np.stack([speechlike(0.64)] * 2)),
        "bandwidth_hz": jnp.full(2, 12_000.0),
    }
    step = jax.jit(task.train_step)
    new, _ = step(state, batch)  # the first one warms up from a rate of nothing
    new, _ = step(new, batch)
    same = jax.tree.map(lambda a, b: bool(jnp.array_equal(a, b)), state.params, new.params)
    assert all(jax.tree.leaves([same[name] for name in ("encoder", "quantizer")]))
    assert not all(jax.tree.leaves(same["decoder"]))


def told_task():
    config = codec_told.get_config("tiny")
    config.data.batch = 4
    return ToldTask(config)


def test_critics_hear_half_of_either_and_every_recording():
    made, recorded = told_task().judged({"samples": np.zeros((4, 10))})
    assert list(made) == [0, 1, 4, 5] and list(recorded) == [0, 1, 2, 3]


def test_our_own_speech_stands_beside_itself_untold():
    task = told_task()
    state = jax.jit(task.init)(jax.random.key(0))
    # As `init_from` begins: the speaker can what the decoder can.
    codec = nnx.merge(task.graph, state.params | {"speaker": state.params["decoder"]})
    words = jnp.full((2, 8, 4), NOTHING).at[:, :, 0].set(SYMBOL_IDS["s"])
    batch = {
        "samples": jnp.asarray(np.stack([speechlike(0.64)] * 2)),
        "bandwidth_hz": jnp.full(2, 12_000.0),
        "said": words,
        "codes": jnp.zeros((2, 8, task.cfg.books), jnp.int32),
        "own_said": words.at[1].set(NOTHING),
    }
    takes = task.takes(codec, batch, jax.random.key(1))
    assert takes.samples.shape == takes.target.shape == (4, 8 * 1920 - task.cfg.delay_samples)
    np.testing.assert_array_equal(takes.target[:2], batch["samples"][:, :-480])
    np.testing.assert_allclose(takes.samples[2:], takes.target[2:], atol=1e-5)
    codec.told.symbols[...] = jax.random.normal(jax.random.key(2), codec.told.symbols.shape)
    after = task.takes(codec, batch, jax.random.key(1))
    np.testing.assert_array_equal(after.target, takes.target)
    assert np.abs(after.samples - takes.samples)[2].max() > 1e-3
    np.testing.assert_allclose(after.samples[3], takes.samples[3], atol=1e-5)
    losses = task.further_losses(after, batch)
    assert losses.keys() == {"phones", "said"} and all(x > 0 for x in losses.values())
