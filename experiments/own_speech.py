"""Our own speech as code records: what the speaker and the listening language model learn from.

    python -m experiments.own_speech runs/codes/own --people runs/records/people runs/records/libri
    python -m experiments.own_speech runs/codes/twisters --clips 500 --hard 1.0

Texts of the training split and sentences of `experiments.twisters`, in the voices of the release
and in such as are cloned from training people. Where a sound was written that the text does not ask
for, only these show a decoder whom to believe (`experiments.codec_told`); and where chains of one
sound come from is nowhere but here (`experiments.lm_heard`). None of the test sentences is among
them.
"""

import argparse
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tqdm

import voiceloom
from data import prosody, records
from data.audio import SAMPLE_RATE
from experiments import readings, tokenise, twisters
from voiceloom.evaluate import CORPORA
from voiceloom.synthesizer import Synthesizer
from voiceloom.voice import Voice, VoiceError
from voiceloom.waveform import Waveform

LONGEST = 160  # characters; a crop hears 1.28 s of it
HARD, SHORT = 0.4, 0.1  # of the texts, twisters; and of the others, their first word alone
CLONED = 0.3  # of the voices, where there are people to clone
REFERENCE_S = (3.5, 12.0)


def texts(corpus: Path, count: int, hard: float, draw: random.Random) -> list[str]:
    """Texts to say, drawn from both sources."""
    lines = readings.lines(corpus, split="train")
    plain = sorted({line["text"] for line in lines if len(line["text"]) < LONGEST})
    chains = [text for _, text in twisters.sentences(count, draw.randrange(10**6))]
    return [
        draw.choice(chains) if draw.random() < hard else _short(draw.choice(plain), draw)
        for _ in range(count)
    ]


def _short(text: str, draw: random.Random) -> str:
    """The text, now and then its first word alone."""
    first = text.split()[0].strip(",.;:!?")
    return first + draw.choice(".?!") if draw.random() < SHORT else text


def voices(synth: Synthesizer, people: Sequence[Path], draw: random.Random) -> Callable[[], Voice]:
    """Draws voices of the release, and clones of the training speakers of these records."""
    clips: dict[str, list] = {}
    for reader in (records.Reader(folder, "train") for folder in people):
        for i, line in enumerate(reader.index):
            if REFERENCE_S[0] <= line["seconds"] <= REFERENCE_S[1]:
                clips.setdefault(line["speaker"], []).append((reader, i))

    def drawn() -> Voice:
        while clips and draw.random() < CLONED:
            name = draw.choice(sorted(clips))
            reader, i = draw.choice(clips[name])
            sound = Waveform(records.to_float(reader[i]["samples"]), SAMPLE_RATE)
            try:
                return synth.voice(sound).renamed(name)
            except VoiceError:  # hardly anything is said in it
                continue
        return synth.voice(draw.choice(synth.voices))

    return drawn


def said(synth: Synthesizer, text: str, voice: Voice, seed: int) -> dict:
    """The code record of a text that has been said.

    Raises:
        ValueError: Sentence by sentence the text is read otherwise than as a whole.
    """
    chunk = synth.say(text, voice=voice, seed=seed)
    reading, units = readings.of_speech(chunk), synth.front_end(voice.accent)(text)
    if reading.symbols != tuple(units.symbol):
        raise ValueError(f"{text!r}: its sentences, read one by one, have other phones")
    count, frame_s = len(chunk.codes), synth.engine.frame_s
    melody = prosody.measure(chunk.samples, chunk.sample_rate, 1 / frame_s, count, prosody.yin)
    return {
        "id": f"{voice.name}/{seed}",
        "speaker": voice.name,
        "language": "en",
        "text": text,
        "codes": np.asarray(chunk.codes, np.uint16),
        "symbol": np.asarray(units.symbol),
        "stress": np.asarray(units.stress),
        "word": np.asarray(units.word),
        "bounds_s": np.append(reading.onsets_s, count * frame_s),
        **melody._asdict(),
    }


def main() -> None:
    """Says what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder of code records to write")
    parser.add_argument("--clips", type=int, default=2_500)
    parser.add_argument("--hard", type=float, default=HARD, help="share of the texts, twisters")
    parser.add_argument("--people", type=Path, nargs="*", default=[], help="records to clone from")
    parser.add_argument("--weights", type=Path, help="folder (default: the repository's)")
    parser.add_argument("--corpora", type=Path, default=CORPORA)
    args = parser.parse_args()
    synth, draw = voiceloom.load(args.weights), random.Random(0)
    voice = voices(synth, args.people, draw)
    with records.Writer(args.out, "train") as writer:
        writer.facts = tokenise.about(synth.engine.codec)
        wanted = texts(args.corpora / "synthetic", args.clips, args.hard, draw)
        for seed, text in enumerate(tqdm.tqdm(wanted, unit="clip")):
            writer.write(said(synth, text, voice(), seed) | writer.facts)


if __name__ == "__main__":
    main()
