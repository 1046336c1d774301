"""Symbols with given frequencies <-> one big integer: an asymmetric numeral system without limits.

ANS (Duda, arXiv 0902.0271) keeps a number whose size is the information so far. Coders for speed
keep it in a machine word and spill; Python's integers are as long as a packet needs, so there is
nothing to spill and no precision to lose; a packet costs its entropy and half a byte on average.
With equal frequencies it is plain mixed radix: 21 levels take log2 21 bits, not five.
"""

from __future__ import annotations

from collections.abc import Sequence


def push(number: int, start: int, frequency: int, total: int) -> int:
    """`number` with a symbol on top, which has `frequency` shares of `total` from `start` on."""
    return number // frequency * total + start + number % frequency


def pop(number: int, slot_start: int, frequency: int, total: int) -> int:
    """`number` without its topmost symbol, which is the one whose shares hold `number % total`."""
    return number // total * frequency + number % total - slot_start


def pack(codes: Sequence[int], sizes: Sequence[int]) -> bytes:
    """Codes as one number in mixed radix; the length follows from `sizes` alone."""
    number = 0
    for code, size in zip(reversed(codes), reversed(sizes), strict=True):
        number = number * size + code
    return number.to_bytes(packed_bytes(sizes), "little")


def unpack(data: bytes, sizes: Sequence[int]) -> list[int]:
    """The codes that `pack` was given; raises ValueError for bytes that it cannot have made."""
    number, codes = int.from_bytes(data, "little"), []
    for size in sizes:
        number, code = divmod(number, size)
        codes.append(code)
    if number or len(data) != packed_bytes(sizes):
        raise ValueError(f"{len(data)} bytes do not hold {len(sizes)} codes")
    return codes


def packed_bytes(sizes: Sequence[int]) -> int:
    """Bytes of any codes of these sizes."""
    largest = 1
    for size in sizes:
        largest *= size
    return -(-(largest - 1).bit_length() // 8)
