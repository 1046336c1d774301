"""The only training loop: any task, progress, metrics, samples, checkpoints, exact resume.

    python -m experiments.train --config=experiments/codec_base.py --workdir=runs/codec
    python -m experiments.train --config=experiments/codec_base.py:tiny --workdir=runs/tiny

The loop knows nothing of models. A task gives it `init`, `train_step`, `eval_step`, `dataset` (and
`samples`, audio to listen to); all that differs between a codec with critics and a language model
is inside those. Order of resuming: the latest checkpoint in workdir, else `config.init_from`
(another run's parameters), else from scratch. State and data iterator are saved together, so a
run that is killed goes on with the very next batch.
"""

from __future__ import annotations

import importlib
import json
import pathlib
import re
import time
import typing

import grain
import jax
import numpy as np
import soundfile
import tensorboardX
import tqdm
from absl import app, flags, logging
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from ml_collections import ConfigDict, config_flags
from orbax.checkpoint import v1 as ocp

TASKS = {
    "codec": ("codec.task", "CodecTask"),
    "decoder": ("experiments.decoder", "DecoderTask"),
    "told": ("experiments.decoder", "ToldTask"),
    "codec_lora": ("experiments.lora", "CodecLora"),
    "entropy": ("experiments.entropy", "EntropyTask"),
    "lm": ("experiments.speaking", "SpeakingTask"),
    "listening": ("experiments.listening", "ListeningTask"),
    "baseline": ("lm.baseline_task", "BaselineTask"),
    "aligner": ("lm.aligner_task", "AlignerTask"),
}


class Task(typing.Protocol):
    """What the loop needs of a task."""

    def init(self, key) -> typing.Any:
        """A fresh train state: a NamedTuple with at least `step`, `params`, `ema`."""

    def train_step(self, state, batch) -> tuple[typing.Any, dict]:
        """The next state and scalar metrics; pure, jitted by the loop."""

    def eval_step(self, params, batch) -> dict:
        """Named [B] arrays of what the (averaged) parameters reach on a batch."""

    def dataset(self, split: str) -> grain.IterDataset:
        """Batches of numpy arrays: "train" for ever, "val" at least `evaluation_batches`."""


def make_task(config: ConfigDict) -> Task:
    """The task that `config.task` names."""
    module, name = TASKS[config.task]
    return getattr(importlib.import_module(module), name)(config)


def core_hours(workdir: pathlib.Path) -> float:
    """Processor time that a run had cost at its last evaluation; 0 before the first."""
    # By pattern: the last line of a killed run may be half a line.
    text = (workdir / "metrics.jsonl").read_text(encoding="utf-8")
    return float((re.findall(r'"core_hours": ([\d.e-]+)', text) or [0.0])[-1])


class Metrics:
    """Scalars into `metrics.jsonl` and TensorBoard, audio into `samples/`."""

    def __init__(self, workdir: pathlib.Path):
        self.workdir = workdir
        self.lines = open(workdir / "metrics.jsonl", "a", encoding="utf-8")  # noqa: SIM115
        self.board = tensorboardX.SummaryWriter(str(workdir / "tensorboard"))
        self._core_hours_before = core_hours(workdir)
        self._begun_s = time.process_time()

    def core_hours(self) -> float:
        """Processor time of this run, with that of the processes it goes on from."""
        return self._core_hours_before + (time.process_time() - self._begun_s) / 3600

    def scalars(self, step: int, values: dict[str, float]):
        """One line of JSON, one point per curve."""
        self.lines.write(json.dumps({"step": step, "time": round(time.time(), 1)} | values) + "\n")
        self.lines.flush()
        for name, value in values.items():
            self.board.add_scalar(name, value, step)

    def audio(self, step: int, sounds: dict[str, np.ndarray], sample_rate: int):
        """The first three examples of each kind as wav files."""
        folder = self.workdir / "samples"
        folder.mkdir(exist_ok=True)
        for name, batch in sounds.items():
            for i, samples in enumerate(np.asarray(batch)[:3]):
                path = folder / f"{step:06d}_{name}_{i}.wav"
                soundfile.write(path, np.clip(samples, -1, 1), sample_rate)

    def close(self):
        """Everything on disk."""
        self.lines.close()
        self.board.close()


def evaluate(task: Task, eval_step, params, sharding, batches: int) -> dict[str, float]:
    """Means over `batches` held-out batches."""
    totals: dict[str, list] = {}
    data = iter(task.dataset("val"))
    for _, batch in zip(range(batches), data, strict=False):
        for name, values in eval_step(params, jax.device_put(batch, sharding)).items():
            totals.setdefault(name, []).append(np.asarray(values))
    return {f"held_out/{k}": float(np.concatenate(v).mean()) for k, v in totals.items()}


def train(config: ConfigDict, workdir: pathlib.Path):
    """Runs `config` to its last step, from wherever `workdir` left off; returns the state."""
    workdir = workdir.absolute()
    workdir.mkdir(parents=True, exist_ok=True)
    (workdir / "config.json").write_text(config.to_json_best_effort(indent=1))
    task = make_task(config)

    mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))
    sharded = NamedSharding(mesh, PartitionSpec("data"))
    everywhere = NamedSharding(mesh, PartitionSpec())
    init = jax.jit(task.init, out_shardings=everywhere)
    # The state comes out as it goes in, or the second step would compile once more.
    train_step = jax.jit(task.train_step, donate_argnums=0, out_shardings=everywhere)
    eval_step = jax.jit(task.eval_step)

    checkpointer = ocp.training.Checkpointer(
        workdir / "checkpoints",
        preservation_policy=ocp.training.preservation_policies.LatestN(2),
        custom_metadata=json.loads(config.to_json_best_effort()),
    )
    data = iter(task.dataset("train"))
    key = jax.random.key(config.seed)
    if checkpointer.latest is not None:
        abstract = jax.eval_shape(init, key)
        loaded = checkpointer.load_checkpointables(None, dict(state=abstract, data=data))
        state = jax.device_put(loaded["state"], everywhere)
    else:
        state = init(key)
        if config.get("init_from"):
            state = jax.device_put(task.init_from(state, config.init_from), everywhere)

    metrics, pending, last_log = Metrics(workdir), None, time.time()
    start = int(state.step)
    bar = tqdm.tqdm(total=config.steps, initial=start, unit="step", dynamic_ncols=True)
    try:
        for step in range(start + 1, config.steps + 1):
            state, values = train_step(state, jax.device_put(next(data), sharded))
            # Read the step before this one: the host never waits for the step in flight.
            if pending is not None and pending[0] % config.every.log == 0:
                scalars = {k: float(v) for k, v in pending[1].items()}
                now = time.time()
                scalars["steps_per_second"] = config.every.log / (now - last_log)
                last_log = now
                metrics.scalars(pending[0], scalars)
                bar.set_postfix({k: f"{v:.3g}" for k, v in list(scalars.items())[:4]})
                if not all(np.isfinite(list(scalars.values()))):
                    raise FloatingPointError(
                        f"step {pending[0]}: a metric is not finite: {scalars}. The last checkpoint"
                        f" is sound; lower the learning rate or the clip and start again."
                    )
            pending = (step, values)
            bar.update()
            if step % config.every.checkpoint == 0 or step == config.steps:
                checkpointer.save_checkpointables(step, dict(state=state, data=data), force=True)
            if step % config.every.evaluate == 0 or step == config.steps:
                found = evaluate(task, eval_step, state.ema, sharded, config.evaluation_batches)
                metrics.scalars(step, found | {"core_hours": metrics.core_hours()})
                tqdm.tqdm.write(
                    f"step {step}: " + ", ".join(f"{k} {v:.4f}" for k, v in found.items())
                )
                if hasattr(task, "samples"):
                    batch = next(iter(task.dataset("val")))
                    metrics.audio(step, jax.jit(task.samples)(state.ema, batch), task.sample_rate)
                last_log = time.time()
    finally:
        bar.close()
        checkpointer.close()
        metrics.close()
    return state


def main(_):
    """Trains what the flags say."""
    logging.set_verbosity(logging.WARNING)  # orbax tells a page per checkpoint
    train(FLAGS.config, pathlib.Path(FLAGS.workdir))


if __name__ == "__main__":
    FLAGS = flags.FLAGS
    config_flags.DEFINE_config_file("config", lock_config=True)
    flags.DEFINE_string("workdir", None, "folder of checkpoints, metrics and samples")
    flags.mark_flags_as_required(["config", "workdir"])
    app.run(main)
