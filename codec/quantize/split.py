"""A vector-quantised first book beside a fine grid of scalars (Voxtral's form, arXiv 2603.25551).

The first book has a projection of its own and is not followed by a residual, so what it says is
free of what the scalars need; they carry the rest, 36 numbers of 21 levels in the paper.
"""

from __future__ import annotations

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from codec.quantize.interface import Quantized, Quantizer
from codec.quantize.residual import ResidualQuantizer
from codec.quantize.scalar import ScalarQuantizer


class SplitQuantizer(Quantizer):
    """One book of `first_entries` looked up in `code_dim` dimensions, the others one scalar each.

    Args:
        width: Of the vectors.
        books: One and the number of scalars.
        first_entries: Of the first book.
        entries: Levels of a scalar.
        code_dim: Width of the first book's lookup.
    """

    def __init__(
        self,
        width: int,
        books: int,
        first_entries: int,
        entries: int,
        code_dim: int,
        *,
        rngs: nnx.Rngs,
    ):
        self.sizes = (first_entries,) + (entries,) * (books - 1)
        self.first = ResidualQuantizer(width, 1, first_entries, code_dim, rngs=rngs)
        self.rest = ScalarQuantizer(width, books - 1, entries, 1, dither=True, rngs=rngs)

    def encode(self, x: Float[Array, "B T D"], books: int | None = None) -> Int[Array, "B T Q"]:
        """Codes of the first `books` books (default: all)."""
        codes = jnp.concatenate([self.first.encode(x), self.rest.encode(x)], axis=-1)
        return codes[..., :books]

    def decode(self, codes: Int[Array, "B T Q"]) -> Float[Array, "B T D"]:
        """The first book's vector and what the given scalars add."""
        return self.first.decode(codes[..., :1]) + self.rest.decode(codes[..., 1:])

    def vectors(self) -> Float[Array, "Q K E"]:
        """Directions in the first book, one number in the others."""
        first, rest = self.first.vectors(), self.rest.vectors()
        entries, dim = max(self.sizes), first.shape[-1]
        pad = lambda v: jnp.pad(  # noqa: E731
            v, ((0, 0), (0, entries - v.shape[1]), (0, dim - v.shape[2]))
        )
        return jnp.concatenate([pad(first), pad(rest)])

    def __call__(self, x: Float[Array, "B T D"], depth: Int[Array, " B"], key: Array) -> Quantized:
        """Training form: the first book always, the scalars by `depth`."""
        first = self.first(x, jnp.ones_like(depth), key)
        rest = self.rest(x, depth - 1, key)
        return Quantized(
            latent=first.latent + rest.latent,
            codes=jnp.concatenate([first.codes, rest.codes], axis=-1),
            loss=first.loss,
            queries=first.queries,
        )

    def revive(
        self, params: dict, share: Float[Array, "Q K"], quantized: Quantized, key: Array
    ) -> tuple[dict, Float[Array, "Q K"]]:
        """Dead entries of the first book replaced by lookups of the last batch."""
        entries = self.first.sizes[0]
        first, fresh = self.first.revive(params["first"], share[:1, :entries], quantized, key)
        return params | {"first": first}, share.at[:1, :entries].set(fresh)
