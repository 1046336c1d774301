"""How like a clone is to its reference, by the model's own ear: no judge is needed.

Everything is a cosine between voice vectors as seen from the mean of the release's voices: .8 for
two stretches of one speaker, .2 for two speakers (medians of the held-out people and voices; seen
from zero they would be .98 and .9). What a figure means is said by the two others: as like as one
half of the recording is to the other is as good as it gets, as like as the nearest other voice is
what a stranger would have.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from voiceloom.voice import Voice

STRANGERS = 0.05
"""Halves of a recording that are less alike may be two people's: so are 46 % of the pairs of
synthetic voices and 15 % of those of the crowd; of recordings of one speaker none of 127 and of 77
readers, and 2 of 18 of the crowd's (experiments/results/cloning.md). At .1 4 points more of the
pairs, and 4 of the 18."""

SENTENCE = "The quick brown fox jumps over the lazy dog, and nobody minds at all."


class Likeness(NamedTuple):
    """Of a clone, all cosines."""

    seconds: float  # of the reference that were used
    halves: float  # between the two halves of the reference
    spoken: float  # between the reference and the clone's own speech
    nearest: str  # the other voice that is most like it
    nearest_likeness: float

    @property
    def doubt(self) -> str:
        """What speaks against the recording; empty if nothing does."""
        if self.halves >= STRANGERS:
            return ""
        return (
            f"the two halves of the recording are no more alike ({self.halves:.2f}) than two "
            "people: is somebody else in it, or much noise? Take a stretch of one voice"
        )

    def __str__(self) -> str:
        told = (
            f"{self.seconds:.1f} s of speech; the clone's speech is like it to {self.spoken:.2f} "
            f"(its own two halves: {self.halves:.2f}; nearest other voice, {self.nearest}: "
            f"{self.nearest_likeness:.2f})"
        )
        return f"{told}\n{self.doubt}" if self.doubt else told


Vector = Float[np.ndarray, " Dv"]


def cosine(a: Vector, b: Vector, mean: Vector | float = 0.0) -> float:
    """The cosine of two voice vectors as seen from `mean`."""
    a, b = a - mean, b - mean
    return float(a @ b / np.sqrt((a @ a) * (b @ b) + 1e-12))


def nearest(
    voice: Voice, others: Mapping[str, Voice], mean: Vector | float = 0.0
) -> tuple[str, float]:
    """The voice that is most like another one, which itself does not count."""
    likeness = {
        name: cosine(voice.vector, other.vector, mean)
        for name, other in others.items()
        if name != voice.name
    }
    if not likeness:
        return "none", 0.0
    name = max(likeness, key=likeness.__getitem__)
    return name, likeness[name]
