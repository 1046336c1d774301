"""An integer model of the next code, and the coding of packets with it: the same bytes anywhere.

A learned model saves bits only if the decoder finds exactly the encoder's probabilities. Floating
point does not promise that across machines (encodec's `--lm` files made on a GPU fail on a CPU), so
everything here is a whole number: tables of int8, sums, a maximum with zero, shifts, a division.

The model: every code of the two frames before and every book below of this frame has an embedding
per role; their sum, rectified, is multiplied by a matrix of the book to be coded. Book q looks at
books 0..q of earlier frames alone, so a file of few books is coded as the start of a long one.
Packets do not see each other: what is lost with one is only that one.
"""

from __future__ import annotations

import hashlib
import typing
from collections.abc import Sequence
from decimal import Decimal

import numpy as np
from jaxtyping import Int, Int8, Int16, Integer

from codec.bitstream import packing

TOTAL = 1 << 20  # shares that the symbols of a book divide among them; each has at least one
UNIT_BITS = 6  # of the embeddings and matrices: steps of 1/64; logits are in 1/4096 octave
_FINE_BITS = 5  # 2 ** -x is looked up at 32 places in an octave
# Decimal, because its powers are rounded correctly on every platform.
_POWERS = np.array([int(Decimal(2) ** (20 - Decimal(i) / 32)) for i in range(32)], np.int64)


class Tables(typing.NamedTuple):
    """What was learned, in whole numbers."""

    before: Int8[np.ndarray, "Q K H"]  # of a code one frame ago
    earlier: Int8[np.ndarray, "Q K H"]  # two frames ago
    below: Int8[np.ndarray, "Q K H"]  # of a lower book of this frame
    bias: Int16[np.ndarray, "Q H"]
    out: Int8[np.ndarray, "Q H K"]
    prior: Int16[np.ndarray, "Q K"]


class EntropyModel:
    """Lossless coding of packets of codes.

    Args:
        tables: Learned by `codec.entropy_task`.
        sizes: Entries of each book.

    Attributes:
        fingerprint: SHA-256 of the tables.
    """

    def __init__(self, tables: Tables, sizes: Sequence[int]):
        self.sizes, self._tables = tuple(sizes), tables
        self.fingerprint = hashlib.sha256(b"".join(t.tobytes() for t in tables)).hexdigest()
        # Products of whole numbers below 2 ** 53 are exact in float64, in any order of summing.
        self._out = tables.out.astype(np.float64)

    def encode(self, codes: Integer[np.ndarray, "T Q"]) -> bytes:
        """A packet as bytes, without its length."""
        codes = codes.astype(np.int64)
        frames, books = codes.shape
        own, below = self._contexts(codes)
        hidden, plain = own + below, self._plain_from(frames, books)
        number = 0
        for i in reversed(range(frames * books)):
            t, book = divmod(i, books)
            code = int(codes[t, book])
            if i >= plain:
                number = packing.push(number, code, 1, self.sizes[book])
                continue
            shares = self._shares(book, hidden[t, book])
            start = int(shares[:code].sum())
            number = packing.push(number, start, int(shares[code]), TOTAL)
        return number.to_bytes(-(-number.bit_length() // 8), "little")

    def decode(self, data: bytes, frames: int, books: int) -> Int[np.ndarray, "T Q"]:
        """The packet of that many frames; raises ValueError for bytes that hold no such packet."""
        number = int.from_bytes(data, "little")
        codes = np.zeros((frames, books), np.int64)
        tables, plain = self._tables, self._plain_from(frames, books)
        for i in range(frames * books):
            t, book = divmod(i, books)
            if i >= plain:
                code = number % self.sizes[book]
                number = packing.pop(number, code, 1, self.sizes[book])
                codes[t, book] = code
                continue
            if book == 0:
                own = self._contexts(codes[max(0, t - 2) : t + 1])[0][-1]
                below = np.zeros(own.shape[-1], np.int64)
            shares = self._shares(book, own[book] + below)
            ends = np.cumsum(shares)
            code = int(np.searchsorted(ends, number % TOTAL, side="right"))
            share = int(shares[code])
            number = packing.pop(number, int(ends[code]) - share, share, TOTAL)
            codes[t, book] = code
            below += tables.below[book, code]
        if number:
            raise ValueError(f"{len(data)} bytes do not hold {frames} frames of {books} codes")
        return codes.astype(np.int32)

    def _plain_from(self, frames: int, books: int) -> int:
        """The first of the last few codes, which are packed: they are pushed first.

        A number below the shares of a symbol grows by all of `TOTAL` with it, whatever its share:
        beginning with nothing would cost two bytes a packet.
        """
        filled, i = 1, frames * books
        while i and filled < TOTAL:
            i -= 1
            filled *= self.sizes[i % books]
        return i

    def _contexts(
        self, codes: Int[np.ndarray, "T Q"]
    ) -> tuple[Int[np.ndarray, "T Q H"], Int[np.ndarray, "T Q H"]]:
        """Per code, the sums over earlier frames (and the bias), and over the books below."""
        tables, books = self._tables, np.arange(codes.shape[1])
        own = np.repeat(tables.bias[None, : len(books)].astype(np.int64), len(codes), axis=0)
        for lag, table in ((1, tables.before), (2, tables.earlier)):
            own[lag:] += np.cumsum(table[books, codes[:-lag]], axis=1, dtype=np.int64)
        below = np.zeros_like(own)
        below[:, 1:] = np.cumsum(tables.below[books, codes], axis=1, dtype=np.int64)[:, :-1]
        return own, below

    def _shares(self, book: int, hidden: Int[np.ndarray, " H"]) -> Int[np.ndarray, " K"]:
        """Shares of `TOTAL` for each entry of a book."""
        size = self.sizes[book]
        logits = np.maximum(hidden, 0).astype(np.float64) @ self._out[book]
        logits = logits.astype(np.int64)[:size] + self._tables.prior[book, :size]
        below_best = (logits.max() - logits) >> (2 * UNIT_BITS - _FINE_BITS)
        weights = _POWERS[below_best & 31] >> np.minimum(below_best >> _FINE_BITS, 62)
        shares = 1 + weights * (TOTAL - size) // weights.sum()
        shares[np.argmax(logits)] += TOTAL - shares.sum()
        return shares
