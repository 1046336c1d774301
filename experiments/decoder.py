"""The codec's task for its decoder alone: a released codec's voice, its codes as they are.

Codes keep their meaning, so the language model, the token files and the entropy model of the
release go on with the tuned decoder: `voiceloom.export codec` writes whose codes they are into
codec.json.

Beside the codec's own losses it is heard by the aligner, which says what phone sounds in every 10
ms: the phones of the recording should sound in what is decoded. At 8 books some do not, and mel
distance hardly tells an s from an f.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from codec.spectrum import frames, magnitude
from codec.task import CodecTask, TrainState
from lm import aligner
from voiceloom import weights
from voiceloom.aligner import Phones


class DecoderTask(CodecTask):
    """`CodecTask` that begins with a released codec; `config.frozen` says what stands still."""

    def __init__(self, config):
        super().__init__(config)
        self.phones = Phones()

    def further_losses(
        self, fake: Float[Array, "B S"], target: Float[Array, "B S"]
    ) -> dict[str, Float[Array, ""]]:
        """How far the phones that are heard are from those of the recording, in nats a frame."""
        said, meant = (self.phones.posteriors(log_mel(x)) for x in (fake, target))
        meant = jax.lax.stop_gradient(meant)
        return {"phones": jnp.sum(jnp.exp(meant) * (meant - said), axis=-1).mean()}

    def init_from(self, state: TrainState, release: str) -> TrainState:
        """A fresh state that begins with the codec of a release, and with new critics."""
        params = weights.load_codec(release).params
        return state._replace(params=params, ema=jax.tree.map(jnp.copy, params))


def log_mel(samples: Float[Array, "B S"]) -> Float[Array, "B T bands"]:
    """`lm.aligner.log_mel` of a batch, with a gradient; T is even, the rest is not heard."""
    count = samples.shape[1] // aligner.HOP // 2 * 2
    lead = (aligner.WINDOW - aligner.HOP) // 2
    padded = jnp.pad(samples, ((0, 0), (lead, aligner.WINDOW)))
    # `frames` steps by a divisor of the window: by half a hop, and every second is taken.
    windows = frames(padded, aligner.WINDOW, aligner.HOP // 2)[:, : 2 * count : 2]
    bank = aligner.bank()
    spectrum = jnp.fft.rfft(windows * aligner.HANN, aligner.FFT)[..., : len(bank)]
    power = jnp.square(magnitude(spectrum)) @ bank
    floor = power.max(axis=(1, 2), keepdims=True) * 10 ** (-aligner.FLOOR_DB / 10)
    mel = jnp.log10(jnp.maximum(power, jax.lax.stop_gradient(jnp.maximum(floor, 1e-20))))
    return mel - mel.mean(axis=1, keepdims=True)
