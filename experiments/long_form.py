"""Ten minutes at one go: does anything drift?

    python -m experiments.long_form --out experiments/results/long_form

Five readings of the same held-out sentences in five voices, each a single stream that begins a
fifth further on in them, so that what a sentence is like does not pass for its time. Every sentence
is cut out by the stream's own timestamps and judged: word errors, rate (units a second), level,
likeness to the voice's reference. A line is laid through each measure over time, beside a mean of
every voice and of every sentence; its slope should have zero inside its interval (bootstrap over
sentences, all readings of one together).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib import pyplot as plt
from tqdm import tqdm

import voiceloom
from experiments import readings, report
from voiceloom import judges
from voiceloom.evaluate import CORPORA, JUDGES, read_clips
from voiceloom.waveform import Chunk, Waveform

VOICES = ("af_heart", "am_michael", "bf_emma", "bm_george", "af_bella")
MEASURES = {
    "errors": "word errors, %",
    "rate": "rate, units a second",
    "level_db": "level, dB",
    "likeness": "voice, cosine",
}


class Sentence(NamedTuple):
    """One sentence of a reading, judged."""

    voice: str
    number: int  # which of the sentences
    time_s: float
    words: int
    errors: float  # per cent
    rate: float
    level_db: float
    likeness: float


def cut(speech: Chunk, sentences: Sequence[str], joined: str) -> list[tuple[str, Waveform, int]]:
    """Every sentence with its sound and its number of units, by the timestamps of the stream."""
    starts, at = [], 0
    for sentence in sentences:
        starts.append(joined.index(sentence, at))
        at = starts[-1] + len(sentence)
    times, counts = [], []
    for start, stop in zip(starts, [*starts[1:], len(joined)], strict=True):
        inside = [o.time_s for o in speech.onsets if start <= o.span[0] < stop]
        times.append(inside[0])
        counts.append(len(inside))
    rate, lead = speech.sample_rate, 0.05
    edges = [max(0.0, t - lead) for t in times] + [speech.duration_s]
    return [
        (sentence, Waveform(speech.samples[round(a * rate) : round(b * rate)], rate), count)
        for sentence, a, b, count in zip(sentences, edges, edges[1:], counts, strict=False)
    ]


def judge(
    pieces: Sequence[tuple[str, Waveform, int]],
    numbers: Sequence[int],
    voice: str,
    reference: np.ndarray,
    transcriber: judges.Transcriber,
    speakers: judges.SpeakerEncoder,
) -> list[Sentence]:
    """The sentences of one reading."""
    found, time_s = [], 0.0
    for number, (text, sound, units) in zip(numbers, tqdm(pieces, voice), strict=True):
        heard = transcriber.transcribe(sound.samples, sound.sample_rate)
        errors, words = judges.word_errors(text, heard)
        power = sound.samples**2
        loud = power[power > 1e-3 * power.max()].mean()
        like = float(speakers.embed(sound.samples, sound.sample_rate) @ reference)
        found.append(
            Sentence(
                voice, number, time_s, words, 100 * errors / words, units / sound.duration_s,
                float(10 * np.log10(loud)), like,
            )
        )  # fmt: skip
        time_s += sound.duration_s
    return found


def slope(
    found: Sequence[Sentence], measure: str, resamples: int = 2000, seed: int = 0
) -> judges.Interval:
    """Change in ten minutes, whatever voice and sentence, with its 95 % interval."""
    numbers = np.array([s.number for s in found])
    voices = np.array([s.voice for s in found])
    means = np.concatenate([x[:, None] == np.unique(x) for x in (numbers, voices)], axis=1)
    both = [[s.time_s / 600, getattr(s, measure)] for s in found]
    around = np.array(both) - means @ np.linalg.lstsq(means.astype(float), both, rcond=None)[0]
    times, values = around.T
    # Of a sentence, all readings: they are not independent.
    own = np.unique(numbers)[:, None] == numbers
    products, squares = own @ (times * values), own @ times**2
    drawn = np.random.default_rng(seed).integers(0, len(own), (resamples, len(own)))
    draws = products[drawn].sum(axis=1) / squares[drawn].sum(axis=1)
    return judges.Interval(products.sum() / squares.sum(), *np.percentile(draws, [2.5, 97.5]))


def markdown(found: Sequence[Sentence]) -> str:
    """The table."""
    rows = [
        "| measure | first two minutes | last two minutes | change in ten minutes [95 %] |",
        "|---|--:|--:|--:|",
    ]
    last_s = max(s.time_s for s in found)
    for measure, name in MEASURES.items():
        first = np.mean([getattr(s, measure) for s in found if s.time_s < 120])
        last = np.mean([getattr(s, measure) for s in found if s.time_s > last_s - 120])
        rows.append(f"| {name} | {first:.2f} | {last:.2f} | {slope(found, measure).written(2)} |")
    words, errors = sum(s.words for s in found), sum(s.errors * s.words / 100 for s in found)
    rows += ["", f"{len(found)} sentences, {words} words, {100 * errors / words:.1f} % wrong."]
    return "\n".join(rows) + "\n"


def picture(found: Sequence[Sentence]) -> plt.Figure:
    """Every measure over time."""
    figure, axes = plt.subplots(2, 2, figsize=(10, 5.4), layout="constrained", sharex=True)
    for axis, (measure, name) in zip(axes.flat, MEASURES.items(), strict=True):
        for voice in dict.fromkeys(s.voice for s in found):
            own = [s for s in found if s.voice == voice]
            axis.plot(
                [s.time_s / 60 for s in own], [getattr(s, measure) for s in own], ".", label=voice
            )
        axis.set(ylabel=name)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0, 0].legend(frameon=False, fontsize=7)
    for axis in axes[1]:
        axis.set(xlabel="minutes")
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("experiments/results/long_form"))
    parser.add_argument("--weights", type=Path, help="folder (default: the repository's)")
    parser.add_argument("--corpora", type=Path, default=CORPORA)
    parser.add_argument("--asr", type=Path, default=JUDGES / "whisper-base")
    parser.add_argument("--speakers", type=Path, default=JUDGES / "resemblyzer" / "pretrained.pt")
    parser.add_argument("--minutes", type=float, default=10.0)
    args = parser.parse_args(arguments)
    folder, synth = args.corpora / "synthetic", voiceloom.load(args.weights)
    lines = readings.lines(folder, split="test", source="lj")
    lines += readings.lines(folder, split="val", source="lj")
    transcriber = judges.Transcriber(args.asr, cache=JUDGES / "cache")
    speakers = judges.SpeakerEncoder(args.speakers)
    clips = read_clips(args.corpora, "agent") + read_clips(args.corpora, "val")
    # The teacher's readings say about how long ours will be.
    ends_s = np.cumsum([line["seconds"] / line["speed"] for line in lines])
    texts = [line["text"].strip() for line in lines]
    texts = texts[: np.searchsorted(ends_s, 60 * args.minutes) + 1]
    found: list[Sentence] = []
    for seed, voice in enumerate(VOICES):
        numbers = np.roll(np.arange(len(texts)), -seed * len(texts) // len(VOICES)).tolist()
        chosen = [texts[number] for number in numbers]
        joined = " ".join(chosen)
        speech = synth.say(joined, voice, seed=seed)
        known = next(clip for clip in clips if clip.speaker == voice)
        heard = Waveform.load(known.compare_with)
        reference = speakers.embed(heard.samples, heard.sample_rate)
        pieces = cut(speech, chosen, joined)
        found += judge(pieces, numbers, voice, reference, transcriber, speakers)
    report.write(
        args.out, markdown(found), [sentence._asdict() for sentence in found], picture(found)
    )


if __name__ == "__main__":
    main()
