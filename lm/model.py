"""Frame-synchronous pointer LM: text and voice in, codec codes out, one backbone step per frame.

A pointer walks over the units of the text. In every frame the model first says how many units the
frame passes (the advance), then, given the units so reached, how high and how loud it is (the
prosody token), then the first book of the frame; a small depth transformer adds the other books.
Alignment is data, not something to be learned, so text streams in, words cannot be repeated or
skipped, and word times are free. The idea is Kyutai's delayed streams (arXiv 2509.08753) with
VoXtream's phone pointer (arXiv 2509.15969); depth transformer after RQ-Transformer, trained on a
part of the frames after CSM.

Teacher-forced use: `encode_text`, `encode_voice`, `listen` (backbone), then `advance_logits`,
`first_hidden` -> `prosody_logits`, `with_prosody` -> `first_logits`, `depth`. Sampling does the
same one frame at a time (`lm.sample`).
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from lm.config import Config
from lm.layers import (
    Backbone,
    BackboneState,
    Block,
    Dense,
    Dropout,
    Mlp,
    Norm,
    Ring,
    lookup,
    normalise,
    pick,
    table,
    turn,
    window,
)
from lm.prosody import Prosody
from lm.text import Steer, Text, TextEncoder


class CodeEmbedding(nnx.Module):
    """Embeddings of several books in one table, [Q * K, C]."""

    def __init__(self, books: int, entries: int, width: int, *, rngs: nnx.Rngs):
        self.books, self.entries = books, entries
        self.table = table(books * entries, width, rngs=rngs)

    def __call__(self, codes: Int[Array, "*B q"], first: int = 0) -> Float[Array, "*B q C"]:
        """Embeddings of `codes`, whose last axis are the books from `first` on."""
        books = first + jnp.arange(codes.shape[-1])
        return self.table[...].at[codes + books * self.entries].get(mode="clip")


class VoiceEncoder(nnx.Module):
    """Codes of an utterance to one vector: two mixing blocks, then mean and deviation over time."""

    def __init__(self, cfg: Config, *, rngs: nnx.Rngs, code_width: int = 32):
        width = cfg.voice_width
        self.books = cfg.voice_books
        self.codes = CodeEmbedding(cfg.voice_books, cfg.entries, code_width, rngs=rngs)
        self.enter = Dense(cfg.voice_books * code_width, width, rngs=rngs)
        self.norms = nnx.List(Norm(3 * width, rngs=rngs) for _ in range(2))
        self.ups = nnx.List(Dense(3 * width, cfg.voice_mlp_width, rngs=rngs) for _ in range(2))
        self.downs = nnx.List(Dense(cfg.voice_mlp_width, width, rngs=rngs) for _ in range(2))
        self.leave = Dense(2 * width, width, rngs=rngs)
        self.unknown = nnx.Param(jax.random.normal(rngs.params(), (width,)))

    def __call__(
        self, codes: Int[Array, "B T Qany"], length: Int[Array, " B"]
    ) -> Float[Array, "B Dv"]:
        """Voice vectors of root mean square one; a `length` of 0 gives that of no voice at all.

        Args:
          codes: At least `voice_books` books; further ones are not looked at.
          length: Frames that count.
        """
        if codes.shape[-1] < self.books:
            raise ValueError(
                f"the voice encoder reads {self.books} books and got {codes.shape[-1]}: encode the "
                "reference with all books of the codec"
            )
        valid = (jnp.arange(codes.shape[1]) < length[:, None])[..., None]  # [B, T, 1]
        x = self.codes(codes[..., : self.books])
        x = self.enter(x.reshape(*x.shape[:2], -1)) * valid
        for norm, up, down in zip(self.norms, self.ups, self.downs, strict=True):
            wide = jnp.pad(x, ((0, 0), (1, 1), (0, 0)))
            wide = jnp.concatenate([wide[:, :-2], wide[:, 1:-1], wide[:, 2:]], axis=-1)
            x = (x + down(jax.nn.silu(up(norm(wide))))) * valid
        count = jnp.maximum(length, 1)[:, None]
        mean = x.sum(axis=1) / count
        deviation = jnp.sqrt((jnp.square(x - mean[:, None]) * valid).sum(axis=1) / count + 1e-6)
        vector = self.leave(jnp.concatenate([mean, deviation], axis=-1))
        return normalise(jnp.where(length[:, None] > 0, vector, self.unknown[...]))


class Depth(nnx.Module):
    """Books 2..Q of a frame, one after another, given what the frame says and its first book.

    The books are the leading axis: every position has an output head of its own, so the heads are
    one product per book over all frames.
    """

    def __init__(self, cfg: Config, *, rngs: nnx.Rngs):
        width, self.steps = cfg.depth_width, cfg.books - 1
        self.head_width = width // cfg.depth_heads
        self.frame = Dense(cfg.width, width, rngs=rngs)
        self.code = Dense(cfg.code_width, width, rngs=rngs)
        self.place = table(self.steps, width, rngs=rngs)
        self.blocks = nnx.List(
            Block(width, cfg.depth_heads, cfg.depth_mlp_width, cfg.depth_layers, rngs=rngs)
            for _ in range(cfg.depth_layers)
        )
        self.norm = Norm(width, rngs=rngs)
        shape = (self.steps, width, cfg.entries)
        self.heads = nnx.Param(0.5 * width**-0.5 * jax.random.normal(rngs.params(), shape))

    def __call__(
        self, hidden: Float[Array, "N D"], codes: Float[Array, "N q C"]
    ) -> Float[Array, "N q K"]:
        """Teacher-forced logits of books 2..q+1 from the embeddings of books 1..q."""
        count = codes.shape[1]
        x = self.frame(hidden)[:, None] + self.code(codes) + self.place[...][:count]
        by, mask = turn(jnp.arange(count)[None], self.head_width), window(count, count)[None]
        for block in self.blocks:
            x, _, _ = block(x, by, mask)
        return jnp.einsum("nqd,qdk->nqk", self.norm(x), self.heads[...][:count])

    def grow(
        self, hidden: Float[Array, "B D"], code: Float[Array, "B C"], past: list[Ring] | None
    ) -> tuple[Float[Array, "B K"], list[Ring]]:
        """Logits of the next book, given the embedding of the last one; starts at `past=None`."""
        place = 0 if past is None else past[0].keys.shape[2]
        x = self.frame(hidden) + self.code(code) + self.place[...][place]
        x, by = x[:, None], turn(jnp.full((1, 1), place), self.head_width)
        grown = []
        for i, block in enumerate(self.blocks):
            x, ring = block.grow(x, by, None if past is None else past[i])
            grown.append(ring)
        return self.norm(x[:, 0]) @ self.heads[...][place], grown


class LM(nnx.Module):
    """The whole model; `cfg` is its `Config`."""

    def __init__(self, cfg: Config, *, rngs: nnx.Rngs):
        self.cfg = cfg
        width = cfg.width
        self.text = TextEncoder(cfg, rngs=rngs)
        self.voice = VoiceEncoder(cfg, rngs=rngs)
        self.codes = CodeEmbedding(cfg.books, cfg.entries, cfg.code_width, rngs=rngs)
        self.begin = nnx.Param(jax.random.normal(rngs.params(), (width,)))
        self.enter_codes = Dense(cfg.books * cfg.code_width, width, rngs=rngs)
        self.enter_voice = Dense(cfg.voice_width, width, rngs=rngs)
        self.dwell = table(cfg.dwell_buckets, width, rngs=rngs)
        self.backbone = Backbone(width, cfg.heads, cfg.mlp_width, cfg.layers, cfg.window, rngs=rngs)
        self.advance = Dense(width, cfg.advance + 1, rngs=rngs, scale=0.5)
        self.advanced = table(cfg.advance + 1, width, rngs=rngs)
        self.mix = Dense(width, width, rngs=rngs)
        if cfg.pitches:
            self.prosody = Prosody(cfg, rngs=rngs)
        self.norm_mix = Norm(width, rngs=rngs)
        self.mlp = Mlp(width, cfg.mlp_width, rngs=rngs, scale=0.5)
        self.norm_first = Norm(width, rngs=rngs)
        self.first = Dense(width, cfg.entries, rngs=rngs, scale=0.5)
        self.depth = Depth(cfg, rngs=rngs)

    def encode_text(self, *units: Array, **kwargs: Array | Dropout | Steer | None) -> Text:
        """The encoded text: see `TextEncoder`."""
        return self.text(*units, **kwargs)

    def encode_voice(self, codes: Array, length: Array) -> Float[Array, "B Dv"]:
        """Voice vectors: see `VoiceEncoder`."""
        return self.voice(codes, length)

    def listen(
        self,
        previous: Int[Array, "B T Q"],
        pointer: Int[Array, "B T"],
        dwell: Int[Array, "B T"],
        text: Text,
        voice: Float[Array, "B Dv"],
        state: BackboneState | None = None,
        drop: Dropout | None = None,
        prosody: Int[Array, "B T"] | None = None,
    ) -> tuple[Float[Array, "B T D"], BackboneState]:
        """The backbone's view of every frame, from the frames before it only.

        Args:
          previous: Codes of the frame before each frame; -1 where there is none.
          pointer: Unit being spoken at the end of the frame before; 0 (<start>) at first.
          dwell: Frames since the pointer came there.
          text: The encoded text.
          voice: The voice vectors.
          state: Of the backbone; None starts at the first frame.
          drop: Dropout, in training.
          prosody: Prosody token of the frame before each frame, where the model has that stream.
        """
        x = self.codes(jnp.maximum(previous, 0))
        x = self.enter_codes(x.reshape(*x.shape[:2], -1))
        if prosody is not None:
            x = x + self.prosody.hear(prosody)
        x = jnp.where(previous[..., :1] < 0, self.begin[...], x)
        x = x + pick(text.context, pointer) + self.enter_voice(voice)[:, None]
        x = x + lookup(self.dwell[...], jnp.minimum(dwell, self.cfg.dwell_buckets - 1))
        return self.backbone(x, state, drop)

    def advance_logits(self, frames: Float[Array, "B T D"]) -> Float[Array, "B T N"]:
        """Logits of how many units each frame passes: N = A + 1."""
        return self.advance(frames)

    def first_hidden(
        self,
        frames: Float[Array, "B T D"],
        text: Text,
        pointer: Int[Array, "B T"],
        advance: Int[Array, "B T"],
    ) -> Float[Array, "B T D"]:
        """What a frame says, once it is known which units it passes; input of the further heads.

        Args:
          frames: From `listen`.
          text: The encoded text.
          pointer: Unit at the end of the frame *before*.
          advance: Units passed in the frame.
        """
        steps = jnp.arange(1, self.cfg.advance + 1)
        units = jnp.minimum(pointer[..., None] + steps, text.passed.shape[1] - 1)  # [B, T, A]
        inside = steps <= advance[..., None]
        passed = pick(text.passed, units.reshape(units.shape[0], -1))
        passed = passed.reshape(*units.shape, -1) * inside[..., None]
        passed = passed.sum(axis=2) / jnp.maximum(advance, 1)[..., None]
        x = self.mix(frames) + lookup(self.advanced[...], advance)
        x = x + pick(text.spoken, pointer + advance) + passed
        return x + self.mlp(self.norm_mix(x))

    def prosody_logits(self, hidden: Float[Array, "*B D"]) -> Float[Array, "*B N"]:
        """Logits of the prosody token; N = pitches * levels."""
        return self.prosody.logits(hidden)

    def with_prosody(
        self, hidden: Float[Array, "*B D"], token: Int[Array, "*B"]
    ) -> Float[Array, "*B D"]:
        """What a frame says, once its prosody token is known; input of all code heads."""
        return self.prosody.say(hidden, token)

    def first_logits(self, hidden: Float[Array, "*B D"]) -> Float[Array, "*B K"]:
        """Logits of the first book."""
        return self.first(self.norm_first(hidden))

    def depth_logits(
        self, hidden: Float[Array, "N D"], codes: Int[Array, "N q"]
    ) -> Float[Array, "N q K"]:
        """Logits of books 2..q+1 given books 1..q of the same frames."""
        return self.depth(self.norm_first(hidden), self.codes(codes))

    def grow_depth(
        self, hidden: Float[Array, "B D"], code: Int[Array, " B"], book: int, past: list | None
    ) -> tuple[Float[Array, "B K"], list]:
        """Logits of book `book` (counted from 0) given the code before it, for one frame."""
        embedded = self.codes(code[:, None], first=book - 1)[:, 0]
        return self.depth.grow(self.norm_first(hidden), embedded, past)


def walk(advance: Int[Array, "B T"]) -> tuple[Int[Array, "B T"], Int[Array, "B T"]]:
    """Pointer and dwell *before* every frame, from the advance of every frame."""
    at = jnp.arange(advance.shape[1])
    after = jnp.cumsum(advance, axis=1)
    last = jax.lax.cummax(jnp.where(advance > 0, at, -1), axis=1)
    before = lambda a: jnp.pad(a[:, :-1], ((0, 0), (1, 0)))  # noqa: E731
    return before(after), before(at - last)


def before(codes: Int[Array, "B T Q"]) -> Int[Array, "B T Q"]:
    """Codes of the frame before each frame; -1 before the first."""
    return jnp.pad(codes[:, :-1], ((0, 0), (1, 0), (0, 0)), constant_values=-1)


def before_prosody(token: Int[Array, "B T"]) -> Int[Array, "B T"]:
    """Prosody token of the frame before each frame; 0 (unvoiced, silent) before the first."""
    return jnp.pad(token[:, :-1], ((0, 0), (1, 0)))


def parameters(params: dict) -> dict[str, int]:
    """Number of parameters of every part, and of the whole under "total"."""
    count = lambda tree: sum(leaf.size for leaf in jax.tree.leaves(tree))  # noqa: E731
    return {name: count(tree) for name, tree in params.items()} | {"total": count(params)}


def structure(cfg: Config) -> nnx.GraphDef:
    """The model without its arrays: static and hashable, for `nnx.merge(structure, params)`."""
    return nnx.graphdef(nnx.eval_shape(lambda: LM(cfg, rngs=nnx.Rngs(0))))


def init_params(cfg: Config, key: Array) -> dict:
    """Fresh parameters as a plain nested dict; jit it."""
    return nnx.to_pure_dict(nnx.state(LM(cfg, rngs=nnx.Rngs(key)), nnx.Param))
