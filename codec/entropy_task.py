"""Training of the entropy model: the integer arithmetic of `codec.bitstream.entropy`, with slopes.

Numbers are rounded to the grid of the tables in the forward pass and gradients pass straight
through, so what is learned is what will be stored.
"""

from __future__ import annotations

import math
import typing

import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from codec.bitstream.entropy import UNIT_BITS, Tables
from data import pipeline

STEP = 2.0**-UNIT_BITS


class TrainState(typing.NamedTuple):
    """All that a run needs to go on exactly."""

    step: Int[Array, ""]
    params: dict
    ema: dict
    opt_state: optax.OptState


def rounded(x: Float[Array, "*B"], step: float, most: int) -> Float[Array, "*B"]:
    """`x` on a grid of `step`, at most `most` steps from zero; slopes as if it were not."""
    return x + jax.lax.stop_gradient(jnp.clip(jnp.round(x / step), -most, most) * step - x)


def on_grid(params: dict) -> dict:
    """The parameters as the tables will hold them."""
    most = {"bias": 32767, "prior": 32767}
    step = {"prior": STEP**2}
    return {k: rounded(v, step.get(k, STEP), most.get(k, 127)) for k, v in params.items()}


def to_tables(params: dict) -> Tables:
    """Whole numbers of trained parameters."""
    step = {"prior": STEP**2}
    whole = {k: np.round(np.asarray(v) / step.get(k, STEP)) for k, v in on_grid(params).items()}
    kinds = {"bias": np.int16, "prior": np.int16}
    return Tables(**{k: v.astype(kinds.get(k, np.int8)) for k, v in whole.items()})


def bits(params: dict, codes: Int[Array, "B T Q"]) -> Float[Array, "B T Q"]:
    """What each code costs; codes of -1 are beyond the end and cost nothing."""
    p = on_grid(params)
    books = jnp.arange(codes.shape[-1])
    known = (codes >= 0)[..., None]

    def embed(table):
        return jnp.cumsum(jnp.where(known, table[books, jnp.maximum(codes, 0)], 0.0), axis=2)

    def later(x, axis, by):
        pad = [(0, 0)] * x.ndim
        pad[axis] = (by, 0)
        return jax.lax.slice_in_dim(jnp.pad(x, pad), 0, x.shape[axis], axis=axis)

    hidden = p["bias"] + later(embed(p["below"]), 2, 1)
    hidden += later(embed(p["before"]), 1, 1) + later(embed(p["earlier"]), 1, 2)
    logits = jnp.einsum("btqh,qhk->btqk", jax.nn.relu(hidden), p["out"]) + p["prior"]
    nats = optax.losses.softmax_cross_entropy_with_integer_labels(
        logits * math.log(2), jnp.maximum(codes, 0)
    )
    return jnp.where(known[..., 0], nats / math.log(2), 0.0)


class EntropyTask:
    """The functions that the training loop knows, for the entropy model."""

    def __init__(self, config):
        self.config = config
        self.sizes = tuple(config.model.sizes)
        rate = optax.cosine_onecycle_schedule(config.steps, config.learning_rate, 0.1)
        self.optimizer = optax.adam(rate)

    def init(self, key: Array) -> TrainState:
        """A fresh state from one key."""
        books, entries, width = len(self.sizes), max(self.sizes), self.config.model.width
        keys = iter(jax.random.split(key, 4))
        table = lambda *shape: 0.1 * jax.random.normal(next(keys), shape)  # noqa: E731
        beyond = jnp.arange(entries) >= jnp.array(self.sizes)[:, None]
        params = {
            "before": table(books, entries, width),
            "earlier": table(books, entries, width),
            "below": table(books, entries, width),
            "bias": jnp.full((books, width), 0.5),
            "out": table(books, width, entries),
            "prior": jnp.where(beyond, -7.9, 0.0),
        }
        ema = jax.tree.map(jnp.copy, params)
        return TrainState(jnp.zeros((), jnp.int32), params, ema, self.optimizer.init(params))

    def train_step(self, state: TrainState, batch: dict) -> tuple[TrainState, dict]:
        """One step on `codes` [B, T, Q]."""

        def loss(params):
            cost = bits(params, batch["codes"])
            return cost.sum() / (batch["codes"] >= 0).sum()

        value, grads = jax.value_and_grad(loss)(state.params)
        updates, opt_state = self.optimizer.update(grads, state.opt_state)
        params = optax.apply_updates(state.params, updates)
        decay = self.config.ema_decay
        ema = jax.tree.map(lambda e, p: decay * e + (1 - decay) * p, state.ema, params)
        return TrainState(state.step + 1, params, ema, opt_state), {"bits": value}

    def eval_step(self, params: dict, batch: dict) -> dict:
        """Bits per code of the lower half of the books, and of all, per example."""
        codes = batch["codes"]
        cost, count = bits(params, codes), (codes >= 0).sum(axis=(1, 2))
        half = len(self.sizes) // 2
        return {
            f"bits_{half}_books": cost[..., :half].sum(axis=(1, 2))
            * len(self.sizes)
            / half
            / count,
            f"bits_{len(self.sizes)}_books": cost.sum(axis=(1, 2)) / count,
        }

    def dataset(self, split: str) -> grain.IterDataset:
        """Crops of code records, as long as a packet."""
        data = self.config.data
        training = split == "train"
        return pipeline.code_crops(
            data.train if training else data.held_out,
            "train" if training else "test",
            data.frames,
            data.batch,
            data.seed,
        )
