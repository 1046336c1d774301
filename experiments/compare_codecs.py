r"""Codec runs side by side on held-out clips: what every choice in the codec was decided by.

    python -m experiments.compare_codecs runs/pair_12 runs/pair_25 \
        --out experiments/results/frame_rate.md
    python -m experiments.compare_codecs --variants --count 12 \
        --out experiments/results/codec_ablation.md
    python -m experiments.compare_codecs --quantizers --out experiments/results/quantizers.md

Each run folder is a codec's; ESTOI, PESQ-WB and mel distance of its averaged parameters at half
and at all of its books (1 and 2 kbit/s at 12.5 Hz; those of a single rate at all), on unseen human
and unseen synthetic speakers. `--variants` trains and adds those of
`experiments/codec_variants.py`, `--quantizers` those of `experiments/codec_quantizers.py`. The
table is written after every run, and what stands in OUT.json is not trained or measured again.
"""

from __future__ import annotations

import argparse
import pathlib
import subprocess
import sys
import types

import jax
import numpy as np
import tqdm

from codec.losses import mel_distance
from codec.task import CodecTask
from data import pipeline
from experiments import codec_quantizers, codec_variants, report
from experiments.train import core_hours
from voiceloom import judges
from voiceloom.export import load_ema, run_config

SETS = {"human": ("runs/records/crowd", "test"), "synthetic": ("runs/records/synthetic", "test")}
SECONDS = 4.0


def clips(folder: str, split: str, count: int) -> list[tuple[np.ndarray, float]]:
    """`count` clips spread over the split, cut to `SECONDS`, with their bandwidths."""
    data = pipeline.clips(folder, split)
    picks = np.linspace(0, len(data) - 1, count).astype(int)
    size = round(SECONDS * 24_000 / 1920) * 1920
    found = []
    for i in picks:
        samples = data[int(i)]["samples"][:size]
        found.append(
            (np.pad(samples, (0, size - len(samples))), float(data[int(i)]["bandwidth_hz"]))
        )
    return found


def measure(run: pathlib.Path, count: int) -> list[dict]:
    """One row per set and rate: means and 95 % intervals over clips."""
    task = CodecTask(run_config(run))
    step, params = load_ema(run, task)
    reconstruct = jax.jit(task.reconstruct, static_argnums=2)
    one_rate = task.config.depths["all"] == 1.0
    rows = []
    for name, (folder, split) in SETS.items():
        originals = clips(folder, split, count)
        for books in (task.cfg.books,) if one_rate else (task.cfg.books // 2, task.cfg.books):
            scores: dict[str, list[float]] = {"ESTOI": [], "PESQ-WB": [], "mel": []}
            for samples, bandwidth in tqdm.tqdm(originals, f"{run.name} {name} {books}"):
                decoded = np.asarray(reconstruct(params, {"samples": samples[None]}, books))[0]
                pair = judges.align(samples, decoded, 24_000)
                scores["ESTOI"].append(judges.estoi(pair))
                scores["PESQ-WB"].append(judges.pesq_wb(pair))
                distance = mel_distance(decoded[None], samples[None], np.array([bandwidth]), 24_000)
                scores["mel"].append(float(distance[0]))
            rows.append(
                {
                    "run": run.name,
                    "step": step,
                    "core-hours": round(core_hours(run), 2) or "",
                    "M params": round(sum(x.size for x in jax.tree.leaves(params)) / 1e6, 1),
                    "Hz": task.cfg.frame_rate,
                    "books": books,
                    "kbit/s": round(task.cfg.nominal_kbps(books), 2),
                    "clips": name,
                }
                | {k: judges.bootstrap(v).written(3) for k, v in scores.items()}
            )
    return rows


def table(rows: list[dict]) -> str:
    """Markdown of the rows."""
    lines = ["| " + " | ".join(rows[0]) + " |", "|---" * len(rows[0]) + "|"]
    lines += ["| " + " | ".join(map(str, row.values())) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def train(kind: types.ModuleType, run: pathlib.Path) -> None:
    """Trains the config of this name in a file of configs, if it is not trained to its end."""
    if (run / "checkpoints" / str(kind.get_config(run.name).steps)).exists():
        return
    config = f"--config={kind.__name__.replace('.', '/')}.py:{run.name}"
    command = [sys.executable, "-m", "experiments.train", config, f"--workdir={run}"]
    subprocess.run(command, check=True)


def main():
    """Compares the runs that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="*", type=pathlib.Path)
    parser.add_argument("--variants", action="store_true", help="train and add the variants")
    parser.add_argument("--quantizers", action="store_true", help="train and add the quantisers")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--count", type=int, default=24, help="clips per set")
    args = parser.parse_args()
    runs: dict[pathlib.Path, types.ModuleType | None] = dict.fromkeys(args.runs)
    if args.variants:
        runs |= {pathlib.Path("runs/variants") / n: codec_variants for n in codec_variants.VARIANTS}
    if args.quantizers:
        folder = pathlib.Path("runs/quantizers")
        runs |= {folder / n: codec_quantizers for n in codec_quantizers.QUANTIZERS}
    if not runs:
        parser.error("name a run, or say --variants or --quantizers")
    known = report.kept(args.out)
    for run, kind in runs.items():
        if run.name not in known:
            if kind is not None:
                train(kind, run)
            known[run.name] = measure(run, args.count)
        report.write(args.out, table([row for rows in known.values() for row in rows]), known)


if __name__ == "__main__":
    main()
