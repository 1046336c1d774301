"""A decoder that is told the text: what a frame says, into its latent.

Who has written the codes often knows the text, and through 1 kbit/s an s may be an f, or the
language model has written another sound than it was asked for. So what the frames say
(`data.said`) moves their latents, before the decoder hears them; a frame of which nothing is told
stays as it is, to the bit. No bits, and a million parameters, at the frame rate.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from codec.config import Config
from codec.layers import Trunk


class Told(nnx.Module):
    """Latents and what their frames say -> latents that say it."""

    def __init__(self, cfg: Config, *, rngs: nnx.Rngs):
        width = cfg.frame_width
        table = jax.random.normal(rngs.params(), (cfg.slots, cfg.symbols, width))
        self.symbols = nnx.Param(0.3 * table)
        self.trunk = Trunk(cfg.told_blocks, width, cfg.expansion, cfg.kernel, rngs=rngs)
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        nothing = nnx.initializers.zeros_init()
        self.leave = nnx.Linear(width, width, kernel_init=nothing, rngs=rngs)

    def init_state(self, batch: int) -> tuple:
        """Nothing said yet."""
        return self.trunk.init_state(batch)

    def __call__(
        self,
        latent: Float[Array, "B T D"],
        said: Int[Array, "B T N"],
        state: tuple | None = None,
    ) -> tuple[Float[Array, "B T D"], tuple]:
        """The latents, moved where anything is said, and the new state."""
        known, slots = (said >= 0)[..., None], jnp.arange(said.shape[-1])
        symbols = self.symbols[...][slots, jnp.maximum(said, 0)]
        x = latent + jnp.where(known, symbols, 0.0).sum(axis=-2)
        x, state = self.trunk(x, state)
        moved = self.leave(self.norm(x))
        return latent + jnp.where(known.any(axis=-2), moved, 0.0), state
