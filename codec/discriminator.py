"""STFT discriminators made of matrix products.

Each looks at compressed complex spectra of one window size, split into bands; a band is a vector
per frame, filtered over time by unfold + dense. 2-D convolution discriminators would cut training
on two cores about tenfold. The sizes share no common hop, against the periodic artefacts of
frame-wise decoders (TAAE, arXiv 2411.19842; X-codec2), and have small prime factors for the FFT.
"""

from __future__ import annotations

import typing

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from codec.spectrum import frames, hann

SIZES = (336, 600, 1080, 1800)
BANDS = 4
WIDTH = 96


class Judgement(typing.NamedTuple):
    """What one band of one window size says."""

    score: Float[Array, "B T"]
    features: list[Float[Array, "B T C"]]


def compressed_spectrum(x: Float[Array, "B S"], size: int) -> list[Float[Array, "B T N"]]:
    """Per band, real and imaginary parts of the STFT with magnitudes to the power 0.3."""
    spectrum = jnp.fft.rfft(frames(x, size, size // 4) * hann(size))[..., : size // 2]
    power = jnp.square(spectrum.real) + jnp.square(spectrum.imag) + 1e-4
    gain = jnp.exp(-0.35 * jnp.log(power))
    real = jnp.split(spectrum.real * gain, BANDS, axis=-1)
    imaginary = jnp.split(spectrum.imag * gain, BANDS, axis=-1)
    return [jnp.concatenate(pair, axis=-1) for pair in zip(real, imaginary, strict=True)]


class BandDiscriminator(nnx.Module):
    """One band of one window size: its spectrum over time -> a score per frame."""

    def __init__(self, size: int, *, rngs: nnx.Rngs):
        self.enter = nnx.Linear(size // BANDS, WIDTH, rngs=rngs)  # size / 2 bins, two parts
        self.layers = nnx.List([nnx.Linear(3 * WIDTH, WIDTH, rngs=rngs) for _ in range(3)])
        self.leave = nnx.Linear(WIDTH, 1, rngs=rngs)

    def __call__(self, spectrum: Float[Array, "B T N"]) -> Judgement:
        """Score and hidden layers."""
        h, features = self.enter(spectrum), []
        for layer in self.layers:
            unfolded = jnp.concatenate([h[:, :-2], h[:, 1:-1], h[:, 2:]], axis=-1)
            h = jax.nn.leaky_relu(layer(unfolded), 0.1)
            features.append(h)
        return Judgement(self.leave(h)[..., 0], features)


class Discriminator(nnx.Module):
    """One small discriminator per window size and band."""

    def __init__(self, *, rngs: nnx.Rngs):
        self.parts = nnx.List(
            [BandDiscriminator(size, rngs=rngs) for size in SIZES for _ in range(BANDS)]
        )

    def __call__(self, x: Float[Array, "B S"]) -> list[Judgement]:
        """All judgements of audio `x`."""
        bands = [band for size in SIZES for band in compressed_spectrum(x, size)]
        return [part(band) for part, band in zip(self.parts, bands, strict=True)]
