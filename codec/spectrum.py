"""Causal spectral front end, causal inverse STFT, and the mel filters of the losses.

Both ends step by `hop` (10 ms) and neither pads the future: analysis windows end at the present
sample, synthesis windows begin at it. With a Hann window at 75 % overlap the squared gain is
constant, so overlap-add needs no per-sample normalisation and streams exactly.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import librosa
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from codec.layers import with_history

MELS = 80
LOW_BINS = 64  # of the long window: 0-1 kHz in 15.6 Hz steps, where pitch is resolved


@functools.cache
def hann(size: int) -> np.ndarray:
    """Periodic Hann window [size]."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)).astype(np.float32)


@functools.cache
def mel_filters(sample_rate: int, n_fft: int, bands: int, top_hz: float) -> np.ndarray:
    """Mel filterbank [n_fft // 2 + 1, bands] from 0 to `top_hz`, each band of unit sum."""
    bank = librosa.filters.mel(
        sr=sample_rate, n_fft=n_fft, n_mels=bands, fmin=0, fmax=top_hz, norm=None
    ).T
    return (bank / np.maximum(bank.sum(axis=0), 1e-6)).astype(np.float32)


def magnitude(spectrum: Array) -> Array:
    """|spectrum| with a finite gradient at zero, by real arithmetic (complex abs is 8x slower)."""
    return jnp.sqrt(jnp.square(spectrum.real) + jnp.square(spectrum.imag) + 1e-8)


def frames(x: Float[Array, "B S"], size: int, hop: int) -> Float[Array, "B T N"]:
    """All whole windows of `size` samples, `hop` apart; `hop` must divide `size`."""
    count = (x.shape[1] - size) // hop + 1
    blocks = x[:, : (count + size // hop - 1) * hop].reshape(x.shape[0], -1, hop)
    return jnp.concatenate([blocks[:, i : i + count] for i in range(size // hop)], axis=-1)


class Analysis(nnx.Module):
    """log-mel (0-8 kHz, 40 ms window) and log low bins (0-1 kHz, 60 ms window) at 100 Hz.

    Phase is left out: at 1-2 kbit/s no bit is spent on it, and what the encoder does not see it
    need not learn to ignore.
    """

    def __init__(self, sample_rate: int, hop: int):
        self.sample_rate, self.hop = sample_rate, hop
        self.short, self.long = 4 * hop, 6 * hop
        self.width = MELS + LOW_BINS

    def init_state(self, batch: int) -> Float[Array, "B H"]:
        """The samples before the first: zeros."""
        return jnp.zeros((batch, self.long - self.hop))

    def __call__(
        self, samples: Float[Array, "B S"], state: Float[Array, "B H"] | None = None
    ) -> tuple[Float[Array, "B T C"], Float[Array, "B H"]]:
        """One feature vector per `hop` samples, and the samples to remember."""
        state = self.init_state(samples.shape[0]) if state is None else state
        joined, state = with_history(samples, state)
        windows = frames(joined, self.long, self.hop)
        short = windows[..., self.long - self.short :] * hann(self.short)
        mel = magnitude(jnp.fft.rfft(short)) @ mel_filters(
            self.sample_rate, self.short, MELS, 8000.0
        )
        low = magnitude(jnp.fft.rfft(windows * hann(self.long))[..., :LOW_BINS])
        # 1e-2 is about -80 dB of a full-scale tone in these windows; /4 brings it to unit scale.
        features = jnp.log(jnp.concatenate([mel, low], axis=-1) + 1e-2) / 4
        return features, state


class Synthesis(nnx.Module):
    """Magnitude and phase -> samples by inverse STFT with overlap-add, `hop` samples a column.

    Column j spans samples [j * hop, j * hop + 4 * hop); sample block j is complete when column j
    is there, so nothing waits: the lag is in the content (`Config.delay_samples`), not in time.
    """

    def __init__(self, hop: int):
        self.hop, self.size = hop, 4 * hop
        self.width = 2 * (self.size // 2 + 1)

    def init_state(self, batch: int) -> Float[Array, "B H"]:
        """Nothing overlaps yet."""
        return jnp.zeros((batch, self.size - self.hop))

    def __call__(
        self, x: Float[Array, "B T C"], state: Float[Array, "B H"] | None = None
    ) -> tuple[Float[Array, "B S"], Float[Array, "B H"]]:
        """`hop` samples per column, and the open overlap."""
        batch, steps = x.shape[:2]
        state = self.init_state(batch) if state is None else state
        level, phase = jnp.split(x, 2, axis=-1)
        level = jnp.exp(jnp.minimum(level, 6.0))  # a full-scale tone reaches e^5.5
        spectrum = jax.lax.complex(level * jnp.cos(phase), level * jnp.sin(phase))
        # sum of squared Hann windows at 75 % overlap is 1.5
        pieces = jnp.fft.irfft(spectrum, n=self.size) * (hann(self.size) / 1.5)
        pieces = pieces.reshape(batch, steps, 4, self.hop)
        out = jnp.zeros((batch, steps + 3, self.hop))
        out = out.at[:, :3].add(state.reshape(batch, 3, self.hop))
        for i in range(4):
            out = out.at[:, i : i + steps].add(pieces[:, :, i])
        tail = out[:, steps:].reshape(batch, -1)
        return out[:, :steps].reshape(batch, -1), tail
