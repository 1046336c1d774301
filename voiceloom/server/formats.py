"""Sound as it goes over the wire: chunk by chunk into any of the formats that clients ask for.

pcm is 16-bit little-endian mono at 24 kHz, as OpenAI's API has it; mulaw is 8 kHz G.711 for the
telephone. opus (in Ogg) and mp3 are written by libsndfile, and what it has written is sent: they
may hold back some hundred milliseconds; pcm, wav and mulaw nothing, flac everything to the end.
"""

import io
from typing import Protocol, runtime_checkable

import numpy as np
import soundfile
import soxr
from jaxtyping import Float32

from voiceloom.waveform import pcm16, wav_header

MEDIA = {
    "pcm": "audio/pcm",
    "wav": "audio/wav",
    "mulaw": "audio/basic",
    "opus": "audio/ogg",
    "mp3": "audio/mpeg",
    "flac": "audio/flac",
}
"""Media type of every format."""

TELEPHONE_HZ = 8_000
_CONTAINERS = {
    "opus": ("OGG", "OPUS"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
}


@runtime_checkable
class Encoder(Protocol):
    """Samples in, bytes out; at the end the rest."""

    def push(self, samples: Float32[np.ndarray, " S"]) -> bytes:
        """Bytes that can be sent after these samples."""

    def end(self) -> bytes:
        """What is left."""


def encoder(name: str, sample_rate: int) -> Encoder:
    """An encoder of one stream; `name` is a key of MEDIA."""
    if name == "pcm":
        return _Pcm(b"")
    if name == "wav":
        return _Pcm(wav_header(sample_rate))
    if name == "mulaw":
        return _Mulaw(sample_rate)
    if name == "flac":
        return _Whole(sample_rate)
    return _Container(name, sample_rate)


class _Pcm:
    def __init__(self, header: bytes):
        self._header = header

    def push(self, samples: Float32[np.ndarray, " S"]) -> bytes:
        header, self._header = self._header, b""
        return header + pcm16(samples)

    def end(self) -> bytes:
        return b""


class _Mulaw:
    """G.711 at 8 kHz (ITU-T 1988): the level's logarithm, eight segments of sixteen steps."""

    def __init__(self, sample_rate: int):
        self._resample = soxr.ResampleStream(sample_rate, TELEPHONE_HZ, 1)

    def push(self, samples: Float32[np.ndarray, " S"]) -> bytes:
        return mulaw(self._resample.resample_chunk(samples))

    def end(self) -> bytes:
        return mulaw(self._resample.resample_chunk(np.zeros(0, np.float32), last=True))


def mulaw(samples: Float32[np.ndarray, " S"]) -> bytes:
    """8-bit mu-law."""
    value = np.round(np.clip(samples, -1, 1) * 32767).astype(np.int32)
    level = np.minimum(np.abs(value), 32635) + 132
    segment = np.clip(np.floor(np.log2(level)).astype(np.int32) - 7, 0, 7)
    step = (level >> (segment + 3)) & 15
    return (~((value < 0) * 128 | segment << 4 | step) & 0xFF).astype(np.uint8).tobytes()


class _Container:
    def __init__(self, name: str, sample_rate: int):
        self._sink, (form, subtype) = _Sink(), _CONTAINERS[name]
        # A player that is told no length reckons it from the rate, which has to be constant.
        constant = {"bitrate_mode": "CONSTANT", "compression_level": 0.5} if name == "mp3" else {}
        self._file = soundfile.SoundFile(
            self._sink, "w", sample_rate, channels=1, format=form, subtype=subtype, **constant
        )

    def push(self, samples: Float32[np.ndarray, " S"]) -> bytes:
        self._file.write(samples)
        return self._sink.take()

    def end(self) -> bytes:
        self._file.close()
        return self._sink.take()


class _Whole:
    """FLAC says at its beginning how long it is: it is sent when that is known."""

    def __init__(self, sample_rate: int):
        self._sample_rate, self._samples = sample_rate, []

    def push(self, samples: Float32[np.ndarray, " S"]) -> bytes:
        self._samples.append(samples)
        return b""

    def end(self) -> bytes:
        file, samples = io.BytesIO(), np.concatenate([np.zeros(0, np.float32), *self._samples])
        soundfile.write(file, samples, self._sample_rate, format="FLAC", subtype="PCM_16")
        return file.getvalue()


class _Sink:
    """A file that is sent as it grows: what is behind its end cannot be mended any more."""

    def __init__(self):
        self._pending, self._size, self._at = bytearray(), 0, 0

    def write(self, data: bytes) -> int:
        new = bytes(data)[max(0, self._size - self._at) :]
        self._pending += new
        self._at += len(data)
        self._size = max(self._size, self._at)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, count: int = -1) -> bytes:
        return b""

    def take(self) -> bytes:
        """What has been written since."""
        pending, self._pending = bytes(self._pending), bytearray()
        return pending
