"""Text cut into sentences while it arrives: what is said in one breath of the model.

A sentence is given out as soon as what follows shows that it has ended: the next word has begun and
does not begin in lower case ("What?" she asked), and the full stop belongs to no abbreviation. The
rule looks at nothing but the text up to there, so text in pieces is cut exactly as the whole text
is, however it is pieced. A sentence without end is cut at a clause, or else at a word, so that the
text buffer of the model holds it. Holding text back until a sentence ends costs latency at the
pace of the writer; committing word by word, with the look-ahead of the model, is a later step.
"""

import re
from typing import NamedTuple

MAX_CHARS = 280  # 20 s of speech, and below 512 units even when numbers are spelled out
MIN_CHARS = 100  # a forced cut at a clause leaves at least so much

_END = re.compile(
    r"""[.!?…]++["'”’»)\]]*+\s++(?=\S)"""  # possessive: what may still grow is not taken
    r"""|[。！？]++["'”’»）」』]*+\s*+(?=\S)"""
    r"""|\n[^\S\n]*+\n\s*+(?=\S)"""
)
_NEVER_LAST = frozenset(
    "mr mrs ms dr prof st gen col sgt capt lt rev hon mt nos fig vol pp vs e.g i.e cf".split()
)
"""Abbreviations with something to follow, always; a.m., etc. and Inc. may end a sentence."""


class Segment(NamedTuple):
    """A stretch of the input to be said at once."""

    text: str
    start: int  # of it in the whole input, characters
    paragraph: bool  # a blank line follows


class Segmenter:
    """Sentences out of text that arrives in pieces."""

    def __init__(self, at_clauses: bool = True):
        """Nothing so far; `at_clauses`: a sentence without end is cut at a clause if it has one.

        Not so where words are spoken before their sentence ends: they cannot be taken back.
        """
        self._at_clauses = at_clauses
        self._rest = ""  # what is not yet a sentence
        self._start = 0  # where it stands in the whole input

    def feed(self, piece: str) -> list[Segment]:
        """The sentences that `piece` completes, in order."""
        self._rest += piece
        segments = []
        while (cut := _first_cut(self._rest, self._at_clauses)) is not None:
            segments += self._take(cut)
        return segments

    def flush(self) -> list[Segment]:
        """What is left, now that no more text will come; a next `feed` begins a new sentence."""
        return self._take(len(self._rest))

    @property
    def open(self) -> Segment:
        """What there is of a sentence that has not ended."""
        body = self._rest.lstrip()
        return Segment(body, self._start + len(self._rest) - len(body), False)

    @property
    def pending(self) -> bool:
        """Whether anything but space waits for its end."""
        return bool(self._rest.strip())

    def _take(self, cut: int) -> list[Segment]:
        text, self._rest = self._rest[:cut], self._rest[cut:]
        start, self._start = self._start, self._start + cut
        body = text.strip()
        if not body:
            return []
        paragraph = text[len(text.rstrip()) :].count("\n") > 1
        return [Segment(body, start + text.find(body), paragraph)]


def _first_cut(text: str, at_clauses: bool) -> int | None:
    """Where the first sentence of `text` ends for certain, its trailing space included."""
    for match in _END.finditer(text):
        if match.end() > MAX_CHARS:
            break
        if _ends_sentence(text, match):
            return match.end()
    if len(text) <= MAX_CHARS:
        return None
    clauses = _outside_marks(r"[,;:—–]\s+", text) if at_clauses else []
    if clauses and clauses[-1] >= MIN_CHARS:
        return clauses[-1]
    words = _outside_marks(r"\s+", text)
    return words[-1] if words else MAX_CHARS


def _outside_marks(pattern: str, text: str) -> list[int]:
    """Where the matches within MAX_CHARS end, without those inside a mark such as `<break>`."""
    inside = [m.span() for m in re.finditer(r"</?[a-z][^<>]*>?", text)]
    ends = [m.end() for m in re.finditer(pattern, text[:MAX_CHARS])]
    return [end for end in ends if not any(a < end < b for a, b in inside)]


def _ends_sentence(text: str, match: re.Match) -> bool:
    mark = match.group()
    if mark[0] in "。！？\n" or mark.count("\n") > 1:
        return True
    if text[match.end()].islower():
        return False
    if mark[0] != ".":
        return True
    word = re.split(r"[\s(\[\"'“‘]", text[: match.start()])[-1]
    initial = len(word) == 1 and word.isupper() and word != "I"
    numbering = text[: match.start()].strip().isdigit()  # "1. Open the box."
    return not (initial or numbering or word.lower() in _NEVER_LAST)
