"""What is said besides the words: breaks, emphasis, pronunciation, rate and pitch, marked in text.

    Take the <emphasis>second</emphasis> left. <break time="600ms"/> Ask for
    <phoneme ph="ˈʃɪvɔːn">Siobhan</phoneme>, <prosody rate="0.8" pitch="-2st">slowly</prosody>.

The elements are those of SSML that a voice agent needs, spelled the same; everything else in
angle brackets is text like any other. A mark is taken out before the text is read and comes back
as numbers on the units it covers (`Steer`), so reading, streaming and timing are the same with and
without. A mark that is not closed ends with its sentence.
"""

import math
import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int32

from data import intonation
from data.phones import PUNCTUATION, Units, boundary_class, split_phones
from data.text import FrontEnd, TextError

MAX_BREAK_S = 10.0

_TAG = re.compile(r"<(/?)(break|emphasis|phoneme|prosody)\b([^<>]*?)/?>")
_ATTRIBUTE = re.compile(r"""([\w-]+)\s*=\s*(?:"([^"]*)"|'([^']*)')""")
_EMPHASIS = {"reduced": (-1.0, -1, 0.9), "moderate": (2.0, 1, 1.15), "strong": (4.0, 1, 1.3)}
_FILLER = "la"  # stands where a <phoneme/> has no text of its own


class Steer(NamedTuple):
    """How every unit is to be said, `[U]` each; see `steer_nothing`."""

    hold_s: Float32[np.ndarray, " U"]  # shortest time on it
    stretch: Float32[np.ndarray, " U"]  # logarithm of how much longer
    lift: Float32[np.ndarray, " U"]  # semitones
    level: Int32[np.ndarray, " U"]  # steps of `data.prosody`
    least: Float32[np.ndarray, " U"]  # semitones about the speaker's median; -inf for none


class Reading(NamedTuple):
    """A text as it is to be said."""

    units: Units  # spans in the text with its marks
    steer: Steer
    lead_s: float  # silence before it


class _Mark(NamedTuple):
    """A mark over `[start, stop)` of the bare text."""

    start: int
    stop: int
    hold_s: float = 0.0
    stretch: float = 0.0
    lift: float = 0.0
    level: int = 0
    ipa: str = ""


def steer_nothing(count: int) -> Steer:
    """A `Steer` of so many units that asks for nothing."""
    nothing = [np.zeros(count, np.float32) for _ in range(3)]
    return Steer(*nothing, np.zeros(count, np.int32), np.full(count, -np.inf, np.float32))


def read(front_end: FrontEnd, text: str) -> Reading:
    """Units of a text with marks, and how they are to be said.

    Raises:
        TextError: Nothing in it can be spoken, or a mark says what it cannot.
    """
    if "<" not in text:
        units = front_end(text)
        return Reading(units, _from_marks(units, text), 0.0)
    plain, origin, marks, lead_s = _strip(text)
    units = front_end(plain)
    for mark in marks:
        if mark.ipa:
            units = _pronounced(units, mark, front_end.ipa(mark.ipa))
    steer, start = _from_marks(units, plain), units.span[:, 0]
    for mark in marks:
        inside = (start >= mark.start) & (start < mark.stop)
        if mark.hold_s:  # a run of marks is one pause: that in which the break stands
            inside = (start <= mark.start) & (units.span[:, 1] > mark.start)
            inside &= np.array([boundary_class(int(s)) > 0 for s in units.symbol])
        steer.hold_s[inside] = np.maximum(steer.hold_s[inside], np.float32(mark.hold_s))
        steer.stretch[inside] += np.float32(mark.stretch)
        steer.lift[inside] += np.float32(mark.lift)
        steer.level[inside] += mark.level
    first, stop = origin[units.span[:, 0]], units.span[:, 1]
    empty = units.span[:, 0] == stop  # the full stop that the front end adds
    last = np.where(empty, first, origin[np.maximum(stop - 1, 0)] + 1)
    return Reading(units._replace(span=np.stack([first, last], 1).astype(np.int32)), steer, lead_s)


def bare(text: str) -> str:
    """The text without its marks; raises TextError as `read` does."""
    return _strip(text)[0] if "<" in text else text


def _from_marks(units: Units, text: str) -> Steer:
    """What the punctuation asks for: see `data.intonation`."""
    steer = steer_nothing(len(units.symbol))
    steer.hold_s[intonation.commas(units)] = intonation.COMMA_S
    if intonation.rises(text):
        rise = intonation.rise(units)
        steer.least[:], steer.level[:] = rise.least, rise.level
        steer.hold_s[:] = np.maximum(steer.hold_s, rise.hold_s)
    return steer


def _strip(text: str) -> tuple[str, np.ndarray, list[_Mark], float]:
    """The text without marks, where each of its characters stood, the marks, silence before."""
    bare, origin, marks, open_, lead_s, at = [], [], [], [], 0.0, 0

    def keep(piece: str, start: int, step: int = 1) -> None:
        bare.extend(piece)
        origin.extend(start + step * i for i in range(len(piece)))

    for tag in [*_TAG.finditer(text), None]:
        keep(text[at : tag.start() if tag else len(text)], at)
        if tag is None:
            break
        at = tag.end()
        closing, name, rest = tag.groups()
        given = {a[0]: a[1] or a[2] for a in _ATTRIBUTE.findall(rest)}
        if closing:
            if open_ and open_[-1][0] == name:
                _, start, mark = open_.pop()
                marks.append(mark._replace(start=start, stop=len(bare)))
        elif name == "break":
            seconds = min(_seconds(given.get("time", "500ms")), MAX_BREAK_S)
            before = "".join(bare).rstrip()
            if not before:
                lead_s += seconds
            elif before[-1] in PUNCTUATION:
                marks.append(_Mark(len(before) - 1, len(before), hold_s=seconds))
            else:
                marks.append(_Mark(len(bare), len(bare) + 1, hold_s=seconds))
                keep(", ", tag.start(), 0)
        else:
            mark = _MARKS[name](given)
            if tag.group().endswith("/>"):
                if mark.ipa:
                    marks.append(mark._replace(start=len(bare), stop=len(bare) + len(_FILLER)))
                    keep(_FILLER, tag.start(), 0)
            else:
                open_.append((name, len(bare), mark))
    marks += [mark._replace(start=start, stop=len(bare)) for _, start, mark in open_]
    return "".join(bare), np.array([*origin, len(text)], np.int64), marks, lead_s


def _seconds(value: str) -> float:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?|\.\d+)\s*(ms|s)\s*", value)
    if not match:
        raise TextError(f'<break time="{value}">: write 300ms or 1.5s')
    return float(match[1]) * (0.001 if match[2] == "ms" else 1.0)


def _emphasis(given: Mapping[str, str]) -> _Mark:
    level = given.get("level", "moderate")
    if level not in _EMPHASIS:
        raise TextError(f'<emphasis level="{level}">: there are {", ".join(_EMPHASIS)}')
    lift, steps, longer = _EMPHASIS[level]
    return _Mark(0, 0, stretch=math.log(longer), lift=lift, level=steps)


def _phoneme(given: Mapping[str, str]) -> _Mark:
    if not given.get("ph", "").strip():
        raise TextError(
            '<phoneme>: say the sounds in IPA, <phoneme ph="təˈmɑːtoʊ">tomato</phoneme>'
        )
    return _Mark(0, 0, ipa=given["ph"])


def _prosody(given: Mapping[str, str]) -> _Mark:
    rate, pitch = given.get("rate", "1"), given.get("pitch", "0st")
    factor = re.fullmatch(r"\s*(\d*\.?\d+)(%?)\s*", rate)
    semitones = re.fullmatch(r"\s*([+-]?\d*\.?\d+)\s*st\s*", pitch)
    factor = float(factor[1]) * (0.01 if factor[2] else 1.0) if factor else 0.0
    if not 0.25 <= factor <= 4.0 or not semitones:
        raise TextError(
            f'<prosody rate="{rate}" pitch="{pitch}">: rate is a factor of 0.25 to 4 or a '
            "percentage, pitch a number of semitones such as +2st"
        )
    return _Mark(0, 0, stretch=-math.log(factor), lift=float(semitones[1]))


_MARKS = {"emphasis": _emphasis, "phoneme": _phoneme, "prosody": _prosody}


def _pronounced(units: Units, mark: _Mark, phones: str) -> Units:
    """`units` with the phones given in place of those of the marked words."""
    start = units.span[:, 0]
    pause = np.array([boundary_class(int(s)) > 0 for s in units.symbol])
    inside = np.flatnonzero((start >= mark.start) & (start < mark.stop) & ~pause)
    pieces = split_phones(phones)
    if not len(inside):
        return units
    first, last, count = inside[0], inside[-1] + 1, len(pieces.symbol)
    span = [units.span[first, 0], units.span[last - 1, 1]]
    middle = Units(
        np.asarray(pieces.symbol, np.int32),
        np.asarray(pieces.stress, np.int32),
        np.full(count, units.word[first], np.int32),
        np.full((count, 2), span, np.int32),
    )
    joined = [np.concatenate([a[:first], b, a[last:]]) for a, b in zip(units, middle, strict=True)]
    word = np.unique(joined[2], return_inverse=True)[1].astype(np.int32)
    return Units(joined[0], joined[1], word, joined[3])
