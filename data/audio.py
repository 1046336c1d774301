"""Audio files in, mono float32 at one sample rate out.

soundfile reads nearly everything (wav, flac, ogg vorbis, opus, mp3); what it refuses (m4a) goes
to librosa, which asks audioread for a decoder. Resampling is soxr's. Every way in which a file can
be useless is an `AudioError` that names the file, the cause and the cure, so that a preparation of
a large corpus can write it down and go on.

A resampled file keeps the mark of its origin: `bandwidth_hz` is the highest frequency that can hold
sound, so that a loss or a metric need not ask for what a 16 kHz recording never had.
"""

import itertools
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
    path: str | os.PathLike, sample_rate: int | None = SAMPLE_RATE, max_s: float | None = None
) -> Audio:
    """Mono audio of a file at `sample_rate`.

    Args:
        path: Any file that soundfile reads, or else librosa.
        sample_rate: Of the result, hertz; None for the file's own.
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
        channels, rate = _load_by_librosa(name, getattr(first, "error_string", ""))
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
    sample_rate = sample_rate or rate
    if rate != sample_rate:
        mono = soxr.resample(mono, rate, sample_rate, quality="HQ")
    return Audio(mono.astype(np.float32, copy=False), sample_rate, min(rate, sample_rate) / 2)


def sounding(samples: Float[np.ndarray, " S"], sample_rate: int) -> list[Span]:
    """Stretches of sound, in order; what lies between and around them is silence.

    Silence is what a 20 ms frame covers that lies 40 dB or more below the clip's loudest frame.
    There is always some sound. Edges are on a grid of 5 ms.
    """
    hop, hops_per_frame = round(0.005 * sample_rate), 4
    cells = max(hops_per_frame, -(-len(samples) // hop))
    padded = np.zeros(cells * hop)
    padded[: len(samples)] = samples
    energy = np.square(padded).reshape(cells, hop).sum(axis=1)
    energy = np.convolve(energy, np.ones(hops_per_frame), "valid")  # of the frame from each cell on
    quiet_frame = energy < 1e-4 * energy.max()
    silent = np.convolve(quiet_frame, np.ones(hops_per_frame)) > 0  # a quiet frame covers the cell
    edges = np.flatnonzero(np.diff(np.concatenate([[True], silent, [True]]))) * hop
    return [
        Span(int(start), int(min(stop, len(samples))))
        for start, stop in zip(edges[::2], edges[1::2], strict=True)
    ]


def cuts(samples: Float[np.ndarray, " S"], sample_rate: int, longest_s: float) -> list[Span]:
    """Pieces of a long recording, in order: cut in silence, each at most `longest_s` long.

    What is too long is parted in the longest silence of its middle half, and its parts likewise;
    what sounds all through its middle is left as it is.
    """
    sounds = sounding(samples, sample_rate)
    silences = [Span(a.stop, b.start) for a, b in itertools.pairwise(sounds)]
    whole, pieces = [Span(0, len(samples))], []
    while whole:
        piece = whole.pop()
        size = piece.stop - piece.start
        first, last = piece.start + size / 4, piece.stop - size / 4
        inside = [s for s in silences if first < s.start and s.stop < last]
        if size <= longest_s * sample_rate or not inside:
            pieces.append(piece)
            continue
        silence = max(inside, key=lambda s: s.stop - s.start)
        middle = (silence.start + silence.stop) // 2
        whole += [Span(middle, piece.stop), Span(piece.start, middle)]
    return pieces


def trim(
    samples: Float[np.ndarray, " S"], sample_rate: int, lead_s: float = 0.03, tail_s: float = 0.2
) -> Span:
    """Where to cut a clip so that `lead_s` of silence comes before the sound and `tail_s` after.

    Nothing is added to a clip whose silences are shorter already.
    """
    sounds = sounding(samples, sample_rate)
    start = sounds[0].start - round(lead_s * sample_rate)
    stop = sounds[-1].stop + round(tail_s * sample_rate)
    return Span(max(0, start), min(len(samples), stop))


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
