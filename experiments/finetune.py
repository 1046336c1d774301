r"""A folder of recordings becomes a voice: one command, with figures before and after.

    python -m experiments.finetune my_recordings --name anna --format folder
    voiceloom say "Hello." --weights runs/finetune/anna/weights --voice anna

With a text to every recording (`NAME.txt` beside it, or any layout of `data.prepare`) the clips are
aligned, tokenised, and the released language model learns from them for some hundred steps at a
low rate. The voice encoder stays as it is, so every other voice is still there. Every tenth clip is
held out; on these stand word errors and likeness before and after, if the judges are at hand
(`python -m experiments.get_judges`). Without texts nothing can be learned of how the speaker reads,
but all recordings together make a better voice than one does; `--transcribe` writes the texts of
English ones.

Each stage leaves a folder in `runs/finetune/NAME` and is not done twice: a run that was killed goes
on where it was.
"""

import argparse
import dataclasses
import shutil
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import ml_collections
from tqdm import tqdm

import voiceloom
from data import records
from data.audio import SAMPLE_RATE
from data.prepare import prepare
from data.records import Reader, Writer, read_meta, to_float
from data.text import TextError
from experiments import lm_base, report
from experiments.align import align_record
from experiments.tokenise import about, coded
from experiments.train import train
from lm.aligner import AlignmentError
from lm.task import LMTask
from voiceloom import judges, prompt, weights
from voiceloom.aligner import MIN_SCORE, Phones
from voiceloom.engine import Engine, mean_voice
from voiceloom.evaluate import JUDGES
from voiceloom.export import load_ema, run_config
from voiceloom.library import Library
from voiceloom.likeness import SENTENCE
from voiceloom.speech_codec import load_codec
from voiceloom.voice import Voice
from voiceloom.waveform import Waveform

HELD_OUT = 10  # every so many clips
FOREIGN_SCORE = -5.2  # the aligner has learned English: German scores -4.3, nonsense -5.7
LEAST = 5  # clips with text that alignment must leave


def tokenise(source: Path, out: Path, codec_folder: Path, name: str, min_score: float) -> str:
    """Code records of all clips, with their times where they have a text; says what was left out.

    Every tenth clip, by its id, goes to the split `val`.
    """
    codec, phones, left_out = load_codec(codec_folder, entropy=False), Phones(), []
    rows: dict[str, list] = {"train": [], "val": []}
    reader = Reader(source, "train")
    for i in tqdm(range(len(reader)), "tokenise", unit="clip"):
        record = reader[i] | {"speaker": name}
        if record["text"]:
            try:
                record, found = align_record(record, phones)
            except (TextError, AlignmentError) as error:
                left_out.append(f"{record['id']}: {error}")
                continue
            if found.score < min_score:
                left_out.append(f"{record['id']}: its text is not what is said ({found.score:.1f})")
                continue
        held = zlib.crc32(record["id"].encode()) % HELD_OUT == 0
        samples = to_float(record["samples"])
        rows["val" if held else "train"].append(coded(record | {"samples": samples}, codec))
    for split, made in rows.items():
        with Writer(out, split) as writer:
            writer.facts = about(codec)
            for row in made:
                writer.write(row)
    return f"{sum(map(len, rows.values()))} clips, {len(left_out)} left out" + "".join(
        f"\n  {reason}" for reason in left_out[:10]
    )


def config_of(
    release: Path, codes: Path, also: Sequence[Path], steps: int
) -> ml_collections.ConfigDict:
    """The config of a fine-tuning run: the released model, a low rate, the voice encoder frozen."""
    config = lm_base.get_config()
    model = dataclasses.asdict(weights.load_lm(release).config)
    with config.unlocked():
        config.model = ml_collections.ConfigDict(model)
        config.init_from = str(release)
        config.frozen = ("voice",)
    config.codec = str(release)
    config.steps, config.ema_decay = steps, 0.98
    config.optimizer.update(learning_rate=2e-4, warmup=20, decay=0.7)
    config.data.train = (str(codes), *map(str, also))
    config.data.held_out = (str(codes),)
    config.every = dict(log=10, checkpoint=50, evaluate=100)
    config.evaluation_batches = 1
    return config


def voice_of(release: Path, codes: Path, name: str, accent: str, clips: int | None = None) -> Voice:
    """The voice of the longest `clips` training clips together, by default of all."""
    loaded, reader = weights.load(release), Reader(codes, "train")
    engine = Engine(loaded)
    order = sorted(range(len(reader)), key=lambda i: -reader.index[i]["seconds"])
    vectors = [engine.encode_voice(reader[i]["codes"]) for i in order[:clips]]
    return Voice(name, mean_voice(vectors), accent, loaded.lm.hash)


def heard(voice: Voice, release: Path, source: Path, codes: Path) -> Voice:
    """`voice` with the longest training clip that the model can remember as its prompt."""
    synth = voiceloom.load(release, warm=False)
    longest_s = prompt.FRAMES * synth.engine.frame_s
    index = [line for line in Reader(codes, "train").index if line["seconds"] <= longest_s]
    if not index:
        return voice
    best = max(index, key=lambda line: line["seconds"])["id"]
    reader = Reader(source, "train")
    (record,) = (reader[i] for i, line in enumerate(reader.index) if line["id"] == best)
    reference = Waveform(to_float(record["samples"]), SAMPLE_RATE)
    return dataclasses.replace(voice, prompt=synth.voice(reference).prompt)


def learn(
    release: Path, codes: Path, also: Sequence[Path], steps: int, folder: Path, voice: Voice
) -> Path:
    """Fine-tunes the released model; returns a release with all its voices and `voice`."""
    run, tuned = folder / "run", folder / "weights"
    train(config_of(release, codes, also, steps), run)
    step, params = load_ema(run, LMTask(run_config(run)))
    released = weights.load(release)
    made = released._replace(lm=released.lm._replace(params=params))
    weights.save_tuned(release, tuned, made, voice, f"fine-tuned, step {step}")
    return tuned


def figures(
    say: Callable[[str, Waveform], Waveform], source: Path, codes: Path, panel: tuple
) -> dict[str, list[float]]:
    """On the held-out clips: word errors, words, and likeness to their recordings.

    `say` is given the text and the recording.
    """
    transcriber, speakers = panel
    held = {line["id"] for line in Reader(codes, "val").index}
    reader = Reader(source, "train")
    found: dict[str, list[float]] = {"errors": [], "words": [], "likeness": []}
    for i in tqdm([i for i, x in enumerate(reader.index) if x["id"] in held], "figures"):
        record = reader[i]
        text = record["text"] or SENTENCE
        recording = Waveform(to_float(record["samples"]), SAMPLE_RATE)
        said = say(text, recording)
        heard = transcriber.transcribe(said.samples, said.sample_rate)
        errors, words = judges.word_errors(text, heard)
        own, like = (speakers.embed(s.samples, s.sample_rate) for s in (recording, said))
        found["errors"].append(errors)
        found["words"].append(words)
        found["likeness"].append(float(own @ like))
    return found


def markdown(found: dict[str, dict[str, list[float]]]) -> str:
    """The table."""
    rows = ["| | held-out clips | word errors, % | voice, cosine |", "|---|--:|--:|--:|"]
    for name, values in found.items():
        errors = judges.bootstrap(values["errors"], values["words"])
        likeness = judges.bootstrap(values["likeness"])
        count = len(values["errors"])
        rows.append(f"| {name} | {count} | {errors.written(1, 100)} | {likeness.written(2)} |")
    return "\n".join(rows) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Makes a voice of what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="folder of recordings of one person")
    parser.add_argument("--name", required=True, help="of the voice")
    parser.add_argument("--format", default="folder", help="layout, as data.prepare's (folder)")
    parser.add_argument("--language", default="en", help="en, de, ...: how texts are read")
    parser.add_argument("--accent", default="us", help="us or gb, of English")
    parser.add_argument("--transcribe", action="store_true", help="write texts where none are")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--also", type=Path, nargs="*", default=[], help="codes to learn beside")
    parser.add_argument("--release", type=Path, default=weights.DEFAULT)
    parser.add_argument("--runs", type=Path, default=Path("runs/finetune"))
    parser.add_argument("--judges", type=Path, default=JUDGES)
    args = parser.parse_args(arguments)
    english = args.language == "en"
    folder = args.runs / args.name
    source, codes = folder / "records", folder / "codes"
    prepare(
        args.source, args.format, source, split="train", language=args.language,
        accent=args.accent if english else "", transcribe=args.transcribe,
    )  # fmt: skip
    if set(read_meta(codes)["splits"]) != {"train", "val"}:
        shutil.rmtree(codes, ignore_errors=True)
        score = MIN_SCORE if english else FOREIGN_SCORE
        print(tokenise(source, codes, args.release, args.name, score))
    reader = Reader(codes, "train")
    timed = sum(reader[i].get("bounds_s") is not None for i in range(len(reader)))
    if timed < LEAST and (timed or not len(reader)):
        shutil.rmtree(codes)
        raise records.RecordError(
            f"{args.source}: {timed} clips whose text is what is said, and {LEAST} are the least "
            "to learn from; check texts and --language, or take the texts away"
        )
    accent = args.accent if english else args.language
    whole = voice_of(args.release, codes, args.name, accent)
    voice = heard(whole, args.release, source, codes)
    one = dataclasses.replace(voice_of(args.release, codes, "one", accent, 1), prompt=voice.prompt)
    candidates = {
        "a vector, of all clips": (args.release, whole),
        "cloned from one clip": (args.release, one),
        "cloned from all clips": (args.release, voice),
    }
    if not timed:
        print(Library().add(voice, replace=True))
    else:
        tuned = learn(args.release, codes, args.also, args.steps, folder, voice)
        candidates["fine-tuned"] = (tuned, args.name)
        print(f'voiceloom say "Hello." --weights {tuned} --voice {args.name}')

    if not args.judges.is_dir():
        print(f"no judges in {args.judges}, so no figures: python -m experiments.get_judges")
        return
    panel = (
        judges.Transcriber(
            args.judges / "whisper-base", cache=args.judges / "cache", language=args.language
        ),
        judges.SpeakerEncoder(args.judges / "resemblyzer" / "pretrained.pt"),
    )
    release = voiceloom.load(args.release, warm=False)
    through = lambda _, recording: release.codec_roundtrip(recording.samples)  # noqa: E731
    found = {"the recordings through the codec": figures(through, source, codes, panel)}
    for name, (folder_of, who) in candidates.items():
        synth = voiceloom.load(folder_of, warm=False)
        say = lambda text, _, synth=synth, who=who: synth.say(text, who)  # noqa: E731
        found[name] = figures(say, source, codes, panel)
    report.write(folder / "figures", markdown(found), found)


if __name__ == "__main__":
    main()
