"""The text front end: text in, units out, each with its place in the text.

Normalised words (`data.normalise`) go to espeak-ng clause by clause, as in `phonemizer` with
`preserve_punctuation`, and its IPA is folded into the alphabet of `data.phones`: the very phones
the synthetic corpus carries. espeak reads a word in its context and joins some ("on the" is
ɔnðə, "from the" fɹʌmðɪ), so its spaces do not tell which word a phone is of. Each clause is
therefore phonemised twice, whole and word by word, and the two are aligned: the phones come from
the whole, the words from the alignment. Words and clauses are remembered, since first audio waits
for this.

The wheel `espeakng-loader` brings the library and its data; nothing of the system's is used.
espeak is not thread-safe: one lock guards it.
"""

import functools
import re
import threading
import unicodedata
from typing import NamedTuple

import espeakng_loader
import numpy as np
from phonemizer.backend.espeak.wrapper import EspeakWrapper

from data.normalise import MAX_CHARACTERS, TextError, normalise
from data.phones import PUNCTUATION, SYMBOL_IDS, Units, boundary_class, split_phones

__all__ = ["MAX_CHARACTERS", "FrontEnd", "TextError"]

_LOCK = threading.Lock()
_VOICES = {"us": "en-us", "gb": "en-gb"}

_FOLD_COMMON = (
    *(("a^ɪ", "I"), ("a^ʊ", "W"), ("d^ʒ", "ʤ"), ("e^ɪ", "A"), ("t^ʃ", "ʧ"), ("ɔ^ɪ", "Y")),
    *(("o^ʊ", "O"), ("ə^ʊ", "Q"), ("s^s", "S"), ("s^ʃ", "sʃ"), ("ə^l", "ᵊl"), ("ʔˌn\u0329", "tᵊn")),
    *(("ʔn", "tᵊn"), ("ʲO", "jO"), ("ʲQ", "jQ"), ("\u0329", ""), ("e", "A"), ("ʲ", "")),
    *(("ɚ", "əɹ"), ("ɬ", "l"), ("ʔ", "t"), ("r", "ɹ"), ("x", "k"), ("ç", "k"), ("ɐ", "ə")),
    ("ɝ", "ɜɹ"),
)
_FOLD = {
    "us": (
        *(("ɜːɹ", "ɜɹ"), ("ɜː", "ɜɹ"), ("ɪə", "iə"), ("o", "ɔ"), ("ɾ", "T"), ("ː", "")),
        ("^", ""),
    ),
    "gb": (("e^ə", "ɛː"), ("iə", "ɪə"), ("^", "")),
}
_FOLD_OTHER = (
    *(("a^ɪ", "I"), ("a^ʊ", "W"), ("d^ʒ", "ʤ"), ("e^ɪ", "A"), ("t^ʃ", "ʧ"), ("ɔ^ɪ", "Y")),
    *(("o^ʊ", "O"), ("^", "")),
)
"""For other languages only what is the same sound: r, x, ç and e are phones of their own there."""

_TIED = ("aɪ", "aʊ", "eɪ", "ɔɪ", "oʊ", "əʊ", "tʃ", "dʒ")
"""Pairs that are one sound, as people write them without a tie."""

_PAUSE = re.compile(r"\s*(?:[;!?]|[:,](?!\d)|\.(?!\w))[\s;:,.!?]*")
"""Where a clause ends. `F.A.Q` and, in other languages, `3.14` and `1,5` are one word."""

_SWITCH = re.compile(r"\(\^?[a-z^-]+\)")  # espeak says (en) where it changes the language
_CLAUSE_WORDS, _CLAUSE_CHARACTERS = 40, 300
"""Longer clauses are cut: alignment is quadratic, and the corpus' longest clause has 27 words."""


class _Clause(NamedTuple):
    """Phones of a clause and, for every character of them, the index of its word in the clause."""

    phones: str
    words: list[int]


class FrontEnd:
    """Turns text into units in one accent; safe to share between threads.

    Args:
        accent: "us", "gb", or a language code of espeak-ng ("de", "fr-fr", "es-419", "it", "ru"),
            whose phones outside the alphabet are dropped.
    """

    def __init__(self, accent: str = "us"):
        self.accent = accent
        self._fold = (*_FOLD_COMMON, *_FOLD[accent]) if accent in _FOLD else _FOLD_OTHER
        with _LOCK:
            self._espeak = _espeak(_VOICES.get(accent, accent))
        # Words are few (a speaker's vocabulary), clauses rarely return but for greetings.
        self._phonemise_word = functools.lru_cache(maxsize=20_000)(self._phonemise)
        self._read_clause = functools.lru_cache(maxsize=2_000)(self._clause)

    def __call__(self, text: str) -> Units:
        """The units of a text; `span` is in characters of that text.

        Raises:
            TextError: Nothing of the text can be spoken, or it is over MAX_CHARACTERS long.
        """
        normalised = normalise(text, self.accent)
        spoken, spans = normalised.text, normalised.spans
        phones: list[str] = []
        # Per character of the phones: the word it is of, and its span of the normalised text.
        words: list[int] = []
        starts: list[int] = []
        stops: list[int] = []
        count = 0
        for start, stop, is_pause in _split(spoken):
            if is_pause:
                marks = [i for i in range(start, stop) if spoken[i] in PUNCTUATION]
                phones += [spoken[i] for i in marks]
                words += [count - 1] * len(marks)
                starts += marks
                stops += marks
                continue
            clause = self._read_clause(spoken[start:stop])
            places = [match.span() for match in re.finditer(r"\S+", spoken[start:stop])]
            phones.append(clause.phones)
            words += [count + word for word in clause.words]
            starts += [start + places[word][0] for word in clause.words]
            stops += [start + places[word][1] - 1 for word in clause.words]
            count += len(places)
        pieces = split_phones("".join(phones))
        if not pieces.symbol:
            raise TextError(
                f"nothing in {text[:60]!r} can be spoken: it has no words or numbers, only "
                "spaces, emoji or signs"
            )
        symbol, stress = pieces.symbol, pieces.stress
        first, last = np.asarray(pieces.start), np.asarray(pieces.stop) - 1
        # A unit's own character is its last; a pause begins with the first mark of its run.
        first = np.where([boundary_class(s) > 0 for s in symbol], first, last)
        word = np.asarray(words)[first]
        span = np.stack(
            [spans[np.asarray(starts)[first], 0], spans[np.asarray(stops)[last], 1]], axis=1
        )
        if not boundary_class(symbol[-1]):
            symbol, stress = [*symbol, SYMBOL_IDS["."]], [*stress, 0]
            word, span = np.append(word, word[-1]), np.append(span, [[span[-1, 1]] * 2], axis=0)
        return Units(
            symbol=np.asarray(symbol, np.int32),
            stress=np.asarray(stress, np.int32),
            word=np.unique(word, return_inverse=True)[1].astype(np.int32),
            span=span.astype(np.int32),
        )

    def ipa(self, phones: str) -> str:
        """The phone string of a pronunciation in IPA, with or without ties and syllable stress.

        Raises:
            TextError: It has sounds that are none of the alphabet's.
        """
        folded = unicodedata.normalize("NFC", phones.strip(" /[]")).replace("͡", "^")
        folded = re.sub(r"[ˈ']", "ˈ", re.sub(r"[.‿ ]+", " ", folded)).replace("g", "ɡ")
        for pair in _TIED:
            folded = folded.replace(pair, f"{pair[0]}^{pair[1]}")
        for old, new in self._fold:
            folded = folded.replace(old, new)
        # Stress is written before the syllable, and belongs to its vowel.
        onset = rf"([ˈˌ])([^ˈˌ {_VOWEL_LETTERS}]*)(?=[{_VOWEL_LETTERS}])"
        folded = re.sub(onset, r"\2\1", folded)
        unknown = sorted({c for c in folded if c not in SYMBOL_IDS and c not in "ˈˌ "})
        if unknown or not any(c in SYMBOL_IDS for c in folded):
            raise TextError(
                f"{phones!r} cannot be pronounced: {' '.join(unknown) or 'nothing'} in it is no "
                "sound of the alphabet; write IPA such as təˈmeɪtoʊ"
            )
        return folded

    def _phonemise(self, text: str) -> str:
        """The phones of a clause or word, in the alphabet of `data.phones`."""
        with _LOCK:
            phones = self._espeak.text_to_phonemes(text, "^")
        # The same repairs as phonemizer's: lines are clauses of espeak's own, _ a stray separator.
        phones = phones.strip().replace("\n", " ").replace("  ", " ").replace("͡", "^")
        phones = re.sub(r"_+ ?", lambda match: " " if match[0].endswith(" ") else "_", phones)
        phones = _SWITCH.sub("", phones)
        for old, new in self._fold:
            phones = phones.replace(old, new)
        return phones

    def _clause(self, text: str) -> _Clause:
        """The phones of a clause in context, every one assigned to a word."""
        phones = self._phonemise(text)
        alone = [self._phonemise_word(word) for word in text.split()]
        return _Clause(phones, _align(phones, alone))


@functools.cache
def _espeak(voice: str) -> EspeakWrapper:
    """An espeak of its own for a voice; the library keeps the voice in a global."""
    EspeakWrapper.set_library(espeakng_loader.get_library_path())
    EspeakWrapper.set_data_path(espeakng_loader.get_data_path())
    espeak = EspeakWrapper()
    try:
        espeak.set_voice(voice)
    except RuntimeError as error:
        codes = sorted({v.language for v in espeak.available_voices()})
        raise ValueError(
            f"no accent {voice!r}: use 'us', 'gb' or one of espeak-ng's codes: {', '.join(codes)}"
        ) from error
    return espeak


def _split(text: str) -> list[tuple[int, int, bool]]:
    """The clauses and pauses of a text as `(start, stop, is_pause)`, in order."""
    parts, last = [], 0
    for pause in [*_PAUSE.finditer(text), None]:
        stop = pause.start() if pause else len(text)
        piece: list[tuple[int, int]] = []
        for match in re.finditer(r"\S+", text[last:stop]):
            long = piece and match.end() - piece[0][0] > _CLAUSE_CHARACTERS
            if long or len(piece) == _CLAUSE_WORDS:
                parts.append((last + piece[0][0], last + piece[-1][1], False))
                piece = []
            piece.append(match.span())
        if piece:
            parts.append((last + piece[0][0], last + piece[-1][1], False))
        if pause:
            parts.append((stop, pause.end(), True))
            last = pause.end()
    return parts


_SPACE = 0  # the id of the seam between words in an alignment (no unit has it)
_VOWEL_LETTERS = "AIOQWYᵊaeiouyɑɐɒæɔəɚɛɜɨɪɯøœʊʌɤᵻ"
_VOWELS = frozenset(SYMBOL_IDS[c] for c in _VOWEL_LETTERS)
_MATCH, _ALIKE, _UNLIKE, _NEVER = 0, 2, 6, 99
_GAP, _SEAM = 3, 1
"""Costs of an alignment: sounds of a kind change in context (vowels reduce, consonants assimilate),
words join often, sounds seldom come or go."""


def _align(phones: str, alone: list[str]) -> list[int]:
    """For every character of a clause's phones, the index of the word it is of.

    Args:
        phones: The clause as a whole.
        alone: The phones of each of its words alone.
    """
    if len(phones.split(" ")) == len(alone) and not any(" " in word for word in alone):
        return np.cumsum([char == " " for char in phones]).tolist()  # nothing was joined
    a, places = _tokens(phones)
    b, word_of_b = [], []
    for i, word in enumerate(alone):
        ids = [*_tokens(word)[0], _SPACE]
        b += ids
        word_of_b += [i] * len(ids)
    owners = _match(np.array(a), np.array(b[:-1]), word_of_b)
    words = [-1] * len(phones)
    for place, owner in zip(places, owners, strict=True):
        words[place] = owner
    last = 0
    for place in range(len(phones)):  # a sound that came in context is of the word it is written to
        last = max(last, words[place])
        words[place] = last
    return words


def _tokens(phones: str) -> tuple[list[int], list[int]]:
    """Ids of phones and spaces, and where they stand."""
    places = [i for i, char in enumerate(phones) if char == " " or char in SYMBOL_IDS]
    return [SYMBOL_IDS.get(phones[i], _SPACE) for i in places], places


def _match(a: np.ndarray, b: np.ndarray, word_of_b: list[int]) -> list[int]:
    """The word of the token in `b` matched to each token of `a`, -1 for none: edit distance."""
    if not len(b):
        return [0] * len(a)
    vowel_a, vowel_b = (np.array([t in _VOWELS for t in tokens]) for tokens in (a, b))
    cost = np.where(vowel_a[:, None] == vowel_b, _ALIKE, _UNLIKE)
    cost[(a == _SPACE)[:, None] != (b == _SPACE)] = _NEVER
    cost[a[:, None] == b] = _MATCH
    gap_a, gap_b = (np.where(tokens == _SPACE, _SEAM, _GAP) for tokens in (a, b))
    skip_b = np.concatenate([[0], np.cumsum(gap_b)])
    best = [skip_b]
    for i in range(len(a)):
        row = best[-1] + gap_a[i]
        row[1:] = np.minimum(row[1:], best[-1][:-1] + cost[i])
        # Skipping tokens of b: row[j] = min over k <= j of row[k] + skip_b[j] - skip_b[k].
        best.append(np.minimum.accumulate(row - skip_b) + skip_b)
    owners, i, j = [-1] * len(a), len(a), len(b)
    while i:
        if j and best[i][j] == best[i - 1][j - 1] + cost[i - 1, j - 1]:
            i, j = i - 1, j - 1
            owners[i] = word_of_b[j]
        elif best[i][j] == best[i - 1][j] + gap_a[i - 1]:
            i -= 1
        else:
            j -= 1
    return owners
