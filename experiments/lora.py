"""Fine-tuning of a published model by low-rank updates, in the training loop of everything else.

    python -m experiments.train --config=experiments/lora_codec.py --config.base=FOLDER \\
        --workdir=runs/tuned
    python -m experiments.lora runs/tuned --out tuned     # a folder that voiceloom.load_codec takes

The published weights stand still; each matrix of the part that is tuned learns a product of rank r
beside it (`data.lora`). A checkpoint carries the weights too, so a run goes on wherever it is.
"""

from __future__ import annotations

import argparse
import pathlib
import shutil
import sys
import typing

import grain
import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Float, Int

from codec import pretrained
from codec.losses import mel_distance
from data import audio, lora, pipeline
from data.published import ImportFailed
from voiceloom.export import load_ema, run_config


class TrainState(typing.NamedTuple):
    """All that a run needs to go on exactly."""

    step: Int[Array, ""]
    base: dict  # stands still
    params: lora.Updates
    average: lora.Updates
    opt_state: optax.OptState

    @property
    def ema(self) -> dict:
        """What is evaluated, and what a release is made of."""
        return {"base": self.base, "updates": self.average}


class CodecLora:
    """Tunes a published codec's decoder: the codes keep their meaning for every language model.

    Recordings go through the untouched encoder and all books; what comes out is compared by mel
    spectra. Only codecs of 24 kHz, the rate of the records.
    """

    def __init__(self, config):
        self.config = config
        self.model = pretrained.load(config.base)
        self.sample_rate = self.model.config.sample_rate
        if self.sample_rate != audio.SAMPLE_RATE:
            raise ImportFailed(
                f"{config.base}: a codec of {self.sample_rate} Hz; the records have "
                f"{audio.SAMPLE_RATE}: take its 24 kHz model"
            )
        rate = optax.warmup_cosine_decay_schedule(
            0.0, config.learning_rate, config.warmup, config.steps
        )
        self.optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate))

    def init(self, key) -> TrainState:
        """Updates that change nothing yet: B is zero."""
        shapes = lora.matrices(self.model.params, "decoder")
        keys = jax.random.split(key, len(shapes))
        updates = {
            name: {
                "a": jax.random.normal(k, (inputs, self.config.rank)) * inputs**-0.5,
                "b": jnp.zeros((self.config.rank, outputs)),
            }
            for k, (name, (inputs, outputs)) in zip(keys, shapes.items(), strict=True)
        }
        base = jax.tree.map(jnp.asarray, self.model.params)
        copy = jax.tree.map(jnp.copy, updates)
        step = jnp.zeros((), jnp.int32)
        return TrainState(step, base, updates, copy, self.optimizer.init(updates))

    def _decoded(
        self, base: dict, updates: lora.Updates, samples: Float[Array, "B S"]
    ) -> Float[Array, "B S"]:
        """`samples` through the codec and back."""
        codes, _ = nnx.merge(self.model.graphdef, base).encode(samples)
        decoded, _ = nnx.merge(self.model.graphdef, lora.merged(base, updates)).decode(codes)
        return decoded[:, : samples.shape[1]]

    def _distance(self, base: dict, updates: lora.Updates, batch: dict) -> Float[Array, " B"]:
        decoded = self._decoded(base, updates, batch["samples"])
        return mel_distance(decoded, batch["samples"], batch["bandwidth_hz"], self.sample_rate)

    def train_step(self, state: TrainState, batch: dict) -> tuple[TrainState, dict]:
        """One step. `batch`: samples [B, S], bandwidth_hz [B]."""

        def loss(updates):
            return self._distance(state.base, updates, batch).mean()

        mel, grads = jax.value_and_grad(loss)(state.params)
        moves, opt_state = self.optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, moves)
        decay = jnp.minimum(self.config.ema_decay, (1.0 + state.step) / (10.0 + state.step))
        average = jax.tree.map(lambda e, p: e + (1 - decay) * (p - e), state.average, params)
        state = TrainState(state.step + 1, state.base, params, average, opt_state)
        return state, {"mel": mel, "gradient_norm": optax.tree.norm(grads)}

    def eval_step(self, params: dict, batch: dict) -> dict:
        """Mel distance per example, tuned and as published."""
        untouched = jax.tree.map(jnp.zeros_like, params["updates"])
        return {
            "mel": self._distance(params["base"], params["updates"], batch),
            "mel_published": self._distance(params["base"], untouched, batch),
        }

    def samples(self, params: dict, batch: dict) -> dict[str, Float[Array, "B S"]]:
        """Audio to listen to: recordings, and what the tuned codec makes of them."""
        tuned = self._decoded(params["base"], params["updates"], batch["samples"])
        return {"recording": batch["samples"], "tuned": tuned}

    def dataset(self, split: str) -> grain.IterDataset:
        """Crops of the training folders for ever, or a fixed set of held-out ones."""
        data = self.config.data
        return pipeline.audio_crops(
            data.train if split == "train" else data.held_out,
            "train" if split == "train" else "test",
            data.seconds,
            data.batch,
            data.seed,
            shard_index=jax.process_index(),
            shard_count=jax.process_count(),
        )


def export(run: pathlib.Path, out: pathlib.Path) -> int:
    """Writes the published files and the run's updates into a folder; returns the step."""
    task = CodecLora(run_config(run))
    step, params = load_ema(run, task)
    base = pathlib.Path(task.config.base)
    out.mkdir(parents=True, exist_ok=True)
    for path in [*base.glob("*.json"), *base.glob("*.safetensors")]:
        shutil.copy(path, out)
    # A folder that has been tuned before keeps what it had learned.
    before, base_hash = lora.read(base)
    updates = lora.stacked(before, params["updates"])
    lora.save(out, updates, base_hash or task.model.hash)
    return step


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, required=True, metavar="FOLDER")
    args = parser.parse_args(argv)
    print(f"{args.out}: the updates of step {export(args.run, args.out)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
