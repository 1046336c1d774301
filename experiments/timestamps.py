"""Are the times that come with every chunk right? The aligner listens to our own speech and says.

    python -m experiments.timestamps --out experiments/results/timestamps

The pointer's onsets (to half a frame, 40 ms) against those of the phone aligner (`lm.aligner`,
10 ms), which has never heard this model; and, as the floor, the aligner against the labels of the
corpus on the recordings of the same sentences.
"""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from tqdm import tqdm

import voiceloom
from experiments import readings, report
from experiments.readings import Reading
from lm import aligner
from lm.aligner_task import pauses
from voiceloom.aligner import Phones
from voiceloom.evaluate import CORPORA


def apart(reading: Reading, phones: Phones) -> Float[np.ndarray, " N"] | None:
    """Seconds by which the reading's onsets lie behind the aligner's; phones only, no pauses."""
    symbols = np.array(reading.symbols, np.int32)
    words = np.array(reading.words, np.int32)
    try:
        found = aligner.align(phones(reading.sound.samples), symbols, words, pauses(symbols))
    except aligner.AlignmentError:
        return None
    late = np.array(reading.onsets_s) - found.bounds_s[:-1]
    return late[~pauses(symbols)]


def first_of_words(reading: Reading) -> np.ndarray:
    """Which of the phones begin a word."""
    symbols, words = np.array(reading.symbols, np.int32), np.array(reading.words)
    words = words[~pauses(symbols)]
    return np.diff(words, prepend=-1) != 0


def gather(read: Iterable[Reading], phones: Phones) -> dict[str, list[float]]:
    """Distances of phone and of word onsets, seconds."""
    found: dict[str, list[float]] = {"phones": [], "words": []}
    for reading in read:
        late = apart(reading, phones)
        if late is not None:
            found["phones"] += late.tolist()
            found["words"] += late[first_of_words(reading)].tolist()
    return found


def markdown(found: dict[str, dict[str, list[float]]]) -> str:
    """The table."""
    rows = [
        "| onsets against the aligner's | onsets | late by, ms (median) | off by, ms (median) "
        "| 90 % | within 80 ms, % |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for name, kinds in found.items():
        for kind, late in kinds.items():
            ms = 1000 * np.array(late)
            off = np.abs(ms)
            rows.append(
                f"| {name}, {kind} | {len(ms)} | {np.median(ms):.0f} | {np.median(off):.0f} | "
                f"{np.percentile(off, 90):.0f} | {100 * np.mean(off <= 80):.0f} |"
            )
    return "\n".join(rows) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("experiments/results/timestamps"))
    parser.add_argument("--weights", type=Path, help="folder (default: the repository's)")
    parser.add_argument("--corpora", type=Path, default=CORPORA)
    parser.add_argument("--limit", type=int, help="sentences, for a quick look")
    args = parser.parse_args(arguments)
    folder, synth = args.corpora / "synthetic", voiceloom.load(args.weights)
    lines = readings.lines(folder, args.limit, split="val")
    lines = [line for line in lines if line["speaker"] in synth.voices]
    phones = Phones()
    found = {
        "recording and its labels": gather(
            (readings.of_corpus(line, folder) for line in tqdm(lines, "recordings")), phones
        ),
        "Voiceloom and its pointer": gather(
            (
                readings.of_speech(synth.say(line["text"], line["speaker"]))
                for line in tqdm(lines, "Voiceloom")
            ),
            phones,
        ),
    }
    report.write(args.out, markdown(found), found)


if __name__ == "__main__":
    main()
