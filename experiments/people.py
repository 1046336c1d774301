"""Other people, made of a clip: another vocal tract, another pitch, livelier or flatter.

A corpus of few people, or of one teacher, lies in a small part of what people can be. Playing a
clip faster moves its formants and its pitch by one factor, and nobody's do: a tall woman and a boy
have one pitch and not one vocal tract. Praat moves them apart ("Change gender": the sound is
resampled, which moves its formants, and overlap-add puts pitch and length back where they are
asked; Moulines and Charpentier 1990), so each speaker of a corpus becomes several.
"""

from typing import NamedTuple

import numpy as np
import soxr
from jaxtyping import Float32

FLOOR_HZ, CEILING_HZ = 65.0, 500.0


class Person(NamedTuple):
    """What is different, as factors."""

    formants: float
    pitch: float
    liveliness: float  # of the melody's movement about its median
    length: float


def drawn(rng: np.random.Generator) -> Person:
    """Somebody at random: formants as far apart as those of a tall man and a small woman."""
    formants = np.exp(rng.uniform(*np.log([0.82, 1.2])))
    # Most of who has a shorter vocal tract has a higher voice, too.
    pitch = formants * np.exp(np.clip(rng.normal(0, 0.15), -0.3, 0.3))
    return Person(formants, pitch, rng.uniform(0.7, 1.4), rng.uniform(0.85, 1.18))


def heard(
    samples: Float32[np.ndarray, " S"], person: Person, rate: int
) -> Float32[np.ndarray, " N"]:
    """The clip as that person says it, `length` times as long; a whisper is only played slower."""
    import parselmouth  # of the extra "prepare"

    sound = parselmouth.Sound(samples.astype(np.float64), rate)
    track = sound.to_pitch_ac(0.01, FLOOR_HZ, pitch_ceiling=CEILING_HZ)
    voiced = track.selected_array["frequency"]
    voiced = voiced[voiced > 0]
    if not len(voiced):
        return soxr.resample(samples, rate, rate * person.length)
    median_hz = float(np.median(voiced))
    # A track may err by an octave or two: what lies there must not be led below zero.
    liveliness = min(person.liveliness, 0.8 / (1.001 - float(voiced.min()) / median_hz))
    changed = parselmouth.praat.call(
        [sound, track], "Change gender",
        person.formants, person.pitch * median_hz, liveliness, person.length,
    )  # fmt: skip
    made = changed.values[0].astype(np.float32)
    size = round(len(samples) * person.length)
    return np.pad(made[:size], (0, max(0, size - len(made))))
