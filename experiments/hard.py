"""Do hard sentences come apart? Each three times in each of the voices that the corpus has there.

    python -m experiments.hard --out experiments/results/hard

Repeats, tongue twisters, letters, one word alone: what an attention loses its place in. A reading
has failed if three or more words in a row are wrong (a repeat, a skip, babble) that Whisper has
right in the teacher's reading of the sentence; beside it the teacher's through the codec, and the
clearest of some takes by another recogniser than that judge (`voiceloom.takes`).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

import voiceloom
from experiments import readings, report
from voiceloom import judges
from voiceloom.evaluate import CORPORA, JUDGES
from voiceloom.waveform import Waveform

TAKES = 6
TIMES = 3  # each sentence is read in each voice: 160 readings cannot tell 5 from 8 %


def read(synth, transcriber: judges.Transcriber, folder: Path) -> list[dict]:
    """What is heard of every reading: the teacher's, it through the codec, and ours by voice."""
    lines = readings.lines(folder, split="eval", source="hard")
    voices = list(dict.fromkeys(line["speaker"] for line in lines))
    heard = lambda sound: transcriber.transcribe(sound.samples, sound.sample_rate)  # noqa: E731
    found = []
    drawn = [(voice, seed) for voice in voices for seed in range(TIMES)]
    for line in tqdm(lines, unit="sentence"):
        recording = Waveform.load(folder / line["audio"])
        found.append(
            {
                "text": line["text"],
                "recording": heard(recording),
                "resynthesis": heard(synth.codec_roundtrip(recording.samples)),
                "voiceloom": [
                    heard(synth.say(line["text"], voice, seed=seed)) for voice, seed in drawn
                ],
                "clearest": [
                    heard(synth.say(line["text"], voice, takes=TAKES, seed=seed))
                    for voice, seed in drawn
                ],
            }
        )
    return found


def judged(text: str, heard: str, recording: str) -> tuple[int, int, bool]:
    """Words wrong, words there are, and whether the reading failed beside the teacher's."""
    return *judges.word_errors(text, heard), judges.failed(text, heard, recording)


def markdown(found: Sequence[dict]) -> str:
    """The table: a line a sentence, and how many of all readings failed."""
    rows = [
        "| sentence | recording, words wrong | resynthesis | failed | ours, mean | failed "
        f"| clearest of {TAKES} | failed |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    kinds: dict[str, list[tuple]] = {
        "recording": [], "resynthesis": [], "voiceloom": [], f"clearest of {TAKES}": []
    }  # fmt: skip
    for line in found:
        text, recording = line["text"], line["recording"]
        own, clearest = (
            [judged(text, heard, recording) for heard in line[kind]]
            for kind in ("voiceloom", "clearest")
        )
        recorded = judged(text, recording, recording)
        again = judged(text, line["resynthesis"], recording)
        for kind, values in zip(kinds, ([recorded], [again], own, clearest), strict=True):
            kinds[kind] += values
        cells = [text, f"{recorded[0]} of {recorded[1]}", again[0], int(again[2])]
        for values in (own, clearest):
            cells.append(f"{sum(v[0] for v in values) / len(values):.1f}")
            cells.append(f"{sum(v[2] for v in values)} of {len(values)}")
        rows.append(f"| {' | '.join(map(str, cells))} |")
    rows += ["", "| | readings | words wrong, % | failed, % |", "|---|--:|--:|--:|"]
    for kind, values in kinds.items():
        errors, words, failed = (list(column) for column in zip(*values, strict=True))
        rows.append(
            f"| {kind} | {len(values)} | {judges.bootstrap(errors, words).written(1, 100)} | "
            f"{judges.bootstrap(failed).written(1, 100)} |"
        )
    return "\n".join(rows) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("experiments/results/hard"))
    parser.add_argument("--weights", type=Path, help="folder (default: the repository's)")
    parser.add_argument("--corpora", type=Path, default=CORPORA)
    parser.add_argument("--asr", type=Path, default=JUDGES / "whisper-base")
    args = parser.parse_args(arguments)
    transcriber = judges.Transcriber(args.asr, cache=JUDGES / "cache")
    found = read(voiceloom.load(args.weights), transcriber, args.corpora / "synthetic")
    report.write(args.out, markdown(found), found)


if __name__ == "__main__":
    main()
