r"""Whose voice is it? Speakers that were never trained on, each cloned from one clip.

    python -m experiments.cloning --out experiments/results/cloning \
        --also readers=runs/records/readers

For every test speaker: a voice from one clip, and in it the words of other clips (whisper-base
writes those of the crowd). The judge of speakers (GE2E, in no training loss) compares each, beside
it the clip itself and the same through the codec, with what the test speakers sound like: the mean
of further clips. Is the right speaker the nearest? (Two who are as alike as the clips of one count
as one: among the synthetic voices is a mixture that is nearly its main part.) And how much of the
distance between "somebody else" and "the same through the codec" is covered:

    (clone - others) / (resynthesis - others)

where each is a mean cosine: to the speaker, or to the other test speakers.

`--also` measures further people: the test split of any records (`data.prepare`).

Last, how often a recording of two people is noticed (`voiceloom.likeness`): halves of one clip, and
halves of two speakers' clips put together. That is left out with `--learn`, where the language
model learns each reference first (`voiceloom.learned`): it has nothing to do with clones.
"""

import argparse
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib

matplotlib.use("Agg")
import numpy as np
from jaxtyping import Float
from matplotlib import pyplot as plt
from tqdm import tqdm

import voiceloom
from data.audio import SAMPLE_RATE
from data.records import Reader, to_float
from experiments import learned, readings, report
from voiceloom import judges
from voiceloom.evaluate import CORPORA, JUDGES
from voiceloom.likeness import STRANGERS, cosine
from voiceloom.voice import VoiceError
from voiceloom.waveform import Waveform

SETS = {"synthetic": "synthetic", "human": "human/crowd"}
LEAST_S = 2.0  # shorter clips tell little of a voice
REFERENCE_S = (3.0, 10.0)
ALIKE = 0.95  # cosine of a recording to its own speaker: two speakers so alike are not distinct
KINDS = ("recording", "resynthesis", "clone")


class Clip(NamedTuple):
    """A test clip."""

    speaker: str
    seconds: float
    text: str | None
    accent: str
    load: Callable[[], Waveform]


def clips_of(folder: Path) -> Iterator[Clip]:
    """Those of a corpus with a manifest, or of records."""
    if (folder / "manifest.jsonl").exists():
        for line in readings.lines(folder, split="test"):
            load = functools.partial(Waveform.load, folder / line["audio"])
            accent = line.get("accent") or "us"
            yield Clip(line["speaker"], line["seconds"], line["text"], accent, load)
        return
    reader = Reader(folder, "test")
    for record in (reader[i] for i in range(len(reader))):
        sound = Waveform(to_float(record["samples"]), SAMPLE_RATE)
        accent, load = record["accent"] or "us", (lambda sound=sound: sound)
        yield Clip(record["speaker"], sound.duration_s, record["text"], accent, load)


def by_speaker(folder: Path) -> dict[str, list[Clip]]:
    """The test clips of every speaker who has a reference and clips to compare with."""
    found: dict[str, list[Clip]] = {}
    for clip in clips_of(folder):
        if clip.seconds >= LEAST_S:
            found.setdefault(clip.speaker, []).append(clip)
    for clips in found.values():  # the reference first: the longest of a usual length
        clips.sort(key=lambda x: -x.seconds if x.seconds <= REFERENCE_S[1] else 0.0)
    return {name: clips for name, clips in found.items() if len(clips) >= 3}


def score(
    embedded: Float[np.ndarray, "N E"], own: Sequence[int], voices: Float[np.ndarray, "S E"]
) -> tuple[list[float], list[float], list[bool]]:
    """Cosine to the own speaker, mean cosine to the others, whether the own one is nearest.

    Speakers who are `ALIKE` are one: not among each other's others, and either is the right one.
    """
    likeness = embedded @ voices.T
    rows = np.arange(len(own))
    same = (voices @ voices.T > ALIKE)[own]
    right = likeness[rows, own]
    others = np.mean(likeness, axis=1, where=~same)
    nearest = same[rows, likeness.argmax(axis=1)]
    return right.tolist(), others.tolist(), nearest.tolist()


def measure(
    synth: voiceloom.Synthesizer | learned.Learned,
    speakers: judges.SpeakerEncoder,
    folder: Path,
    transcriber: judges.Transcriber,
    each: int,
) -> dict[str, dict[str, list]]:
    """What the judge says of recordings, resyntheses and clones of a set's test speakers."""
    clips = by_speaker(folder)
    embed = lambda sound: speakers.embed(sound.samples, sound.sample_rate)  # noqa: E731
    heard = lambda sound: transcriber.transcribe(sound.samples, sound.sample_rate)  # noqa: E731
    voices, made = [], {kind: ([], [], []) for kind in KINDS}
    for number, (reference, *rest) in enumerate(tqdm(clips.values(), folder.name)):
        # The first half is what the speaker sounds like, the second is judged beside the clone.
        known = [embed(clip.load()) for clip in rest[: max(1, len(rest) // 2)][:8]]
        voices.append(np.mean(known, axis=0))
        how = {"text": reference.text} if isinstance(synth, learned.Learned) else {}
        voice = synth.voice(reference.load(), accent=reference.accent, **how)
        for i, clip in enumerate(rest[max(1, len(rest) // 2) :][:each]):
            sound = clip.load()
            text = clip.text or heard(sound)
            again, clone = synth.codec_roundtrip(sound.samples), synth.say(text, voice, seed=i)
            for kind, one in zip(KINDS, (sound, again, clone), strict=True):
                made[kind][0].append(embed(one))
                made[kind][1].append(number)
                made[kind][2].append(judges.word_errors(text, heard(one)))
    voices = np.array(voices)
    voices /= np.linalg.norm(voices, axis=1, keepdims=True)
    found = {}
    for kind, (embedded, own, wrong) in made.items():
        right, others, nearest = score(np.array(embedded), own, voices)
        errors, words = map(list, zip(*wrong, strict=True))
        found[kind] = {
            "own": right, "others": others, "nearest": nearest, "speaker": own,
            "errors": errors, "words": words,
        }  # fmt: skip
    return found


def halves(
    synth: voiceloom.Synthesizer, folder: Path, each: int, least_s: float = 4.0
) -> dict[str, list[float]]:
    """Likeness of the two halves of one speaker's clips, and of halves of different speakers'."""
    mean = np.mean([synth.voice(name).vector for name in synth.voices], axis=0)
    found = []
    for name, clips in by_speaker(folder).items():
        for clip in [x for x in clips if x.seconds >= least_s][:each]:
            sound = clip.load()
            parts = [Waveform(part, sound.sample_rate) for part in np.array_split(sound.samples, 2)]
            try:
                found.append((name, [synth.voice(part).vector for part in parts]))
            except VoiceError:  # nearly all of the speech is in the other half
                continue
    one = [cosine(*made, mean) for _, made in found]
    two = [
        cosine(a[0], b[1], mean)
        for (first, a), (second, b) in itertools.product(found, found)
        if first != second
    ]
    return {"one": one, "two": two}


def covered(found: dict[str, dict[str, list]], resamples: int = 2000) -> judges.Interval:
    """How much of the way from somebody else to the resynthesis a clone goes; over speakers."""
    speakers = np.unique(found["clone"]["speaker"])

    def of(chosen: np.ndarray) -> float:
        def mean(kind: str, field: str) -> float:
            values, own = np.array(found[kind][field]), np.array(found[kind]["speaker"])
            return float(np.mean([values[own == s].mean() for s in chosen]))

        others = mean("clone", "others")
        return (mean("clone", "own") - others) / (mean("resynthesis", "own") - others)

    rng = np.random.default_rng(0)
    draws = [of(rng.choice(speakers, len(speakers))) for _ in range(resamples)]
    return judges.Interval(of(speakers), *np.percentile(draws, [2.5, 97.5]))


def markdown(found: dict[str, dict[str, dict[str, list]]]) -> str:
    """The table."""
    rows = [
        "| test speakers | | clips | cosine to the speaker | to the others | right one nearest, % "
        "| covered | word errors, % |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for name, kinds in found.items():
        count = len(set(kinds["clone"]["speaker"]))
        for kind, values in kinds.items():
            own, others = judges.bootstrap(values["own"]), judges.bootstrap(values["others"])
            nearest = judges.bootstrap(values["nearest"])
            part = covered(kinds).written(2) if kind == "clone" else ""
            errors = judges.bootstrap(values["errors"], values["words"]).written(1, 100)
            rows.append(
                f"| {name}, {count} | {kind} | {len(values['own'])} | {own.written(2)} | "
                f"{others.written(2)} | {nearest.written(0, 100)} | {part} | {errors} |"
            )
    return "\n".join(rows) + "\n"


def noticed(parts: dict[str, dict[str, list[float]]]) -> str:
    """How often two people in a recording are noticed, and how often one is taken for two."""
    rows = ["", "| halves of a recording | of one speaker | doubted, % | of two | doubted, % |"]
    rows.append("|---|--:|--:|--:|--:|")
    for name, kinds in parts.items():
        told = (
            f"{len(kinds[kind])} | {100 * np.mean(np.array(kinds[kind]) < STRANGERS):.0f}"
            for kind in ("one", "two")
        )
        rows.append(f"| {name} | {' | '.join(told)} |")
    return "\n".join(rows) + "\n"


def picture(found: dict[str, dict[str, dict[str, list]]]) -> plt.Figure:
    """Where recordings, resyntheses and clones lie between the others and themselves."""
    figure, axes = plt.subplots(1, len(found), figsize=(10, 3), layout="constrained", squeeze=False)
    for axis, (name, kinds) in zip(axes[0], found.items(), strict=True):
        bins = np.linspace(0.3, 1, 36)
        for kind, values in kinds.items():
            axis.hist(values["own"], bins, histtype="step", density=True, label=kind)
        axis.hist(kinds["clone"]["others"], bins, color="0.85", density=True, label="others")
        axis.set(title=name, xlabel="cosine", yticks=[])
        axis.spines[["top", "right", "left"]].set_visible(False)
    axes[0][0].legend(frameon=False, fontsize=8)
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("experiments/results/cloning"))
    parser.add_argument("--weights", type=Path, help="folder (default: the repository's)")
    parser.add_argument("--corpora", type=Path, default=CORPORA)
    parser.add_argument("--speakers", type=Path, default=JUDGES / "resemblyzer" / "pretrained.pt")
    parser.add_argument("--asr", type=Path, default=JUDGES / "whisper-base")
    parser.add_argument(
        "--also", nargs="*", default=[], metavar="NAME=RECORDS", help="further people, by sets"
    )
    parser.add_argument("--each", type=int, default=8, help="clips a speaker, at most")
    parser.add_argument(
        "--learn", action="store_true", help="the model learns each reference first"
    )
    args = parser.parse_args(arguments)
    speakers = judges.SpeakerEncoder(args.speakers)
    transcriber = judges.Transcriber(args.asr, cache=JUDGES / "cache")
    folders = {name: args.corpora / corpus for name, corpus in SETS.items()}
    folders |= {name: Path(folder) for name, folder in (also.split("=", 1) for also in args.also)}
    plain = not args.learn
    synth = voiceloom.load(args.weights) if plain else learned.Learned(args.weights)
    found, parts = {}, {}
    for name, folder in folders.items():  # written set by set: each takes minutes
        found[name] = measure(synth, speakers, folder, transcriber, args.each)
        numbers, table = {"speakers": found}, markdown(found)
        if plain:
            parts[name] = halves(synth, folder, args.each)
            numbers, table = numbers | {"halves": parts}, table + noticed(parts)
        report.write(args.out, table, numbers, picture(found))


if __name__ == "__main__":
    main()
