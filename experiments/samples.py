"""Twelve sentences in six voices, and what the instruments say of each.

    python -m experiments.samples

Writes `samples/`: an audio file and a picture (spectrogram, F0, phones) for every sentence, and a
README with what Whisper heard, the word errors, and the pitch. The sentences are in no training
set; the sixth voice is cloned from four seconds of a person whom the models have never heard.
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
from voiceloom import judges, pictures
from voiceloom.evaluate import JUDGES
from voiceloom.waveform import Chunk

CLONED = Path("notebooks/reference.ogg")
VOICES = ("af_heart", "bm_george", "am_michael", "bf_emma", "af_nicole", str(CLONED))
SENTENCES = (
    "Good morning! Your table for two is ready by the window.",
    "Did you leave the keys in the car, or are they still on the kitchen shelf?",
    "The train to Bristol leaves at 7:45, from platform nine.",
    "No, I said Thursday. The meeting is on Thursday afternoon, not on Tuesday.",
    "She opened the letter, read it twice, and laid it on the fire without a word.",
    "Your new balance is $1,250.60, and the next payment is due on March 3rd.",
    "When the storm had passed, the whole valley smelled of wet leaves and cold stone.",
    "Could you spell your last name for me, please?",
    "Take two eggs, a cup of flour, some butter, and a pinch of salt.",
    "What a wonderful surprise! I never thought you would come all this way.",
    "Although nobody had asked him, the old man explained how the clock worked.",
    "We can send the parcel today, but it will not arrive before the weekend.",
)


class Sample(NamedTuple):
    """A sentence, how it came out, and what was heard."""

    text: str
    voice: str
    speech: Chunk
    heard: str
    errors: judges.WordErrors
    pitch: judges.Pitch


def draw(sample: Sample, path: Path) -> None:
    """Spectrogram with the melody, and the phones, in one PNG."""
    with plt.rc_context(pictures.STYLE):
        figure, axes = plt.subplots(
            2, 1, figsize=(12, 4), sharex=True, layout="constrained",
            gridspec_kw={"height_ratios": [3, 1]},
        )  # fmt: skip
        pictures.spectrogram(axes[0], sample.speech)
        pictures.melody(axes[0], sample.pitch.times_s, sample.pitch.hz)
        pictures.phones(axes[1], sample.speech, sample.text)
        figure.savefig(path, dpi=70)
        plt.close(figure)


def line(number: int, sample: Sample) -> str:
    """A row of the table."""
    semitones = 12 * np.log2(sample.pitch.hz[sample.pitch.voiced])
    median, spread = 2 ** (np.median(semitones) / 12), np.std(semitones)
    voice = "cloned" if sample.voice == str(CLONED) else sample.voice
    heard = sample.heard.strip() if sample.errors.errors else "every word"
    return (
        f"| {number} | {sample.text} | {voice} | [listen]({number:02d}.mp3) "
        f"| {heard} | {sample.errors.errors} / {sample.errors.words} "
        f"| {median:.0f} Hz ± {spread:.1f} st | [picture]({number:02d}.png) |"
    )


def main(
    arguments: Sequence[str] | None = None,
    synth: voiceloom.Synthesizer | None = None,
    transcriber: judges.Transcriber | None = None,
) -> None:
    """Command line; models may be handed in."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("samples"))
    parser.add_argument("--voices", nargs="+", default=VOICES)
    parser.add_argument("--sentences", nargs="+", default=SENTENCES)
    parser.add_argument("--asr", type=Path, default=JUDGES / "whisper-base")
    args = parser.parse_args(arguments)
    synth = synth or voiceloom.load()
    transcriber = transcriber or judges.Transcriber(args.asr)

    args.out.mkdir(parents=True, exist_ok=True)
    lines, errors, words = [], 0, 0
    for i, text in enumerate(tqdm(args.sentences, "samples")):
        voice = args.voices[i % len(args.voices)]
        speech = synth.say(text, voice)
        heard = transcriber.transcribe(speech.samples, speech.sample_rate)
        found = judges.word_errors(text, heard)
        track = judges.pitch(speech.samples, speech.sample_rate)
        sample = Sample(text, voice, speech, heard, found, track)
        speech.save(args.out / f"{i + 1:02d}.mp3")
        draw(sample, args.out / f"{i + 1:02d}.png")
        lines.append(line(i + 1, sample))
        errors, words = errors + found.errors, words + found.words
    (args.out / "README.md").write_text(
        _PAGE.format(lines="\n".join(lines), errors=errors, words=words, asr=transcriber.name),
        encoding="utf-8",
    )


_PAGE = """# Samples

Said by the weights in this repository, first take, seed 0. "Heard" is what {asr} wrote down: it
missed {errors} of {words} words. Pitch is the median and the spread of F0. Voice *cloned* was taken
from four seconds of a [stranger](../notebooks/reference.ogg).
Made by `python -m experiments.samples`.

| | sentence | voice | | heard | word errors | pitch | |
|--:|---|---|---|---|--:|---|---|
{lines}
"""


if __name__ == "__main__":
    main()
