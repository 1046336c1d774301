"""The token file: codes in packets, made for pipes, for damage and for the last byte.

    header   "VL", version and number of runs, model (4 bytes), kHz, frame in 10 ms, frames per
             packet, runs of (books, entries), CRC-16: 15 bytes where all books are alike
    packet   sequence number (1 byte), length << 2 | coded << 1 | last (varint), payload, CRC-16

The last packet's payload begins with its number of frames and with the samples by which they go
beyond the end; all others are full. So nothing needs to be known before the end, and a file can be
written into a pipe. A payload is coded by the entropy model where that is shorter, else packed.

A reader that meets damage looks for the next place where a packet fits: its CRC, which starts from
that of the header, a length and a sequence number that can be. What is missing it counts in
frames, by the sequence numbers, and says so; it never gives out a packet whose CRC is wrong.
"""

from __future__ import annotations

import binascii
import typing
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Int, Integer

from codec.bitstream.entropy import EntropyModel
from codec.bitstream.packing import pack, packed_bytes, unpack

MAGIC = b"VL"
VERSION = 1
CRC_BYTES = 2
_AHEAD = 128  # packets that may be missing in a row; sequence numbers repeat after 256


@typing.runtime_checkable
class Readable(typing.Protocol):
    """A file or pipe of bytes to read from."""

    def read(self, size: int, /) -> bytes: ...


@typing.runtime_checkable
class Writable(typing.Protocol):
    """A file or pipe of bytes to write to."""

    def write(self, data: bytes, /): ...

    def flush(self): ...


class TokenFileError(ValueError):
    """Bytes that are no token file, or of one that cannot be used."""


class Header(typing.NamedTuple):
    """What a file says of itself."""

    model_id: bytes  # 4 bytes: of the codec and its entropy model
    sample_rate: int
    frame_samples: int
    packet_frames: int
    sizes: tuple[int, ...]  # entries per book

    def to_bytes(self) -> bytes:
        """The header as it begins a file."""
        runs: list[list[int]] = []
        for size in self.sizes:
            if not runs or runs[-1][1] != size:
                runs.append([0, size])
            runs[-1][0] += 1
        if len(runs) > 15 or not 1 <= self.packet_frames <= 255 or len(self.model_id) != 4:
            raise ValueError(f"a header has no room for {self}")
        hop = self.sample_rate // 100
        body = bytes([VERSION << 4 | len(runs)]) + self.model_id
        body += bytes([self.sample_rate // 1000, self.frame_samples // hop, self.packet_frames])
        body += b"".join(bytes([books]) + _varint(size) for books, size in runs)
        return MAGIC + body + _crc(MAGIC + body)

    @property
    def frame_s(self) -> float:
        """Seconds of a frame."""
        return self.frame_samples / self.sample_rate


class Packet(typing.NamedTuple):
    """A packet that came through whole, still coded."""

    first_frame: int
    frames: int
    missing: int  # frames lost just before it
    coded: bool
    payload: bytes
    spare_samples: int | None  # of the last packet: its frames go so far beyond the end
    size: int  # bytes in the file, framing included


# ---- writing ----------------------------------------------------------------------------------


class Writer:
    """Codes in, bytes out; a packet as soon as one is full.

    Args:
        file: Open for writing bytes.
        header: Written at once.
        model: To code with, or None: packed only.

    Attributes:
        bytes: Written so far.
    """

    def __init__(self, file: Writable, header: Header, model: EntropyModel | None):
        self._file, self._header, self._model = file, header, model
        head = header.to_bytes()
        self._seed, self._sequence = int.from_bytes(head[-CRC_BYTES:], "little"), 0
        self._waiting = np.zeros((0, len(header.sizes)), np.int32)
        self._file.write(head)
        self.bytes = len(head)

    def write(self, codes: Integer[np.ndarray, "T Q"]) -> None:
        """Takes up the next frames."""
        _check(codes, self._header.sizes)
        self._waiting = np.concatenate([self._waiting, codes.astype(np.int32)])
        size = self._header.packet_frames
        while len(self._waiting) > size:  # the last one must stay: it says how the file ends
            self._packet(self._waiting[:size], b"", last=False)
            self._waiting = self._waiting[size:]

    def close(self, spare_samples: int) -> None:
        """Writes the last packet, whose last frame goes `spare_samples` beyond the end."""
        start = _varint(len(self._waiting)) + _varint(spare_samples)
        self._packet(self._waiting, start, last=True)

    def _packet(self, codes: Int[np.ndarray, "T Q"], start: bytes, last: bool) -> None:
        payload = pack(codes.ravel().tolist(), self._header.sizes * len(codes))
        shorter = self._model.encode(codes) if self._model and len(codes) else payload
        coded = len(shorter) < len(payload)
        payload = start + (shorter if coded else payload)
        body = bytes([self._sequence]) + _varint(len(payload) << 2 | coded << 1 | last) + payload
        self._file.write(body + _crc(body, self._seed))
        self._file.flush()
        self.bytes += len(body) + CRC_BYTES
        self._sequence = (self._sequence + 1) % 256


# ---- reading ----------------------------------------------------------------------------------


class Reader:
    """Packets of a file or a pipe, in order, with what is missing.

    Args:
        file: Open for reading bytes; no more is read than the next packet needs.

    Attributes:
        header: What the file says of itself.
        problems: What was wrong, in words, so far.
        ended: Whether the last packet has been seen.

    Raises:
        TokenFileError: Not a token file, or one whose header is damaged.
    """

    def __init__(self, file: Readable):
        self._file, self._data = file, b""
        self.problems: list[str] = []
        self.ended = False
        self.header, size = self._read_header()
        self._seed = int.from_bytes(self._data[size - CRC_BYTES : size], "little")
        self._data = self._data[size:]

    def _read_header(self) -> tuple[Header, int]:
        if not self._have(len(MAGIC) + 1) or self._data[: len(MAGIC)] != MAGIC:
            raise TokenFileError(
                "not a token file: it does not begin with VL; `voiceloom encode` makes them"
            )
        version, runs = divmod(self._data[2], 16)
        if version != VERSION:
            raise TokenFileError(
                f"a token file of version {version}, this voiceloom reads {VERSION}; if it is not "
                "damaged, a newer voiceloom reads it"
            )
        damaged = "the header is damaged, and with it what the codes mean; get the file again"
        at, sizes = 10, []
        for _ in range(runs):
            if not self._have(at + 1):
                raise TokenFileError(f"{damaged} (it ends after {len(self._data)} bytes)")
            books = self._data[at]
            size, at = self._read_varint(at + 1) or (0, at)
            if not size:
                raise TokenFileError(damaged)
            sizes += [size] * books
        if not self._have(at + CRC_BYTES) or _crc(self._data[:at]) != self._data[at:][:CRC_BYTES]:
            raise TokenFileError(damaged)
        rate, hops, packet_frames = self._data[7] * 1000, self._data[8], self._data[9]
        model_id = self._data[3:7]
        header = Header(model_id, rate, rate // 100 * hops, packet_frames, tuple(sizes))
        return header, at + CRC_BYTES

    def __iter__(self) -> Iterator[Packet]:
        """The packets that are whole, until the last one or the end of the bytes."""
        sequence = frame = 0
        while not self.ended:
            skipped = 0
            while (found := self._packet_at(skipped, sequence)) is None:
                if not self._have(skipped + 1):
                    self._report_end(frame, skipped)
                    return
                skipped += 1
            ahead, last, coded, payload, size = found
            frames, spare = self.header.packet_frames, None
            if last:
                frames, at = _parse_varint(payload, 0) or (0, 0)
                spare, at = _parse_varint(payload, at) or (0, 0)
                payload = payload[at:]
            missing = ahead * self.header.packet_frames
            self._report_gap(frame, missing, skipped)
            self._data = self._data[skipped + size :]
            frame += missing
            sequence = (sequence + ahead + 1) % 256
            self.ended = last
            yield Packet(frame, frames, missing, coded, payload, spare, size)
            frame += frames

    def codes(self, packet: Packet, model: EntropyModel | None) -> Int[np.ndarray, "T Q"]:
        """The codes of a packet; raises TokenFileError where it needs a model that is not given."""
        books = len(self.header.sizes)
        if packet.coded and model is None:
            raise TokenFileError("entropy-coded; it can be decoded only with its codec's model")
        try:
            if packet.coded:
                return model.decode(packet.payload, packet.frames, books)
            codes = unpack(packet.payload, self.header.sizes * packet.frames)
        except ValueError as error:  # the CRC was right, so it was written like this
            raise TokenFileError(f"coded by another entropy model or writer: {error}") from error
        return np.array(codes, np.int32).reshape(-1, books)

    def _packet_at(self, at: int, sequence: int) -> tuple[int, bool, bool, bytes, int] | None:
        """Packets left out, last, coded, payload and size of the one at `at`, if there is one."""
        if not self._have(at + 1) or (head := self._read_varint(at + 1)) is None:
            return None
        ahead = (self._data[at] - sequence) % 256
        (number, begin), size = head, packed_bytes(self.header.sizes * self.header.packet_frames)
        length, coded, last = number >> 2, bool(number & 2), bool(number & 1)
        fits = length <= size + 8 if last else length < size if coded else length == size
        if ahead >= _AHEAD or not fits or not self._have(begin + length + CRC_BYTES):
            return None
        end = begin + length
        if _crc(self._data[at:end], self._seed) != self._data[end : end + CRC_BYTES]:
            return None
        return ahead, last, coded, self._data[begin:end], end + CRC_BYTES - at

    def _report_gap(self, frame: int, missing: int, skipped: int) -> None:
        if missing:
            span = f"{frame * self.header.frame_s:.2f}-"
            span += f"{(frame + missing) * self.header.frame_s:.2f} s"
            self.problems.append(f"{span}: {missing} frames missing ({skipped} bytes damaged)")
        elif skipped:
            at = f"{frame * self.header.frame_s:.2f} s"
            self.problems.append(f"{at}: {skipped} foreign bytes skipped, nothing is missing")

    def _report_end(self, frame: int, skipped: int) -> None:
        at = f"{frame * self.header.frame_s:.2f} s"
        damage = f" ({skipped} bytes after it are damaged)" if skipped else ""
        self.problems.append(f"{at}: the file ends early, its last packet is missing{damage}")

    def _have(self, size: int) -> bool:
        """Whether there are `size` bytes; reads what is lacking."""
        while len(self._data) < size:
            more = self._file.read(size - len(self._data))
            if not more:
                return False
            self._data += more
        return True

    def _read_varint(self, at: int) -> tuple[int, int] | None:
        """A number and where it ends."""
        self._have(at + 3)  # never beyond the packet: a CRC follows every number
        return _parse_varint(self._data, at)


def _parse_varint(data: bytes, at: int) -> tuple[int, int] | None:
    """A number and where it ends; None where there is none of at most three bytes."""
    number = 0
    for i, byte in enumerate(data[at : at + 3]):
        number |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return number, at + i + 1
    return None


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; the high bit says that more follow."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def _crc(data: bytes, seed: int = 0xFFFF) -> bytes:
    """CRC-16/CCITT."""
    return binascii.crc_hqx(data, seed).to_bytes(CRC_BYTES, "little")


def _check(codes: Integer[np.ndarray, "T Q"], sizes: Sequence[int]) -> None:
    if codes.shape[1] != len(sizes) or (codes < 0).any() or (codes >= np.array(sizes)).any():
        raise TokenFileError(
            f"codes of shape {codes.shape} do not fit {len(sizes)} books of {sorted(set(sizes))} "
            "entries; encode with the codec that the header names"
        )
