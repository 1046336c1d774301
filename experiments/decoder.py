"""The codec's task for its decoder alone: a released codec's voice, its codes as they are.

Codes keep their meaning, so the language model, the token files and the entropy model of the
release go on with the tuned decoder: `voiceloom.export codec` writes whose codes they are into
codec.json.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from codec.task import CodecTask, TrainState
from voiceloom import weights


class DecoderTask(CodecTask):
    """`CodecTask` that begins with a released codec; `config.frozen` says what stands still."""

    def init_from(self, state: TrainState, release: str) -> TrainState:
        """A fresh state that begins with the codec of a release, and with new critics."""
        params = weights.load_codec(release).params
        return state._replace(params=params, ema=jax.tree.map(jnp.copy, params))
