"""What a kilobit is worth: our codec at every rate beside the classical ones, judged alike.

    python -m experiments.codec_quality --out experiments/results/codec_quality

Every clip of a held-out set goes through every coder; the judges compare what came out with what
went in. Writes every row as it comes (.jsonl; begun again, it goes on from there, and with other
weights it makes our rows anew and keeps the others'), then a table (.md) and the rate-quality
picture (.png). Word errors are against what Whisper hears in the
original, so sets without text count too. "noisy" is the crowd in a babble of four other people at
10 dB. The public tables are made of LibriSpeech test-clean: `--folder NAME=PATH` adds a folder of
audio as a set.
"""

import argparse
import concurrent.futures
import dataclasses
import functools
import itertools
import json
import multiprocessing
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import librosa
import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib import pyplot as plt
from tqdm import tqdm

import voiceloom
from experiments import coders
from voiceloom import evaluate, judges, pictures
from voiceloom.speech_codec import SpeechCodec
from voiceloom.waveform import Waveform

BOOKS = (1, 2, 4, 6, 8, 12, 16)
SETS = ("crowd", "noisy", "human", "german", "spanish", "french", "italian", "russian", "test")
BABBLE_DB = 10.0
RATE = judges.RATE


class Metric(NamedTuple):
    """A column: how it is written, and which way is better."""

    title: str
    digits: int
    scale: float
    better: int  # +1: more is better


METRICS = {
    "dwer": Metric("word errors, %", 1, 100, -1),
    "similarity": Metric("voice", 3, 1, 1),
    "estoi": Metric("ESTOI", 3, 1, 1),
    "pesq": Metric("PESQ-WB", 2, 1, 1),
    "f0_off_st": Metric("F0 off, st", 2, 1, -1),
    "mel_db": Metric("mel, dB", 2, 1, -1),
    "naturalness": Metric("DNSMOS, difference", 2, 1, 1),
}


@dataclasses.dataclass(frozen=True)
class Row:
    """A clip through a coder, judged."""

    set: str
    clip: str
    coder: str
    seconds: float
    latency_ms: float
    tokens_per_s: float | None
    bytes: int  # of the payload
    file_bytes: int
    errors: int
    words: int
    similarity: float
    estoi: float
    pesq: float
    f0_off_st: float | None  # mean over frames voiced in both
    mel_db: float
    naturalness: float  # of the copy, less that of the original


def read_set(name: str, limit: int | None) -> list[tuple[str, np.ndarray]]:
    """Names and samples at 16 kHz of a set's clips of at least a second."""
    group = "crowd" if name == "noisy" else name
    clips = evaluate.read_clips(evaluate.CORPORA, group)
    found = [(clip.id, load(clip.audio)) for clip in clips]
    found = [(clip, samples) for clip, samples in found if len(samples) >= RATE]
    if limit:  # spread over the set: neighbours share a speaker
        found = [found[i] for i in np.unique(np.linspace(0, len(found) - 1, limit).astype(int))]
    if name == "noisy":
        found = [(clip, with_babble(samples, found, clip)) for clip, samples in found]
    return found


def load(path: Path) -> np.ndarray:
    """Samples at 16 kHz."""
    return judges.at_16k(*evaluate.pair(Waveform.load(path)))


def with_babble(samples: np.ndarray, others: list, own: str) -> np.ndarray:
    """`samples` with four others talking over each other, `BABBLE_DB` below."""
    start = next(i for i, (clip, _) in enumerate(others) if clip == own)
    babble = sum(
        np.resize(others[(start + step) % len(others)][1], len(samples)) for step in (7, 13, 19, 23)
    )
    level = np.sqrt(np.mean(samples**2) / np.mean(babble**2)) * 10 ** (-BABBLE_DB / 20)
    mixed = samples + level * babble
    return (mixed * min(1.0, 0.98 / np.abs(mixed).max())).astype(np.float32)


def our_codecs(folder: Path | None, separate: Sequence[str]) -> dict[str, SpeechCodec]:
    """Ours, "voiceloom", and those of `NAME=FOLDER`, by the family of their coders."""
    paths = {"voiceloom": folder} | dict(pair.split("=", 1) for pair in separate)
    return {family: voiceloom.load_codec(path) for family, path in paths.items()}


def coders_of(codecs: Mapping[str, SpeechCodec], books: Sequence[int]) -> list[coders.Coder]:
    """Ours at each of `books`, the classical ones, and the further ones at all their books."""
    ours, *others = codecs.items()
    found = [coders.voiceloom(ours[1], count) for count in books] + coders.classical()
    return found + [coders.voiceloom(codec, len(codec.sizes), name) for name, codec in others]


# ---- judging ----------------------------------------------------------------------------------


class Bench:
    """The coders and the judges, in one process."""

    def __init__(self, folder: Path | None, books: Sequence[int], separate: Sequence[str]):
        self.coders = coders_of(our_codecs(folder, separate), books)
        folder = evaluate.JUDGES
        self.transcriber = judges.Transcriber(folder / "whisper-base", 1, cache=folder / "cache")
        self.speakers = judges.SpeakerEncoder(folder / "resemblyzer" / "pretrained.pt")

    def judge(
        self, set_name: str, clip: str, original: np.ndarray, known: Collection[str]
    ) -> list[Row]:
        """A row for every coder whose name is not `known`."""
        said = self.transcriber.transcribe(original, RATE)
        voice, melody = self.speakers.embed(original, RATE), judges.pitch(original, RATE)
        natural = judges.naturalness(original, RATE)
        rows = []
        for coder in self.coders:
            if coder.name in known:
                continue
            samples, size, file_size = coder.code(original, RATE)
            pair = judges.align(original, samples, RATE)
            words = judges.word_errors(said, self.transcriber.transcribe(samples, RATE))
            rows.append(
                Row(
                    set=set_name,
                    clip=clip,
                    coder=coder.name,
                    seconds=len(original) / RATE,
                    latency_ms=coder.latency_ms,
                    tokens_per_s=coder.tokens_per_s,
                    bytes=size,
                    file_bytes=file_size,
                    errors=words.errors,
                    words=words.words,
                    similarity=float(voice @ self.speakers.embed(samples, RATE)),
                    estoi=judges.estoi(pair),
                    pesq=judges.pesq_wb(pair),
                    f0_off_st=f0_distance(melody, pair.delay_s, judges.pitch(samples, RATE)),
                    mel_db=mel_distance(pair.reference, pair.degraded),
                    naturalness=judges.naturalness(samples, RATE) - natural,
                )
            )
        return rows


def f0_distance(original: judges.Pitch, delay_s: float, coded: judges.Pitch) -> float | None:
    """Mean distance in semitones where both are voiced; None where that is nowhere."""
    shift = round(100 * delay_s)  # tracks have a hundred values a second
    a = np.roll(original.hz, shift)[: len(coded.hz)]
    both = (a > 0) & (coded.hz[: len(a)] > 0)
    if both.sum() < 10:
        return None
    return float(np.abs(12 * np.log2(a[both] / coded.hz[: len(a)][both])).mean())


def mel_distance(original: np.ndarray, coded: np.ndarray) -> float:
    """Mean distance of log-mel spectra, dB, 80 bands to 8 kHz, down to 60 below the loudest."""
    a, b = (
        librosa.feature.melspectrogram(y=x, sr=RATE, n_fft=1024, hop_length=256, n_mels=80)
        for x in (original, coded)
    )
    floor = 1e-6 * a.max()
    return float(np.abs(10 * np.log10(np.maximum(a, floor) / np.maximum(b, floor))).mean())


_bench: Bench | None = None


def _begin(*args) -> None:
    global _bench
    _bench = Bench(*args)


def _judge(item: tuple[str, str, np.ndarray, Collection[str]]) -> list[Row]:
    return _bench.judge(*item)


def read_record(record: Path, coded_by: Mapping[str, str]) -> dict[tuple[str, str], dict[str, Row]]:
    """Rows of every set and clip, by the coder's name; of our codecs those of `coded_by` only.

    Args:
        record: Lines as `judge_all` writes them, with the hash of each codec of ours.
        coded_by: The hash of each, by family.
    """
    found: dict[tuple[str, str], dict[str, Row]] = {}
    for line in map(json.loads, record.read_text().splitlines() if record.exists() else ()):
        for row in (Row(**row) for row in line["rows"]):
            family = row.coder.partition(" ")[0]
            if line["coded_by"].get(family) == coded_by.get(family):
                found.setdefault((line["set"], line["clip"]), {})[row.coder] = row
    return found


def judge_all(
    items: Sequence[tuple[str, str, np.ndarray]], bench: tuple, record: Path, workers: int
) -> dict[tuple[str, str], list[Row]]:
    """The rows of every set and clip; what `record` has of the same codecs is not made again."""
    folder, books, separate = bench
    codecs = our_codecs(folder, separate)
    coded_by = {family: codec.hash for family, codec in codecs.items()}
    names = [coder.name for coder in coders_of(codecs, books)]
    judged = {item[:2]: {} for item in items} | read_record(record, coded_by)
    missing = [
        (*item, set(judged[item[:2]]))
        for item in items
        if not judged[item[:2]].keys() >= set(names)
    ]
    # Fresh processes: a fork of one that has used JAX may hang.
    context = multiprocessing.get_context("spawn")
    with (
        concurrent.futures.ProcessPoolExecutor(
            workers, context, functools.partial(_begin, *bench)
        ) as pool,
        record.open("a") as file,
    ):
        found = tqdm(pool.map(_judge, missing), "clips", total=len(missing))
        for (name, clip, *_), rows in zip(missing, found, strict=True):
            judged[name, clip] |= {row.coder: row for row in rows}
            entry = {"set": name, "clip": clip, "coded_by": coded_by}
            entry["rows"] = [dataclasses.asdict(row) for row in rows]
            file.write(json.dumps(entry) + "\n")
            file.flush()
    return {item[:2]: [judged[item[:2]][name] for name in names] for item in items}


# ---- table and picture ------------------------------------------------------------------------


class Point(NamedTuple):
    """A coder on a set."""

    set: str
    coder: str
    clips: int
    kbps: float
    file_kbps: float
    latency_ms: float
    tokens_per_s: float | None
    scores: dict[str, judges.Interval]


def summarise(rows: Sequence[Row]) -> list[Point]:
    """A point for each set and coder, in the order of their first rows."""
    points = []
    for key in dict.fromkeys((row.set, row.coder) for row in rows):
        own = [row for row in rows if (row.set, row.coder) == key]
        scores = {"dwer": judges.bootstrap([r.errors for r in own], [r.words for r in own])}
        for name in list(METRICS)[1:]:
            values = [getattr(row, name) for row in own]
            scores[name] = judges.bootstrap([value for value in values if value is not None])
        seconds = sum(row.seconds for row in own)
        totals = sum(row.bytes for row in own), sum(row.file_bytes for row in own)
        rates = (8 * total / seconds / 1000 for total in totals)
        about = (own[0].latency_ms, own[0].tokens_per_s)
        points.append(Point(*key, len(own), *rates, *about, scores))
    return points


def markdown(points: Sequence[Point]) -> str:
    """The table for people."""
    titles = [metric.title for metric in METRICS.values()]
    about = ("clips", "kbit/s", "on disk", "tokens/s", "latency, ms")
    lines = [f"| set | coder | {' | '.join(about)} | {' | '.join(titles)} |"]
    lines += ["|---|---|" + "--:|" * (len(about) + len(titles))]
    for point in points:
        cells = [point.scores[k].written(m.digits, m.scale) for k, m in METRICS.items()]
        about = f"{point.set} | {point.coder} | {point.clips} | {point.kbps:.2f} | "
        about += f"{point.file_kbps:.2f} | {point.tokens_per_s or '-'} | {point.latency_ms:g}"
        lines.append(f"| {about} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def bd_rate(ours: Sequence[Point], theirs: Sequence[Point], name: str) -> float | None:
    """Mean difference in rate at equal quality, as a share of theirs: -0.5 is half the bits.

    The area between log-rate curves over the qualities that both reach (Bjontegaard, VCEG-M33),
    piecewise linear; None where they reach none in common.
    """
    sign = METRICS[name].better

    def curve(points):
        quality = np.maximum.accumulate([sign * p.scores[name].mean for p in points])
        return quality, np.log([p.kbps for p in points])

    (q1, r1), (q2, r2) = (curve(sorted(p, key=lambda p: p.kbps)) for p in (ours, theirs))
    low, high = max(q1[0], q2[0]), min(q1[-1], q2[-1])
    if low >= high:
        return None
    grid = np.linspace(low, high, 200)
    return float(np.exp(np.mean(np.interp(grid, q1, r1) - np.interp(grid, q2, r2))) - 1)


def draw(points: Sequence[Point], path: Path) -> None:
    """Quality against rate, a panel a metric, with the intervals as bands; last, against tokens.

    A line is drawn through what one checkpoint or program gives at its settings; checkpoints of a
    single rate are diamonds.
    """
    families: dict[str, list[Point]] = {}
    for point in sorted(points, key=lambda point: point.kbps):
        families.setdefault(point.coder.split()[0], []).append(point)
    colours = (pictures.ACCENT, pictures.INK, "#e0a030", pictures.COOL, "#777", "#7a5", "#b6a")

    def panel(axis, name: str, x: str) -> None:
        metric = METRICS[name]
        for colour, (family, own) in zip(itertools.cycle(colours), families.items(), strict=False):
            at = [getattr(p, x) for p in own]
            if None in at:
                continue
            score = metric.scale * np.array([p.scores[name] for p in own])
            mark = "o-" if len(own) > 1 else "D"
            axis.plot(at, score[:, 0], mark, color=colour, label=family, ms=4)
            axis.fill_between(at, score[:, 1], score[:, 2], color=colour, alpha=0.15)
        axis.set(title=f"{metric.title} ({'up' if metric.better > 0 else 'down'} is better)")
        axis.set_xscale("log")

    with plt.rc_context(pictures.STYLE):
        figure, axes = plt.subplots(2, 4, figsize=(16, 7), layout="constrained")
        for axis, name in zip(axes.flat, METRICS, strict=False):
            panel(axis, name, "kbps")
            axis.set(xlabel="kbit a second", yscale="log" if name == "f0_off_st" else "linear")
            axis.set_xticks([0.25, 0.5, 1, 2, 4, 8, 16], ["¼", "½", "1", "2", "4", "8", "16"])
            axis.minorticks_off()
        panel(axes.flat[-1], "pesq", "tokens_per_s")
        axes.flat[-1].set(xlabel="tokens a second for a language model")
        axes.flat[-1].set_xticks([12.5, 25, 50, 100, 200], ["12.5", "25", "50", "100", "200"])
        axes.flat[-1].minorticks_off()
        axes.flat[0].legend(frameon=False)
        figure.savefig(path, dpi=110)
        plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> None:
    """Codes, judges, writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("experiments/results/codec_quality"))
    parser.add_argument("--codec", type=Path, help="folder of weights (default: the repository's)")
    parser.add_argument(
        "--separate", action="append", default=[], metavar="NAME=FOLDER",
        help="a further codec, at all of its books",
    )  # fmt: skip
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--books", type=int, nargs="*", default=BOOKS)
    parser.add_argument(
        "--limit", type=int, default=24, help="clips of each set but the first, which is whole"
    )
    parser.add_argument("--folder", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args(arguments)

    items = []
    for i, name in enumerate(filter(None, args.sets.split(","))):
        items += [(name, *clip) for clip in read_set(name, args.limit if i else None)]
    for name, path in (pair.split("=", 1) for pair in args.folder):
        files = sorted(p for p in Path(path).rglob("*") if p.suffix in (".flac", ".wav", ".ogg"))
        items += [(name, str(file), load(file)) for file in files[: args.limit]]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    bench = (args.codec, args.books, args.separate)
    judged = judge_all(items, bench, args.out.with_suffix(".jsonl"), args.workers)
    rows = [row for item in items for row in judged[item[:2]]]
    points = summarise(rows)
    table = markdown(points)
    first = [point for point in points if point.set == points[0].set]
    families = [[p for p in first if p.coder.startswith(f)] for f in ("voiceloom", "opus")]
    if all(families):
        rates = {m.title: bd_rate(*families, name) for name, m in METRICS.items()}
        told = (f"{k}: {'none in common' if v is None else f'{v:+.0%}'}" for k, v in rates.items())
        table += f"\nBits at equal quality against Opus ({first[0].set}): {'; '.join(told)}.\n"
    args.out.with_suffix(".md").write_text(table)
    draw(first, args.out.with_suffix(".png"))
    print(table)


if __name__ == "__main__":
    main()
