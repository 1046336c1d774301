"""The training loop: metrics, checkpoints, and exact resume after a kill, for the codec."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from codec.task import CodecTask
from data.records import Writer, to_int16
from experiments import codec_base
from experiments.train import Metrics, core_hours, train

ROOT = pathlib.Path(__file__).parent.parent.parent
IGNORED = {"time", "steps_per_second"}


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Made records: tones of several pitches, in a train and a test split."""
    folder = tmp_path_factory.mktemp("records")
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        with Writer(folder, split) as writer:
            for i in range(6):
                t = np.arange(24_000) / 24_000
                samples = 0.3 * np.sin(2 * np.pi * (150 + 40 * i) * t) + 0.01 * rng.normal(
                    size=24_000
                )
                writer.write(
                    dict(
                        id=f"{split}{i}", speaker="made", language="en", accent="us", text=None,
                        split=split, samples=to_int16(samples), bandwidth_hz=12_000.0,
                    )
                )  # fmt: skip
    return folder


def lines(workdir: pathlib.Path) -> dict[int, dict]:
    """Training metrics by step, without what depends on the clock."""
    path = workdir / "metrics.jsonl"
    found = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        values = json.loads(line)
        if "mel" in values:
            found[values["step"]] = {k: v for k, v in values.items() if k not in IGNORED}
    return found


def test_a_killed_run_goes_on_exactly(records, tmp_path):
    """kill -9 in mid-run, start again: the metrics of every later step are those of a whole run."""
    config = codec_base.get_config("tiny")
    config.data.train, config.data.held_out = (str(records),), (str(records),)
    config.every = dict(log=1, checkpoint=3, evaluate=12)
    state = train(config, tmp_path / "whole")
    assert int(state.step) == config.steps
    whole = lines(tmp_path / "whole")
    assert sorted(whole) == list(range(1, config.steps))
    names = {p.name for p in (tmp_path / "whole" / "samples").iterdir()}
    assert f"{config.steps:06d}_recording_0.wav" in names

    command = [
        sys.executable, "-m", "experiments.train", "--config=experiments/codec_base.py:tiny",
        f"--workdir={tmp_path / 'killed'}", f"--config.data.train=('{records}',)",
        f"--config.data.held_out=('{records}',)", "--config.every.log=1",
        "--config.every.checkpoint=3", "--config.every.evaluate=12",
    ]  # fmt: skip
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    checkpoints = tmp_path / "killed" / "checkpoints"
    deadline = time.time() + 300
    while not (checkpoints / "6").exists() and time.time() < deadline:
        assert process.poll() is None, process.stderr.read()[-2000:]
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    if (
        int(json.loads((tmp_path / "killed/metrics.jsonl").read_text().splitlines()[-1])["step"])
        >= 12
    ):
        pytest.skip("the run ended before it could be killed")

    # What is left must be enough: same config, same folder, nothing else.
    (tmp_path / "killed" / "metrics.jsonl").unlink()
    resumed = train(config, tmp_path / "killed")
    assert int(resumed.step) == config.steps
    later = lines(tmp_path / "killed")
    assert later and min(later) >= 4, "it began from scratch"
    for step, values in later.items():
        assert values == whole[step], f"step {step} differs"


def test_the_cost_of_a_run_goes_on_over_a_kill(tmp_path, monkeypatch):
    """What the process had done before the run (here: other tests) is no cost of it."""
    clock = iter([9_000.0, 10_800.0])
    monkeypatch.setattr("experiments.train.time.process_time", lambda: next(clock))
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 4, "core_hours": 0.5}\n{"step": 8, "core_hours": 1.25}\n{"st')
    metrics = Metrics(tmp_path)
    metrics.scalars(9, {"core_hours": metrics.core_hours()})
    metrics.close()
    assert core_hours(tmp_path) == 1.25 + 0.5


class Counter(NamedTuple):
    """State of a task that learns nothing."""

    step: jax.Array
    ema: jax.Array


class Diverging:
    """A task whose third step is not a number."""

    def __init__(self, config):
        self.dataset = CodecTask(config).dataset

    def init(self, _):
        """Nothing done."""
        return Counter(jnp.zeros((), jnp.int32), jnp.zeros(()))

    def train_step(self, state, _):
        """One more, and a loss."""
        step = state.step + 1
        return Counter(step, state.ema), {"mel": jnp.where(step == 3, jnp.nan, 1.0)}

    def eval_step(self, _params, _batch):
        """Never asked."""


def test_a_metric_that_is_not_finite_stops_the_run(records, tmp_path, monkeypatch):
    config = codec_base.get_config("tiny")
    config.data.train, config.data.held_out = (str(records),), (str(records),)
    config.every = dict(log=1, checkpoint=100, evaluate=100)
    monkeypatch.setattr("experiments.train.make_task", Diverging)
    with pytest.raises(FloatingPointError, match="step 3: a metric is not finite"):
        train(config, tmp_path)
