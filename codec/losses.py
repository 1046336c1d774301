"""What the decoded audio is compared by: log-mel distances at several resolutions.

Short windows judge when, long ones judge pitch. Bands above the source's bandwidth are masked, so
that 16 kHz recordings teach nothing about 8-12 kHz and do not dull the voices that have it.
Multi-resolution mel distance: DAC (arXiv 2306.06546), Vocos (arXiv 2306.00814).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from codec.discriminator import Judgement
from codec.spectrum import frames, hann, magnitude, mel_filters

# window, bands; hops are a quarter. 512 samples are 21 ms, 2048 are 85 ms at 24 kHz.
RESOLUTIONS = ((256, 40), (512, 64), (1024, 80), (2048, 128))


def magnitudes(x: Float[Array, "B S"], size: int) -> Float[Array, "B T N"]:
    """|STFT| with a Hann window of `size` and a hop of a quarter."""
    return magnitude(jnp.fft.rfft(frames(x, size, size // 4) * hann(size)))


def mel_distance(
    x: Float[Array, "B S"],
    y: Float[Array, "B S"],
    bandwidth_hz: Float[Array, " B"],
    sample_rate: int,
) -> Float[Array, " B"]:
    """Mean absolute difference of natural-log mel magnitudes, averaged over resolutions.

    Args:
        x, y: the audio to compare, time-aligned.
        bandwidth_hz: bands above it do not count.
        sample_rate: of both, Hz.
    """
    total = 0.0
    for size, bands in RESOLUTIONS:
        filters = mel_filters(sample_rate, size, bands, sample_rate / 2)
        top_hz = (filters > 0).argmax(axis=0) * sample_rate / size
        mask = (top_hz[None] < bandwidth_hz[:, None]).astype(jnp.float32)
        a, b = (jnp.log(magnitudes(v, size) @ filters + 1e-2) for v in (x, y))
        total += (jnp.abs(a - b).mean(axis=1) * mask).sum(axis=-1) / mask.sum(axis=-1)
    return total / len(RESOLUTIONS)


def hinge(real: list[Judgement], fake: list[Judgement]) -> Float[Array, ""]:
    """Discriminator loss: real scores above 1, fake ones below -1."""
    pairs = list(zip(real, fake, strict=True))
    return sum(
        jax.nn.relu(1 - r.score).mean() + jax.nn.relu(1 + f.score).mean() for r, f in pairs
    ) / len(pairs)


def adversarial(fake: list[Judgement]) -> Float[Array, ""]:
    """Generator loss: fake scores up."""
    return -sum(f.score.mean() for f in fake) / len(fake)


def feature_matching(real: list[Judgement], fake: list[Judgement]) -> Float[Array, ""]:
    """Mean relative L1 distance of the discriminators' hidden layers."""
    pairs = [
        (jax.lax.stop_gradient(a), b)
        for r, f in zip(real, fake, strict=True)
        for a, b in zip(r.features, f.features, strict=True)
    ]
    return sum(jnp.abs(a - b).mean() / (jnp.abs(a).mean() + 1e-3) for a, b in pairs) / len(pairs)


def band_limited(
    x: Float[Array, "B S"], bandwidth_hz: Float[Array, " B"], sample_rate: int
) -> Float[Array, "B S"]:
    """Rows without what lies above their bandwidth."""
    hz = jnp.fft.rfftfreq(x.shape[1], 1 / sample_rate)
    return jnp.fft.irfft(jnp.fft.rfft(x) * (hz <= bandwidth_hz[:, None]), x.shape[1])
