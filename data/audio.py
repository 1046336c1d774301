"""Audio files in, mono float32 at one sample rate out.

soundfile reads nearly everything (wav, flac, ogg vorbis, opus, mp3); what it refuses (m4a) goes
to librosa, which asks audioread for a decoder. Resampling is soxr's. Every way in which a file can
be useless is an `AudioError` that names the file, the cause and the cure, so that a preparation of
a large corpus can write it down and go on.

A resampled file keeps the mark of its origin: `bandwidth_hz` is the highest frequency that can hold
sound, so that a loss or a metric need not ask for what a 16 kHz recording never had.
"""

import os
from typing import NamedTuple

import numpy as np
import soundfile
import soxr
from jaxtyping import Float

SAMPLE_RATE = 24_000
SILENCE = 1e-3  # a peak below -60 dBFS: no speech, whatever the gain


class AudioError(ValueError):
    """A file that holds no usable audio."""


class Audio(NamedTuple):
    samples: Float[np.ndarray, " S"]  # mono, -1..1
    sample_rate: int
    bandwidth_hz: float  # no sound above this frequency: half the file's own sample rate at most


class Span(NamedTuple):
    start: int  # samples
    stop: int


def load(
    path: str | os.PathLike, sample_rate: int = SAMPLE_RATE, max_s: float | None = None
) -> Audio:
    """Mono audio of a file at `sample_rate`.

    Args:
        path: Any file that soundfile reads, or else librosa.
        sample_rate: Of the result, hertz.
        max_s: Refuse a file longer than this, before decoding it where the header tells.

    Raises:
        AudioError: Unreadable, empty, too long, with NaN or infinite samples, or silent.
    """
    name = os.fspath(path)
    if not os.path.isfile(name):
        raise AudioError(f"{name}: no such file; check the path")
    if os.path.getsize(name) == 0:
        raise AudioError(f"{name}: empty file (0 bytes); copy or download it again")
    try:
        with soundfile.SoundFile(name) as file:
            _check_length(name, file.frames / file.samplerate, max_s)
            channels, rate = file.read(dtype="float32", always_2d=True), file.samplerate
    except soundfile.SoundFileError as first:
        channels, rate = _load_by_librosa(name, str(first))
    if channels.shape[0] == 0:
        raise AudioError(f"{name}: empty, no samples; record or export it again")
    _check_length(name, channels.shape[0] / rate, max_s)
    if not np.isfinite(channels).all():
        raise AudioError(f"{name}: NaN or infinite samples; export it again, as 16-bit PCM")
    mono = channels.mean(axis=1)
    if np.abs(mono).max() < SILENCE:
        raise AudioError(
            f"{name}: silent, peak below -60 dBFS; check the recording and its channels"
        )
    if rate != sample_rate:
        mono = soxr.resample(mono, rate, sample_rate, quality="HQ")
    return Audio(mono.astype(np.float32, copy=False), sample_rate, min(rate, sample_rate) / 2)


def trim(
    samples: Float[np.ndarray, " S"], sample_rate: int, lead_s: float = 0.03, tail_s: float = 0.2
) -> Span:
    """Where to cut a clip so that `lead_s` of silence comes before the sound and `tail_s` after.

    Sound is a 20 ms frame within 40 dB of the clip's loudest one. Nothing is added to a clip whose
    silences are shorter already.

    Returns:
        The span to keep, in samples.
    """
    frame, hop = round(0.02 * sample_rate), round(0.005 * sample_rate)
    energy = np.concatenate([[0.0], np.cumsum(np.square(samples, dtype=np.float64))])
    begins = np.arange(0, max(1, len(samples) - frame + 1), hop)
    ends = np.minimum(begins + frame, len(samples))
    level = energy[ends] - energy[begins]
    loud = np.flatnonzero(level >= 1e-4 * level.max())
    # The threshold is crossed by what a frame gained over its neighbour: the far edge of the first
    # loud frame, the near edge of the last one. A frame's width there would be 20 ms of error.
    first, last = ends[loud[0]] - hop, begins[loud[-1]] + hop
    if loud[0] == 0:
        first = 0
    if loud[-1] == len(level) - 1:
        last = len(samples)
    start = max(0, first - round(lead_s * sample_rate))
    return Span(int(start), int(min(len(samples), last + round(tail_s * sample_rate))))


def _check_length(name: str, seconds: float, max_s: float | None) -> None:
    if max_s is not None and seconds > max_s:
        raise AudioError(f"{name}: too long, {seconds:.0f} s of at most {max_s:.0f} s; cut it")


def _load_by_librosa(name: str, refusal: str) -> tuple[np.ndarray, int]:
    import librosa  # a second to import, and needed by few

    try:
        samples, rate = librosa.load(name, sr=None, mono=False)
    except Exception as error:  # audioread raises whatever its backends raise
        raise AudioError(
            f"{name}: unreadable ({refusal or type(error).__name__}); "
            "convert it to wav or flac, or install ffmpeg for other formats"
        ) from error
    return np.atleast_2d(samples).T, int(rate)
