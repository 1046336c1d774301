"""How like a clone is to its reference, by the model's own ear: no judge is needed.

Everything is a cosine between voice vectors, which lie far apart for most pairs of speakers and
close for two stretches of one. What a figure means is said by the two others: as like as one half
of the recording is to the other is as good as it gets, as like as the nearest other voice is what
a stranger would have.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from voiceloom.voice import Voice

SENTENCE = "The quick brown fox jumps over the lazy dog, and nobody minds at all."


class Likeness(NamedTuple):
    """Of a clone, all cosines."""

    seconds: float  # of the reference that were used
    halves: float  # between the two halves of the reference
    spoken: float  # between the reference and the clone's own speech
    nearest: str  # the other voice that is most like it
    nearest_likeness: float

    def __str__(self) -> str:
        return (
            f"{self.seconds:.1f} s of speech; the clone's speech is like it to {self.spoken:.2f} "
            f"(its own two halves: {self.halves:.2f}; nearest other voice, {self.nearest}: "
            f"{self.nearest_likeness:.2f})"
        )


def cosine(a: Float[np.ndarray, " Dv"], b: Float[np.ndarray, " Dv"]) -> float:
    """The cosine of two voice vectors."""
    return float(a @ b / np.sqrt((a @ a) * (b @ b) + 1e-12))


def nearest(voice: Voice, others: Mapping[str, Voice]) -> tuple[str, float]:
    """The voice that is most like another one, which itself does not count."""
    likeness = {n: cosine(voice.vector, v.vector) for n, v in others.items() if n != voice.name}
    if not likeness:
        return "none", 0.0
    name = max(likeness, key=likeness.__getitem__)
    return name, likeness[name]
