"""What was said when somebody interrupts: the text up to where the listener was.

A word counts as spoken when more than half of it was heard. Times are those of the pointer, to half
a frame; a word lasts from its first sound to the next word's, or to the pause after it. Of a word
whose end has not been made yet, what is to come is counted by its phones.
"""

import statistics
from collections.abc import Sequence
from typing import NamedTuple

from data.phones import PUNCTUATION
from voiceloom.waveform import Onset


class Spoken(NamedTuple):
    """A text divided where it was interrupted; both parts together are the text."""

    text_spoken: str
    text_remaining: str


class Word(NamedTuple):
    """A word as it is written, and when it sounds."""

    span: tuple[int, int]
    begin_s: float
    end_s: float


def words(onsets: Sequence[Onset], end_s: float) -> list[Word]:
    """The words of a stretch of speech that ends at `end_s`; "$12" is one."""
    found: list[Word] = []
    edges = [*(onset.time_s for onset in onsets[1:]), end_s]
    for onset, end in zip(onsets, edges, strict=False):  # of no onsets the end is left over
        if onset.symbol in PUNCTUATION:
            continue
        if found and found[-1].span == onset.span:
            found[-1] = found[-1]._replace(end_s=end)
        else:
            found.append(Word(onset.span, onset.time_s, end))
    return found


PHONE_S = 0.08
"""A phone's length where a stream has not begun two yet."""


def whole_s(onsets: Sequence[Onset], end_s: float, to_come: int) -> float:
    """Where a word ends that breaks off at `end_s`, with so many of its phones to come."""
    if not to_come:
        return end_s
    times = [onset.time_s for onset in onsets]
    lengths = [b - a for a, b in zip(times, times[1:], strict=False)]
    phone_s = statistics.median(lengths) if lengths else PHONE_S
    return max(end_s, times[-1] + phone_s) + to_come * phone_s


def at(
    text: str, onsets: Sequence[Onset], end_s: float, offset_s: float, to_come: int = 0
) -> Spoken:
    """The text before and after what was heard at a playback offset.

    Args:
        text: All that was given to be said.
        onsets: Of what has been made.
        end_s: Where that ends.
        offset_s: Seconds of it that were played.
        to_come: Units of the last word that have not been made yet.
    """
    end_s = whole_s(onsets, end_s, to_come)
    heard = [w for w in words(onsets, end_s) if offset_s > (w.begin_s + w.end_s) / 2]
    cut = max((word.span[1] for word in heard), default=0)
    # The mark after a word goes with it, and so does the space.
    while cut and cut < len(text) and not text[cut].isalnum() and text[cut - 1] != " ":
        cut += 1
    return Spoken(text[:cut], text[cut:])
