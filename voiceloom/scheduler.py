"""How many frames to make next, for which streams, and whom to let in: a pure function of leads.

The lead of a stream is the audio sent to it minus the time since its first audio: what its listener
still has to hear. All streams of an engine are made by one dispatch of K frames each, which takes
at most `cost(streams, K)` seconds. Before it speaks a text (a sentence, mostly) a stream takes it
up, which takes at most `begin_s` and keeps all others waiting. Four rules:

* A text is taken up at once while those who speak have time for it and a dispatch after it; who
  has nobody's ear yet comes first, unless a listener's lead is about to be used up.
* A dispatch of K frames is *safe* if cost + delay <= the smallest lead among all who speak. K is
  the largest safe one; a stream that has no audio yet makes it short, for it waits.
* Nothing is made while every listener has more than the low-water mark. Then all take part whom K
  frames leave at or below the high-water mark: beyond it lies what a listener who interrupts would
  throw away. The marks are two full dispatches apart, so that whoever speaks at all soon speaks in
  the same dispatch: it costs the same for one row as for all.
* A stream is admitted while dispatches and texts take at most (1 - headroom) of the time, a first
  chunk is made in the time that it lasts, the longest dispatch no longer than the low mark, and a
  text of every stream no longer than the lead that all have by then.

Why nobody runs dry. Let F be the frame and say costs are bounded as stated. A listener's lead falls
by at most cost(S, K) during a dispatch, which is safe, so it stays at least `delay`; and who takes
part gains K * F. A first chunk of K0 frames begins with a lead of K0 * F. So it is enough that some
K is safe whenever one is needed: cost(S, 1) + delay <= F is what admission asks, since every lead
that is about to be used up is at least F when its last chunk came, and no text is taken up without
time for a dispatch after it. While nothing is made, and where a stream takes no part, its lead is
above the low mark, which is above cost(S, MAX_FRAMES) + delay. Who has come to the end of a text of
`text_s` has gained headroom * text_s by it, or has reached the low mark, and that is enough for all
to take up their next one. `tests/voiceloom/test_scheduler.py` tries to
refute it with costs, arrivals and texts at random.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

MAX_FRAMES = 8

Cost = Callable[[int, int], float]
"""Seconds that a dispatch of (streams, frames) takes at most."""


class Policy(NamedTuple):
    """What the rules leave open; seconds."""

    high_s: float = 2.0  # audio that nobody has heard yet, at most
    low_s: float = 0.7  # while everybody has more, nothing is made
    first_frames: int = 1  # of a dispatch that a new stream waits for
    delay_s: float = 0.01  # between the end of a dispatch and the listener's buffer
    headroom: float = 0.2  # part of the machine that stays free
    text_s: float = 3.0  # of speech in a text, on average


DEFAULT = Policy()


class Plan(NamedTuple):
    """The next dispatch."""

    frames: int  # of every row; 0: nothing to do for `wait_s`
    rows: tuple[int, ...] = ()  # who takes part
    wait_s: float = 0.0


def fitting(sizes: Sequence[int], rows: int, streams: int) -> int:
    """Rows of the batch, of `rows` now, once so many streams are in it.

    The smallest size that holds them all; smaller than it is only where three quarters would be
    empty.
    """
    size = next(s for s in sizes if s >= streams)
    return size if size > rows or 4 * size <= rows else rows


def next_text(
    leads: Sequence[float | None],
    waiting: Sequence[float | None],
    cost: Cost,
    begin_s: float,
    policy: Policy = DEFAULT,
) -> int | None:
    """Whose text to take up before the next dispatch.

    Args:
        leads: Of every stream that has something to say, seconds; None before its first audio.
        waiting: Likewise, of every stream that has to take up a text first; who asked first, first.
        cost: Bound on the time of a dispatch.
        begin_s: Bound on the time that taking up a text takes.
        policy: Margins.

    Returns:
        A place in `waiting`; None if nobody waits or the dispatch comes first.
    """
    if not waiting:
        return None
    after_s = begin_s + cost(len(leads) + len(waiting), 1) + policy.delay_s
    listeners = sorted((lead, i) for i, lead in enumerate(waiting) if lead is not None)
    urgent = any(lead < after_s + n * begin_s for n, (lead, _) in enumerate(listeners, 1))
    if urgent or None not in waiting:
        lead, chosen = listeners[0]
    else:
        lead, chosen = float("inf"), list(waiting).index(None)
    least = min((lead for lead in leads if lead is not None), default=float("inf"))
    return chosen if least >= min(after_s, lead) else None


def plan(
    leads: Sequence[float | None],
    pauses: Sequence[float],
    cost: Cost,
    frame_s: float,
    policy: Policy = DEFAULT,
) -> Plan:
    """What to make next.

    Args:
        leads: Of every stream that has something to say, seconds; None before its first audio.
        pauses: Seconds of silence that each has before its next frame.
        cost: Bound on the time of a dispatch.
        frame_s: Length of a frame.
        policy: Marks and margins.
    """
    heard = [lead for lead in leads if lead is not None]
    least = min(heard, default=float("inf"))
    waited_for = len(heard) < len(leads)
    if not waited_for and least > policy.low_s:
        return Plan(0, wait_s=least - policy.low_s if leads else 0.0)
    frames = policy.first_frames if waited_for else MAX_FRAMES
    while frames > 1 and cost(len(leads), frames) + policy.delay_s > least:
        frames -= 1
    # At or below the low mark a stream takes part, however long its pause is.
    most = [policy.high_s - frames * frame_s - pause for pause in pauses]
    rows = tuple(
        row
        for row, lead in enumerate(leads)
        if lead is None or lead <= max(policy.low_s, most[row])
    )
    return Plan(frames, rows)


def admits(
    streams: int, cost: Cost, begin_s: float, frame_s: float, policy: Policy = DEFAULT
) -> bool:
    """Whether one more stream than `streams` can be served without anybody running dry."""
    more = streams + 1
    first = policy.first_frames
    starts = cost(more, first) + policy.delay_s <= first * frame_s
    free = 1 - policy.headroom - more * begin_s / policy.text_s
    keeps_up = all(
        cost(more, frames) <= free * frames * frame_s for frames in range(1, MAX_FRAMES + 1)
    )
    longest_s = cost(more, MAX_FRAMES) + policy.delay_s
    all_texts_s = more * begin_s + cost(more, 1) + policy.delay_s
    gained_s = min(policy.low_s, policy.headroom * policy.text_s)
    return starts and keeps_up and longest_s <= policy.low_s and all_texts_s <= gained_s
