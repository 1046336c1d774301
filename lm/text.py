"""Text side of the LM: units in, out what the backbone and the heads hear of each of them.

Unit 0 is <start> (the leading silence), then the text's units, then <end> (the trailing silence).
The look-ahead is exact: the first layer is the only one that looks ahead, and only at what a unit
is by itself (symbol, stress, word-initial), in words up to `lookahead` after its own; the classes
of the next boundary and of the sentence's final mark obey the same bound and are added after it;
all further layers are causal. So unit u depends on no word after word(u) + lookahead, nothing
changes when more text arrives, and a streaming front end gets what the whole text would have given
(limited look-ahead over phones as in VoXtream, arXiv 2509.15969).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from lm.config import Config
from lm.layers import Block, Dense, Dropout, Norm, lookup, turn

AHEAD = 3  # units after the pointer the backbone hears raw: as many as one frame can pass
DISTANCES = 8  # buckets of a distance in units: none, 1, 2-3, 4-7, ... 64 and more
STRESSES = 3


class Steer(NamedTuple):
    """How units are to be said, beyond what the text says; see `unsteered`."""

    hold: Int[Array, "B U"]  # frames the pointer stays at least; no unit with any is passed over
    stretch: Float[Array, "B U"]  # logarithm of how much longer: tilts the odds of the onset after
    lift: Float[Array, "B U"]  # semitones added to the pitch that the model has drawn
    level: Int[Array, "B U"]  # steps added to its level
    least: Float[Array, "B U"]  # semitones about the speaker's median, plus FREE: none below them


FREE = 100.0  # so that zeros, which pad, ask for nothing


def unsteered(batch: int, count: int) -> Steer:
    """A `Steer` of `count` units that asks for nothing."""
    none, nothing = jnp.zeros((batch, count), jnp.int32), jnp.zeros((batch, count))
    return Steer(none, nothing, nothing, none, nothing)


class Text(NamedTuple):
    """An encoded text, U units of input and two pseudo units, padded."""

    symbol: Int[Array, "B U+2"]  # ids; -1 for the pseudo units
    context: Float[Array, "B U+2 D"]  # what the backbone hears while a unit is spoken
    spoken: Float[Array, "B U+2 D"]  # what the heads hear of the unit reached
    passed: Float[Array, "B U+2 D"]  # what the heads hear of units passed in a frame
    max_dwell: Int[Array, "B U+2"]  # frames the pointer may stay on a unit
    steer: Steer  # of U + 2 units
    limit: Int[Array, " B"]  # last unit whose look-ahead is all there; <end> when text is complete
    end: Int[Array, " B"]  # index of <end>; beyond every unit while the text is incomplete


def said(
    symbol: Int[Array, "B U"], pointer: Int[Array, " B"], advance: Int[Array, " B"], most: int
) -> Int[Array, "B N"]:
    """What a frame says: the symbol in speech as it begins, then those passed in it; -1 for none.

    Args:
      symbol: As of `Text`.
      pointer: Unit at the end of the frame before.
      advance: Units passed in the frame.
      most: Units passed in any frame; N = most + 1.
    """
    nth = jnp.arange(most + 1)
    found = jnp.take_along_axis(symbol, pointer[:, None] + nth, axis=1, mode="clip")
    return jnp.where(nth <= advance[:, None], found, -1)


class Units(NamedTuple):
    """Units with their pseudo units and what is known of each, all [B, U + 2]."""

    symbol: Int[Array, "B U+2"]
    stress: Int[Array, "B U+2"]
    word: Int[Array, "B U+2"]
    initial: Int[Array, "B U+2"]  # whether a word begins
    valid: Bool[Array, "B U+2"]


def with_pseudo_units(cfg: Config, symbol: Array, stress: Array, word: Array, length: Array):
    """Units [B, U] with <start> before them and <end> after the last one.

    <start> belongs to the first word, <end> is a word of its own: with a look-ahead of no words one
    cannot know that the text ends.
    """
    batch, count = symbol.shape
    at = jnp.arange(count + 2)
    end = length[:, None] + 1
    pad = lambda a, left: jnp.concatenate([left, a, jnp.zeros_like(left)], axis=1)  # noqa: E731
    none = jnp.zeros((batch, 1), jnp.int32)
    symbol = pad(symbol, jnp.full_like(none, cfg.start))
    symbol = jnp.where(at == end, cfg.end, jnp.where(at < end, symbol, 0))
    word = pad(word, word[:, :1])
    last = jnp.take_along_axis(word, length[:, None], axis=1)
    word = jnp.where(at >= end, last + 1, word)
    before = jnp.concatenate([none - 1, word[:, :-1]], axis=1)
    initial = (word != before).astype(jnp.int32).at[:, 1].set(1)
    stress = jnp.where(at < end, pad(stress, none), 0)
    return Units(symbol, stress, word, initial, at <= end)


def boundaries(cfg: Config, units: Units, lookahead: Int[Array, " B"]) -> tuple[Array, ...]:
    """Class and bucketed distance of the last and the next boundary, class of the final mark.

    Each [B, U + 2], 0 where there is none within the look-ahead and the text window.
    """
    table = np.array([*cfg.boundary_of, 0, 0], np.int32)
    classes = jnp.where(units.valid, jnp.asarray(table)[units.symbol], 0)
    final = jnp.isin(classes, jnp.asarray(cfg.final_classes))
    count = classes.shape[1]
    at = jnp.broadcast_to(jnp.arange(count), classes.shape)
    horizon = units.word + lookahead[:, None]

    def take(values, index):
        return jnp.take_along_axis(values, jnp.clip(index, 0, count - 1), axis=1)

    def following(marks):
        """Index of the next mark after each unit, `count` where out of sight."""
        index = jax.lax.cummin(jnp.where(marks, at, count), axis=1, reverse=True)
        index = jnp.concatenate([index[:, 1:], jnp.full_like(index[:, :1], count)], axis=1)
        seen = (index - at <= cfg.text_window) & (take(units.word, index) <= horizon)
        return jnp.where(seen, index, count)

    previous = jax.lax.cummax(jnp.where(classes > 0, at, -1), axis=1)
    previous = jnp.concatenate([jnp.full_like(previous[:, :1], -1), previous[:, :-1]], axis=1)
    behind = (previous >= 0) & (at - previous < cfg.text_window)
    following_any, following_final = following(classes > 0), following(final)
    ahead = following_any < count

    def bucket(distance, seen):
        exponent = jnp.floor(jnp.log2(jnp.maximum(distance, 1).astype(jnp.float32) + 0.5))
        return jnp.where(seen, jnp.clip(1 + exponent.astype(jnp.int32), 1, DISTANCES - 1), 0)

    return (
        jnp.where(behind, take(classes, previous), 0),
        bucket(at - previous, behind),
        jnp.where(ahead, take(classes, following_any), 0),
        bucket(following_any - at, ahead),
        jnp.where(following_final < count, take(classes, following_final), 0),
    )


class TextEncoder(nnx.Module):
    """Units to `Text`: one layer with limited look-ahead, then causal ones."""

    def __init__(self, cfg: Config, *, rngs: nnx.Rngs):
        self.cfg = cfg
        width, classes = cfg.width, max(cfg.boundary_of) + 1
        table = lambda n: nnx.Param(0.5 * jax.random.normal(rngs.params(), (n, width)))  # noqa: E731
        self.symbol = table(cfg.symbols + 2)
        self.stress = table(STRESSES * 2)  # with and without a word's beginning
        self.boundary = nnx.List(
            table(n) for n in (classes, DISTANCES, classes, DISTANCES, classes)
        )
        self.blocks = nnx.List(
            Block(width, cfg.heads, cfg.text_mlp_width, cfg.text_layers, rngs=rngs)
            for _ in range(cfg.text_layers)
        )
        self.norm = Norm(width, rngs=rngs)
        self.hear = Dense((1 + AHEAD) * width, width, rngs=rngs)
        self.speak = Dense(width, 2 * width, rngs=rngs)

    def __call__(
        self,
        symbol: Int[Array, "B U"],
        stress: Int[Array, "B U"],
        word: Int[Array, "B U"],
        length: Int[Array, " B"],
        lookahead: Int[Array, " B"],
        complete: Bool[Array, " B"] | None = None,
        drop: Dropout | None = None,
        steer: Steer | None = None,
    ) -> Text:
        """The encoded text.

        Args:
          symbol, stress, word: Units as `data.phones` makes them, padded to U with anything.
          length: Units there are, at least 1.
          lookahead: Words after its own that a unit may know of; a large number for all of them.
          complete: Whether the text ends here (default). If not, no <end> is shown, and units whose
            look-ahead has not arrived lie beyond `limit`. A word must come with its punctuation.
          drop: Dropout, in training.
          steer: How the units are to be said; None asks for nothing.
        """
        cfg = self.cfg
        steer = unsteered(*symbol.shape) if steer is None else steer
        steer = jax.tree.map(lambda a: jnp.pad(a, ((0, 0), (1, 1))), steer)
        complete = jnp.ones(length.shape, bool) if complete is None else complete
        units = with_pseudo_units(cfg, symbol, stress, word, length)
        count = units.symbol.shape[1]
        end = length + 1
        units = units._replace(valid=jnp.arange(count) <= jnp.where(complete, end, length)[:, None])
        horizon = units.word + lookahead[:, None]

        raw = lookup(self.symbol[...], units.symbol)
        raw = raw + lookup(self.stress[...], units.stress * 2 + units.initial)
        features = [
            lookup(table[...], ids)
            for table, ids in zip(self.boundary, boundaries(cfg, units, lookahead), strict=True)
        ]
        lag = jnp.arange(count)[:, None] - jnp.arange(count)  # [U+2, U+2] query minus key
        known = units.valid[:, None] & (units.word[:, None] <= horizon[:, :, None])
        causal = (lag >= 0) & (lag < cfg.text_window)
        ahead = (lag < 0) & (-lag <= cfg.text_window) & known
        by = turn(jnp.arange(count)[None], cfg.width // cfg.heads)
        x = raw
        for i, block in enumerate(self.blocks):
            mask = causal | ahead if i == 0 else causal[None]
            x, _, _ = block(x, by, mask, drop and drop.layer(i))
            x = x + sum(features) if i == 0 else x
        x = self.norm(x)

        heard = [x]
        for step in range(1, 1 + AHEAD):
            shift = lambda a, n=step: jnp.pad(a[:, n:], [(0, 0), (0, n)] + [(0, 0)] * (a.ndim - 2))  # noqa: E731
            seen = shift(units.valid) & (shift(units.word) <= horizon)
            heard.append(jnp.where(seen[..., None], shift(raw), 0))
        spoken, passed = jnp.split(self.speak(x), 2, axis=-1)

        frames = [max(1, round(s * cfg.frame_rate)) for s in cfg.max_dwell_s]
        table = jnp.asarray([*frames, np.iinfo(np.int32).max], jnp.int32)
        last = jnp.take_along_axis(units.word, length[:, None], axis=1)
        ready = (horizon <= last) | (jnp.arange(count) + cfg.text_window <= length[:, None])
        ready = jnp.sum(ready & units.valid, axis=1) - 1
        return Text(
            symbol=jnp.where(units.symbol < cfg.symbols, units.symbol, -1),
            context=self.hear(jnp.concatenate(heard, axis=-1)),
            spoken=spoken,
            passed=passed,
            max_dwell=jnp.maximum(table[units.symbol], steer.hold),
            steer=steer,
            limit=jnp.where(complete, end, ready),
            end=jnp.where(complete, end, jnp.iinfo(jnp.int32).max // 2),
        )
