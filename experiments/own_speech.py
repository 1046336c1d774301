"""Our own speech as code records: codes, and what each frame says by the pointer that wrote them.

    python -m experiments.own_speech runs/codes/own --clips 1800

What the decoder is trained on beside recordings (`experiments.codec_told`): texts of the training
split and sentences of `experiments.twisters`, in the voices of the release. Where a sound was
written that the text does not ask for, only these show the decoder whom to believe. None of the
test sentences is among them.
"""

import argparse
import random
from pathlib import Path

import numpy as np
import tqdm

import voiceloom
from data import records
from experiments import readings, tokenise, twisters
from voiceloom.evaluate import CORPORA
from voiceloom.synthesizer import Synthesizer

LONGEST = 160  # characters; a crop hears 1.28 s of it
HARD, SHORT = 0.4, 0.1  # of the texts, twisters; and of all of them, their first word alone


def texts(corpus: Path, count: int, draw: random.Random) -> list[str]:
    """Texts to say, drawn from both sources."""
    lines = readings.lines(corpus, split="train")
    plain = sorted({line["text"] for line in lines if len(line["text"]) < LONGEST})
    hard = [text for _, text in twisters.sentences(count, draw.randrange(10**6))]
    found = [draw.choice(hard if draw.random() < HARD else plain) for _ in range(count)]
    return [
        text.split()[0].strip(",.;:!?") + draw.choice(".?!") if draw.random() < SHORT else text
        for text in found
    ]


def said(synth: Synthesizer, text: str, voice: str, seed: int) -> dict:
    """The code record of a text that has been said."""
    chunk = synth.say(text, voice=voice, seed=seed)
    reading = readings.of_speech(chunk)
    return {
        "id": f"{voice}/{seed}",
        "speaker": voice,
        "language": "en",
        "text": text,
        "codes": np.asarray(chunk.codes, np.uint16),
        "symbol": np.array(reading.symbols, np.int32),
        "bounds_s": np.append(reading.onsets_s, len(chunk.codes) * synth.engine.frame_s),
    }


def main() -> None:
    """Says what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder of code records to write")
    parser.add_argument("--clips", type=int, default=1_800)
    parser.add_argument("--weights", type=Path, help="folder (default: the repository's)")
    parser.add_argument("--corpora", type=Path, default=CORPORA)
    args = parser.parse_args()
    synth, draw = voiceloom.load(args.weights), random.Random(0)
    with records.Writer(args.out, "train") as writer:
        writer.facts = tokenise.about(synth.engine.codec)
        wanted = texts(args.corpora / "synthetic", args.clips, draw)
        for seed, text in enumerate(tqdm.tqdm(wanted, unit="clip")):
            record = said(synth, text, draw.choice(synth.voices), seed)
            writer.write(record | writer.facts)


if __name__ == "__main__":
    main()
