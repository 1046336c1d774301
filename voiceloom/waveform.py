"""Audio as users hold it: samples with their rate, and chunks of a stream that know their text.

`Waveform` is the one audio type of the public API (after magenta-realtime's `audio.Waveform`): mono
float32 in -1..1. `Chunk` is a waveform that a synthesizer spoke: it also carries the span of the
text it speaks, when each unit of that text began, and the codes it was decoded from. A whole
utterance is a chunk too, the join of its chunks, so that what streams and what does not are of one
type. In a notebook a waveform shows itself as a player.
"""

import base64
import dataclasses
import io
import os
import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import soundfile
from jaxtyping import Float, Int

from data import audio


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Waveform:
    """Mono audio.

    Attributes:
        samples: In -1..1, `[S]`; kept as float32.
        sample_rate: Hertz.
    """

    samples: Float[np.ndarray, " S"]
    sample_rate: int

    def __post_init__(self):
        samples = np.ascontiguousarray(self.samples, np.float32)
        if samples.ndim != 1:
            raise ValueError(f"a waveform is mono, [S]; got shape {samples.shape}: pick a channel")
        object.__setattr__(self, "samples", samples)

    @property
    def duration_s(self) -> float:
        return len(self.samples) / self.sample_rate

    def pcm16(self) -> bytes:
        """The samples as little-endian 16-bit integers, clipped to the range."""
        return pcm16(self.samples)

    def save(self, path: str | os.PathLike) -> None:
        """Writes a file whose format its suffix names: wav (16-bit), flac, ogg, mp3."""
        soundfile.write(path, np.clip(self.samples, -1, 1), self.sample_rate)

    @staticmethod
    def load(path: str | os.PathLike, sample_rate: int = audio.SAMPLE_RATE) -> "Waveform":
        """A file's audio, mixed to mono and resampled; raises `data.audio.AudioError`."""
        return Waveform(audio.load(path, sample_rate).samples, sample_rate)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.duration_s:.2f} s at {self.sample_rate} Hz)"

    def _repr_html_(self) -> str:
        file = io.BytesIO()
        soundfile.write(file, np.clip(self.samples, -1, 1), self.sample_rate, format="FLAC")
        data = base64.b64encode(file.getvalue()).decode()
        return f'<audio controls src="data:audio/flac;base64,{data}"></audio>'


class Onset(NamedTuple):
    """One unit of the text beginning to sound."""

    symbol: str  # a phone or a pause mark, one of data.phones.SYMBOLS
    stress: int  # 0 none, 1 primary, 2 secondary
    word: int  # index of its word in the whole text
    span: tuple[int, int]  # characters of the input text
    time_s: float  # from the stream's first sample; good to half a frame


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Chunk(Waveform):
    """A stretch of speech with the text it speaks.

    Attributes:
        start_s: Where it begins, from the stream's first sample.
        onsets: The units that begin to sound in it, in order.
        codes: The frames it was decoded from, `[T, Q]`.
    """

    start_s: float = 0.0
    onsets: tuple[Onset, ...] = ()
    codes: Int[np.ndarray, "T Q"] = dataclasses.field(
        default_factory=lambda: np.zeros((0, 0), np.int32)
    )

    @property
    def text_span(self) -> tuple[int, int] | None:
        """Characters of the input text from the first to the last unit begun here, if any."""
        spans = [onset.span for onset in self.onsets]
        return (min(s[0] for s in spans), max(s[1] for s in spans)) if spans else None

    @staticmethod
    def join(chunks: Sequence["Chunk"]) -> "Chunk":
        """The speech of consecutive chunks as one; at least one chunk."""
        return Chunk(
            np.concatenate([chunk.samples for chunk in chunks]),
            chunks[0].sample_rate,
            chunks[0].start_s,
            tuple(onset for chunk in chunks for onset in chunk.onsets),
            np.concatenate([chunk.codes for chunk in chunks]),
        )


def pcm16(samples: Float[np.ndarray, " S"]) -> bytes:
    """Samples as little-endian 16-bit integers, clipped to the range."""
    return np.round(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()


def wav_header(sample_rate: int) -> bytes:
    """The 44 bytes before 16-bit mono samples of unknown number, for writing a stream to a pipe."""
    unknown = 0xFFFFFFFF  # the length that sox, ffmpeg and aplay read as "until the end"
    form = struct.pack("<4sI4s4sIHHIIHH", b"RIFF", unknown, b"WAVE", b"fmt ", 16, 1, 1, sample_rate,
                       2 * sample_rate, 2, 16)  # fmt: skip
    return form + struct.pack("<4sI", b"data", unknown)
