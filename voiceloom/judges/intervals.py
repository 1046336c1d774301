"""The 95 % interval that stands beside every figure."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Interval(NamedTuple):
    """An estimate with the bounds of its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float

    def written(self, digits: int, scale: float | int = 1) -> str:
        """Returns "8.7 [6.7, 10.6]"."""
        mean, low, high = (f"{scale * value:.{digits}f}" for value in self)
        return f"{mean} [{low}, {high}]"


def bootstrap(
    values: ArrayLike,
    weights: ArrayLike | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Returns sum(values) / sum(weights) with its 95 % interval over resampled clips.

    Errors over words give a word error rate; without weights it is a mean. The difference of two
    systems on the same clips is paired if `values` holds the differences.

    Args:
        values: one number a clip.
        weights: one non-negative number a clip, such as its words.
        resamples: draws of as many clips, with replacement.
        seed: of the draws.
    """
    values = np.asarray(values, float)
    weights = np.ones_like(values) if weights is None else np.asarray(weights, float)
    if not len(values) or weights.sum() <= 0:
        raise ValueError("An interval needs at least one clip with a positive weight.")
    count = len(values)
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), resamples)
    total = draws @ weights
    ratios = (draws @ values)[total > 0] / total[total > 0]
    low, high = np.percentile(ratios, [2.5, 97.5])
    return Interval(float(values.sum() / weights.sum()), float(low), float(high))
