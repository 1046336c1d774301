"""An integer model of the next code, and the coding of packets with it: the same bytes anywhere.

A learned model saves bits only if the decoder finds exactly the encoder's probabilities. Floating
point does not promise that across machines (encodec's `--lm` files made on a GPU fail on a CPU), so
everything here is a whole number: tables, sums, a maximum with zero, shifts, a division.

The model sees codes as the codec does, by the vectors that they stand for. Those of the two frames
before, of the packet so far (on average: that says who speaks) and of the books below in this frame
are multiplied by a matrix each, summed, and go through two rectified layers of the book to come;
what comes out is compared with the vectors of its entries. (Free embeddings of the 16,384 codes
instead of vectors learned five hours of speech by heart: 2.9 % saved at 8 books on unseen voices,
against 7.1.) Book q looks at books 0..q of earlier frames alone, so a file of few books is
coded as the start of a long one. Packets do not see each other: what is lost with one is only that.
"""

from __future__ import annotations

import hashlib
import typing
from collections.abc import Iterator, Sequence
from decimal import Decimal

import numpy as np
from jaxtyping import Float, Int, Int8, Int16, Int32, Integer

from codec.bitstream import packing

TOTAL = 1 << 20  # shares that the symbols of a book divide among them; each has at least one
VECTOR_BITS, WEIGHT_BITS = 6, 10
"""Vectors and activations are in steps of 1/64, matrices of 1/1024, sums of products of 1/65536;
logits too, in octaves."""

_SUM_BITS = VECTOR_BITS + WEIGHT_BITS
_FINE_BITS = 5  # 2 ** -x is looked up at 32 places in an octave
# Decimal, because its powers are rounded correctly on every platform.
_POWERS = np.array([int(Decimal(2) ** (20 - Decimal(i) / 32)) for i in range(32)], np.int64)


class Tables(typing.NamedTuple):
    """What was learned, in whole numbers."""

    vectors: Int8[np.ndarray, "Q K E"]  # what the codes stand for, in 1/64
    before: Int16[np.ndarray, "Q E H"]  # of a code one frame ago, in 1/1024 like all matrices
    earlier: Int16[np.ndarray, "Q E H"]  # two frames ago
    history: Int16[np.ndarray, "Q E H"]  # in any frame of the packet so far
    below: Int16[np.ndarray, "Q E H"]  # of a lower book of this frame
    bias: Int32[np.ndarray, "Q H"]  # in 1/65536 like all sums
    middle: Int16[np.ndarray, "Q H H"]
    middle_bias: Int32[np.ndarray, "Q H"]
    out: Int16[np.ndarray, "Q H E"]
    prior: Int32[np.ndarray, "Q K"]


class EntropyModel:
    """Lossless coding of packets of codes.

    Args:
        tables: Learned by `experiments.entropy`.
        sizes: Entries of each book.

    Attributes:
        fingerprint: SHA-256 of the tables.
    """

    def __init__(self, tables: Tables, sizes: Sequence[int]):
        self.sizes, self._tables = tuple(sizes), tables
        self.fingerprint = hashlib.sha256(b"".join(t.tobytes() for t in tables)).hexdigest()
        # Sums of whole numbers below 2 ** 53 are exact in float64, in any order.
        self._floats = Tables(*(table.astype(np.float64) for table in tables))

    def encode(self, codes: Integer[np.ndarray, "T Q"]) -> bytes:
        """A packet as bytes, without its length."""
        codes = codes.astype(np.int64)
        frames, books = codes.shape
        pairs = zip(self.contexts(codes), codes, strict=True)
        hidden = [own + self._below(frame) for own, frame in pairs]
        plain = self._plain_from(frames, books)
        number = 0
        for i in reversed(range(frames * books)):
            t, book = divmod(i, books)
            code = int(codes[t, book])
            if i >= plain:
                number = number * self.sizes[book] + code
                continue
            shares = self.shares(book, hidden[t][book])
            start = int(shares[:code].sum())
            number = packing.push(number, start, int(shares[code]), TOTAL)
        return number.to_bytes(-(-number.bit_length() // 8), "little")

    def decode(self, data: bytes, frames: int, books: int) -> Int[np.ndarray, "T Q"]:
        """The packet of that many frames; raises ValueError for bytes that hold no such packet."""
        number = int.from_bytes(data, "little")
        codes = np.zeros((frames, books), np.int64)
        tables, plain = self._floats, self._plain_from(frames, books)
        contexts = self.contexts(codes)  # reads each frame once it is there
        for i in range(frames * books):
            t, book = divmod(i, books)
            if book == 0:
                own = next(contexts)
                below = np.zeros(own.shape[-1], np.int64)
            if i >= plain:
                number, code = divmod(number, self.sizes[book])
            else:
                shares = self.shares(book, own[book] + below)
                ends = np.cumsum(shares)
                code = int(np.searchsorted(ends, number % TOTAL, side="right"))
                share = int(shares[code])
                number = packing.pop(number, int(ends[code]) - share, share, TOTAL)
            codes[t, book] = code
            below = below + (tables.vectors[book, code] @ tables.below[book]).astype(np.int64)
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

    def contexts(self, codes: Int[np.ndarray, "T Q"]) -> Iterator[Int[np.ndarray, "Q H"]]:
        """Frame by frame, the bias and the sums over earlier frames, for each book; a frame's own
        codes are read when the next one is asked for."""
        tables, past = self._floats, None
        for t in range(len(codes)):
            own = self._tables.bias[: codes.shape[1]].astype(np.int64)
            if t:
                seen = self._seen(tables.history, codes[t - 1])
                past = seen if past is None else past + seen
                own = own + self._seen(tables.before, codes[t - 1]) + past // t
            if t > 1:
                own = own + self._seen(tables.earlier, codes[t - 2])
            yield own

    def _seen(
        self, matrix: Float[np.ndarray, "All E H"], frame: Int[np.ndarray, " Q"]
    ) -> Int[np.ndarray, "Q H"]:
        """For each book, what it and the lower books of a frame say through `matrix`."""
        books = np.arange(len(frame))
        vectors = self._floats.vectors[books, frame, None]
        return np.cumsum((vectors @ matrix[books])[:, 0].astype(np.int64), axis=0)

    def _below(self, frame: Int[np.ndarray, " Q"]) -> Int[np.ndarray, "Q H"]:
        """For each book, what the lower books of its own frame say."""
        below = np.zeros((len(frame), self._tables.bias.shape[1]), np.int64)
        below[1:] = self._seen(self._floats.below, frame)[:-1]
        return below

    def shares(self, book: int, hidden: Int[np.ndarray, " H"]) -> Int[np.ndarray, " K"]:
        """Shares of `TOTAL` for each entry of a book."""
        size, whole, floats = self.sizes[book], self._tables, self._floats
        h = (np.maximum(hidden, 0) >> WEIGHT_BITS).astype(np.float64)
        h = (h @ floats.middle[book]).astype(np.int64) + whole.middle_bias[book]
        h = (np.maximum(h, 0) >> WEIGHT_BITS).astype(np.float64)
        query = ((h @ floats.out[book]).astype(np.int64) >> VECTOR_BITS).astype(np.float64)
        logits = (floats.vectors[book, :size] @ query).astype(np.int64) + whole.prior[book, :size]
        below_best = (logits.max() - logits) >> (_SUM_BITS - _FINE_BITS)
        weights = _POWERS[below_best & 31] >> np.minimum(below_best >> _FINE_BITS, 62)
        shares = 1 + weights * (TOTAL - size) // weights.sum()
        shares[np.argmax(logits)] += TOTAL - shares.sum()
        return shares
