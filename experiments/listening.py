"""The language model's task with a listener: takes in which the text is heard become likelier.

Teacher forcing shows a model the codes of recordings, never what becomes of its own: through
1 kbit/s many an f that it says is heard as an s. So it says the rows of a batch again, several
times each, at their times and with their melody (`lm.own_past`); a codec makes them sound; the
aligner listens, every 10 ms, for the sounds of the text; and a frame becomes likelier, or less
likely, by how much better or worse than in the other takes of its row the text is heard there
(REINFORCE, the mean of the others as its baseline: RLOO, arXiv 2402.14740; but with a reward of its
own for every frame). The losses of recordings go on beside it: from them it knows whose voice it
is.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from experiments.listener import Listener
from experiments.speaking import SpeakingTask
from lm import sample, text
from lm.model import before, before_prosody, walk
from lm.own_past import say_again
from lm.task import mean

LATER = (1.0, 0.5, 0.25)
"""What a frame answers for: how it is heard, and a part of how the next ones are."""


class ListeningTask(SpeakingTask):
    """`SpeakingTask` whose rows are also said by the model itself, and listened to."""

    def __init__(self, config):
        super().__init__(config)
        self.listener = Listener(self.cfg.frame_rate)

    def loss(
        self, params: dict, average: dict, batch: dict, key: Array
    ) -> tuple[Float[Array, ""], dict]:
        """That of `LMTask`, and `config.weights.heard` times that of the takes."""
        own_key, key = jax.random.split(key)
        total, metrics = super().loss(params, average, batch, key)
        loss, nats = self.takes(params, batch, own_key)
        return total + self.config.weights.heard * loss, metrics | {"heard": nats}

    def takes(
        self, params: dict, batch: dict, key: Array
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """The loss of `config.takes` takes of every row, and nats a frame of the text in them."""
        takes = self.config.takes
        batch = jax.tree.map(lambda a: jnp.repeat(a, takes, axis=0), batch)
        rows, count = batch["advance"].shape
        begin_key, say_key, choice_key = jax.random.split(key, 3)
        share = jax.random.uniform(begin_key, (rows // takes,), maxval=0.5).repeat(takes)
        begin = (share * batch["mask"].sum(axis=1)).astype(jnp.int32)
        sampling = sample.Sampling.default(rows)
        model, units, voice = self.conditions(jax.lax.stop_gradient(params), batch)
        codes = say_again(model, batch, units, voice, begin, sampling, say_key)
        nats = self.nats(codes, units.symbol, batch["advance"])
        own = (jnp.arange(count) >= begin[:, None]) & batch["mask"]
        gain = advantage(-nats * own, takes) * own

        order = jax.random.uniform(choice_key, (rows * count,)) + own.reshape(-1)
        _, chosen = jax.lax.top_k(order, round(self.config.depth_share * rows * count))
        lookahead = jnp.full(rows, self.config.evaluation_lookahead)
        prosody = before_prosody(batch["prosody"]) if self.cfg.pitches else None
        out = self.losses(
            params, batch | {"codes": codes}, before(codes), prosody, lookahead,
            batch["voice_length"], chosen, sampling=sampling,
        )  # fmt: skip
        flat = lambda a: a.reshape(-1)[chosen]  # noqa: E731
        loss = mean(out.first * gain, own) + mean(out.depth.sum(-1) * flat(gain), flat(own))
        return loss, mean(nats, own)

    def nats(
        self, codes: Int[Array, "B T Q"], symbol: Int[Array, "B U"], advance: Int[Array, "B T"]
    ) -> Float[Array, "B T"]:
        """How unlikely what a frame says is in what is heard of it.

        Args:
            codes: Of the takes.
            symbol: Of their text, pseudo units included.
            advance: Units passed in every frame.
        """
        pointer, _ = walk(advance)
        each = jax.vmap(text.said, (None, 1, 1, None), 1)
        said = each(symbol, pointer, advance, self.cfg.advance)
        codec = nnx.merge(self.codec.graphdef, self.codec.params)
        samples, _ = codec.decode(codes, said=said)
        nats = self.listener.nats(self.listener.heard(samples[:, codec.cfg.delay_samples :]), said)
        # What is late does not come any more: the last frame is judged by what there is of it.
        late = 100 * codec.cfg.delay_samples // codec.cfg.sample_rate
        nats = jnp.pad(nats, ((0, 0), (0, late)), mode="edge")
        return nats.reshape(*codes.shape[:2], -1).mean(axis=-1)


def advantage(reward: Float[Array, "B T"], takes: int) -> Float[Array, "B T"]:
    """How much better the frames of a take do than those of the other takes of its row.

    Args:
        reward: Of every frame, the takes of a row one after another.
        takes: Of a row, at least two.
    """
    rows, count = reward.shape
    ahead = jnp.pad(reward, ((0, 0), (0, len(LATER) - 1)))
    gain = sum(share * ahead[:, i : i + count] for i, share in enumerate(LATER))
    grouped = gain.reshape(-1, takes, count)
    return ((grouped - grouped.mean(axis=1, keepdims=True)) * takes / (takes - 1)).reshape(
        rows, count
    )
