"""What a listener would say, in numbers: words understood, voice recognised, pitch, fidelity.

The judges are other people's models and metrics; nothing here is trained by us, and no training
loss may use them:

* `Transcriber`: Whisper base (Radford et al. 2022, https://arxiv.org/abs/2212.04356), int8 on
  CTranslate2, one clip per call, greedy, English. `word_errors` counts what it missed.
* `SpeakerEncoder`: the GE2E speaker embedding of Resemblyzer (https://arxiv.org/abs/1710.10467), a
  three-layer LSTM read from its PyTorch file and run here in numpy, so that no torch is needed.
* `pitch`: probabilistic YIN. `pesq_wb` and `estoi`: a copy against its original.
* `bootstrap`: the 95 % interval that stands beside every figure.

`python -m experiments.get_judges` fetches the models, `pip install -e '.[evaluate]'` the packages.
"""

import hashlib
import importlib
import pickle
import re
import struct
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import librosa
import numpy as np
import soxr
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike
from scipy import signal, special

from data.normalise import cardinal, normalise, year
from data.normalise import digits as spell_digits

RATE = 16_000
"""Every judge here listens at 16 kHz."""


class WordErrors(NamedTuple):
    """Substitutions + insertions + deletions, and the words that should have been heard."""

    errors: int
    words: int


class Pitch(NamedTuple):
    """A pitch track: frame times in seconds, F0 in Hz (0 where unvoiced), and voicing."""

    times_s: Float[np.ndarray, " T"]
    hz: Float[np.ndarray, " T"]
    voiced: Bool[np.ndarray, " T"]


class Aligned(NamedTuple):
    """A copy shifted onto its original, both cut to what they share; the copy's lag in seconds."""

    reference: Float[np.ndarray, " S"]
    degraded: Float[np.ndarray, " S"]
    delay_s: float


class Interval(NamedTuple):
    """An estimate with the bounds of its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float


def _require(package: str) -> ModuleType:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ImportError(
            f"Judging speech needs `{package}`: pip install -e '.[evaluate]'"
        ) from error


def _require_files(folder: Path, names: Sequence[str], what: str) -> None:
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"No {what} at {folder} ({', '.join(missing)} not found). "
            "`python -m experiments.get_judges` fetches it into runs/judges/."
        )


def _at_16k(samples: Float[np.ndarray, " S"], sample_rate: int) -> Float[np.ndarray, " S16"]:
    return soxr.resample(np.asarray(samples, np.float32), sample_rate, RATE)


# ---- words ----------------------------------------------------------------------------------


class Transcriber:
    """Speech to English text by a Whisper model on CTranslate2.

    Greedy, without timestamps and one clip per call: packing clips into one 30 s window is 3-4
    times faster, but then each helps the next and word errors sink by a third.

    Args:
        model: folder with `model.bin`, `config.json`, `tokenizer.json`, `vocabulary.txt`.
        cpu_threads: threads of the matrix products.
        cache: folder that keeps transcripts by hash of model and samples; None keeps none.
    """

    def __init__(self, model: str | Path, cpu_threads: int = 2, cache: str | Path | None = None):
        model = Path(model)
        _require_files(model, ("model.bin", "config.json", "tokenizer.json"), "Whisper model")
        faster_whisper = _require("faster_whisper")
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

    def transcribe(self, samples: Float[np.ndarray, " S"], sample_rate: int) -> str:
        """Returns the words Whisper hears, as it writes them (cased, punctuated, with digits)."""
        samples = np.ascontiguousarray(samples, np.float32)
        if self._cache is None:
            return self._listen(samples, sample_rate)
        key = hashlib.sha256(f"{self.fingerprint} {sample_rate} ".encode())
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
            _at_16k(samples, sample_rate),
            language="en",
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
    return int(cost[-1, -1])


# ---- voice ----------------------------------------------------------------------------------


class SpeakerEncoder:
    """A voice as a unit vector; the dot product of two says how alike they are.

    On 182 clips of the corpora two clips of one voice score 0.89 (5 % below 0.81), of two voices
    0.57 (5 % above 0.72); the errors are equal, 1.9 %, at 0.79.

    Args:
        path: Resemblyzer's `pretrained.pt`.
    """

    WINDOW = 160
    """Mel frames (10 ms) the LSTM was trained on."""

    def __init__(self, path: str | Path):
        path = Path(path)
        _require_files(path.parent, (path.name,), "speaker encoder")
        self._weights = read_torch(path)["model_state"]

    def embed(self, samples: Float[np.ndarray, " S"], sample_rate: int) -> Float[np.ndarray, "256"]:
        """Returns the unit vector of the voice: the mean over 1.6 s windows, 0.8 s apart."""
        mel = _loud_mel(_at_16k(samples, sample_rate))
        if len(mel) < self.WINDOW:  # repeated, not padded: 0.85 to its own voice, not 0.83
            mel = np.resize(mel, (self.WINDOW, 40))
        last = len(mel) - self.WINDOW
        starts = [*range(0, last, self.WINDOW // 2), last]
        vectors = self._lstm(np.stack([mel[i : i + self.WINDOW] for i in starts]))
        mean = vectors.mean(0)
        return mean / np.linalg.norm(mean)

    def _lstm(self, x: Float[np.ndarray, "N T 40"]) -> Float[np.ndarray, "N 256"]:
        w = self._weights
        for layer in range(3):
            bias = w[f"lstm.bias_ih_l{layer}"] + w[f"lstm.bias_hh_l{layer}"]
            recurrent = w[f"lstm.weight_hh_l{layer}"].T
            gates = x @ w[f"lstm.weight_ih_l{layer}"].T + bias  # [N, T, 4 * 256]
            hidden = cell = np.zeros((len(x), 256), np.float32)
            outputs = []
            for t in range(x.shape[1]):
                gate = gates[:, t] + hidden @ recurrent
                write, keep, show = (special.expit(gate[:, k * 256 :][:, :256]) for k in (0, 1, 3))
                cell = keep * cell + write * np.tanh(gate[:, 512:768])
                hidden = show * np.tanh(cell)
                outputs.append(hidden)
            x = np.stack(outputs, 1)
        vectors = np.maximum(hidden @ w["linear.weight"].T + w["linear.bias"], 0)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _loud_mel(samples: Float[np.ndarray, " S16"]) -> Float[np.ndarray, "T 40"]:
    """Returns Resemblyzer's mel powers at -30 dBFS, without pauses of more than 0.2 s."""
    samples = samples * 10 ** (-30 / 20) / max(np.sqrt(np.mean(samples**2)), 1e-9)
    mel = librosa.feature.melspectrogram(
        y=samples, sr=RATE, n_fft=400, hop_length=160, n_mels=40
    ).T.astype(np.float32)
    power = mel.sum(1)
    near = np.convolve(power > 1e-4 * power.max(), np.ones(21), "same") > 0
    return mel[near]


def read_torch(path: str | Path) -> dict:
    """Returns the nested dict of a PyTorch file of the old (pre-1.6) format, tensors as arrays.

    Only tensors and plain containers are built: a name that would run other code is an error.
    """
    with Path(path).open("rb") as stream:

        class Unpickler(pickle.Unpickler):
            def find_class(self, module, name):
                if (module, name) == ("collections", "OrderedDict"):
                    return OrderedDict
                if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
                    return lambda storage, offset, size, *_: _Tensor(storage, offset, size)
                if module == "torch" and name.endswith("Storage"):
                    return name
                raise pickle.UnpicklingError(f"{path} asks for {module}.{name}")

            def persistent_load(self, pid):
                _, kind, key, *_ = pid
                return kind, key

        for _ in range(3):  # magic number, protocol, machine
            Unpickler(stream).load()
        tree, keys = Unpickler(stream).load(), Unpickler(stream).load()
        kinds = {leaf.storage[1]: leaf.storage[0] for leaf in _leaves(tree)}
        storages = {}
        for key in keys:
            (count,) = struct.unpack("<q", stream.read(8))
            dtype = np.dtype({"FloatStorage": "<f4", "LongStorage": "<i8"}[kinds[key]])
            storages[key] = np.frombuffer(stream.read(count * dtype.itemsize), dtype)

    def build(node):
        if isinstance(node, _Tensor):
            flat = storages[node.storage[1]][node.offset :]
            return flat[: int(np.prod(node.size))].reshape(node.size)
        return {k: build(v) for k, v in node.items()} if isinstance(node, dict) else node

    return build(tree)


class _Tensor(NamedTuple):
    storage: tuple[str, str]  # kind, key
    offset: int
    size: tuple[int, ...]


def _leaves(tree: dict) -> list[_Tensor]:
    nested = [_leaves(v) if isinstance(v, dict) else [v] for v in tree.values()]
    return [leaf for leaves in nested for leaf in leaves if isinstance(leaf, _Tensor)]


# ---- pitch and fidelity -----------------------------------------------------------------------


def pitch(samples: Float[np.ndarray, " S"], sample_rate: int) -> Pitch:
    """Returns the F0 track of speech (60-450 Hz, 10 ms apart) by probabilistic YIN."""
    hz, voiced, _ = librosa.pyin(
        _at_16k(samples, sample_rate),
        fmin=60,
        fmax=450,
        sr=RATE,
        frame_length=1024,
        hop_length=160,
        resolution=0.2,  # of a semitone: half the time of the default 0.1
        fill_na=0.0,
    )
    return Pitch(np.arange(len(hz)) * 160 / RATE, hz * voiced, voiced)


def align(
    reference: Float[np.ndarray, " S"],
    degraded: Float[np.ndarray, " S2"],
    sample_rate: int,
    max_delay_s: float = 0.2,
) -> Aligned:
    """Returns both signals over what they share, at the lag where they correlate most."""
    lags = signal.correlation_lags(len(degraded), len(reference))
    scores = signal.correlate(degraded, reference, method="fft")
    lag = int(lags[np.argmax(np.where(abs(lags) <= max_delay_s * sample_rate, scores, -np.inf))])
    reference, degraded = reference[max(-lag, 0) :], degraded[max(lag, 0) :]
    size = min(len(reference), len(degraded))
    return Aligned(reference[:size], degraded[:size], lag / sample_rate)


def pesq_wb(
    reference: Float[np.ndarray, " S"], degraded: Float[np.ndarray, " S2"], sample_rate: int
) -> float:
    """Returns wide-band PESQ (ITU-T P.862.2, 1.0 to 4.64) of a copy against its original."""
    pair = align(_at_16k(reference, sample_rate), _at_16k(degraded, sample_rate), RATE)
    return float(_require("pesq").pesq(RATE, pair.reference, pair.degraded, "wb"))


def estoi(
    reference: Float[np.ndarray, " S"], degraded: Float[np.ndarray, " S2"], sample_rate: int
) -> float:
    """Returns extended short-time intelligibility (0 to 1) of a copy against its original."""
    pair = align(_at_16k(reference, sample_rate), _at_16k(degraded, sample_rate), RATE)
    stoi = _require("pystoi").stoi
    return float(stoi(pair.reference, pair.degraded, RATE, extended=True))


# ---- intervals ----------------------------------------------------------------------------------


def bootstrap(
    values: ArrayLike,
    weights: ArrayLike | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Returns sum(values) / sum(weights) with its 95 % interval over resampled clips.

    Errors over words give a word error rate; without weights it is a mean. The difference of two
    systems on the same clips is paired if `values` holds the differences.

    Args:
        values: one number a clip.
        weights: one non-negative number a clip, such as its words.
        resamples: draws of as many clips, with replacement.
        seed: of the draws.
    """
    values = np.asarray(values, float)
    weights = np.ones_like(values) if weights is None else np.asarray(weights, float)
    if not len(values) or weights.sum() <= 0:
        raise ValueError("An interval needs at least one clip with a positive weight.")
    count = len(values)
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), resamples)
    total = draws @ weights
    ratios = (draws @ values)[total > 0] / total[total > 0]
    low, high = np.percentile(ratios, [2.5, 97.5])
    return Interval(float(values.sum() / weights.sum()), float(low), float(high))
