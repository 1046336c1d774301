"""Training of the baselines, in the frame of the pointer's: the same rows, noise and optimiser.

What stands under `advance` in the losses is whether a frame is the last one.
"""

from __future__ import annotations

import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Bool, Int

from lm import baseline
from lm.layers import Dropout
from lm.sample import Sampling
from lm.task import LMTask, Losses, cross_entropy

LAST = 20.0  # weight of a row's one last frame against each of the others


class BaselineTask(LMTask):
    """`LMTask` of a design of `lm.baseline`."""

    def __init__(self, config):
        super().__init__(config)
        self.graph = baseline.structure(self.cfg)

    def init_params(self, key: Array) -> dict:
        """Fresh parameters."""
        return baseline.init_params(self.cfg, key)

    def losses(
        self,
        params: dict,
        batch: dict,
        previous: Int[Array, "B T Q"],
        previous_prosody: None,
        lookahead: Int[Array, " B"],
        voice_length: Int[Array, " B"],
        chosen: Int[Array, " N"],
        drop: Dropout | None = None,
    ) -> Losses:
        """See `LMTask.losses`; the look-ahead is the whole text, always."""
        model: baseline.Baseline = nnx.merge(self.graph, params)
        codes = batch["codes"][..., : self.cfg.books]
        voice = model.encode_voice(batch["voice"], voice_length)
        units = (batch[name] for name in ("symbol", "stress", "word", "length"))
        memory = model.read(*units, voice, drop=drop)
        # Flat places hear the codes of their own frame; `previous` is one frame late.
        heard = jnp.concatenate([previous[:, 1:], codes[:, -1:]], 1) if model.flat else previous
        hidden = model.listen(model.enter(heard), memory, drop)
        weight = batch["mask"].astype(jnp.float32)
        last = batch["mask"] & ~jnp.pad(batch["mask"][:, 1:], ((0, 0), (0, 1)))
        stop = model.stop_logits(hidden)
        flat = lambda a: a.reshape(-1, *a.shape[2:])[chosen]  # noqa: E731
        chosen_codes = flat(codes)
        if model.flat:
            logits = model.flat_logits(hidden)
            first, depth = logits[:, :, 0], flat(logits)[:, 1:]
        else:
            first = model.first(hidden)
            depth = model.depth(flat(hidden), model.codes(chosen_codes[:, :-1]))
        return Losses(
            advance=optax.sigmoid_binary_cross_entropy(stop, last.astype(jnp.float32)),
            advance_right=((stop > 0) == last).astype(jnp.float32),
            advance_weight=weight * jnp.where(last, LAST, 1.0),
            prosody=jnp.zeros(weight.shape),
            first=cross_entropy(first, codes[..., 0]),
            frame_weight=weight,
            depth=cross_entropy(depth, chosen_codes[:, 1:]),
            depth_weight=flat(weight),
        )

    def speak(self, params: dict, batch: dict) -> tuple[Int[Array, "B T Q"], Bool[Array, "B T"]]:
        """See `LMTask.speak`."""
        model: baseline.Baseline = nnx.merge(self.graph, params)
        rows, count = batch["mask"].shape
        voice = model.encode_voice(batch["voice"], batch["voice_length"])
        units = (batch[name] for name in ("symbol", "stress", "word", "length"))
        memory = model.read(*units, voice)
        return baseline.generate(model, memory, Sampling.default(rows), jnp.arange(rows), count)
