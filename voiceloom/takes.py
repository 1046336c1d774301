"""Of several readings of one text the clearest, told by the release's own aligner.

What is sampled is now and then not to be told: a sound in a chain of its like becomes another. The
aligner knows which phones were meant and hears how far each of them is there, so a reading can be
judged without a transcriber. It costs as many readings as are made: for prompts that are recorded
ahead, not for an answer that somebody waits for.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from data.phones import SYMBOL_IDS
from lm import aligner
from voiceloom.waveform import Chunk

NEVER = -np.inf
"""Of a reading that is too short to hold its text."""


def clearness(
    said: Chunk, phones: Callable[[Float[np.ndarray, " S"]], Float[np.ndarray, "T V"]]
) -> float:
    """Mean log posterior of the phones that were meant, at their best times; 0 is the most."""
    symbol = np.array([SYMBOL_IDS[onset.symbol] for onset in said.onsets], np.int32)
    word = np.array([onset.word for onset in said.onsets], np.int32)
    try:
        return aligner.align(phones(said.samples), symbol, word, aligner.pauses(symbol)).score
    except aligner.AlignmentError:
        return NEVER


def clearest(
    takes: Sequence[Chunk],
    phones: Callable[[Float[np.ndarray, " S"]], Float[np.ndarray, "T V"]],
) -> Chunk:
    """That of the takes in which most of the text is heard; the first of equals."""
    return max(takes, key=lambda said: clearness(said, phones))
