"""What the marks of a sentence ask of its melody, beyond what the model has learned from them.

Two rules, each for what the teacher's speech does too seldom (held-out set: a silence of 80 ms at
62 % of its commas; unedited, a yes/no question that ends higher than its statement in 33 %):

* A comma is a pause: the pointer stays on it for `COMMA_S`.
* A question that can be answered by yes or no, or that is a statement but for its mark, is led
  upwards from its last stressed vowel: no voiced sound there is lower than a ramp. Questions with
  a question word, and choices (`or`), keep their fall.
"""

import re
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int32

from data.phones import SYMBOLS, Units, boundary_class

COMMA_S = 0.16  # two frames: the median pause at a comma that has one
RISE_ST = (3.0, 9.0)  # about the speaker's median: at the last stressed vowel, at the last sound
RISE_LEVEL, RISE_S = 2, 0.16  # steps louder; on the last vowel

_QUESTION_WORDS = frozenset("how where when who why which what whose whom".split())
VOWELS = "AIOQWYᵊaeiouyɑɐɒæɔəɚɛɜɨɪɯøœʊʌɤᵻ"
_SONANTS = "lmnŋɹwjvðzʒ"
_LEADS = frozenset("and but so well okay oh then".split())


def commas(units: Units) -> Bool[np.ndarray, " U"]:
    """Which units are commas; the last one too, for a text that is still being written goes on."""
    return np.array([SYMBOLS[symbol] == "," for symbol in units.symbol])


def rises(sentence: str) -> bool:
    """Whether a sentence is a question that ends high."""
    body = sentence.rstrip(" \"')]”’»")
    words = re.findall(r"[^\W\d_]+(?:'\w+)?", sentence.lower())
    if not body.endswith("?") or not words:
        return False
    while len(words) > 1 and words[0] in _LEADS:
        words = words[1:]
    clause = re.search(r",\s*(\w+)[^,]*$", sentence.lower())
    return not (
        words[0].partition("'")[0] in _QUESTION_WORDS
        or (clause and clause[1] in _QUESTION_WORDS)
        or "or" in words
    )


class Rise(NamedTuple):
    """What a rise asks of every unit, `[U]` each."""

    least: Float32[np.ndarray, " U"]  # pitch, semitones; -inf where it is free
    level: Int32[np.ndarray, " U"]
    hold_s: Float32[np.ndarray, " U"]


def rise(units: Units) -> Rise:
    """The rise at the end of a question: its voiced sounds high, none of them weak, the last vowel
    long enough to be heard (the model makes it one frame, and 20 dB down, as in a statement)."""
    count = len(units.symbol)
    found = Rise(np.full(count, -np.inf, "f"), np.zeros(count, np.int32), np.zeros(count, "f"))
    phones = np.flatnonzero([boundary_class(int(symbol)) == 0 for symbol in units.symbol])
    stressed = np.flatnonzero(units.stress == 1)
    if not len(phones):
        return found
    last = int(phones[-1])
    first = min(int(stressed[-1]) if len(stressed) else last, last)
    tail = [SYMBOLS[symbol] for symbol in units.symbol[first : last + 1]]
    voiced = np.array([symbol in VOWELS + _SONANTS for symbol in tail])
    found.least[first : last + 1][voiced] = np.linspace(*RISE_ST, last - first + 1)[voiced]
    found.level[first : last + 1][voiced] = RISE_LEVEL
    vowels = [i for i, symbol in enumerate(tail) if symbol in VOWELS]
    if vowels:
        found.hold_s[first + vowels[-1]] = RISE_S
    return found
