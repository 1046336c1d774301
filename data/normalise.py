"""Written text to spoken words, with the place in the input that every character came from.

A phonemiser wants words; people and language models write `$12.50`, `3:45 pm`, `B7X9`, `Dr.` and
emoji. This is a small normaliser of our own for what voice agents say. It is a list of rules, each
a pattern and a function from the match to words, run in an order that goes from the most specific
(addresses, dates, telephone numbers) to the least (bare numbers, symbols). Every rewriting keeps,
for each character of the result, the span of the input it stands for, so that a listener who
interrupts can be told what was said.

English is what the rules read. For other languages only the characters are cleaned, and espeak-ng
reads the numbers. Spelled acronyms are written with dots (`F.A.Q`), which espeak reads letter by
letter with the stress on the last one; a lone letter A is written `eh`, since espeak takes `A`
for the article.
"""

import re
import unicodedata
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Int32

from data.rules import RULES

_LONG_WORD = re.compile(r"\S{36}(?=\S)")
"""Longer words are cut: espeak overruns its buffer of 160 bytes and takes the process with it."""

MAX_CHARACTERS = 100_000
"""The longest text that is read in one go: about 17,000 words, or two hours of speech."""


class TextError(ValueError):
    """The text cannot be spoken; the message says why and what to do."""


class Normalised(NamedTuple):
    """Spoken words and where they come from.

    Attributes:
        text: Words, parted by single spaces, and the pauses `, . ? ! ; :`.
        spans: `[N, 2]`: character i of `text` stands for `[start, stop)` of the input.
    """

    text: str
    spans: Int32[np.ndarray, "N 2"]


def normalise(text: str, accent: str = "us") -> Normalised:
    """The words to be spoken for a text, which may be none.

    Args:
        text: Anything.
        accent: "us" or "gb" (day before month, "one hundred and five"), or an espeak language
            code, for which only the characters are cleaned.

    Raises:
        TextError: The text is longer than MAX_CHARACTERS.
    """
    if len(text) > MAX_CHARACTERS:
        raise TextError(
            f"the text has {len(text):,} characters, more than {MAX_CHARACTERS:,}: "
            "say it in pieces, for example paragraph by paragraph"
        )
    draft = _clean(text)
    if accent in ("us", "gb"):
        for pattern, speak in RULES:
            draft.sub(pattern, lambda match, speak=speak: speak(match, accent == "gb"))
    for pattern, new in _TIDY:
        draft.sub(pattern, lambda _, new=new: new)
    draft.sub(_LONG_WORD, lambda match: match[0] + " ")
    spans = np.stack([draft.start, draft.stop], axis=1) if draft.text else np.zeros((0, 2))
    return Normalised(draft.text, spans.astype(np.int32))


class _Draft:
    """Text under rewriting; character i stands for `[start[i], stop[i])` of the input."""

    def __init__(self, text: str, start: list[int], stop: list[int]):
        self.text, self.start, self.stop = text, start, stop

    def sub(self, pattern: re.Pattern, speak: Callable[[re.Match], str | None]) -> None:
        """Replaces every match (never an empty one) by `speak(match)`, unless that is None."""
        text, start, stop, last = [], [], [], 0
        for match in pattern.finditer(self.text):
            new, (a, b) = speak(match), match.span()
            if new is None or new == match[0]:
                continue
            text += [self.text[last:a], new]
            start += self.start[last:a]
            stop += self.stop[last:a]
            start += [self.start[a]] * len(new)
            stop += [self.stop[b - 1]] * len(new)
            last = b
        if last:
            self.text = "".join([*text, self.text[last:]])
            self.start = start + self.start[last:]
            self.stop = stop + self.stop[last:]


# ---------------------------------------------------------------------------- characters

_CHARACTERS = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛ʼʹ`´′＇", "'"),
        **dict.fromkeys("“”„‟«»‹›″＂", '"'),
        **dict.fromkeys("―⸺⸻", "—"),
        **dict.fromkeys("‐‑−﹣－", "-"),
        **dict.fromkeys("™®©℠¡¿", ""),
        **dict.fromkeys("•‣▪◦●", "\n- "),
        **dict.fromkeys("\x85\u2028\u2029", "\n"),
        "№": "No. ",
        "½": " 1/2",
        "⅓": " 1/3",
        "⅔": " 2/3",
        "¼": " 1/4",
        "¾": " 3/4",
        "⅛": " 1/8",
        "²": "^2",
        "³": "^3",
    }
)

_CLUSTER = re.compile(r"[\s\S][\u0300-\u036f\u3099\u309a]*")
"""A character with the combining marks that NFKC may join to it."""


def _clean(text: str) -> _Draft:
    """The text in NFKC with plain quotes and dashes, without emoji and control characters."""
    if text.isascii() and text.isprintable():
        return _Draft(text, list(range(len(text))), list(range(1, len(text) + 1)))
    pieces, start, stop = [], [], []
    for match in _CLUSTER.finditer(text):
        char = match[0]
        if not char.isascii():
            char = unicodedata.normalize("NFKC", char.translate(_CHARACTERS))
        kept = "".join(c for c in char if _is_text(c))
        pieces.append(kept)
        start += [match.start()] * len(kept)
        stop += [match.end()] * len(kept)
    return _Draft("".join(pieces), start, stop)


def _is_text(char: str) -> bool:
    """Letters, marks, digits, punctuation, spaces and the symbols that have a rule."""
    if char.isascii():
        return char.isprintable() or char in "\n\t"
    category = unicodedata.category(char)
    return category[0] in "LMNPZ" or category in ("Sc", "Sm") or char == "°"


# Every language: brackets, dashes and ellipses become the pauses the corpora carry (they have no
# dash, no ellipsis, no quote), and what is left of other symbols disappears.
_TIDY: list[tuple[re.Pattern, str]] = [
    (re.compile(pattern), new)
    for pattern, new in (
        (r"\(s\)", "s"),
        (r"[()\[\]{}]|—|--+|(?<=\s)[-–](?=\s)|–", ","),
        (r"(?:…|\.{2,})(?=\s*[^\W\d_])", ","),
        (r"…|\.{2,}", "."),
        (r"[\"<>|\\^~*`#=]+", ""),
        (r"(?<!\w)['-]+|['-]+(?!\w)", ""),
        (r"\s+", " "),
        (r"\s(?=[,.;:?!])", ""),
        (r",(?=[,.;:?!])|(?<=[.;:?!]),", ""),
        (r"^[\s,.;:?!]+|\s+$", ""),
        (r",(?=[^\W\d_])", ", "),
    )
]
