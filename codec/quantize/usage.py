"""How much of their books a stream of codes uses."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def uniform(sizes: Sequence[int]) -> Float[Array, "Q K"]:
    """Shares when all entries are chosen alike; 0 beyond the end of smaller books."""
    return jnp.stack([(jnp.arange(max(sizes)) < size) / size for size in sizes])


def usage(codes: Int[Array, "B T Q"], entries: int) -> Float[Array, "Q K"]:
    """Share of the frames that chose each entry; `entries` of the largest book."""
    books = codes.shape[-1]
    flat = codes.reshape(-1, books) + jnp.arange(books) * entries
    counts = jnp.bincount(flat.reshape(-1), length=books * entries)
    return counts.reshape(books, entries) / (codes.size // books)


def entropy(share: Float[Array, "Q K"]) -> Float[Array, " Q"]:
    """Bits per code, from the shares of the entries."""
    return -jnp.sum(share * jnp.log2(share + 1e-10), axis=-1)


def perplexity(share: Float[Array, "Q K"]) -> Float[Array, " Q"]:
    """Effective number of entries in use per book."""
    return jnp.exp2(entropy(share))
