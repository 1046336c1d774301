"""Every stateful module of the codec keeps the streaming contract."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from codec import Codec, Config
from codec.layers import Block
from codec.spectrum import Analysis, Synthesis
from data.said import SLOTS
from tests.contract import check_streaming

TINY = dict(
    books=4, entries=32, width=16, frame_width=24, encoder_blocks=1, decoder_blocks=2,
    frame_blocks=1, expansion=2, kernel=3,
)  # fmt: skip


def pure(module):
    """Graph and plain parameters of a module."""
    return nnx.graphdef(module), nnx.to_pure_dict(nnx.state(module, nnx.Param))


def tiny(frame_rate: float) -> tuple[Config, nnx.GraphDef, dict]:
    """A codec with random weights."""
    cfg = Config(frame_rate=frame_rate, **TINY)
    return cfg, *pure(Codec(cfg, rngs=nnx.Rngs(0)))


def noise(*shape):
    """Something to listen to."""
    return 0.1 * jax.random.normal(jax.random.key(1), shape)


def test_block():
    block = Block(8, 2, 5, rngs=nnx.Rngs(0))
    graph, params = pure(block)
    check_streaming(
        lambda p, x, s: nnx.merge(graph, p)(x, s), block.init_state, params, noise(2, 8, 8)
    )


def test_analysis():
    analysis = Analysis(24_000, 240)
    check_streaming(
        lambda p, x, s: analysis(x * p, s), analysis.init_state, jnp.ones(()), noise(2, 8 * 240),
        unit=240, gradients=False,
    )  # fmt: skip


def test_synthesis():
    synthesis = Synthesis(24)
    x = noise(2, 8, synthesis.width)
    check_streaming(lambda p, x, s: synthesis(x * p, s), synthesis.init_state, jnp.ones(()), x)


@pytest.mark.parametrize("frame_rate", [12.5, 25.0])
def test_decoder(frame_rate):
    cfg, graph, params = tiny(frame_rate)
    codes = jax.random.randint(jax.random.key(2), (2, 8, cfg.books), 0, cfg.entries)
    check_streaming(
        lambda p, x, s: nnx.merge(graph, p).decode(x, s),
        lambda batch: nnx.merge(graph, params).init_decoder_state(batch),
        params,
        codes,
    )


def test_a_decoder_that_is_told_the_text():
    cfg = Config(**TINY, symbols=9)
    graph, params = pure(Codec(cfg, rngs=nnx.Rngs(0)))
    codes = jax.random.randint(jax.random.key(2), (2, 8, cfg.books), 0, cfg.entries)
    said = jax.random.randint(jax.random.key(3), (2, 8, SLOTS), -1, cfg.symbols)
    decode = jax.jit(lambda p, x, s: nnx.merge(graph, p).decode(x[0], s, x[1]))
    params["speaker"] = params["decoder"]  # as one begins
    silent = nnx.merge(graph, params).decode(codes)[0]
    np.testing.assert_allclose(decode(params, (codes, said), None)[0], silent, atol=1e-5)

    params["told"]["symbols"] = noise(*params["told"]["symbols"].shape)
    check_streaming(decode, nnx.merge(graph, params).init_decoder_state, params, (codes, said))
    heard = decode(params, (codes, said), None)[0]
    assert np.abs(heard - silent).max() > 1e-3, "it does not listen"
    untold = decode(params, (codes, jnp.full_like(said, -1)), None)[0]
    np.testing.assert_array_equal(untold, decode(params, (codes, None), None)[0])
    np.testing.assert_array_equal(silent, nnx.merge(graph, params).decode(codes)[0])


@pytest.mark.parametrize("frame_rate", [12.5, 25.0])
def test_encoder(frame_rate):
    cfg, graph, params = tiny(frame_rate)
    check_streaming(
        lambda p, x, s: nnx.merge(graph, p).encode(x, s),
        lambda batch: nnx.merge(graph, params).init_encoder_state(batch),
        params,
        noise(2, 8 * cfg.frame_samples),
        unit=cfg.frame_samples,
        flips=0.02,  # near-ties of the search, across executables of different shapes
        gradients=False,
    )


def test_decoded_audio_lags_by_the_declared_delay():
    """An impulse of the codes in frame t is heard from t * P on: nothing earlier changes."""
    cfg, graph, params = tiny(12.5)
    codes = jnp.zeros((1, 6, cfg.books), jnp.int32)
    decode = jax.jit(lambda c: nnx.merge(graph, params).decode(c)[0])
    changed = decode(codes.at[:, 3].set(1)) != decode(codes)
    first = int(np.argmax(np.asarray(changed[0])))
    assert 3 * cfg.frame_samples <= first < 3 * cfg.frame_samples + cfg.hop


def test_constant_spectra_overlap_to_a_constant_gain():
    """A column that is an impulse response of gain 1 per hop gives a steady signal: no ripple."""
    synthesis = Synthesis(24)
    bins = synthesis.size // 2 + 1
    level = jnp.full((1, 20, bins), -20.0).at[:, :, 0].set(jnp.log(float(synthesis.size)))
    samples, _ = synthesis(jnp.concatenate([level, jnp.zeros((1, 20, bins))], axis=-1))
    steady = np.asarray(samples[0, 3 * 24 :])
    np.testing.assert_allclose(steady, steady.mean(), rtol=1e-4)


def test_config_refuses_rates_that_do_not_divide():
    with pytest.raises(ValueError, match="frame_rate 15"):
        Config(frame_rate=15.0)
