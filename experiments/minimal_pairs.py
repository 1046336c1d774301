"""Does the melody follow the sentence? The same words with another mark, and what is heard of it.

    python -m experiments.minimal_pairs --out experiments/results/minimal_pairs

Three questions, answered from the sound (pitch by probabilistic YIN, silence by energy), the
recordings of the teacher beside us:

* Marks: 24 statements of the held-out set, read in 8 voices with `.`, `?`, `,` and `!`, each four
  times. How much higher does the other reading end, and is that more than chance (sign-flip
  permutation test over the statements)?
* Pauses: where a comma stands, and between words where none does, is there a silence of 80 ms?
* Controls: what is asked of rate, pitch, range, break and emphasis, and what is got.

The teacher's questions are the corpus' own: edited by overlap-add to end high (see its README);
unedited it ends higher in 33 % of the pairs.
"""

import argparse
import functools
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import numpy as np
from jaxtyping import Float
from matplotlib import pyplot as plt
from tqdm import tqdm

import voiceloom
from data import audio
from experiments import readings, report
from experiments.readings import Reading, of_corpus, of_speech
from voiceloom import judges
from voiceloom.evaluate import CORPORA
from voiceloom.waveform import Chunk, Waveform

MARKS = (".", "?", ",", "!")
READINGS = 4  # of every statement: of one, the interval is 34 points wide
HIGHER_ST = 1.5  # what a listener takes for a rise
PAUSE_S = 0.08
END_S = 0.1  # of voiced speech at the end
NEAR_S = 0.1  # a silence belongs to a seam if it comes so near to it
COMMA = 1  # boundary class
LEAST = 20  # voiced frames of 10 ms: less is no melody (one voice whispers)


# ---- what is measured -------------------------------------------------------------------------


def final_pitch(sound: Waveform) -> float | None:
    """Median pitch of the last voiced 100 ms, in semitones; None if less is voiced."""
    track = judges.pitch(sound.samples, sound.sample_rate)
    voiced = 12 * np.log2(track.hz[track.voiced])
    count = round(END_S / 0.01)
    return float(np.median(voiced[-count:])) if len(voiced) >= count else None


def silences(sound: Waveform) -> list[tuple[float, float]]:
    """Begin and end of every silence inside the speech, seconds."""
    spans = audio.sounding(sound.samples, sound.sample_rate)
    rate = sound.sample_rate
    return [(a.stop / rate, b.start / rate) for a, b in zip(spans, spans[1:], strict=False)]


def pause_at(seam_s: tuple[float, float], found: Iterable[tuple[float, float]]) -> float:
    """The longest silence that comes near a seam, seconds; 0 for none."""
    begin, end = seam_s[0] - NEAR_S, seam_s[1] + NEAR_S
    return max((b - a for a, b in found if a < end and b > begin), default=0.0)


def seams(reading: Reading) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """Where commas stand inside the sentence, and the seams of words without any mark."""
    commas, plain = [], []
    last = len(reading.kinds) - 1
    for u in range(1, last):
        if reading.kinds[u] == COMMA:
            commas.append((reading.onsets_s[u], reading.onsets_s[u + 1]))
        elif not reading.kinds[u] and not reading.kinds[u - 1]:
            if reading.words[u] != reading.words[u - 1]:
                plain.append((reading.onsets_s[u], reading.onsets_s[u]))
    return commas, plain


def sign_flip(differences: Sequence[float], draws: int = 20_000, seed: int = 0) -> float:
    """How often chance alone makes a mean as far from zero: two-sided permutation test."""
    values = np.asarray(differences)
    signs = np.random.default_rng(seed).choice((-1, 1), (draws, len(values)))
    means = np.abs((signs * values).mean(axis=1))
    return float((1 + (means >= abs(values.mean()) - 1e-12).sum()) / (1 + draws))


# ---- the three questions ----------------------------------------------------------------------


def marks(
    lines: Sequence[dict], read: Callable[[str, str, int], Waveform]
) -> dict[str, list[list[float]]]:
    """Semitones by which each reading ends above the statement, per mark; pairs that can be told.

    Args:
        lines: Statements of the held-out set.
        read: Text, speaker and seed to sound.

    Returns:
        By mark, for every statement the pairs of its READINGS.
    """
    above: dict[str, list[list[float]]] = {mark: [] for mark in MARKS[1:]}
    for line in tqdm(lines, "marks"):
        words, pairs = line["text"].rstrip("."), {mark: [] for mark in above}
        for seed in range(READINGS):
            ends = {mark: final_pitch(read(words + mark, line["speaker"], seed)) for mark in MARKS}
            for mark, found in pairs.items():
                if ends["."] is not None and ends[mark] is not None:
                    found.append(ends[mark] - ends["."])
        for mark, found in pairs.items():
            if found:
                above[mark].append(found)
    return above


def teacher_marks(statements: Sequence[dict], questions: Sequence[dict], folder: Path):
    """As `marks`, of the recordings: there are questions only."""
    asked = {(_words(q["text"]), q["speaker"]): q for q in questions}
    above = []
    for line in tqdm(statements, "teacher"):
        question = asked.get((_words(line["text"]), line["speaker"]))
        ends = [
            final_pitch(Waveform.load(folder / one["audio"])) for one in (line, question) if one
        ]
        if len(ends) == 2 and None not in ends:
            above.append([ends[1] - ends[0]])
    return {"?": above}


def pauses(read: Iterable[Reading]) -> dict[str, list[float]]:
    """Silence at commas and at seams without a mark, seconds."""
    found: dict[str, list[float]] = {"comma": [], "none": []}
    for reading in read:
        still = silences(reading.sound)
        for name, places in zip(found, seams(reading), strict=True):
            found[name] += [pause_at(place, still) for place in places]
    return found


def controls(synth: voiceloom.Synthesizer, lines: Sequence[dict]) -> list[tuple[str, str, list]]:
    """What is asked for, of what, and what is got: (control, asked, ratios or differences)."""

    def melody(sound: Waveform) -> Float[np.ndarray, " T"]:
        track = judges.pitch(sound.samples, sound.sample_rate)
        return 12 * np.log2(track.hz[track.voiced])

    def say(line: dict, text: str | None = None, **how) -> Chunk:
        return synth.say(text or line["text"], line["speaker"], **how)

    plain = [say(line) for line in lines]
    melodies = [melody(one) for one in plain]

    def compared(what: Callable, **how) -> list[float]:
        """`what` of every steered melody and its plain one, where there is enough of both."""
        steered = [melody(say(line, **how)) for line in lines]
        pairs = zip(steered, melodies, strict=True)
        return [what(a, b) for a, b in pairs if min(len(a), len(b)) >= LEAST]

    rows = []
    for rate in (0.8, 1.25):
        got = [
            p.duration_s / say(line, rate=rate).duration_s
            for line, p in zip(lines, plain, strict=True)
        ]
        rows.append(("rate, times as fast", f"{rate}", got))
    for shift in (-2.0, 2.0):
        got = compared(lambda a, b: float(np.median(a) - np.median(b)), pitch=shift)
        rows.append(("pitch, semitones", f"{shift:+g}", got))
    for factor in (0.5, 1.5):
        got = compared(lambda a, b: _spread(a) / _spread(b), pitch_range=factor)
        rows.append(("range, times as wide", f"{factor}", got))
    got = []
    for line in lines:
        first, rest = line["text"].split(" ", 1)
        chunk = say(line, f'{first} <break time="500ms"/> {rest}')
        got.append(max((b - a for a, b in silences(chunk)), default=0.0))
    rows.append(("break, seconds", "0.5", got))
    higher, longer = [], []
    for line, one in zip(lines, plain, strict=True):
        words = line["text"].rstrip(".").split(" ")
        place = int(np.argmax([len(word) for word in words]))
        marked = [*words]
        marked[place] = f"<emphasis>{words[place]}</emphasis>"
        loud = say(line, " ".join(marked) + ".")
        before, after = (_of_word(chunk, place) for chunk in (one, loud))
        if before and after:
            higher.append(after[0] - before[0])
            longer.append(after[1] / before[1])
    rows.append(("emphasis, semitones at the word's peak", "2", higher))
    rows.append(("emphasis, times as long", "1.15", longer))
    return rows


def _of_word(chunk: Chunk, word: int) -> tuple[float, float] | None:
    """Highest pitch (semitones) and length (seconds) of a word; None where nothing is voiced."""
    begin = next(o.time_s for o in chunk.onsets if o.word == word)
    after = (
        o.time_s for o in chunk.onsets if o.word > word or (o.word == word and o.symbol == ".")
    )
    end = next(after, chunk.duration_s)
    track = judges.pitch(chunk.samples, chunk.sample_rate)
    inside = track.voiced & (track.times_s >= begin) & (track.times_s < end)
    if inside.sum() < 5:
        return None
    return float(np.percentile(12 * np.log2(track.hz[inside]), 90)), end - begin


def _spread(semitones: Float[np.ndarray, " T"]) -> float:
    """Between the tenth and the ninetieth percentile: octave errors do not count."""
    return float(np.subtract(*np.percentile(semitones, [90, 10])))


def _words(text: str) -> str:
    return re.sub(r"[^a-z' ]", "", text.lower())


# ---- table and picture ------------------------------------------------------------------------


def markdown(found: dict) -> str:
    """The three tables."""
    rows = [
        f"| ends higher than with a full stop | pairs | by {HIGHER_ST} st or more, % | semitones "
        "| p |",
        "|---|--:|--:|--:|--:|",
    ]
    for name, by_mark in found["marks"].items():
        for mark, above in by_mark.items():
            if above:
                # Over statements: the readings of one are no further evidence of the others.
                share = judges.bootstrap([np.mean(np.array(own) >= HIGHER_ST) for own in above])
                means = [float(np.mean(own)) for own in above]
                rows.append(
                    f"| {name}, `{mark}` | {sum(map(len, above))} | {share.written(0, 100)} | "
                    f"{judges.bootstrap(means).written(1)} | {sign_flip(means):.4f} |"
                )
    rows += [
        "",
        f"| a silence of {1000 * PAUSE_S:.0f} ms or more | places | share, % | median, ms |",
        "|---|--:|--:|--:|",
    ]
    for name, by_place in found["pauses"].items():
        for place, label in (("comma", "at a comma"), ("none", "between words without a mark")):
            held = by_place[place]
            share = judges.bootstrap([x >= PAUSE_S for x in held])
            rows.append(
                f"| {name}, {label} | {len(held)} | {share.written(0, 100)} | "
                f"{1000 * np.median(held):.0f} |"
            )
    rows += ["", "| control | asked | got |", "|---|--:|--:|"]
    for control, asked, got in found["controls"]:
        rows.append(f"| {control} | {asked} | {judges.bootstrap(got).written(2)} |")
    return "\n".join(rows) + "\n"


def picture(found: dict) -> plt.Figure:
    """Left: how much higher questions end; right: how long the silences are."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
    for name, by_mark in found["marks"].items():
        for mark, above in by_mark.items():
            if above:
                pairs = np.sort(np.concatenate(above))
                left.plot(pairs, np.linspace(0, 1, len(pairs)), label=f"{name} {mark}")
    left.axvline(HIGHER_ST, color="0.7", zorder=0)
    left.set(xlabel="ends higher than with a full stop, semitones", ylabel="share of pairs")
    for name, by_place in found["pauses"].items():
        for place, style in (("comma", "-"), ("none", ":")):
            held = np.sort(by_place[place])
            right.plot(1000 * held, np.linspace(0, 1, len(held)), style, label=f"{name}, {place}")
    right.axvline(1000 * PAUSE_S, color="0.7", zorder=0)
    right.set(xlabel="silence, ms", ylabel="share of places", xlim=(0, 600))
    for axis in (left, right):
        axis.legend(frameon=False, fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("experiments/results/minimal_pairs"))
    parser.add_argument("--weights", type=Path, help="folder (default: the repository's)")
    parser.add_argument("--corpora", type=Path, default=CORPORA)
    parser.add_argument("--limit", type=int, help="pairs and sentences, for a quick look")
    args = parser.parse_args(arguments)
    folder = args.corpora / "synthetic"
    of = functools.partial(readings.lines, folder, args.limit)
    statements = of(split="eval", source="statement")
    questions = of(split="eval", source="question")
    read = of(split="val") + of(split="eval", source="agent")

    synth = voiceloom.load(args.weights)

    def say(text: str, speaker: str, seed: int = 0) -> Chunk:
        return synth.say(text, speaker, seed=seed)

    ours = [line for line in read if line["speaker"] in synth.voices]
    found = {
        "marks": {
            "teacher": teacher_marks(statements, questions, folder),
            "Voiceloom": marks(statements, say),
        },
        "pauses": {
            "teacher": pauses(of_corpus(line, folder) for line in tqdm(ours, "pauses")),
            "Voiceloom": pauses(
                of_speech(say(line["text"], line["speaker"])) for line in tqdm(ours, "pauses")
            ),
        },
        "controls": controls(synth, statements),
    }
    report.write(args.out, markdown(found), found, picture(found))


if __name__ == "__main__":
    main()
