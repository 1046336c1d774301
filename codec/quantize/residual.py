"""Residual vector quantisation with low-dimensional, L2-normalised lookup.

Each book looks up the direction of an 8-d projection of what the books before left over
(DAC, arXiv 2306.06546, section 3.2), so entries compete on a sphere. Training draws how many books
are in use per example, which makes one checkpoint serve every rate. Entries that nobody has used
for a while are re-seeded from the batch: a short training cannot wait for them to drift back.
Lookup and distances stay in float32: half precision flips about a third of residual codes.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from codec.quantize.interface import Quantized, Quantizer

DEAD_SHARE = 0.05  # of uniform usage; below it an entry is re-seeded


def unit(x: Float[Array, "*B E"]) -> Float[Array, "*B E"]:
    """`x` on the unit sphere of its last axis."""
    return x * jax.lax.rsqrt(jnp.sum(jnp.square(x), axis=-1, keepdims=True) + 1e-8)


class ResidualQuantizer(Quantizer):
    """`books` codebooks, each on the residual of those before."""

    def __init__(self, width: int, books: int, entries: int, code_dim: int, *, rngs: nnx.Rngs):
        self.sizes = (entries,) * books
        init = nnx.initializers.lecun_normal()
        stack = nnx.initializers.lecun_normal(batch_axis=(0,))
        self.project_in = nnx.Param(stack(rngs.params(), (books, width, code_dim)))
        self.project_out = nnx.Param(stack(rngs.params(), (books, code_dim, width)))
        self.table = nnx.Param(
            unit(init(rngs.params(), (books * entries, code_dim))).reshape(books, entries, code_dim)
        )

    def lookup(self, book: int, codes: Int[Array, "B T"]) -> Float[Array, "B T D"]:
        """The vectors that `codes` of one book stand for."""
        return unit(self.table[book])[codes] @ self.project_out[book]

    def encode(self, x: Float[Array, "B T D"], books: int | None = None) -> Int[Array, "B T Q"]:
        """Codes of the first `books` books (default: all)."""
        codes = []
        for book in range(len(self.sizes) if books is None else books):
            query = unit(x @ self.project_in[book])
            codes.append(jnp.argmax(query @ unit(self.table[book]).T, axis=-1))
            x = x - self.lookup(book, codes[-1])
        return jnp.stack(codes, axis=-1).astype(jnp.int32)

    def decode(self, codes: Int[Array, "B T Q"]) -> Float[Array, "B T D"]:
        """The sum of what all given books say."""
        return sum(self.lookup(book, codes[..., book]) for book in range(codes.shape[-1]))

    def vectors(self) -> Float[Array, "Q K E"]:
        """Directions of the entries."""
        return unit(self.table[...])

    def __call__(self, x: Float[Array, "B T D"], depth: Int[Array, " B"], key: Array) -> Quantized:
        """Training form: straight-through latent with `depth` books in use per example."""
        total, loss, codes, queries = jnp.zeros_like(x), 0.0, [], []
        residual = x
        for book in range(len(self.sizes)):
            projection = residual @ self.project_in[book]
            query, table = unit(projection), unit(self.table[book])
            code = jnp.argmax(query @ table.T, axis=-1)
            entry = table[code]
            used = (book < depth).astype(x.dtype)
            frozen = jax.lax.stop_gradient
            distance = jnp.square(frozen(query) - entry) + 0.25 * jnp.square(query - frozen(entry))
            loss += used * jnp.sum(distance, axis=-1).mean(axis=-1)
            value = (query + frozen(entry - query)) @ self.project_out[book]
            total += used[:, None, None] * value
            residual = residual - value
            codes.append(code)
            queries.append(frozen(query))
        return Quantized(
            latent=total,
            codes=jnp.stack(codes, axis=-1),
            loss=loss / depth,
            queries=jnp.stack(queries, axis=2),
        )

    def revive(
        self, params: dict, share: Float[Array, "Q K"], quantized: Quantized, key: Array
    ) -> tuple[dict, Float[Array, "Q K"]]:
        """Dead entries replaced by lookups of the last batch."""
        dead = DEAD_SHARE / self.sizes[0]
        table, share = reseed(params["table"], share, quantized.queries, key, dead)
        return params | {"table": table}, share


def reseed(
    table: Float[Array, "Q K E"],
    share: Float[Array, "Q K"],
    queries: Float[Array, "B T Q E"],
    key: Array,
    threshold: float,
) -> tuple[Float[Array, "Q K E"], Float[Array, "Q K"]]:
    """Entries used less than `threshold` of the time replaced by lookups of this batch.

    Returns the new table, and shares in which the replaced entries start at the mean, so that each
    gets time to prove itself.
    """
    books, entries, _ = table.shape
    pool = queries.reshape(-1, books, queries.shape[-1]).swapaxes(0, 1)  # [Q, N, E]
    pick = jax.random.randint(key, (books, entries), 0, pool.shape[1])
    fresh = jnp.take_along_axis(pool, pick[..., None], axis=1)
    dead = share < threshold
    return (
        jnp.where(dead[..., None], fresh, table),
        jnp.where(dead, 1.0 / entries, share),
    )
