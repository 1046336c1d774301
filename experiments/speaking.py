"""The language model's task with ears: at evaluations it speaks, through a released codec.

`lm` knows no waveform and `codec` no text; here they meet, as they do in `voiceloom`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from lm.task import LMTask, TrainState
from voiceloom import weights

HEARD = 3
"""Rows spoken at an evaluation."""


class SpeakingTask(LMTask):
    """`LMTask` with the `samples` that the loop writes as audio files."""

    def __init__(self, config):
        super().__init__(config)
        self.codec = weights.load_codec(config.codec)
        self.sample_rate = self.codec.config.sample_rate

    def init_from(self, state: TrainState, release: str) -> TrainState:
        """A fresh state that begins with the language model of a release."""
        params = weights.load_lm(release).params
        return state._replace(params=params, ema=jax.tree.map(jnp.copy, params))

    def samples(self, params: dict, batch: dict) -> dict[str, Float[Array, "B S"]]:
        """What the model makes of the first rows' texts, beside the codes they were cut from."""
        batch = jax.tree.map(lambda x: x[:HEARD], batch)
        codes, spoken = self.speak(params, batch)
        true = batch["codes"][..., : self.cfg.books]
        return {
            "spoken": self.decode(codes, spoken),
            "resynthesis": self.decode(true, batch["mask"]),
        }

    def decode(self, codes: Array, mask: Array) -> Float[Array, "B S"]:
        """Samples of the frames that there are, silence after them."""
        samples, _ = nnx.merge(self.codec.graphdef, self.codec.params).decode(codes)
        return samples * jnp.repeat(mask, samples.shape[1] // mask.shape[1], axis=1)
