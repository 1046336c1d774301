"""The first decision, measured: two codecs after equal training, side by side on held-out clips.

    python -m experiments.frame_rate runs/pair_12 runs/pair_25 --out results/frame_rate.md

Each run folder is a codec's; ESTOI, PESQ-WB and mel distance of its averaged parameters at half
and at all of its books (1 and 2 kbit/s), on unseen human and unseen synthetic speakers.
"""

from __future__ import annotations

import argparse
import json
import pathlib

import jax
import ml_collections
import numpy as np
import tqdm

from codec.losses import mel_distance
from codec.task import CodecTask
from data import pipeline
from voiceloom import judges
from voiceloom.export import load_ema

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
    config = ml_collections.ConfigDict(json.loads((run / "config.json").read_text()))
    task = CodecTask(config)
    step, params = load_ema(run, task)
    reconstruct = jax.jit(task.reconstruct, static_argnums=2)
    rows = []
    for name, (folder, split) in SETS.items():
        originals = clips(folder, split, count)
        for books in (task.cfg.books // 2, task.cfg.books):
            scores: dict[str, list[float]] = {"ESTOI": [], "PESQ-WB": [], "mel": []}
            for samples, bandwidth in tqdm.tqdm(originals, f"{run.name} {name} {books}"):
                decoded = np.asarray(reconstruct(params, samples[None], books))[0]
                scores["ESTOI"].append(judges.estoi(samples, decoded, 24_000))
                scores["PESQ-WB"].append(judges.pesq_wb(samples, decoded, 24_000))
                distance = mel_distance(decoded[None], samples[None], np.array([bandwidth]), 24_000)
                scores["mel"].append(float(distance[0]))
            rows.append(
                {
                    "run": run.name,
                    "step": step,
                    "Hz": task.cfg.frame_rate,
                    "books": books,
                    "kbit/s": task.cfg.frame_rate * books * np.log2(task.cfg.entries) / 1000,
                    "clips": name,
                }
                | {k: judges.bootstrap(v) for k, v in scores.items()}
            )
    return rows


def table(rows: list[dict]) -> str:
    """Markdown of the rows."""

    def cell(v) -> str:
        interval = isinstance(v, judges.Interval)
        return f"{v.mean:.3f} [{v.low:.3f}, {v.high:.3f}]" if interval else str(v)

    lines = ["| " + " | ".join(rows[0]) + " |", "|---" * len(rows[0]) + "|"]
    lines += ["| " + " | ".join(map(cell, row.values())) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def main():
    """Compares the runs that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--count", type=int, default=24, help="clips per set")
    args = parser.parse_args()
    text = table([row for run in args.runs for row in measure(run, args.count)])
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
