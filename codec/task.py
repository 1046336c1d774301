"""Training of the codec: one step of generator and discriminator, and its evaluation.

Generator: mel distance at four resolutions, codebook loss, and, once `adversarial_from` steps have
passed, feature matching and hinge scores of the STFT discriminators. Number of books in use is
drawn per example, with weight on the depths that are in use (8 and 16 books at 12.5 Hz: 1 and
2 kbit/s). Dead entries are re-seeded from the batch. Parts that `config.frozen` names stand still:
a decoder that is tuned alone leaves every code its meaning, to token files and language models.
"""

from __future__ import annotations

import functools
import typing
from collections.abc import Sequence

import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int

from codec.config import Config
from codec.discriminator import Discriminator
from codec.losses import adversarial, band_limited, feature_matching, hinge, mel_distance
from codec.model import Codec
from codec.quantize import Quantized
from codec.quantize.usage import entropy, perplexity, uniform, usage
from data import pipeline

USAGE_DECAY = 0.99


class TrainState(typing.NamedTuple):
    """All that a run needs to go on exactly."""

    step: Int[Array, ""]
    params: dict
    ema: dict
    opt_state: optax.OptState
    critic: dict
    critic_opt_state: optax.OptState
    usage: Float[Array, "Q K"]
    key: Array


class Takes(typing.NamedTuple):
    """What a training step has made of its batch, N rows of samples."""

    samples: Float[Array, "N S"]
    target: Float[Array, "N S"]  # what they should have been
    bandwidth_hz: Float[Array, " N"]  # of the target
    quantized: Quantized


class CodecTask:
    """The four functions that the training loop knows, for the codec."""

    def __init__(self, config):
        self.config = config
        self.cfg = Config(**config.model)
        self.frozen = tuple(config.get("frozen", ()))
        self.sample_rate = self.cfg.sample_rate
        shapes = nnx.eval_shape(lambda: self._make(jax.random.key(0)))
        self.graph, self.quantizer = nnx.graphdef(shapes), shapes.quantizer
        self.critic_graph = nnx.graphdef(
            nnx.eval_shape(lambda: self._make_critic(jax.random.key(0)))
        )
        opt = config.optimizer
        # Warm-up, plateau, decay over the last quarter: a run can be prolonged from its plateau.
        decay_from = round(0.75 * config.steps)

        def schedule(peak: float):
            last = optax.linear_schedule(peak, peak * opt.final, config.steps - decay_from)
            return optax.join_schedules(
                [optax.linear_schedule(0.0, peak, opt.warmup), optax.constant_schedule(peak), last],
                [opt.warmup, decay_from],
            )

        rate, decay = schedule(opt.learning_rate), opt.weight_decay
        adamw = functools.partial(optax.adamw, b1=0.8, b2=0.99)
        # Muon (https://kellerjordan.github.io/posts/muon) moves the matrices, Adam the rest of it.
        players = {
            "adamw": lambda: adamw(rate, weight_decay=decay),
            "muon": lambda: optax.contrib.muon(
                rate, adam_b1=0.8, adam_b2=0.99, weight_decay=decay, consistent_rms=0.2
            ),
        }
        clip = optax.clip_by_global_norm(opt.clip)
        self.optimizer = optax.chain(clip, players[opt.kind]())
        self.critic_optimizer = optax.chain(clip, adamw(schedule(opt.critic_learning_rate)))

    def _make(self, key) -> Codec:
        return Codec(self.cfg, rngs=nnx.Rngs(key))

    def _make_critic(self, key) -> Discriminator:
        return Discriminator(**self.config.critic, rngs=nnx.Rngs(key))

    def init(self, key) -> TrainState:
        """A fresh state from one key."""
        model_key, critic_key, key = jax.random.split(key, 3)
        pure = lambda module: nnx.to_pure_dict(nnx.state(module, nnx.Param))  # noqa: E731
        params = pure(self._make(model_key))
        critic = pure(self._make_critic(critic_key))
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            params=params,
            ema=jax.tree.map(jnp.copy, params),
            opt_state=self.optimizer.init(params),
            critic=critic,
            critic_opt_state=self.critic_optimizer.init(critic),
            usage=uniform(self.cfg.sizes),
            key=key,
        )

    def _depths(self, key, batch: int) -> Int[Array, " B"]:
        """Books in use per example: half or all of them by `config.depths`, else anything."""
        books, shares = self.cfg.books, self.config.depths
        which, free = jax.random.split(key)
        choice = jax.random.uniform(which, (batch,))
        depth = jax.random.randint(free, (batch,), 1, books + 1)
        depth = jnp.where(choice < shares["half"], books // 2, depth)
        return jnp.where(choice >= 1 - shares["all"], books, depth)

    def takes(self, codec: Codec, batch: dict, key: Array) -> Takes:
        """The batch through the codec: each row beside what went in."""
        depth_key, dither_key = jax.random.split(key)
        samples, delay = batch["samples"], self.cfg.delay_samples
        depth = self._depths(depth_key, len(samples))
        out = codec(samples, depth, dither_key, batch.get("said"))
        target = samples[:, : samples.shape[1] - delay]  # `delay` earlier
        return Takes(out.samples[:, delay:], target, batch["bandwidth_hz"], out.quantized)

    def judged(self, batch: dict) -> tuple[Sequence[int], Sequence[int]]:
        """Rows of the takes that the critics hear, and as many of the target that are recordings:
        half of them (cost)."""
        first = range(max(1, len(batch["samples"]) // 2))
        return first, first

    def further_losses(self, takes: Takes, batch: dict) -> dict[str, Float[Array, ""]]:
        """What else a take is judged by; each is weighed by `config.weights`."""
        return {}

    def train_step(self, state: TrainState, batch: dict) -> tuple[TrainState, dict]:
        """One step of both players.

        Args:
            state: Before it.
            batch: samples [B, S], bandwidth_hz [B], and for a codec of symbols said [B, T, 4].
        """
        weights = self.config.weights
        key = jax.random.fold_in(state.key, state.step)
        take_key, revive_key = jax.random.split(key)
        critic = lambda params, x: nnx.merge(self.critic_graph, params)(x)  # noqa: E731
        made, recorded = map(np.array, self.judged(batch))
        pairs = made == recorded  # a take and its own recording

        def heard(takes):
            """What the critics hear, made and recorded; nobody has 8-12 kHz from 16 kHz."""
            return tuple(
                band_limited(x[rows], takes.bandwidth_hz[rows], self.cfg.sample_rate)
                for x, rows in ((takes.samples, made), (takes.target, recorded))
            )

        def generator_loss(params, playing):
            params = params | {name: jax.lax.stop_gradient(params[name]) for name in self.frozen}
            takes = self.takes(nnx.merge(self.graph, params), batch, take_key)
            mel = mel_distance(
                takes.samples, takes.target, takes.bandwidth_hz, self.cfg.sample_rate
            ).mean()
            quantization = takes.quantized.loss.mean()
            loss = weights["mel"] * mel + weights["quantization"] * quantization
            metrics = {"mel": mel, "quantization": quantization}
            if playing:
                both = heard(takes)
                fakes, reals = (critic(state.critic, x) for x in both)
                matching = feature_matching(*jax.tree.map(lambda a: a[pairs], (reals, fakes)))
                score = adversarial(fakes)
                loss += weights["matching"] * matching + weights["adversarial"] * score
            else:
                matching, score, both = jnp.zeros(()), jnp.zeros(()), None
            metrics |= {"matching": matching, "adversarial": score}
            for name, value in self.further_losses(takes, batch).items():
                loss, metrics[name] = loss + weights[name] * value, value
            return loss, (metrics, takes.quantized, both)

        def critic_loss(params, both):
            fakes, reals = (critic(params, x) for x in both)
            return hinge(reals, fakes)

        def play(_):
            """Both players."""
            (_, aux), grads = jax.value_and_grad(lambda p: generator_loss(p, True), has_aux=True)(
                state.params
            )
            loss, critic_grads = jax.value_and_grad(critic_loss)(state.critic, aux[2])
            updates, opt_state = self.critic_optimizer.update(
                critic_grads, state.critic_opt_state, state.critic
            )
            return aux[:2], grads, optax.apply_updates(state.critic, updates), opt_state, loss

        def rehearse(_):
            """The generator alone, before the critics join."""
            (_, aux), grads = jax.value_and_grad(lambda p: generator_loss(p, False), has_aux=True)(
                state.params
            )
            return aux[:2], grads, state.critic, state.critic_opt_state, jnp.zeros(())

        begin = self.config.adversarial_from  # from 0 on nothing is rehearsed, nor compiled
        (metrics, quantized), grads, critic_params, critic_opt_state, critic_value = (
            jax.lax.cond(state.step >= begin, play, rehearse, None) if begin else play(None)
        )
        updates, opt_state = self.optimizer.update(grads, state.opt_state, state.params)
        for name in self.frozen:
            updates[name] = jax.tree.map(jnp.zeros_like, updates[name])
        params = optax.apply_updates(state.params, updates)
        share = USAGE_DECAY * state.usage + (1 - USAGE_DECAY) * usage(
            quantized.codes, max(self.cfg.sizes)
        )
        if "quantizer" not in self.frozen:
            params["quantizer"], share = self.quantizer.revive(
                params["quantizer"], share, quantized, revive_key
            )
        decay = jnp.minimum(self.config.ema_decay, (1.0 + state.step) / (10.0 + state.step))
        ema = jax.tree.map(lambda e, p: e + (1 - decay) * (p - e), state.ema, params)
        metrics |= {
            "critic": critic_value,
            "gradient_norm": optax.tree.norm(grads),
            "perplexity_first": perplexity(share)[0],
            "perplexity_mean": perplexity(share).mean(),
            "bits_per_frame": entropy(share).sum(),
        }
        state = TrainState(
            state.step + 1,
            params,
            ema,
            opt_state,
            critic_params,
            critic_opt_state,
            share,
            state.key,
        )
        return state, metrics

    def reconstruct(self, params: dict, batch: dict, books: int) -> Float[Array, "B S"]:
        """Samples through `books` books and back, aligned with them (the last 20 ms repeat 0)."""
        codec = nnx.merge(self.graph, params)
        codes, _ = codec.encode(batch["samples"], books=books)
        decoded, _ = codec.decode(codes, said=batch.get("said"))
        delay = self.cfg.delay_samples
        return jnp.pad(decoded[:, delay:], ((0, 0), (0, delay)))

    def eval_step(self, params: dict, batch: dict) -> dict:
        """Mel distance per example at half and all of the books."""
        samples, results = batch["samples"], {}
        for books in (self.cfg.books // 2, self.cfg.books):
            decoded = self.reconstruct(params, batch, books)
            distance = mel_distance(decoded, samples, batch["bandwidth_hz"], self.cfg.sample_rate)
            results[f"mel_{books}_books"] = distance
        return results

    def samples(self, params: dict, batch: dict) -> dict[str, Float[Array, "B S"]]:
        """Audio to listen to: recordings beside their reconstructions."""
        books = self.cfg.books
        return {
            "recording": batch["samples"],
            f"{books // 2}_books": self.reconstruct(params, batch, books // 2),
            f"{books}_books": self.reconstruct(params, batch, books),
        }

    def dataset(self, split: str) -> grain.IterDataset:
        """Crops of the training folders for ever, or a fixed set of held-out ones."""
        data = self.config.data
        crops = pipeline.audio_crops(
            data.train if split == "train" else data.held_out,
            "train" if split == "train" else "test",
            data.seconds,
            data.batch,
            data.seed,
            resampled_share=data.resampled_share if split == "train" else 0.0,
            frame_samples=self.cfg.frame_samples if self.cfg.symbols else None,
            shard_index=jax.process_index(),
            shard_count=jax.process_count(),
        )
        return crops
