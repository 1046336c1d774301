"""The text that a decoder is told: what each frame says, as a vector beside its latent.

Who has written the codes often knows the text, and through 1 kbit/s an s may be an f, or the
language model has written another sound than it was asked for. So a codec of symbols has two
decoders: one that knows the codes alone, for recordings, and the speaker, which is the same but
for what it has learned of speech whose text is known (`data.said`). No bits, no time: a table.
"""

from __future__ import annotations

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from codec.config import Config


class Told(nnx.Module):
    """What frames say -> what it adds to their latents: nothing, before anything is learned."""

    def __init__(self, cfg: Config):
        self.symbols = nnx.Param(jnp.zeros((cfg.slots, cfg.symbols, cfg.frame_width)))

    def __call__(self, said: Int[Array, "B T N"]) -> Float[Array, "B T D"]:
        """The sum over the slots; -1 where there is nothing."""
        symbols = self.symbols[...][jnp.arange(said.shape[-1]), jnp.maximum(said, 0)]
        return jnp.where((said >= 0)[..., None], symbols, 0.0).sum(axis=-2)
