"""Two tiny random models as a release, and something to clone."""

import jax
import numpy as np
from flax import nnx

import codec
import lm
from data import phones
from voiceloom import weights
from voiceloom.voice import Voice

CODEC = codec.Config(
    books=4,
    entries=64,
    width=32,
    frame_width=32,
    encoder_blocks=1,
    decoder_blocks=1,
    frame_blocks=1,
    expansion=2,
    symbols=len(phones.SYMBOLS),
)
LM = lm.Config(
    boundary_of=tuple(phones.boundary_class(i) for i in range(len(phones.SYMBOLS))),
    max_dwell_s=(0.25,) * (len(phones.SYMBOLS) + 1),
    books=3,
    pitches=26,
    entries=64,
    width=32,
    layers=2,
    heads=2,
    mlp_width=32,
    window_s=1.28,
    text_layers=1,
    text_mlp_width=32,
    depth_width=16,
    depth_layers=1,
    depth_heads=2,
    depth_mlp_width=16,
    code_width=8,
    voice_books=4,
    voice_width=16,
    voice_mlp_width=16,
)


def codec_params(cfg):
    """Random parameters of a codec."""
    build = lambda key: nnx.to_pure_dict(nnx.state(codec.Codec(cfg, rngs=nnx.Rngs(key)), nnx.Param))  # noqa: E731
    params = jax.jit(build)(jax.random.key(0))
    if cfg.symbols:  # zeros until it has learned anything
        table = params["told"]["symbols"]
        params["told"]["symbols"] = jax.random.normal(jax.random.key(1), table.shape)
    return params


def write_release(folder, codec_cfg=CODEC, lm_cfg=LM):
    """A whole release of random weights in `folder`."""
    codec_hash = weights.save_codec(folder, codec_cfg, codec_params(codec_cfg), {"run": "test"})
    lm_params = lm.init_params(lm_cfg, jax.random.key(0))
    lm_hash = weights.save_lm(folder, lm_cfg, lm_params, codec_hash, {"run": "test"})
    vectors = np.random.default_rng(0).normal(size=(2, lm_cfg.voice_width)).astype("f")
    voices = [Voice("anna", vectors[0], "us", lm_hash), Voice("bert", vectors[1], "gb", lm_hash)]
    weights.save_voices(folder, voices, lm_hash)
    return folder


def speechlike(seconds, rate=24_000, amplitude=0.3):
    """Something with the rhythm of speech: a buzz in syllables, four a second."""
    t = np.arange(int(seconds * rate)) / rate
    buzz = sum(np.sin(2 * np.pi * 120 * k * t) / k for k in range(1, 20))
    return (amplitude * buzz * (0.55 + 0.45 * np.sin(2 * np.pi * 4 * t)) / 2).astype("f")
