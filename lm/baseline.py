"""The designs that the pointer is measured against: text first, speech after it.

Three rungs below the pointer (`lm.model`), on the same units, voices, codes and sampler:

* flat: one sequence, the text and then every code of every frame (the shape of a text LM);
* prefix: the text and then the frames, their further books by the depth transformer (CSM's shape);
* cross: the frames alone, which look at an encoded text in every layer (an encoder and a decoder).

None is told where in the text it is: alignment has to be learned, and speech ends when the model
says so (`stop`). Text is any sequence of ids below `Config.symbols`, phones or a tokenizer's.

The cache is exact: a prefix of any length is written into it once, slots beyond its end count as
unwritten, and every later step reads what the whole form would have computed.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from lm.config import Config
from lm.layers import (
    NEVER,
    Block,
    Dense,
    Dropout,
    Norm,
    Ring,
    lookup,
    normalise,
    rotate,
    table,
    turn,
    window,
    write,
)
from lm.model import CodeEmbedding, Depth, VoiceEncoder
from lm.sample import CANDIDATES, Sampling, draw

DESIGNS = ("flat", "prefix", "cross")


class Memory(NamedTuple):
    """What the speech knows of its text: of `cross` the encoded text, else what precedes it."""

    x: Float[Array, "B U+1 D"]  # the voice, then the units
    length: Int[Array, " B"]  # places of it that count


class State(NamedTuple):
    """Of B streams."""

    rings: tuple[Ring, ...]
    pos: Int[Array, " B"]  # places written
    memory: Memory
    code: Int[Array, "B Q"]  # of the last frame; -1 before the first


class CrossAttention(nnx.Module):
    """Frames look at the text; both turned by their positions, which run about equally fast."""

    def __init__(self, width: int, heads: int, *, rngs: nnx.Rngs, scale: float):
        self.heads = heads
        self.norm = Norm(width, rngs=rngs)
        self.query = Dense(width, width, rngs=rngs)
        self.key_value = Dense(width, 2 * width, rngs=rngs)
        self.out = Dense(width, width, rngs=rngs, scale=scale)

    def __call__(self, x: Float[Array, "B T D"], pos: Int[Array, "#B T"], memory: Memory) -> Array:
        """What `x` at positions `pos` hears of the text."""
        split = lambda a: a.reshape(*a.shape[:2], self.heads, -1)  # noqa: E731
        q = split(self.query(self.norm(x)))
        k, v = (split(a) for a in jnp.split(self.key_value(memory.x), 2, axis=-1))
        places = jnp.arange(memory.x.shape[1])
        q = rotate(normalise(q), turn(pos, q.shape[-1]))
        k = rotate(normalise(k), turn(places[None], k.shape[-1]))
        scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) * q.shape[-1] ** -0.5
        there = (places < memory.length[:, None])[:, None, None]
        weights = jax.nn.softmax(jnp.where(there, scores, NEVER), axis=-1)
        y = jnp.einsum("bhqk,bkhd->bqhd", weights, v)
        return self.out(y.reshape(x.shape))


class Baseline(nnx.Module):
    """The model of one of `DESIGNS`; `cfg` is its `Config`."""

    def __init__(self, cfg: Config, *, rngs: nnx.Rngs):
        if cfg.design not in DESIGNS:
            raise ValueError(f"no design {cfg.design!r}; there are pointer, {', '.join(DESIGNS)}")
        self.cfg, width = cfg, cfg.width
        self.flat, self.cross = cfg.design == "flat", cfg.design == "cross"
        self.symbol = table(cfg.symbols + 2, width, rngs=rngs)
        self.stress = table(6, width, rngs=rngs)  # three, with and without a word's beginning
        self.voice = VoiceEncoder(cfg, rngs=rngs)
        self.enter_voice = Dense(cfg.voice_width, width, rngs=rngs)
        self.codes = CodeEmbedding(cfg.books, cfg.entries, cfg.code_width, rngs=rngs)
        self.begin = nnx.Param(jax.random.normal(rngs.params(), (width,)))
        together = 1 if self.flat else cfg.books
        self.enter_codes = Dense(together * cfg.code_width, width, rngs=rngs)
        make = lambda layers: nnx.List(  # noqa: E731
            Block(width, cfg.heads, cfg.mlp_width, layers, rngs=rngs) for _ in range(layers)
        )
        self.blocks = make(cfg.layers)
        if self.cross:
            self.text_blocks = make(cfg.text_layers)
            scale = (2 * cfg.layers) ** -0.5
            self.looks = nnx.List(
                CrossAttention(width, cfg.heads, rngs=rngs, scale=scale) for _ in range(cfg.layers)
            )
        self.norm = Norm(width, rngs=rngs)
        self.stop = Dense(width, 1, rngs=rngs)
        if self.flat:
            self.place = table(cfg.books, width, rngs=rngs)
            shape = (cfg.books, width, cfg.entries)
            self.heads = nnx.Param(0.5 * width**-0.5 * jax.random.normal(rngs.params(), shape))
        else:
            self.first = Dense(width, cfg.entries, rngs=rngs, scale=0.5)
            self.depth = Depth(cfg, rngs=rngs)

    def encode_voice(self, codes: Array, length: Array) -> Float[Array, "B Dv"]:
        """Voice vectors: see `lm.model.VoiceEncoder`."""
        return self.voice(codes, length)

    def read(
        self,
        symbol: Int[Array, "B U"],
        stress: Int[Array, "B U"],
        word: Int[Array, "B U"],
        length: Int[Array, " B"],
        voice: Float[Array, "B Dv"],
        drop: Dropout | None = None,
    ) -> Memory:
        """Voice and text as the speech will know them."""
        initial = (word != jnp.pad(word, ((0, 0), (1, 0)), constant_values=-1)[:, :-1]).astype(int)
        units = lookup(self.symbol[...], symbol) + lookup(self.stress[...], 2 * stress + initial)
        x = jnp.concatenate([self.enter_voice(voice)[:, None], units], axis=1)
        memory = Memory(x, 1 + length)
        if self.cross:
            by = turn(jnp.arange(x.shape[1])[None], self.cfg.width // self.cfg.heads)
            mask = _seen(memory)
            for i, block in enumerate(self.text_blocks):
                x, _, _ = block(x, by, mask, drop and drop.layer(self.cfg.layers + i))
        return memory._replace(x=x)

    def enter(self, codes: Int[Array, "B T Q"]) -> Float[Array, "B N D"]:
        """What is heard of each place's predecessor: N = T, or T * Q where the design is flat.

        Args:
          codes: Of the frames themselves where flat, of the frames before them otherwise; -1 where
            there is none.
        """
        x = self.codes(jnp.maximum(codes, 0))
        if not self.flat:
            x = self.enter_codes(x.reshape(*x.shape[:2], -1))
            return jnp.where(codes[..., :1] < 0, self.begin[...], x)
        count = codes.shape[1]
        x = self.enter_codes(x).reshape(codes.shape[0], -1, self.cfg.width)
        first = jnp.broadcast_to(self.begin[...], x[:, :1].shape)
        x = jnp.concatenate([first, x[:, :-1]], axis=1)
        return x + jnp.tile(self.place[...], (count, 1))

    def listen(
        self, x: Float[Array, "B N D"], memory: Memory, drop: Dropout | None = None
    ) -> Float[Array, "B N D"]:
        """Whole form: what every place says, from the text and the places before it."""
        count, head_width = x.shape[1], self.cfg.width // self.cfg.heads
        causal = window(count, count)
        if self.cross:
            pos = jnp.arange(count)[None]
            for i, (block, look) in enumerate(zip(self.blocks, self.looks, strict=True)):
                x, _, _ = block(x, turn(pos, head_width), causal[None], drop and drop.layer(i))
                x = x + look(x, pos, memory)
            return self.norm(x)
        lead = memory.x.shape[1]
        at = jnp.arange(lead + count)
        pos = jnp.where(at < lead, at, at - lead + memory.length[:, None])
        there = (at < memory.length[:, None])[:, None]  # of the text, by key
        inside = (at >= lead) & (at[:, None] >= lead)
        later = jnp.pad(causal, ((lead, 0), (lead, 0))) & inside
        mask = (there & (at < lead)) | later
        x = jnp.concatenate([memory.x, x], axis=1)
        for i, block in enumerate(self.blocks):
            x, _, _ = block(x, turn(pos, head_width), mask, drop and drop.layer(i))
        return self.norm(x[:, lead:])

    def init_state(self, memory: Memory, places: int) -> State:
        """The state of streams that have said nothing, with room for so many places."""
        batch, lead = memory.x.shape[:2]
        head_width = self.cfg.width // self.cfg.heads
        shape = (batch, self.cfg.heads, lead + places, head_width)
        ring, start = Ring(jnp.zeros(shape), jnp.zeros(shape)), jnp.zeros(batch, jnp.int32)
        rings, pos = [ring] * self.cfg.layers, start
        if not self.cross:
            x, by, mask = memory.x, turn(jnp.arange(lead)[None], head_width), _seen(memory)
            for i, block in enumerate(self.blocks):
                x, k, v = block(x, by, mask)
                rings[i] = write(ring, k, v, start)
            pos = memory.length  # what was written beyond it counts as unwritten
        return State(tuple(rings), pos, memory, jnp.full((batch, self.cfg.books), -1, jnp.int32))

    def step(self, x: Float[Array, "B D"], state: State) -> tuple[Float[Array, "B D"], State]:
        """Stepped form: one more place."""
        by, rings, x = turn(state.pos[:, None], self.cfg.width // self.cfg.heads), [], x[:, None]
        for i, (block, ring) in enumerate(zip(self.blocks, state.rings, strict=True)):
            x, ring = block.step(x, by, state.pos, ring)
            if self.cross:
                x = x + self.looks[i](x, state.pos[:, None], state.memory)
            rings.append(ring)
        return self.norm(x[:, 0]), state._replace(rings=tuple(rings), pos=state.pos + 1)

    def flat_logits(self, hidden: Float[Array, "B N D"]) -> Float[Array, "B T Q K"]:
        """Logits of every code, where the design is flat."""
        hidden = hidden.reshape(hidden.shape[0], -1, self.cfg.books, self.cfg.width)
        return jnp.einsum("btqd,qdk->btqk", hidden, self.heads[...])

    def stop_logits(self, hidden: Float[Array, "B N D"]) -> Float[Array, "B T"]:
        """Log odds that each frame is the last."""
        return self.stop(hidden)[:, :: self.cfg.books if self.flat else 1, 0]


def _seen(memory: Memory) -> Bool[Array, "B U U"]:
    """Every place of the text sees all of it."""
    batch, lead = memory.x.shape[:2]
    there = (jnp.arange(lead) < memory.length[:, None])[:, None]
    return jnp.broadcast_to(there, (batch, lead, lead))


def generate(
    model: Baseline,
    memory: Memory,
    sampling: Sampling,
    seed: Int[Array, " B"],
    frames: int,
) -> tuple[Int[Array, "B T Q"], Bool[Array, "B T"]]:
    """Up to `frames` frames of every stream, and which there are: until the model stops."""
    cfg, batch = model.cfg, memory.x.shape[0]
    candidates = min(CANDIDATES, cfg.entries)
    keys = jax.vmap(jax.random.key)(seed)

    def noise(t, book):
        fold = lambda key: jax.random.fold_in(key, t * cfg.books + book)  # noqa: E731
        return jax.vmap(lambda key: jax.random.gumbel(fold(key), (candidates,)))(keys)

    def pick(logits, t, book):
        hot = sampling.temperature if book == 0 else sampling.depth_temperature
        return draw(logits, noise(t, book), hot, sampling)

    def frame_of_depth(state, t):
        hidden, state = model.step(model.enter(state.code[:, None])[:, 0], state)
        codes, past = [pick(model.first(hidden), t, 0)], None
        for book in range(1, cfg.books):
            code = model.codes(codes[-1][:, None], first=book - 1)[:, 0]
            logits, past = model.depth.grow(hidden, code, past)
            codes.append(pick(logits, t, book))
        return state, jnp.stack(codes, -1), model.stop(hidden)[:, 0]

    def frame_of_flat(state, t):
        codes, stop, last = [], None, state.code[:, -1]
        for book in range(cfg.books):
            code = model.codes(jnp.maximum(last, 0)[:, None], first=(book - 1) % cfg.books)[:, 0]
            heard = jnp.where(last[:, None] < 0, model.begin[...], model.enter_codes(code))
            hidden, state = model.step(heard + model.place[...][book], state)
            stop = model.stop(hidden)[:, 0] if book == 0 else stop
            codes.append(last := pick(hidden @ model.heads[...][book], t, book))
        return state, jnp.stack(codes, -1), stop

    def body(carry, t):
        state, ended = carry
        state, codes, stop = (frame_of_flat if model.flat else frame_of_depth)(state, t)
        return (state._replace(code=codes), ended | (stop > 0)), (codes, ~ended)

    state = model.init_state(memory, frames * (cfg.books if model.flat else 1))
    _, (codes, valid) = jax.lax.scan(body, (state, jnp.zeros(batch, bool)), jnp.arange(frames))
    return codes.swapaxes(0, 1), valid.swapaxes(0, 1)


def structure(cfg: Config) -> nnx.GraphDef:
    """As `lm.model.structure`, of a baseline."""
    return nnx.graphdef(nnx.eval_shape(lambda: Baseline(cfg, rngs=nnx.Rngs(0))))


def init_params(cfg: Config, key: Array) -> dict:
    """As `lm.model.init_params`, of a baseline."""
    return nnx.to_pure_dict(nnx.state(Baseline(cfg, rngs=nnx.Rngs(key)), nnx.Param))
