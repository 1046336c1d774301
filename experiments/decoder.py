"""The codec's task for its decoder alone: a released codec's voice, its codes as they are.

Codes keep their meaning, so the language model, the token files and the entropy model of the
release go on with the tuned decoder: `voiceloom.export codec` writes whose codes they are into
codec.json.

A decoder that is told the text (`codec.Config.symbols`) learns on two halves of a batch: recordings
through the codec, told what their labels say; and our own speech, told what its text says. Of that
nobody knows how it should have sounded: it is to sound as it does when it is told nothing, and the
aligner is to hear the text in it, wherever the language model has written another sound. The
critics hear as much of the one as of the other.
"""

from __future__ import annotations

import grain
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from codec import Codec
from codec.task import CodecTask, Takes, TrainState
from data import pipeline
from experiments.listener import Listener
from voiceloom import weights

OWN_HZ = 12_000.0  # our own speech has all that a decoder makes


class DecoderTask(CodecTask):
    """`CodecTask` that begins with a released codec; `config.frozen` says what stands still."""

    def init_from(self, state: TrainState, release: str) -> TrainState:
        """A fresh state that begins with the codec of a release, and with new critics."""
        params = weights.load_codec(release).params
        # A speaker begins with what the decoder can.
        begun = {name: params["decoder"] for name in state.params if name == "speaker"}
        params = jax.tree.map(jnp.copy, state.params | begun | params)
        return state._replace(params=params, ema=jax.tree.map(jnp.copy, params))


class ToldTask(DecoderTask):
    """`DecoderTask` of a decoder that is told the text, with our own speech beside recordings."""

    def __init__(self, config):
        super().__init__(config)
        self.listener = Listener(self.cfg.frame_rate)

    def takes(self, codec: Codec, batch: dict, key: Array) -> Takes:
        """Recordings, then our own speech; also in `batch`: codes [B, T, Q], own_said [B, T, 4]."""
        depth_key, dither_key = jax.random.split(key)
        samples, codes, delay = batch["samples"], batch["codes"], self.cfg.delay_samples
        latent, _ = codec.encoder(samples)
        quantized = codec.quantizer(latent, self._depths(depth_key, len(samples)), dither_key)
        own = codec.quantizer.decode(codes)
        untold = jax.lax.stop_gradient(codec.decoder(own)[0])
        said = codec.told(jnp.concatenate([batch["said"], batch["own_said"]]))
        made, _ = codec.speaker(jnp.concatenate([quantized.latent, own]) + said)
        return Takes(
            made[:, delay:],
            jnp.concatenate([samples[:, : samples.shape[1] - delay], untold[:, delay:]]),
            jnp.concatenate([batch["bandwidth_hz"], jnp.full(len(codes), OWN_HZ)]),
            quantized,
        )

    def judged(self, batch: dict) -> tuple[np.ndarray, np.ndarray]:
        """Half of the recordings' takes and half of our own; all of the recordings."""
        rows = np.arange(len(batch["samples"]))
        half = (len(rows) + 1) // 2
        own = len(rows) + rows
        return np.concatenate([rows[:half], own[: len(rows) - half]]), rows

    def further_losses(self, takes: Takes, batch: dict) -> dict[str, Float[Array, ""]]:
        """In nats a frame: how far the phones that are heard of recordings are from those of the
        recording itself, and how unlikely those of the text are in our own speech."""
        count = len(batch["samples"])
        heard = self.listener.heard(takes.samples)
        meant = jax.lax.stop_gradient(self.listener.heard(takes.target[:count]))
        divergence = jnp.sum(jnp.exp(meant) * (meant - heard[:count]), axis=-1).mean()
        said = self.listener.nats(heard[count:], batch["own_said"])
        return {"phones": divergence, "said": said.mean()}

    def dataset(self, split: str) -> grain.IterDataset:
        """As of the codec; in training with as many crops of our own speech."""
        recorded, data = super().dataset(split), self.config.data
        if split != "train":
            return recorded
        frames = round(data.seconds * self.cfg.frame_rate)
        own = pipeline.spoken_crops(data.own, "train", frames, data.batch, data.seed)
        return grain.experimental.ZipIterDataset([recorded, own]).map(_together)


def _together(pair: tuple[dict, dict]) -> dict:
    recorded, own = pair
    return recorded | {"codes": own["codes"], "own_said": own["said"]}
