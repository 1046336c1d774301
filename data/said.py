"""What each frame of codes says: the symbol in speech as it begins, and those that begin in it."""

import numpy as np
from jaxtyping import Int, Int32, Real

SLOTS = 4
"""Of a frame: one for the symbol that goes on, three for those that begin, as many as the pointer
of `lm` passes in 80 ms: all there are in 99.9 % of the frames."""

NOTHING = -1
"""In place of a symbol: before a text, after it, or where nobody knows."""


def of_onsets(
    symbol: Int[np.ndarray, " N"], onset: Real[np.ndarray, " N"], frames: int
) -> Int32[np.ndarray, "T 4"]:
    """Symbols of T = `frames` frames.

    Args:
        symbol: Ids in order, NOTHING where speech ends or its text is unknown.
        onset: When each begins, never decreasing, in frames; before the first there is nothing.
        frames: How many.
    """
    begun = np.searchsorted(onset, np.arange(frames + 1), side="left")[:, None]
    which = begun[:-1] + np.arange(SLOTS)
    symbol = np.concatenate([[NOTHING], symbol, [NOTHING] * SLOTS])
    return np.where(which <= begun[1:], symbol[which], NOTHING).astype(np.int32)
