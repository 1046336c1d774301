"""What waiting buys: word errors and melody against the words that the voice looks ahead.

    python -m experiments.lookahead --out experiments/results/lookahead

Every sentence is spoken with a look-ahead of 0, 1, 2 and 4 words and of the whole sentence, with
the same seeds. Word errors are Whisper's, paired with those of the whole sentence. Melody is the
correlation of the pitch of all voiced units with the teacher's reading of the same units, sentence
by sentence. A voice that looks k words ahead begins k + 1 words after the writer: at the 150 words
a minute of speech itself that is 0.4 s a word, at the pace of a language model much less.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import numpy as np
from jaxtyping import Float
from matplotlib import pyplot as plt
from tqdm import tqdm

import voiceloom
from experiments import readings, report
from experiments.readings import Reading
from voiceloom import judges
from voiceloom.evaluate import CORPORA, JUDGES

LOOKAHEADS = (0, 1, 2, 4, None)
LEAST = 8  # voiced units: fewer make no melody


def unit_pitch(reading: Reading) -> Float[np.ndarray, " U"]:
    """Mean pitch of every unit in semitones, NaN where none of it is voiced."""
    track = judges.pitch(reading.sound.samples, reading.sound.sample_rate)
    semitones = np.where(track.voiced, 12 * np.log2(np.maximum(track.hz, 1.0)), np.nan)
    edges = [*reading.onsets_s, reading.sound.duration_s]
    found = np.full(len(reading.onsets_s), np.nan)
    for u, (begin, end) in enumerate(zip(edges, edges[1:], strict=False)):
        inside = semitones[(track.times_s >= begin) & (track.times_s < end)]
        if np.isfinite(inside).any():
            found[u] = np.nanmean(inside)
    return found


def likeness(ours: Reading, teacher: Reading) -> float | None:
    """Correlation of the two melodies; None where they are not of the same units."""
    if ours.symbols != teacher.symbols:
        return None
    a, b = unit_pitch(ours), unit_pitch(teacher)
    both = np.isfinite(a) & np.isfinite(b)
    if both.sum() < LEAST or min(np.ptp(a[both]), np.ptp(b[both])) == 0:
        return None
    return float(np.corrcoef(a[both], b[both])[0, 1])


def measure(
    synth: voiceloom.Synthesizer,
    transcriber: judges.Transcriber,
    lines: Sequence[dict],
    folder: Path,
    seeds: int,
) -> dict[str, list[dict]]:
    """A row a sentence and seed, by look-ahead: errors, words, melody."""
    found: dict[str, list[dict]] = {}
    for lookahead in LOOKAHEADS:
        rows = found.setdefault("all" if lookahead is None else str(lookahead), [])
        for line in tqdm(lines, f"look-ahead {lookahead}"):
            for seed in range(seeds):
                chunk = synth.say(line["text"], line["speaker"], seed=seed, lookahead=lookahead)
                heard = transcriber.transcribe(chunk.samples, chunk.sample_rate)
                errors, words = judges.word_errors(line["text"], heard)
                melody = None
                if seed == 0:
                    teacher = readings.of_corpus(line, folder)
                    melody = likeness(readings.of_speech(chunk), teacher)
                rows.append({"errors": errors, "words": words, "melody": melody})
    return found


def markdown(found: dict[str, list[dict]]) -> str:
    """The table."""
    whole = found["all"]
    table = [
        "| words of look-ahead | word errors, % | over the whole sentence | melody |",
        "|---|--:|--:|--:|",
    ]
    for name, rows in found.items():
        words = [row["words"] for row in rows]
        errors = judges.bootstrap([row["errors"] for row in rows], words)
        over = judges.bootstrap(
            [row["errors"] - other["errors"] for row, other in zip(rows, whole, strict=True)], words
        )
        melody = judges.bootstrap([r["melody"] for r in rows if r["melody"] is not None])
        table.append(
            f"| {name} | {errors.written(1, 100)} | "
            f"{over.written(1, 100) if name != 'all' else ''} | {melody.written(2)} |"
        )
    count = sum(row["words"] for row in whole)
    return "\n".join([*table, "", f"{len(whole)} readings, {count} words each."]) + "\n"


def picture(found: dict[str, list[dict]]) -> plt.Figure:
    """Errors and melody over the look-ahead."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    at = np.arange(len(found))
    for axis, name, scale in zip(axes, ("word errors, %", "melody"), (100, 1), strict=True):
        if scale == 100:
            points = [
                judges.bootstrap([r["errors"] for r in rows], [r["words"] for r in rows])
                for rows in found.values()
            ]
        else:
            points = [
                judges.bootstrap([r["melody"] for r in rows if r["melody"] is not None])
                for rows in found.values()
            ]
        mean, low, high = (scale * np.array(values) for values in zip(*points, strict=True))
        axis.errorbar(at, mean, [mean - low, high - mean], fmt="o-", capsize=3)
        axis.set(xticks=at, xticklabels=list(found), xlabel="words of look-ahead", ylabel=name)
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("experiments/results/lookahead"))
    parser.add_argument("--weights", type=Path, help="folder (default: the repository's)")
    parser.add_argument("--corpora", type=Path, default=CORPORA)
    parser.add_argument("--asr", type=Path, default=JUDGES / "whisper-base")
    parser.add_argument("--seeds", type=int, default=2, help="readings of every sentence")
    parser.add_argument("--limit", type=int, help="sentences a set, for a quick look")
    args = parser.parse_args(arguments)
    folder, synth = args.corpora / "synthetic", voiceloom.load(args.weights)
    lines = readings.lines(folder, args.limit, split="val")
    lines += readings.lines(folder, args.limit, split="eval", source="agent")
    lines = [line for line in lines if line["speaker"] in synth.voices]
    transcriber = judges.Transcriber(args.asr, cache=JUDGES / "cache")
    found = measure(synth, transcriber, lines, folder, args.seeds)
    report.write(args.out, markdown(found), found, picture(found))


if __name__ == "__main__":
    main()
