"""How a token is drawn from logits; everything about it is traced, and each row has its own.

Noise belongs to the entries, not to their ranks: of two entries that are nearly equal it does not
matter which is first, so another executable, whose logits differ in the last bit, hardly ever draws
another token.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from lm.layers import NEVER


class Sampling(NamedTuple):
    """How to draw, per row."""

    temperature: Float[Array, " B"]  # 0 takes the best
    top_k: Int[Array, " B"]  # best entries to draw from, at least 1
    top_p: Float[Array, " B"]  # probability mass to draw from, of the `top_k` best
    repetition: Float[Array, " B"]  # divides the logit of what was said before, if positive, else
    # multiplies it (Keskar et al. 2019, arXiv:1909.05858); 1 changes nothing

    @classmethod
    def of(
        cls, batch: int, temperature: float, top_k: int, top_p: float, repetition: float
    ) -> "Sampling":
        """The same for `batch` rows."""
        full = lambda value, dtype=jnp.float32: jnp.full(batch, value, dtype)  # noqa: E731
        return cls(full(temperature), full(top_k, jnp.int32), full(top_p), full(repetition))


def draw(
    logits: Float[Array, "B K"],
    said: Bool[Array, "B K"],
    keys: Key[Array, " B"],
    place: int | Int[Array, ""],
    sampling: Sampling,
) -> Int[Array, " B"]:
    """An entry for each row.

    Args:
        logits: Of the entries.
        said: Those that the row has said before.
        keys: Of the rows, for the frame.
        place: Which of the frame's draws this is.
        sampling: How.
    """
    count, temperature = logits.shape[1], sampling.temperature[:, None]
    again = sampling.repetition[:, None]
    logits = jnp.where(said, jnp.where(logits > 0, logits / again, logits * again), logits)
    scaled = logits / jnp.maximum(temperature, 1e-3)
    best, rank = jnp.sort(scaled, axis=-1, descending=True), jnp.arange(count)
    inside = rank < sampling.top_k[:, None]
    mass = jax.nn.softmax(jnp.where(inside, best, NEVER), axis=-1)
    inside &= jnp.cumsum(mass, axis=-1) - mass < sampling.top_p[:, None]
    least = jnp.min(jnp.where(inside.at[:, 0].set(True), best, jnp.inf), axis=-1, keepdims=True)
    keys = jax.vmap(jax.random.fold_in, (0, None))(keys, place)
    noise = jax.vmap(lambda key: jax.random.gumbel(key, (count,)))(keys)
    return jnp.argmax(jnp.where(scaled >= least, logits + temperature * noise, NEVER), axis=-1)
