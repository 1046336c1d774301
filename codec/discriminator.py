"""STFT discriminators made of matrix products.

Each looks at compressed complex spectra of one window size, split into bands; a band is a vector
per frame, filtered over time by unfold + dense. 2-D convolution discriminators would cut training
on two cores about tenfold. The sizes share no common hop, against the periodic artefacts of
frame-wise decoders (TAAE, arXiv 2411.19842; X-codec2), and have small prime factors for the FFT.
"""

from __future__ import annotations

import typing
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from codec.spectrum import frames, hann


class Judgement(typing.NamedTuple):
    """What one band of one window size says."""

    score: Float[Array, "B T"]
    features: list[Float[Array, "B T C"]]


def compressed_spectrum(
    x: Float[Array, "B S"], size: int, bands: int
) -> list[Float[Array, "B T N"]]:
    """Per band, real and imaginary parts of the STFT with magnitudes to the power 0.3."""
    spectrum = jnp.fft.rfft(frames(x, size, size // 4) * hann(size))[..., : size // 2]
    power = jnp.square(spectrum.real) + jnp.square(spectrum.imag) + 1e-4
    gain = jnp.exp(-0.35 * jnp.log(power))
    real = jnp.split(spectrum.real * gain, bands, axis=-1)
    imaginary = jnp.split(spectrum.imag * gain, bands, axis=-1)
    return [jnp.concatenate(pair, axis=-1) for pair in zip(real, imaginary, strict=True)]


class BandDiscriminator(nnx.Module):
    """One band of one window size: its spectrum over time -> a score per frame."""

    def __init__(self, numbers: int, width: int, *, rngs: nnx.Rngs):
        self.enter = nnx.Linear(numbers, width, rngs=rngs)
        self.layers = nnx.List([nnx.Linear(3 * width, width, rngs=rngs) for _ in range(3)])
        self.leave = nnx.Linear(width, 1, rngs=rngs)

    def __call__(self, spectrum: Float[Array, "B T N"]) -> Judgement:
        """Score and hidden layers."""
        h, features = self.enter(spectrum), []
        for layer in self.layers:
            unfolded = jnp.concatenate([h[:, :-2], h[:, 1:-1], h[:, 2:]], axis=-1)
            h = jax.nn.leaky_relu(layer(unfolded), 0.1)
            features.append(h)
        return Judgement(self.leave(h)[..., 0], features)


class Discriminator(nnx.Module):
    """One small discriminator per window size and band.

    Args:
        sizes: Windows in samples, multiples of 4 * bands.
        bands: Equal parts that each spectrum is split into.
        width: Of the hidden layers.
    """

    def __init__(self, sizes: Sequence[int], bands: int, width: int, *, rngs: nnx.Rngs):
        self.sizes, self.bands = tuple(sizes), bands
        self.parts = nnx.List(
            [
                BandDiscriminator(size // bands, width, rngs=rngs)  # size / 2 bins, two parts
                for size in sizes
                for _ in range(bands)
            ]
        )

    def __call__(self, x: Float[Array, "B S"]) -> list[Judgement]:
        """All judgements of audio `x`."""
        bands = [b for size in self.sizes for b in compressed_spectrum(x, size, self.bands)]
        return [part(band) for part, band in zip(self.parts, bands, strict=True)]
