"""Words understood: Whisper listens, and its errors are counted fairly."""

import hashlib
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from data.normalise import normalise
from data.numbers import cardinal, year
from data.numbers import digits as spell_digits
from voiceloom.judges.needs import at_16k, require, require_files

RUN = 3  # so many wrong words in a row are a failure


class WordErrors(NamedTuple):
    """Substitutions + insertions + deletions, and the words that should have been heard."""

    errors: int
    words: int


class Transcriber:
    """Speech to text by a Whisper model on CTranslate2.

    Greedy, without timestamps and one clip per call: packing clips into one 30 s window is 3-4
    times faster, but then each helps the next and word errors sink by a third.

    Args:
        model: folder with `model.bin`, `config.json`, `tokenizer.json`, `vocabulary.txt`.
        cpu_threads: threads of the matrix products.
        cache: folder that keeps transcripts by hash of model and samples; None keeps none.
        language: that is spoken.
    """

    def __init__(
        self,
        model: str | Path,
        cpu_threads: int = 2,
        cache: str | Path | None = None,
        language: str = "en",
    ):
        model = Path(model)
        require_files(model, ("model.bin", "config.json", "tokenizer.json"), "Whisper model")
        faster_whisper = require("faster_whisper")
        self._whisper = faster_whisper.WhisperModel(
            str(model),
            device="cpu",
            compute_type="int8",
            cpu_threads=cpu_threads,
            local_files_only=True,
        )
        self.name = model.name
        with (model / "model.bin").open("rb") as stream:
            self.fingerprint = hashlib.file_digest(stream, "sha256").hexdigest()
        self._cache = Path(cache) if cache else None
        self._language = language

    def transcribe(self, samples: Float[np.ndarray, " S"], sample_rate: int) -> str:
        """Returns the words Whisper hears, as it writes them (cased, punctuated, with digits)."""
        samples = np.ascontiguousarray(samples, np.float32)
        if self._cache is None:
            return self._listen(samples, sample_rate)
        spoken = "" if self._language == "en" else f"{self._language} "
        key = hashlib.sha256(f"{self.fingerprint} {sample_rate} {spoken}".encode())
        key.update(samples.tobytes())
        path = self._cache / f"{key.hexdigest()}.txt"
        if not path.exists():
            text = self._listen(samples, sample_rate)
            self._cache.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return path.read_text(encoding="utf-8")

    def _listen(self, samples: np.ndarray, sample_rate: int) -> str:
        # Greedy decoding can fall into a loop ("go go go ..." to 448 tokens), and one such clip
        # outweighs a hundred others. Nobody says more than 6 tokens a second.
        seconds = min(len(samples) / sample_rate, 30)
        segments, _ = self._whisper.transcribe(
            at_16k(samples, sample_rate),
            language=self._language,
            beam_size=1,
            temperature=0.0,
            without_timestamps=True,
            condition_on_previous_text=False,
            max_new_tokens=int(16 + 6.5 * seconds),
        )
        return " ".join(segment.text.strip() for segment in segments)


# One reading, two spellings. Contractions, as in Whisper's own normaliser; numbers and dates; then
# British to American, by stems so that "four" stays.
_NUMBER = (
    r"(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen|twenty|thirty|forty"
    r"|fifty|sixty|seventy|eighty|ninety)"
)
_SAME = (
    (r"\bwon't\b", "will not"),
    (r"\bcan't\b", "can not"),
    (r"n't\b", " not"),
    (r"'re\b", " are"),
    (r"'ll\b", " will"),
    (r"'ve\b", " have"),
    (r"\bi'm\b", "i am"),
    (r"\b(he|she|it|that|there|here|what|where|who|how)'s\b", r"\1 is"),
    (r"\blet's\b", "let us"),
    (rf"\b(hundred|thousand) and (?={_NUMBER}\b)", r"\1 "),
    (r"\ba (?=hundred|thousand|million)", "one "),
    (
        r"\bthe ((?:twenty[ -]|thirty[ -])?\w+(?:st|nd|rd|th)) of (january|february|march|april|may"
        r"|june|july|august|september|october|november|december)\b",
        r"\1 \2",
    ),
    (r"\b(\w{4,})is(e[drs]?|ing|ations?)\b", r"\1iz\2"),
    (r"\b(anal|paral)ys(e[drs]?|ing)\b", r"\1yz\2"),
    (
        r"\b(arm|behavi|cand|clam|col|endeav|fav|flav|harb|hon|hum|lab|neighb|od|parl|rig|rum|sav"
        r"|splend|tum|val|vap|vig)our",
        r"\1or",
    ),
    (
        r"\b(cancel|counsel|dial|fuel|jewel|label|level|marvel|model|quarrel|signal|total|travel)"
        r"l(ed|er|ers|ing)\b",
        r"\1\2",
    ),
    (r"\b(calib|cent|fib|lit|lust|kilomet|met|sab|spect|theat)re(s?)\b", r"\1er\2"),
    (r"\b(def|off|pret)ence", r"\1ense"),
    (r"\b(anal|catal|dial|monol)ogue", r"\1og"),
    (r"\b(acknowledg|judg)ement", r"\1ment"),
)
_WORDS = {
    "adviser": "advisor",
    "advisers": "advisors",
    "cheque": "check",
    "cheques": "checks",
    "eh": "a",  # how data.normalise writes the letter
    "enrol": "enroll",
    "fulfil": "fulfill",
    "gaol": "jail",
    "gaoler": "jailer",
    "gaols": "jails",
    "grey": "gray",
    "kerb": "curb",
    "licence": "license",
    "ok": "okay",
    "plough": "plow",
    "practise": "practice",
    "programme": "program",
    "programmes": "programs",
    "pyjamas": "pajamas",
    "skilful": "skillful",
    "tyre": "tire",
    "tyres": "tires",
    "waggon": "wagon",
}


def spoken_words(text: str) -> list[str]:
    """Returns the words of `text` as they are said, so that two spellings of one reading agree.

    Numbers, money and times become words ("$12.50", "3:45"), case, punctuation and hyphens go,
    contractions are written out, three or more letters in a row are one word ("B, R, A" = "BRA":
    Whisper spells as it pleases), and British spellings turn American.
    """
    text = re.sub(r"\b[A-Za-z](?:-[A-Za-z])+\b", lambda match: match[0].replace("-", " "), text)
    # "630 p.m." is what Whisper writes for half past six.
    text = re.sub(r"\b(\d{1,2})(\d\d)(?=\s*[ap]\.?m\b)", r"\1:\2", text, flags=re.IGNORECASE)
    text = normalise(text).text.lower()
    for pattern, replacement in _SAME:
        text = re.sub(pattern, replacement, text)
    text = " ".join(re.sub(r"[^\w\s]|_", " ", text.replace("'", "")).split())
    text = re.sub(r"\b(?:[a-z] ){2,}[a-z]\b", lambda match: match[0].replace(" ", ""), text)
    return [_WORDS.get(word, word) for word in text.split()]


def word_errors(reference: str, hypothesis: str) -> WordErrors:
    """Returns the word errors of `hypothesis` against what should have been said.

    Levenshtein distance over `spoken_words` of both. Two words written as one, or one as two
    ("sea shells", "seashells"), are no error: nobody can hear the space. Nor can one hear digits:
    a whole number counts in the reading that comes closest (1814 as a year, a sum or a code).
    """
    hypothesis = _closest_reading(hypothesis, reference)
    reference = _closest_reading(reference, hypothesis)
    said = spoken_words(reference)
    return WordErrors(_distance(said, spoken_words(hypothesis)), len(said))


def failed(reference: str, hypothesis: str, recording: str | None = None) -> bool:
    """Returns whether three or more words in a row are wrong: a repeat, a skip, or babble.

    Args:
        reference: what should have been said.
        hypothesis: what was heard.
        recording: what was heard of somebody who said it; words it has wrong do not count, nor do
            words put in if it has as many of them.
    """
    wrong, added = _faults(reference, hypothesis)
    if recording is not None:
        theirs, theirs_added = _faults(reference, recording)
        if len(theirs) == len(wrong):
            wrong = [a and not b for a, b in zip(wrong, theirs, strict=True)]
        added = 0 if theirs_added >= RUN else added
    run = longest = 0
    for fault in wrong:
        run = run + 1 if fault else 0
        longest = max(longest, run)
    return max(longest, added) >= RUN


def _faults(reference: str, hypothesis: str) -> tuple[list[bool], int]:
    """Which words of the reference are wrong, and the most words in a row that were put in."""
    hypothesis = _closest_reading(hypothesis, reference)
    said, heard = spoken_words(_closest_reading(reference, hypothesis)), spoken_words(hypothesis)
    cost = _costs(said, heard)
    wrong, added, longest = [False] * len(said), 0, 0
    i, j = len(said), len(heard)
    while i or j:
        here = cost[i, j]
        if i and j and here == cost[i - 1, j - 1] + (said[i - 1] != heard[j - 1]):
            wrong[i - 1] = said[i - 1] != heard[j - 1]
            i, j, added = i - 1, j - 1, 0
        elif "".join(said[max(i - 2, 0) : i]) in heard[max(j - 1, 0) : j] and (
            i > 1 and here == cost[i - 2, j - 1]
        ):
            i, j, added = i - 2, j - 1, 0
        elif "".join(heard[max(j - 2, 0) : j]) in said[max(i - 1, 0) : i] and (
            j > 1 and here == cost[i - 1, j - 2]
        ):
            i, j, added = i - 1, j - 2, 0
        elif i and here == cost[i - 1, j] + 1:
            wrong[i - 1], i, added = True, i - 1, 0
        else:
            j, added = j - 1, added + 1
            longest = max(longest, added)
    return wrong, longest


def _closest_reading(text: str, other: str) -> str:
    target = spoken_words(other)
    whole = re.compile(r"(?<![\w$£€.:,/-])\d+(?:,\d{3})*(?![\w%:/-]|[.,]\d)")
    for numeral in reversed(list(whole.finditer(text))):
        digits = numeral[0].replace(",", "")
        readings = [numeral[0], cardinal(int(digits)), spell_digits(digits)]
        if 3 <= len(digits) <= 4:  # eighteen fourteen, fifteen hundred
            readings.append(year(int(digits)))
        if len(digits) == 4 and digits.endswith("00"):
            readings.append(f"{cardinal(int(digits[:2]))} hundred")
        head, tail = text[: numeral.start()], text[numeral.end() :]
        candidates = [f"{head}{reading}{tail}" for reading in readings]
        text = min(candidates, key=lambda read: _distance(target, spoken_words(read)))
    return text


def _distance(said: list[str], heard: list[str]) -> int:
    return int(_costs(said, heard)[-1, -1])


def _costs(said: list[str], heard: list[str]) -> np.ndarray:
    """Levenshtein distance of every beginning of one to every beginning of the other."""
    cost = np.zeros((len(said) + 1, len(heard) + 1), int)
    cost[:, 0], cost[0] = np.arange(len(said) + 1), np.arange(len(heard) + 1)
    for i in range(1, len(said) + 1):
        for j in range(1, len(heard) + 1):
            steps = [
                cost[i - 1, j] + 1,
                cost[i, j - 1] + 1,
                cost[i - 1, j - 1] + (said[i - 1] != heard[j - 1]),
            ]
            if i > 1 and said[i - 2] + said[i - 1] == heard[j - 1]:
                steps.append(cost[i - 2, j - 1])
            if j > 1 and said[i - 1] == heard[j - 2] + heard[j - 1]:
                steps.append(cost[i - 1, j - 2])
            cost[i, j] = min(steps)
    return cost
