"""The alphabet the language model reads, and the units made of it.

A phone string such as ``ðə ʤˈɛntᵊl pˈækɪʤ, plˈiz.`` is espeak-ng's IPA in Kokoro's alphabet
(diphthongs and affricates are one character each: ``A`` = eɪ, ``I`` = aɪ, ``O`` = oʊ, ``W`` = aʊ,
``Y`` = ɔɪ, ``Q`` = əʊ, ``ʤ``, ``ʧ``; ``T`` is the flap). It becomes a sequence of *units*: one per
phone and one per pause. A stress mark is a feature of the phone after it (in the 2,848 training
clips of `corpora/synthetic` that is a vowel, always), a space is nothing but the seam between two
words, and a run of punctuation is one pause, the strongest of its marks. Quotes and brackets are
no pauses (no clip carries one) and so no units.

The same reading serves both sides: `data.text.FrontEnd` goes from text to units, and
`units_from_labels` from a corpus' phone string with durations to units with their times.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int32

PAD = 0
"""Id of the padding symbol."""

PUNCTUATION: dict[str, int] = {",": 1, ".": 2, "?": 3, "!": 4, ";": 5, ":": 5, "—": 6, "…": 6}
"""Boundary class of every pause mark: comma, full stop, question, exclamation, colon or
semicolon, dash or ellipsis."""

BOUNDARY_CLASSES = 7
"""How many values `boundary_class` takes: 0 (a phone, no boundary) and the six of PUNCTUATION."""

_STRENGTH = "?!.…:;—,"
"""Which mark of a run stands for it, strongest first: ``?!`` is a question, ``.,`` a full stop."""

_STRESS = {"ˈ": 1, "ˌ": 2}

SYMBOLS: tuple[str, ...] = (
    "<pad>",
    *";:,.!?—…",
    *"\u0303ʣʥʦʨᵝꭧAIOQSTWYᵊabcdefhijklmnopqrstuvwxyz",
    *"ɑɐɒæβɔɕçɖðʤəɚɛɜɟɡɥɨɪʝɯɰŋɳɲɴøɸθœɹɾɻʁɽʂʃʈʧʊʋʌɣɤχʎʒʔːʰʲ↓→↗↘ᵻ",
)
"""Every symbol by its id, id 0 the padding. Append only: the order is frozen with the weights."""

SYMBOL_IDS: dict[str, int] = {symbol: i for i, symbol in enumerate(SYMBOLS)}
"""The id of every symbol."""

_CLASS_OF_ID = tuple(PUNCTUATION.get(symbol, 0) for symbol in SYMBOLS)


class Units(NamedTuple):
    """What is to be spoken, unit by unit; U >= 1 and the last unit is a punctuation.

    Attributes:
        symbol: Ids into SYMBOLS, `[U]`, never 0.
        stress: 0 none, 1 primary, 2 secondary, `[U]`.
        word: Index of the unit's word, `[U]`, never decreasing; a pause has that of the word
            before it.
        span: Characters `[start, stop)` of the input text, `[U, 2]`; -1 where there is no text.
    """

    symbol: Int32[np.ndarray, " U"]
    stress: Int32[np.ndarray, " U"]
    word: Int32[np.ndarray, " U"]
    span: Int32[np.ndarray, "U 2"]


class TimedUnits(NamedTuple):
    """Units and when they sound: unit u from `bounds_s[u]` to `bounds_s[u + 1]`, `[U + 1]`."""

    units: Units
    bounds_s: Float32[np.ndarray, " U+1"]


class Pieces(NamedTuple):
    """The units of a phone string and the characters `[start, stop)` each was read from, `[U]`."""

    symbol: list[int]
    stress: list[int]
    start: list[int]
    stop: list[int]


def boundary_class(symbol: int | np.integer) -> int:
    """0 for a phone, else the PUNCTUATION class of the pause with this id, below 7."""
    return _CLASS_OF_ID[symbol]


def split_phones(phones: str) -> Pieces:
    """The units of a phone string, in order, each with the characters it was read from.

    Pauses before the first phone are dropped, since they belong to no word. Characters outside
    the alphabet are dropped too: other languages work as far as their phones carry.

    Args:
        phones: A phone string with stress marks, spaces and punctuation.

    Returns:
        The pieces; a stress mark lies in the piece of its phone, a space in none.
    """
    symbols, stresses, starts, stops = Pieces([], [], [], [])
    stress, mark = 0, -1  # of the stress mark that waits for its phone, and where it stands
    pause = False  # whether the last unit is a pause that further marks merge into
    for i, char in enumerate(phones):
        if char in PUNCTUATION:
            if pause:
                stops[-1] = i + 1
                if _STRENGTH.index(char) < _STRENGTH.index(SYMBOLS[symbols[-1]]):
                    symbols[-1] = SYMBOL_IDS[char]
                continue
            if not symbols:
                continue
            pause, stress, mark = True, 0, i
        elif char in _STRESS:
            stress, mark = _STRESS[char], i
            continue
        elif char in SYMBOL_IDS:
            pause = False
        else:
            continue
        symbols.append(SYMBOL_IDS[char])
        stresses.append(stress)
        starts.append(mark if stress else i)
        stops.append(i + 1)
        stress = 0
    return Pieces(symbols, stresses, starts, stops)


def units_from_labels(phones: str, durations: Sequence[int], unit_s: float = 0.0125) -> TimedUnits:
    """Units and their times from a corpus' phone string and durations.

    A stress mark's time goes to its phone; that of a space (and of any character that is no
    unit) half to the unit before and half to the unit after. What stands before the first unit
    counts as leading silence. Without closing punctuation a full stop of no length is added.

    Args:
        phones: The phone string; words are what its spaces and pauses part.
        durations: One integer per character of it, one more for the silence before and one for
            the silence after, in steps of `unit_s`.
        unit_s: Seconds per step of the durations.

    Returns:
        The units (without text spans) and `bounds_s`, which starts where the leading silence
        ends and ends where the trailing one begins.

    Raises:
        ValueError: The durations do not match the string, or it holds no phone.
    """
    if len(durations) != len(phones) + 2:
        raise ValueError(
            f"{len(phones)} phone characters need {len(phones) + 2} durations (one each, and the "
            f"silences around them), got {len(durations)}: label and durations are not of one clip"
        )
    pieces = split_phones(phones)
    if not pieces.symbol:
        raise ValueError(f"the label {phones!r} holds no phone: leave the clip out")
    edges = np.cumsum(durations) * unit_s  # edges[i]: character i begins
    start, stop = edges[pieces.start], edges[pieces.stop]
    bounds_s = np.concatenate([start[:1], (stop[:-1] + start[1:]) / 2, stop[-1:]])
    seams = np.cumsum([char == " " or char in PUNCTUATION for char in phones])
    word = seams[np.asarray(pieces.start)]
    symbol, stress = pieces.symbol, pieces.stress
    pause = np.array([boundary_class(s) > 0 for s in symbol])
    # A pause is of the word before it (" ," occurs), and words are numbered without gaps.
    word = word[np.maximum.accumulate(np.where(pause, 0, np.arange(len(symbol))))]
    word = np.unique(word, return_inverse=True)[1]
    if not pause[-1]:
        symbol, stress = [*symbol, SYMBOL_IDS["."]], [*stress, 0]
        word, bounds_s = np.append(word, word[-1]), np.append(bounds_s, bounds_s[-1])
    units = Units(
        symbol=np.asarray(symbol, np.int32),
        stress=np.asarray(stress, np.int32),
        word=word.astype(np.int32),
        span=np.full((len(symbol), 2), -1, np.int32),
    )
    return TimedUnits(units, bounds_s.astype(np.float32))
