"""Training of the entropy model, in the arithmetic of `codec.bitstream.entropy` with slopes.

    python -m experiments.train --config=experiments/entropy_base.py --workdir=runs/entropy
    python -m experiments.entropy runs/entropy

Numbers are rounded to their grids in the forward pass and gradients pass straight through, so what
is learned is what will be stored. The second command puts it beside the codec that made the codes.
"""

from __future__ import annotations

import argparse
import math
import pathlib
import typing

import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int

from codec.bitstream.entropy import VECTOR_BITS, WEIGHT_BITS, Tables
from data import pipeline
from voiceloom import weights
from voiceloom.export import codec_of, load_ema, run_config

FINE = {"vectors": 2.0**-VECTOR_BITS}
SUMS = {name: 2.0 ** -(VECTOR_BITS + WEIGHT_BITS) for name in ("bias", "middle_bias", "prior")}
MATRIX = 2.0**-WEIGHT_BITS


class TrainState(typing.NamedTuple):
    """All that a run needs to go on exactly."""

    step: Int[Array, ""]
    params: dict
    ema: dict
    opt_state: optax.OptState


def step_of(name: str) -> float:
    """The grid that a table is stored on."""
    return (FINE | SUMS).get(name, MATRIX)


def floored(x: Float[Array, "*B"], step: float) -> Float[Array, "*B"]:
    """`x` rounded down to a grid of `step`; slopes as if it were not."""
    return x + jax.lax.stop_gradient(jnp.floor(x / step) * step - x)


def on_grid(params: dict) -> dict:
    """The parameters as the tables will hold them."""

    def rounded(x, step):
        return x + jax.lax.stop_gradient(jnp.round(x / step) * step - x)

    return {name: rounded(value, step_of(name)) for name, value in params.items()}


def to_tables(params: dict) -> Tables:
    """Whole numbers of trained parameters; raises OverflowError for one that does not fit."""
    found = {}
    for name in Tables._fields:
        dtype = np.int8 if name == "vectors" else np.int32 if name in SUMS else np.int16
        whole = np.round(np.asarray(params[name], np.float64) / step_of(name))
        if np.abs(whole).max() > np.iinfo(dtype).max:
            raise OverflowError(
                f"{name} reaches {np.abs(whole).max():.0f}, beyond {dtype.__name__}"
            )
        found[name] = whole.astype(dtype)
    return Tables(**found)


def bits(params: dict, codes: Int[Array, "B T Q"]) -> Float[Array, "B T Q"]:
    """What each code costs; codes of -1 are beyond the end and cost nothing."""
    p = on_grid(params)
    known = codes >= 0
    vectors = p["vectors"][jnp.arange(codes.shape[-1]), jnp.maximum(codes, 0)]
    vectors = jnp.where(known[..., None], vectors, 0.0)

    def seen(matrix):
        return jnp.cumsum(jnp.einsum("btqe,qeh->btqh", vectors, matrix), axis=2)

    def later(x, axis, by):
        pad = [(0, 0)] * x.ndim
        pad[axis] = (by, 0)
        return jax.lax.slice_in_dim(jnp.pad(x, pad), 0, x.shape[axis], axis=axis)

    h = p["bias"] + later(seen(p["below"]), 2, 1)
    h += later(seen(p["before"]), 1, 1) + later(seen(p["earlier"]), 1, 2)
    past = later(jnp.cumsum(seen(p["history"]), axis=1), 1, 1)
    h += past / jnp.maximum(jnp.arange(codes.shape[1]), 1)[:, None, None]
    h = floored(jax.nn.relu(h), FINE["vectors"])
    h = jnp.einsum("btqh,qhg->btqg", h, p["middle"]) + p["middle_bias"]
    h = floored(jax.nn.relu(h), FINE["vectors"])
    query = floored(jnp.einsum("btqh,qhe->btqe", h, p["out"]), MATRIX)
    logits = jnp.einsum("btqe,qke->btqk", query, p["vectors"]) + p["prior"]
    nats = optax.losses.softmax_cross_entropy_with_integer_labels(
        logits * math.log(2), jnp.maximum(codes, 0)
    )
    return jnp.where(known, nats / math.log(2), 0.0)


def init_params(
    key: Array, vectors: Float[np.ndarray, "Q K E"], sizes: tuple[int, ...], width: int
) -> dict:
    """Random parameters around the given vectors."""
    books, entries, dim = vectors.shape
    keys = iter(jax.random.split(key, 6))
    made = lambda scale, *shape: scale * jax.random.normal(next(keys), shape)  # noqa: E731
    beyond = jnp.arange(entries) >= jnp.array(sizes)[:, None]
    return {
        "vectors": jnp.asarray(vectors),
        "before": made(0.1, books, dim, width),
        "earlier": made(0.1, books, dim, width),
        "history": made(0.2, books, dim, width),
        "below": made(0.1, books, dim, width),
        "bias": 0.1 * jnp.ones((books, width)),
        "middle": made(width**-0.5, books, width, width),
        "middle_bias": jnp.zeros((books, width)),
        "out": made(width**-0.5, books, width, dim),
        "prior": jnp.where(beyond, -30.0, 0.0),
    }


class EntropyTask:
    """The functions that the training loop knows, for the entropy model."""

    def __init__(self, config):
        self.config = config
        model = weights.load_codec(config.codec)
        quantizer = nnx.merge(model.graphdef, model.params).quantizer
        self.sizes, self.vectors = quantizer.sizes, np.asarray(quantizer.vectors())
        rate = optax.cosine_onecycle_schedule(config.steps, config.learning_rate, 0.1)
        # The vectors are the codec's: nothing moves them.
        self.optimizer = optax.chain(
            optax.adam(rate),
            optax.transforms.freeze({name: name == "vectors" for name in Tables._fields}),
        )

    def init(self, key: Array) -> TrainState:
        """A fresh state from one key, around the codec's vectors."""
        params = init_params(key, self.vectors, self.sizes, self.config.width)
        ema = jax.tree.map(jnp.copy, params)
        return TrainState(jnp.zeros((), jnp.int32), params, ema, self.optimizer.init(params))

    def train_step(self, state: TrainState, batch: dict) -> tuple[TrainState, dict]:
        """One step on `codes` [B, T, Q]."""

        def loss(params):
            return bits(params, batch["codes"]).sum() / (batch["codes"] >= 0).sum()

        value, grads = jax.value_and_grad(loss)(state.params)
        updates, opt_state = self.optimizer.update(grads, state.opt_state)
        params = optax.apply_updates(state.params, updates)
        decay = self.config.ema_decay
        ema = jax.tree.map(lambda e, p: decay * e + (1 - decay) * p, state.ema, params)
        return TrainState(state.step + 1, params, ema, opt_state), {"bits": value}

    def eval_step(self, params: dict, batch: dict) -> dict:
        """Bits per code of the lower half of the books and of all, per example."""
        codes = batch["codes"]
        cost, frames, books = bits(params, codes), (codes[..., 0] >= 0).sum(axis=1), codes.shape[-1]
        return {
            f"bits_{n}_books": cost[..., :n].sum(axis=(1, 2)) / frames / n
            for n in (books // 2, books)
        }

    def dataset(self, split: str) -> grain.IterDataset:
        """Crops of code records, as long as a packet."""
        data, training = self.config.data, split == "train"
        return pipeline.code_crops(
            data.train if training else data.held_out,
            "train" if training else "test",
            data.frames,
            data.batch,
            data.seed,
        )


def main() -> None:
    """Puts a trained entropy model beside its codec."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=pathlib.Path, help="workdir of the training run")
    run = parser.parse_args().run
    config = run_config(run)
    folder = pathlib.Path(config.codec)
    codec_hash = codec_of([pathlib.Path(source) for source in config.data.train], folder)
    _, params = load_ema(run, EntropyTask(config))
    weights.save_entropy(folder, to_tables(params), codec_hash)


if __name__ == "__main__":
    main()
