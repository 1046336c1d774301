"""What every quantiser is: vectors in, a few integers per frame out, and the way back."""

from __future__ import annotations

import typing

from flax import nnx
from jaxtyping import Array, Float, Int


class Quantized(typing.NamedTuple):
    """What the training form returns."""

    latent: Float[Array, "B T D"]  # what the decoder gets; gradients pass straight through
    codes: Int[Array, "B T Q"]
    loss: Float[Array, " B"]  # commitment + codebook, mean over frames and books in use
    queries: Float[Array, "B T R E"] | None  # what was looked up in learned tables


class Quantizer(nnx.Module):
    """`sizes[q]` entries in book q; the first books alone are a coarser description.

    Attributes:
        sizes: Entries per book.
    """

    sizes: tuple[int, ...]

    def encode(self, x: Float[Array, "B T D"], books: int | None = None) -> Int[Array, "B T Q"]:
        """Codes of the first `books` books (default: all)."""
        raise NotImplementedError

    def decode(self, codes: Int[Array, "B T Q"]) -> Float[Array, "B T D"]:
        """The vectors that `codes` of the leading books stand for."""
        raise NotImplementedError

    def vectors(self) -> Float[Array, "Q K E"]:
        """What each entry stands for within its book, at most of unit length; 0 beyond a book."""
        raise NotImplementedError

    def __call__(self, x: Float[Array, "B T D"], depth: Int[Array, " B"], key: Array) -> Quantized:
        """Training form with `depth` books in use per example; `key` for those that dither."""
        raise NotImplementedError

    def revive(
        self, params: dict, share: Float[Array, "Q K"], quantized: Quantized, key: Array
    ) -> tuple[dict, Float[Array, "Q K"]]:
        """Parameters and usage after entries that nobody uses have been given new work.

        Args:
            params: Of this quantiser.
            share: Running share of the frames that chose each entry.
            quantized: What the last batch became.
            key: For the choice among its vectors.
        """
        return params, share  # a grid has no entries that could die
