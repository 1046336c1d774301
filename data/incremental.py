"""A sentence read while it is being written: words are given out one by one and never taken back.

A word's sounds depend on its neighbour (`the` before a vowel, joined function words), and what is
written may change its meaning as it grows (`$1` becomes `$1.50`, `Dr` becomes `Dr.`). So what
might still change is held back: an unfinished word, and the words before it that look like numbers,
signs or abbreviations; and of the words that are read the last one, unless its pause is there. What
has been given out stays as it is, whatever the rest of the sentence would have made of it: stress,
too, hangs on what follows ("What was there" and "What was there to say"). So that the writer's pace
is not heard, every word is read when the next one has been written, also where all of them have.
"""

import re

import numpy as np

from data.markup import Reading, Steer, read
from data.phones import Units, boundary_class
from data.text import FrontEnd, TextError

_OPEN = re.compile(r"<[^<>]*$|<phoneme\b[^<>]*[^/<>]>(?!.*</phoneme>).*$", re.DOTALL)
"""A mark that is not finished; a pronunciation is one word with its element."""

_SPACE = re.compile(r"\s+")

_UNSURE = re.compile(
    r"(?:^|(?<=\s)|(?<=>))(?:[^\s<>]*[\d$€£¥%&@#/+=:°][^\s<>]*|[^\s<>]+\.|[A-Z]{2,}|[Tt]he|[Aa]n?|[Nn]o)"
    r"[\"')\]]*\s*$"
)
"""A word at the end that is read differently before another one: numbers, signs, abbreviations."""


class Sentence:
    """What has been read of one sentence."""

    def __init__(self, front_end: FrontEnd):
        self._front_end = front_end
        self._given: Reading | None = None
        self._seen = 0  # characters that the words read so far were read from

    def read(self, text: str, complete: bool) -> Reading | None:
        """All of the sentence that can be said now; begins with what was given out before.

        Args:
            text: The sentence as far as it is written; only ever gets longer.
            complete: Whether this is all of it.

        Returns:
            None where nothing can be said yet.

        Raises:
            TextError: It is complete, and nothing in it can be spoken.
        """
        for space in _SPACE.finditer(text, self._seen):
            written = stable(text[: space.end()])
            if len(written) > self._seen:
                self._seen = len(written)
                self._read_on(written, complete=False)
        if complete:
            self._read_on(text, complete=True)
        return self._given

    def _read_on(self, text: str, complete: bool) -> None:
        try:
            reading = read(self._front_end, text)
        except TextError:  # a mark that is not finished, or no word yet
            if complete and self._given is None:
                raise
            return
        if not complete:
            reading = _certain(reading)
        if self._given is not None:
            reading = _continued(self._given, reading)
        if len(reading.units.symbol):
            self._given = reading


def stable(text: str) -> str:
    """The beginning of a text that is read the same whatever comes after it."""
    text = _OPEN.sub("", text)
    text = text[: len(text) - len(re.search(r"\S*$", text)[0])]
    while (rest := _UNSURE.sub("", text)) != text:
        text = rest
    return text


def _certain(reading: Reading) -> Reading:
    """Without the last word, whose sounds its neighbour decides, unless a pause is between them."""
    units = reading.units
    if units.span[-1, 0] == units.span[-1, 1]:  # the full stop that the front end adds
        last = units.word == units.word[-1]
        return _cut(reading, int(np.argmax(last)))
    return reading


def _continued(given: Reading, reading: Reading) -> Reading:
    """`given`, and of `reading` what stands behind it in the text."""
    units, so_far = reading.units, given.units
    new = units.span[:, 0] >= so_far.span[-1, 1]
    if not new.any():
        return given
    first = int(np.argmax(new))
    # A pause that came to the last word given out, or the rest of a word read in two.
    word = units.word[first:] - units.word[first] + so_far.word[-1]
    word = word + (boundary_class(int(units.symbol[first])) == 0)
    joined = [np.concatenate([a, b[first:]]) for a, b in zip(so_far, units, strict=True)]
    joined[2] = np.concatenate([so_far.word, word]).astype(np.int32)
    steer = [
        np.concatenate([a, b[first:]]) for a, b in zip(given.steer, reading.steer, strict=True)
    ]
    return Reading(Units(*joined), Steer(*steer), given.lead_s)


def _cut(reading: Reading, count: int) -> Reading:
    """The first `count` units."""
    return Reading(
        Units(*(a[:count] for a in reading.units)),
        Steer(*(a[:count] for a in reading.steer)),
        reading.lead_s,
    )
