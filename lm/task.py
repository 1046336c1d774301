"""Training of the LM: cross-entropy of advance, prosody token and books, all teacher-forced.

Per frame: the advance, the prosody token and the first book; on a random quarter of the frames also
the books of the depth transformer (after CSM: amortised, the loss of the rest is much the same).
Against exposure bias a share of the previous codes and prosody tokens is replaced at random, and
some rows hear their past as the model itself would have said it (`lm.own_past`). The look-ahead is
drawn anew for every row from `lookaheads`, so one model serves all of them; the voice is left out
now and then. Three hours of speech are soon known by heart (the advances first), hence dropout.
"""

from __future__ import annotations

import typing

import grain
import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from data import utterances
from lm import sample
from lm.config import Config
from lm.layers import Dropout
from lm.model import LM, before, before_prosody, init_params, structure, walk
from lm.own_past import say_again
from lm.text import Text


class TrainState(typing.NamedTuple):
    """All that a run needs to go on exactly."""

    step: Int[Array, ""]
    params: dict
    ema: dict
    opt_state: optax.OptState
    key: Array


class Losses(typing.NamedTuple):
    """Nats, and how often they count."""

    advance: Float[Array, "B T"]
    advance_right: Float[Array, "B T"]  # 1 where the likeliest advance is the true one
    advance_weight: Float[Array, "B T"]
    prosody: Float[Array, "B T"]  # 0 where the model has no such stream
    first: Float[Array, "B T"]
    frame_weight: Float[Array, "B T"]
    depth: Float[Array, "N q"]  # of the frames that were chosen
    depth_weight: Float[Array, " N"]


def cross_entropy(logits: Float[Array, "*B K"], target: Int[Array, "*B"]) -> Float[Array, "*B"]:
    """Nats of `target`; one-hot instead of a lookup, whose gradient would be a scatter."""
    onehot = target[..., None] == jnp.arange(logits.shape[-1])
    chosen = jnp.sum(jnp.where(onehot, logits, 0.0), axis=-1)
    return jax.nn.logsumexp(logits, axis=-1) - chosen


def mean(values: Array, weights: Array) -> Float[Array, ""]:
    """Weighted mean."""
    return jnp.sum(values * weights) / jnp.maximum(jnp.sum(weights), 1.0)


def schedule(opt: typing.Any, steps: int) -> optax.Schedule:
    """Linear warm-up, constant, then linear decay over the last `opt.decay` share of the steps."""
    decay = max(1, round(opt.decay * steps))
    return optax.join_schedules(
        [
            optax.linear_schedule(0.0, opt.learning_rate, opt.warmup),
            optax.constant_schedule(opt.learning_rate),
            optax.linear_schedule(opt.learning_rate, opt.final * opt.learning_rate, decay),
        ],
        [opt.warmup, max(opt.warmup, steps - decay)],
    )


class LMTask:
    """The four functions that the training loop knows, for the LM."""

    def __init__(self, config):
        self.config = config
        self.cfg = Config(**config.model)
        self.graph = structure(self.cfg)
        opt = config.optimizer
        self.optimizer = optax.chain(
            optax.clip_by_global_norm(opt.clip),
            optax.adamw(
                schedule(opt, config.steps),
                b1=0.9,
                b2=opt.b2,
                weight_decay=opt.weight_decay,
                mask=lambda params: jax.tree.map(lambda p: p.ndim >= 2, params),
            ),
        )

    def init(self, key: Array) -> TrainState:
        """A fresh state from one key."""
        params_key, key = jax.random.split(key)
        params = self.init_params(params_key)
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params=params,
            ema=jax.tree.map(jnp.copy, params),
            opt_state=self.optimizer.init(params),
            key=key,
        )

    def init_params(self, key: Array) -> dict:
        """Fresh parameters."""
        return init_params(self.cfg, key)

    def losses(
        self,
        params: dict,
        batch: dict,
        previous: Int[Array, "B T Q"],
        previous_prosody: Int[Array, "B T"] | None,
        lookahead: Int[Array, " B"],
        voice_length: Int[Array, " B"],
        chosen: Int[Array, " N"],
        drop: Dropout | None = None,
        sampling: sample.Sampling | None = None,
    ) -> Losses:
        """Teacher-forced losses; the depth books of the frames `chosen` among all B * T.

        Args:
          params: Of the model.
          batch: Fields of `data.utterances.Row`, stacked.
          previous: Codes heard in place of those of the frame before.
          previous_prosody: Prosody tokens likewise; None without that stream.
          lookahead: Words.
          voice_length: Frames of the voice crop to hear; 0 leaves the voice out.
          chosen: Frames, flattened, whose depth books count.
          drop: Dropout, in training.
          sampling: Temperatures at which the books' odds count; None for 1.
        """
        model: LM = nnx.merge(self.graph, params)
        codes, advance = batch["codes"][..., : self.cfg.books], batch["advance"]
        pointer, dwell = walk(advance)
        text = model.encode_text(
            batch["symbol"],
            batch["stress"],
            batch["word"],
            batch["length"],
            lookahead,
            drop=drop and drop.layer(self.cfg.layers),
        )
        voice = model.encode_voice(batch["voice"], voice_length)
        frames, _ = model.listen(
            previous, pointer, dwell, text, voice, drop=drop, prosody=previous_prosody
        )
        advance_logits = model.advance_logits(frames)
        hidden = model.first_hidden(frames, text, pointer, advance)
        prosody = jnp.zeros(advance.shape)
        if previous_prosody is not None:
            prosody = cross_entropy(model.prosody_logits(hidden), batch["prosody"])
            hidden = model.with_prosody(hidden, batch["prosody"])
        weight = batch["mask"].astype(jnp.float32)
        flat = lambda a: a.reshape(-1, *a.shape[2:])[chosen]  # noqa: E731
        depth_codes = flat(codes)
        first_logits = model.first_logits(hidden)
        depth_logits = model.depth_logits(flat(hidden), depth_codes[:, :-1])
        if sampling is not None:
            row = chosen // advance.shape[1]
            first_logits = first_logits / sampling.temperature[:, None, None]
            depth_logits = depth_logits / sampling.depth_temperature[row, None, None]
        return Losses(
            advance=cross_entropy(advance_logits, advance),
            advance_right=(jnp.argmax(advance_logits, axis=-1) == advance).astype(jnp.float32),
            # At <end> nothing is left to pass, and sampling never asks.
            advance_weight=weight * (pointer <= batch["length"][:, None]),
            prosody=prosody,
            first=cross_entropy(first_logits, codes[..., 0]),
            frame_weight=weight,
            depth=cross_entropy(depth_logits, depth_codes[:, 1:]),
            depth_weight=flat(weight),
        )

    def heard(self, params: dict, batch: dict, key: Array) -> Int[Array, "B T Q"]:
        """The codes that the next frames follow: true ones, and the model's own in some rows.

        In the first `own_past` of the rows it is its own from a random frame of the first half on.
        """
        codes = batch["codes"][..., : self.cfg.books]
        rows, count = codes.shape[:2]
        own = round(self.config.own_past * rows)
        if not own:
            return codes
        batch = jax.tree.map(lambda a: a[:own], batch)
        model, text, voice = self.conditions(params, batch)
        place, noise = jax.random.split(key)
        begin = jax.random.uniform(place, (own,), maxval=0.5) * batch["mask"].sum(axis=1)
        said = say_again(
            model, batch, text, voice, begin.astype(jnp.int32), sample.Sampling.default(own), noise
        )
        return codes.at[:own].set(said)

    def conditions(self, params: dict, batch: dict) -> tuple[LM, Text, Float[Array, "B Dv"]]:
        """What the model itself says rows with: itself, their texts and their voices."""
        model: LM = nnx.merge(self.graph, params)
        units = (batch[name] for name in ("symbol", "stress", "word", "length"))
        lookahead = jnp.full(len(batch["length"]), self.config.evaluation_lookahead)
        voice = model.encode_voice(batch["voice"], batch["voice_length"])
        return model, model.encode_text(*units, lookahead), voice

    def loss(
        self, params: dict, average: dict, batch: dict, key: Array
    ) -> tuple[Float[Array, ""], dict]:
        """What a step lessens, and its parts; what the model says itself is of the `average`."""
        config, weights = self.config, self.config.weights
        keys = jax.random.split(key, 8)
        codes = batch["codes"][..., : self.cfg.books]
        rows, count = codes.shape[:2]
        heard = self.heard(average, batch, jax.random.fold_in(keys[0], 1))
        noise = jax.random.randint(keys[0], codes.shape, 0, self.cfg.entries)
        noisy = jax.random.bernoulli(keys[1], config.noise, codes.shape)
        previous = before(jnp.where(noisy, noise, heard))
        previous_prosody = None
        if self.cfg.pitches:
            token = batch["prosody"]
            noise = jax.random.randint(keys[6], token.shape, 0, self.cfg.pitches * self.cfg.levels)
            noisy = jax.random.bernoulli(keys[7], config.noise, token.shape)
            previous_prosody = before_prosody(jnp.where(noisy, noise, token))
        lookahead = jax.random.choice(keys[2], jnp.asarray(config.lookaheads), (rows,))
        known = jax.random.bernoulli(keys[3], 1 - config.voice_dropout, (rows,))
        # A random part of the frames there are; padding only where those do not suffice.
        order = jax.random.uniform(keys[4], (rows * count,)) + batch["mask"].reshape(-1)
        _, chosen = jax.lax.top_k(order, round(config.depth_share * rows * count))

        voice_length = batch["voice_length"] * known
        drop = Dropout(keys[5], config.dropout)
        out = self.losses(
            params, batch, previous, previous_prosody, lookahead, voice_length, chosen, drop
        )
        advance = mean(out.advance, out.advance_weight)
        first = mean(out.first, out.frame_weight)
        prosody = mean(out.prosody, out.frame_weight)
        books = jax.vmap(mean, (1, None))(out.depth, out.depth_weight).mean()
        total = first + weights["advance"] * advance + weights["depth"] * books
        total = total + weights["prosody"] * prosody
        right = mean(out.advance_right, out.advance_weight)
        return total, {
            "advance": advance,
            "prosody": prosody,
            "first": first,
            "depth": books,
            "advance_right": right,
        }

    def train_step(self, state: TrainState, batch: dict) -> tuple[TrainState, dict]:
        """One step. `batch`: fields of `data.utterances.Row`, stacked."""
        config, key = self.config, jax.random.fold_in(state.key, state.step)
        grad = jax.value_and_grad(self.loss, has_aux=True)
        (total, metrics), grads = grad(state.params, state.ema, batch, key)
        updates, opt_state = self.optimizer.update(grads, state.opt_state, state.params)
        for name in config.get("frozen", ()):
            updates[name] = jax.tree.map(jnp.zeros_like, updates[name])
        params = optax.apply_updates(state.params, updates)
        # Young averages follow fast, or the first evaluations would show the initial weights.
        decay = jnp.minimum(config.ema_decay, (1.0 + state.step) / (10.0 + state.step))
        ema = jax.tree.map(lambda e, p: e + (1 - decay) * (p - e), state.ema, params)
        metrics = {"loss": total} | metrics | {"gradient": optax.tree.norm(grads)}
        return TrainState(state.step + 1, params, ema, opt_state, state.key), metrics

    def eval_step(self, params: dict, batch: dict) -> dict[str, Float[Array, " B"]]:
        """Nats per frame of the advance and of every book, per row; true codes, all frames."""
        rows, count = batch["mask"].shape
        codes = batch["codes"][..., : self.cfg.books]
        lookahead = jnp.full(rows, self.config.evaluation_lookahead)
        chosen = jnp.arange(rows * count)
        prosody = before_prosody(batch["prosody"]) if self.cfg.pitches else None
        out = self.losses(
            params, batch, before(codes), prosody, lookahead, batch["voice_length"], chosen
        )
        per_row = jax.vmap(mean)
        depth = out.depth.reshape(rows, count, -1)
        books = [per_row(out.first, out.frame_weight)]
        books += [per_row(depth[..., q], out.frame_weight) for q in range(depth.shape[-1])]
        return {
            "advance": per_row(out.advance, out.advance_weight),
            "advance_right": per_row(out.advance_right, out.advance_weight),
            "prosody": per_row(out.prosody, out.frame_weight),
            "frame": sum(books),
        } | {f"book_{q + 1}": nats for q, nats in enumerate(books)}

    def speak(self, params: dict, batch: dict) -> tuple[Int[Array, "B T Q"], Bool[Array, "B T"]]:
        """Codes sampled for the texts of a batch in their voices, and which frames there are."""
        rows, count = batch["mask"].shape
        model, text, voice = self.conditions(params, batch)
        state = sample.init_state(model, rows, jnp.arange(rows))
        sampling = sample.Sampling.default(rows)
        _, out = sample.generate(model, text, voice, sampling, state, jnp.int32(count), count)
        return out.codes.swapaxes(0, 1), out.valid.swapaxes(0, 1)

    def dataset(self, split: str) -> grain.IterDataset:
        """Batches of rows: "train" for ever; "val" every clip once as the first of its row."""
        data = self.config.data
        train = split == "train"
        folders = data.train if train else data.held_out
        share = data.get("share", 1.0) if train else 1.0
        clips, rate = utterances.from_folders(folders, split, data.frames, share)
        if rate != self.cfg.frame_rate:
            raise ValueError(
                f"the codes have {rate} frames a second, config.model.frame_rate says "
                f"{self.cfg.frame_rate}: set it to that of the codec"
            )
        rows = utterances.Rows(
            clips,
            frames=data.frames,
            units=data.units,
            limit=self.cfg.advance,
            voice_frames=tuple(round(s * rate) for s in data.voice_s),
            seed=data.seed,
        )
        # A handful of held-out clips make a batch, too: rows go on, in other company.
        count = None if train else max(rows.epoch, data.batch)
        return utterances.batches(rows, data.batch, count=count)
