r"""How a model finds its way through the text, against what it costs to learn.

    python -m experiments.ladder --out experiments/results/ladder

Four designs of one language model (`experiments/lm_ladder.py`), from the shape of a text model on:
flat and prefix (text first, speech after it), cross (encoder and decoder), and the pointer. All
see the same rows, and each is stopped at the same training FLOPs, as XLA counts them in its own
compiled step. After a quarter, a half and all of it each speaks held-out sentences in voices it
knows; Whisper counts the word errors, and the failures: three or more words in a row wrong. What
stands in OUT.json is not made again, so the hours that it takes can be many sessions. `--beside`
adds finished models, such as the released one or a published one whose weights are at hand.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import jax
import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib import pyplot as plt
from tqdm import tqdm

import voiceloom
from data.records import Reader
from data.utterances import Rows, Utterance, read
from experiments import lm_ladder, report
from experiments.train import core_hours, make_task
from lm.task import LMTask
from voiceloom import judges, weights
from voiceloom.evaluate import JUDGES
from voiceloom.export import load_ema, run_config
from voiceloom.speech_codec import SpeechCodec
from voiceloom.waveform import Waveform

SHARES = (0.25, 0.5, 1.0)
BATCH = 10


def flops_per_step(task: LMTask) -> float:
    """Floating point operations of one training step, counted by XLA."""
    batch = next(iter(task.dataset("train")))
    state = jax.eval_shape(task.init, jax.random.key(0))
    compiled = jax.jit(task.train_step).lower(state, batch).compile()
    return float(compiled.cost_analysis()["flops"])


def train_to(config: str, steps: int, run: Path, overrides: Sequence[str]) -> None:
    """Trains a config up to a step, from where its run is."""
    if (run / "checkpoints" / str(steps)).exists():
        return
    command = [
        sys.executable, "-m", "experiments.train", f"--config=experiments/{config}",
        f"--workdir={run}", f"--config.steps={steps}", *overrides,
    ]  # fmt: skip
    subprocess.run(command, check=True)


def sentences(task: LMTask, count: int) -> tuple[list[dict], list[str]]:
    """Held-out sentences alone, as batches, and their texts."""
    data, rate = task.config.data, task.cfg.frame_rate
    reader = Reader(data.held_out[0], "val")
    records = [reader[i] for i in range(len(reader))]
    clips: list[Utterance] = read(records, data.frames)
    rows = Rows(
        clips, frames=data.frames, units=data.units, limit=task.cfg.advance,
        voice_frames=tuple(round(s * rate) for s in data.voice_s), alone=1.0,
    )  # fmt: skip
    chosen = [rows[n] for n in range(count)]
    said = [tuple(u.symbol) for u in clips]
    texts = []
    for row in chosen:  # a row does not say whose it is; its units do
        units = tuple(row["symbol"][: int(row["length"])])
        texts.append(records[clips[said.index(units)].clip]["text"])
    batches = [
        jax.tree.map(lambda *a: np.stack(a), *chosen[i : i + BATCH]) for i in range(0, count, BATCH)
    ]
    return batches, texts


def measure(run: Path, transcriber: judges.Transcriber, count: int) -> dict:
    """Word errors and failures of a run's newest checkpoint."""
    task = make_task(run_config(run))
    step, params = load_ema(run, task)
    codec = SpeechCodec(weights.load_codec(task.config.codec))
    batches, texts = sentences(task, count)
    speak, sounds = jax.jit(task.speak), []
    for batch in tqdm(batches, f"{run.name} {step}"):
        codes, valid = speak(params, batch)
        for row, there in zip(np.asarray(codes), np.asarray(valid), strict=True):
            samples = codec.decode(row[: max(1, there.sum())][None])[0]
            sounds.append(Waveform(samples, codec.sample_rate))
    return {
        "rung": run.name,
        "step": step,
        "parameters": sum(x.size for x in jax.tree.leaves(params)),
        "core_hours": core_hours(run),
    } | judged(texts, sounds, transcriber)


def judged(
    texts: Sequence[str], sounds: Iterable[Waveform], transcriber: judges.Transcriber
) -> dict[str, list]:
    """Word errors, words and failures of readings."""
    found: dict[str, list] = {"errors": [], "words": [], "failures": []}
    for text, sound in zip(texts, sounds, strict=True):
        heard = transcriber.transcribe(sound.samples, sound.sample_rate)
        errors, words = judges.word_errors(text, heard)
        found["errors"].append(errors)
        found["words"].append(words)
        found["failures"].append(judges.failed(text, heard))
    return found


def beside(name: str, folder: str, texts: Sequence[str], transcriber: judges.Transcriber) -> dict:
    """A finished model reading the same sentences in its first voice; its cost is not known."""
    path, _, codec = folder.partition(",")
    synth = voiceloom.load(path, warm=False, codec=codec or None)
    sounds = (synth.say(text, synth.voices[0]) for text in tqdm(texts, name))
    return {"rung": name} | judged(texts, sounds, transcriber)


def markdown(rows: Sequence[dict]) -> str:
    """The table."""
    lines = [
        "| design | M parameters | steps | training, PFLOP | core-hours | word errors, % "
        "| failed sentences, % |",
        "|---|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        errors = judges.bootstrap(row["errors"], row["words"])
        failures = judges.bootstrap(row["failures"])
        cost = "- | - | - | -"
        if "step" in row:
            cost = (
                f"{row['parameters'] / 1e6:.1f} | {row['step']} | {row['flops'] / 1e15:.2f} | "
                f"{row['core_hours']:.2f}"
            )
        lines.append(
            f"| {row['rung']} | {cost} | {errors.written(1, 100)} | {failures.written(0, 100)} |"
        )
    return "\n".join(lines) + "\n"


def picture(rows: Sequence[dict]) -> plt.Figure:
    """Word errors over training FLOPs, a curve a design; a dotted line where these are unknown."""
    figure, axis = plt.subplots(figsize=(6.4, 4), layout="constrained")
    for i, rung in enumerate(dict.fromkeys(row["rung"] for row in rows)):
        own = [row for row in rows if row["rung"] == rung]
        points = [judges.bootstrap(row["errors"], row["words"]) for row in own]
        mean, low, high = (100 * np.array(values) for values in zip(*points, strict=True))
        if "flops" in own[0]:
            flops = np.array([row["flops"] for row in own])
            axis.errorbar(flops, mean, [mean - low, high - mean], fmt="o-", capsize=3, label=rung)
        else:
            axis.axhline(mean[0], ls=":", color=f"C{i}", label=rung)
    axis.set(xlabel="training FLOPs", ylabel="word errors, %", xscale="log")
    axis.legend(frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains and measures what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("experiments/results/ladder"))
    parser.add_argument("--runs", type=Path, default=Path("runs/ladder"))
    parser.add_argument("--pflop", type=float, default=1.0, help="training compute of each rung")
    parser.add_argument("--count", type=int, default=50, help="sentences to speak")
    parser.add_argument("--asr", type=Path, default=JUDGES / "whisper-base")
    parser.add_argument(
        "--beside", action="append", default=[], metavar="NAME=FOLDER[,CODEC]",
        help="a finished model, ours or a published one, that reads the same sentences",
    )  # fmt: skip
    parser.add_argument("overrides", nargs="*", help="--config.NAME=VALUE, after --")
    args = parser.parse_args(arguments)
    transcriber, rows = judges.Transcriber(args.asr, cache=JUDGES / "cache"), report.kept(args.out)
    for rung in lm_ladder.RUNGS:
        wanted = [share for share in SHARES if f"{rung}_{share:g}" not in rows]
        if not wanted:
            continue
        cost = flops_per_step(make_task(lm_ladder.get_config(rung)))
        for share in wanted:
            steps = round(share * args.pflop * 1e15 / cost)
            train_to(f"lm_ladder.py:{rung}", steps, args.runs / rung, args.overrides)
            row = measure(args.runs / rung, transcriber, args.count)
            rows[f"{rung}_{share:g}"] = row | {"flops": row["step"] * cost}
            found = list(rows.values())
            report.write(args.out, markdown(found), rows, picture(found))
    if args.beside:
        _, texts = sentences(make_task(lm_ladder.get_config("pointer")), args.count)
    for name, folder in (pair.split("=", 1) for pair in args.beside):
        rows[name] = beside(name, folder, texts, transcriber)
        found = list(rows.values())
        report.write(args.out, markdown(found), rows, picture(found))


if __name__ == "__main__":
    main()
