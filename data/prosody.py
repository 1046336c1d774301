"""What a voice does beyond the phones, per codec frame: how high, and how loud.

A frame's pitch is the median F0 of its voiced 10 ms, in semitones about the speaker's own median,
so that a rise is the same number in every voice; its level is its power about that of the clip's
speech. Both together are one small integer, a *prosody token*, that a language model can read,
write, and be told: `pitch * LEVELS + level`, pitch 0 for unvoiced frames.

F0 of a corpus is Praat's autocorrelation method (Boersma 1993) through parselmouth: 7 ms a second
of speech. For a single clip, where that need not be installed, probabilistic YIN does.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

PITCHES = 26
"""Unvoiced, then every semitone from 12 below the speaker's median to 12 above."""

LEVELS = 8
"""From silence to 2 dB above the clip's speech."""

_EDGES_DB = (-35.0, -25.0, -17.0, -11.0, -6.0, -2.0, 2.0)  # seven in about equal parts, and silence
_FLOOR_HZ, _CEILING_HZ = 60.0, 500.0
_VOICED_S = 0.025  # less voicing in a frame says nothing of its pitch


class Track(NamedTuple):
    """F0 along a clip."""

    times_s: Float[np.ndarray, " N"]
    hz: Float[np.ndarray, " N"]  # 0 where unvoiced
    hop_s: float


class Prosody(NamedTuple):
    """Pitch and level of T frames."""

    hz: Float[np.ndarray, " T"]  # 0 where unvoiced
    level_db: Float[np.ndarray, " T"]  # power about full scale


def praat(samples: Float[np.ndarray, " S"], sample_rate: int) -> Track:
    """Every 10 ms, by Praat."""
    import parselmouth  # of the extra "prepare"

    track = parselmouth.Sound(samples, sample_rate).to_pitch_ac(
        time_step=0.01, pitch_floor=_FLOOR_HZ, pitch_ceiling=_CEILING_HZ
    )
    return Track(track.xs(), track.selected_array["frequency"], 0.01)


def yin(samples: Float[np.ndarray, " S"], sample_rate: int) -> Track:
    """Every 40 ms, by probabilistic YIN."""
    import librosa  # a second or two, which only who clones should wait for

    hop = round(0.04 * sample_rate)
    hz, voiced, _ = librosa.pyin(
        samples.astype(np.float32), fmin=_FLOOR_HZ, fmax=_CEILING_HZ, sr=sample_rate, hop_length=hop
    )
    return Track(np.arange(len(hz)) * hop / sample_rate, np.where(voiced, hz, 0.0), 0.04)


def measure(
    samples: Float[np.ndarray, " S"],
    sample_rate: int,
    frame_rate: float,
    frames: int,
    follow: Callable[..., Track] = praat,
) -> Prosody:
    """Pitch and level of the first `frames` frames; beyond the last sample there is silence."""
    size = round(sample_rate / frame_rate)
    padded = np.zeros(frames * size)
    padded[: min(len(samples), len(padded))] = samples[: len(padded)]
    power = np.mean(padded.reshape(frames, size) ** 2, axis=1)
    level_db = 10 * np.log10(power + 1e-10)
    hz = np.zeros(frames)
    if len(padded) >= round(3 / _FLOOR_HZ * sample_rate):  # Praat's window: three periods
        track = follow(padded, sample_rate)
        frame = (track.times_s * frame_rate).astype(int)
        for t in range(frames):
            voiced = track.hz[(frame == t) & (track.hz > 0)]
            hz[t] = np.median(voiced) if len(voiced) * track.hop_s >= _VOICED_S else 0.0
    return Prosody(hz.astype(np.float32), level_db.astype(np.float32))


def median_hz(tracks: list[Float[np.ndarray, " T"]]) -> float:
    """The median pitch of a speaker's clips, hertz; 0 where nothing is voiced."""
    voiced = np.concatenate([hz[hz > 0] for hz in tracks])
    return float(np.median(voiced)) if len(voiced) else 0.0


def tokens(prosody: Prosody, speaker_hz: float) -> Int[np.ndarray, " T"]:
    """The prosody token of every frame, below PITCHES * LEVELS.

    Args:
        prosody: Of a clip.
        speaker_hz: The median pitch of its speaker.
    """
    voiced = prosody.hz > 0
    middle = PITCHES // 2
    semitones = 12 * np.log2(np.where(voiced, prosody.hz, 1.0) / max(speaker_hz, 1.0))
    pitch = np.clip(np.round(semitones) + middle, 1, PITCHES - 1) * voiced
    power = 10 ** (prosody.level_db / 10)
    speech = power[power > 0.001 * np.percentile(power, 95)]
    level = np.searchsorted(_EDGES_DB, prosody.level_db - 10 * np.log10(speech.mean()))
    return (pitch * LEVELS + level).astype(np.int32)
