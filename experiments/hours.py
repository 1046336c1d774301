"""How word errors fall with hours of speech, everything else alike.

    python -m experiments.hours --out experiments/results/hours

The default LM learns from an eighth, a quarter, a half and all of its clips (`lm_hours.py`; the
smaller shares are part of the larger ones), with the same number of steps, and speaks the same
held-out sentences. Hours are counted once: that every clip is also heard at two further speeds is
in all of them. What stands in OUT.json is not made again.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib import pyplot as plt

from data import utterances
from experiments import lm_hours, report
from experiments.ladder import measure, train_to
from voiceloom import judges
from voiceloom.evaluate import JUDGES
from voiceloom.export import run_config

YTICKS = (25, 50, 100)


def hours_of(run: Path) -> float:
    """Hours of speech in a run's training data, without its copies at other speeds."""
    data = run_config(run).data
    folders = [f for f in data.train if not f.endswith(("_088", "_114"))]
    clips, rate = utterances.from_folders(folders, "train", data.frames, data.share)
    return sum(len(u.codes) for u in clips) / rate / 3600


def markdown(rows: Sequence[dict]) -> str:
    """The table."""
    lines = [
        "| hours | steps | core-hours | word errors, % | failed sentences, % |",
        "|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        errors = judges.bootstrap(row["errors"], row["words"])
        failures = judges.bootstrap(row["failures"])
        lines.append(
            f"| {row['hours']:.2f} | {row['step']} | {row['core_hours']:.2f} | "
            f"{errors.written(1, 100)} | {failures.written(0, 100)} |"
        )
    return "\n".join(lines) + "\n"


def picture(rows: Sequence[dict]) -> plt.Figure:
    """Word errors over hours, both logarithmic: a power law is a line."""
    figure, axis = plt.subplots(figsize=(5.6, 3.8), layout="constrained")
    points = [judges.bootstrap(row["errors"], row["words"]) for row in rows]
    mean, low, high = (100 * np.array(values) for values in zip(*points, strict=True))
    axis.errorbar([r["hours"] for r in rows], mean, [mean - low, high - mean], fmt="o-", capsize=3)
    axis.set(xlabel="hours of speech", ylabel="word errors, %", xscale="log", yscale="log")
    axis.set_xticks([r["hours"] for r in rows], [f"{r['hours']:.1f}" for r in rows], minor=False)
    axis.minorticks_off()
    axis.set_yticks(YTICKS, YTICKS)
    axis.spines[["top", "right"]].set_visible(False)
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains and measures what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("experiments/results/hours"))
    parser.add_argument("--runs", type=Path, default=Path("runs/hours"))
    parser.add_argument("--count", type=int, default=80, help="sentences to speak")
    parser.add_argument("--asr", type=Path, default=JUDGES / "whisper-base")
    parser.add_argument("overrides", nargs="*", help="--config.NAME=VALUE, after --")
    args = parser.parse_args(arguments)
    transcriber, rows = judges.Transcriber(args.asr, cache=JUDGES / "cache"), report.kept(args.out)
    for share in lm_hours.SHARES:
        run = args.runs / f"{share:g}"
        if run.name not in rows:
            config = f"lm_hours.py:{share}"
            train_to(config, lm_hours.get_config().steps, run, args.overrides)
            rows[run.name] = measure(run, transcriber, args.count) | {"hours": hours_of(run)}
        found = list(rows.values())
        report.write(args.out, markdown(found), rows, picture(found))


if __name__ == "__main__":
    main()
