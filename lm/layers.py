"""Norm, rotary positions, windowed attention with a ring cache, gated MLP; nothing else.

Attention is one module with two forms: without a cache it is a masked product over the whole
sequence (training), with one it writes into a ring of `window` slots (RoPE is applied to the keys
before they are cached, positions are per stream). A slot's position follows from the stream's
`pos` alone, so a slot written by a frame that is then taken back counts as unwritten again. A frame
is written before it is attended to, and heads come before slots: so XLA updates the ring in place
and multiplies it as it lies (copied and turned around, sixteen streams moved 22 MB a frame each).

Lookups have their gradients as matrix products: XLA's scatter on CPU goes row by row.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

NEVER = -1e30  # a masked logit: exp gives exactly 0 in float32, so masked values cannot leak


class Dense(nnx.Module):
    """A linear map without bias; normal init of deviation `scale / sqrt(inputs)`."""

    def __init__(self, inputs: int, outputs: int, *, rngs: nnx.Rngs, scale: float = 1.0):
        shape = (inputs, outputs)
        self.w = nnx.Param(scale * inputs**-0.5 * jax.random.normal(rngs.params(), shape))

    def __call__(self, x: Float[Array, "*B I"]) -> Float[Array, "*B O"]:
        return x @ self.w[...]


class Norm(nnx.Module):
    """Root-mean-square norm over channels with a learned gain."""

    def __init__(self, width: int, *, rngs: nnx.Rngs):
        self.gain = nnx.Param(jnp.ones(width))

    def __call__(self, x: Float[Array, "*B D"]) -> Float[Array, "*B D"]:
        return normalise(x) * self.gain[...]


def normalise(x: Float[Array, "*B D"]) -> Float[Array, "*B D"]:
    """`x` with a root mean square of one over its channels."""
    return x * jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + 1e-6)


class Mlp(nnx.Module):
    """SwiGLU: gate and value in one product."""

    def __init__(self, width: int, hidden: int, *, rngs: nnx.Rngs, scale: float = 1.0):
        self.up = Dense(width, 2 * hidden, rngs=rngs)
        self.down = Dense(hidden, width, rngs=rngs, scale=scale)

    def __call__(self, x: Float[Array, "*B D"]) -> Float[Array, "*B D"]:
        gate, value = jnp.split(self.up(x), 2, axis=-1)
        return self.down(jax.nn.silu(gate) * value)


class Turn(NamedTuple):
    """Sines and cosines of the angles by which RoPE turns queries and keys at given positions."""

    sin: Float[Array, "#B T 1 Dh/2"]
    cos: Float[Array, "#B T 1 Dh/2"]


def turn(pos: Int[Array, "#B T"], head_width: int) -> Turn:
    """The turn at every position, base 10,000; computed once for all layers."""
    half = head_width // 2
    angle = pos[:, :, None, None] * 10_000.0 ** -(jnp.arange(half) / half)
    return Turn(jnp.sin(angle), jnp.cos(angle))


def rotate(x: Float[Array, "B T H Dh"], by: Turn) -> Float[Array, "B T H Dh"]:
    """`x` turned by its position."""
    a, b = jnp.split(x, 2, axis=-1)
    return jnp.concatenate([a * by.cos - b * by.sin, b * by.cos + a * by.sin], axis=-1)


class Ring(NamedTuple):
    """Keys and values of the last M frames: position p lies in slot p % M."""

    keys: Float[Array, "B H M Dh"]
    values: Float[Array, "B H M Dh"]


class Attention(nnx.Module):
    """Multi-head attention with normalised queries and keys."""

    def __init__(self, width: int, heads: int, *, rngs: nnx.Rngs, scale: float = 1.0):
        self.heads = heads
        self.qkv = Dense(width, 3 * width, rngs=rngs)
        self.out = Dense(width, width, rngs=rngs, scale=scale)

    def project(self, x: Float[Array, "B T D"], by: Turn) -> tuple[Array, ...]:
        """Queries, keys (both turned to their positions) and values, each [B, T, H, Dh]."""
        qkv = self.qkv(x).reshape(*x.shape[:2], 3 * self.heads, -1)
        qk, v = jnp.split(qkv, [2 * self.heads], axis=2)
        q, k = jnp.split(rotate(normalise(qk), by), 2, axis=2)
        return q, k, v

    def __call__(
        self, x: Float[Array, "B T D"], by: Turn, mask: Bool[Array, "#B T T"]
    ) -> tuple[Float[Array, "B T D"], Array, Array]:
        """Attends within `x` where `mask` [query, key] allows it; also returns keys and values."""
        q, k, v = self.project(x, by)
        scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) * q.shape[-1] ** -0.5
        weights = jax.nn.softmax(jnp.where(mask[:, None], scores, NEVER), axis=-1)
        y = jnp.einsum("bhqk,bkhd->bqhd", weights, v)
        return self.out(y.reshape(x.shape)), k, v

    def step(
        self, x: Float[Array, "B 1 D"], by: Turn, pos: Int[Array, " B"], ring: Ring
    ) -> tuple[Float[Array, "B 1 D"], Ring]:
        """Attends within the last M frames: `x`, and those in the ring."""
        q, k, v = self.project(x, by)
        ring = write(ring, k, v, pos)
        slots = ring.keys.shape[2]
        # The newest position up to `pos` that lies in each slot; negative: nothing yet.
        held = pos[:, None] - (pos[:, None] - jnp.arange(slots)) % slots
        scores = jnp.einsum("bhd,bhmd->bhm", q[:, 0], ring.keys) * q.shape[-1] ** -0.5
        weights = jax.nn.softmax(jnp.where(held[:, None] >= 0, scores, NEVER), axis=-1)
        y = jnp.einsum("bhm,bhmd->bhd", weights, ring.values)
        return self.out(y.reshape(x.shape)), ring

    def grow(
        self, x: Float[Array, "B 1 D"], by: Turn, past: Ring | None
    ) -> tuple[Float[Array, "B 1 D"], Ring]:
        """Attends to itself and everything in `past`, which grows by one place."""
        q, k, v = self.project(x, by)
        k, v = k.swapaxes(1, 2), v.swapaxes(1, 2)
        if past is not None:
            k, v = jnp.concatenate([past.keys, k], 2), jnp.concatenate([past.values, v], 2)
        scores = jnp.einsum("bhd,bhmd->bhm", q[:, 0], k) * q.shape[-1] ** -0.5
        y = jnp.einsum("bhm,bhmd->bhd", jax.nn.softmax(scores, axis=-1), v)
        return self.out(y.reshape(x.shape)), Ring(k, v)


def write(ring: Ring, k: Array, v: Array, pos: Int[Array, " B"]) -> Ring:
    """The ring with keys and values [B, T, H, Dh] of positions `pos`, `pos + 1`, ... written."""
    slots = ring.keys.shape[2]
    start = max(0, k.shape[1] - slots)  # earlier ones would be overwritten in the same call
    slot = (pos[:, None] + jnp.arange(start, k.shape[1])) % slots
    # Head by head: a single row, XLA would write as a slice, and copy the ring four times for it.
    at = jnp.arange(k.shape[0])[:, None, None], jnp.arange(k.shape[2]), slot[..., None]
    put = lambda cache, x: cache.at[at].set(x[:, start:], unique_indices=True)  # noqa: E731
    return Ring(put(ring.keys, k), put(ring.values, v))


def window(count: int, width: int) -> Bool[Array, "T T"]:
    """Whether query t may see key s: not the future, and fewer than `width` frames back."""
    lag = jnp.arange(count)[:, None] - jnp.arange(count)
    return (lag >= 0) & (lag < width)


class Dropout(NamedTuple):
    """Leaves out a share of what attention and MLP add, in training only."""

    key: Array
    rate: Float[Array, ""] | float

    def layer(self, index: int) -> "Dropout":
        """The dropout of layer `index`."""
        return self._replace(key=jax.random.fold_in(self.key, index))

    def __call__(self, x: Float[Array, "*B"], place: int) -> Float[Array, "*B"]:
        """`x` with a random share set to zero and the rest scaled up; another mask per place."""
        keep = jax.random.bernoulli(jax.random.fold_in(self.key, place), 1 - self.rate, x.shape)
        return jnp.where(keep, x / (1 - self.rate), 0.0)


class Block(nnx.Module):
    """Pre-norm attention and MLP; `depth` blocks in a row share out the residual's growth."""

    def __init__(self, width: int, heads: int, hidden: int, depth: int, *, rngs: nnx.Rngs):
        scale = (2 * depth) ** -0.5
        self.norm_attention = Norm(width, rngs=rngs)
        self.attention = Attention(width, heads, rngs=rngs, scale=scale)
        self.norm_mlp = Norm(width, rngs=rngs)
        self.mlp = Mlp(width, hidden, rngs=rngs, scale=scale)

    def __call__(
        self, x: Array, by: Turn, mask: Array, drop: "Dropout | None" = None
    ) -> tuple[Array, Array, Array]:
        """Whole form: [B, T, D] under `mask`; also returns the keys and values."""
        y, k, v = self.attention(self.norm_attention(x), by, mask)
        if drop is None:
            x = x + y
            return x + self.mlp(self.norm_mlp(x)), k, v
        x = x + drop(y, 0)
        return x + drop(self.mlp(self.norm_mlp(x)), 1), k, v

    def step(self, x: Array, by: Turn, pos: Array, ring: Ring) -> tuple[Array, Ring]:
        """Stepped form: a frame [B, 1, D] after what is in the ring."""
        y, ring = self.attention.step(self.norm_attention(x), by, pos, ring)
        x = x + y
        return x + self.mlp(self.norm_mlp(x)), ring

    def grow(self, x: Array, by: Turn, past: Ring | None) -> tuple[Array, Ring]:
        """One more place [B, 1, D] after all of `past`."""
        y, past = self.attention.grow(self.norm_attention(x), by, past)
        x = x + y
        return x + self.mlp(self.norm_mlp(x)), past


class BackboneState(NamedTuple):
    """Of B streams, each at its own position."""

    rings: tuple[Ring, ...]  # one per layer, of `window` slots
    pos: Int[Array, " B"]  # frames so far


class Backbone(nnx.Module):
    """Causal transformer over frames with a sliding window; keeps the streaming contract."""

    def __init__(
        self, width: int, heads: int, hidden: int, layers: int, window: int, *, rngs: nnx.Rngs
    ):
        self.width, self.heads, self.window = width, heads, window
        self.blocks = nnx.List(
            Block(width, heads, hidden, layers, rngs=rngs) for _ in range(layers)
        )
        self.norm = Norm(width, rngs=rngs)

    def init_state(self, batch: int) -> BackboneState:
        """The state of `batch` streams that have not begun."""
        shape = (batch, self.heads, self.window, self.width // self.heads)
        rings = tuple(Ring(jnp.zeros(shape), jnp.zeros(shape)) for _ in self.blocks)
        return BackboneState(rings, jnp.zeros(batch, jnp.int32))

    def __call__(
        self,
        x: Float[Array, "B T D"],
        state: BackboneState | None = None,
        drop: Dropout | None = None,
    ) -> tuple[Float[Array, "B T D"], BackboneState]:
        """What the last `window` frames say, frame by frame; `state=None` starts a sequence."""
        batch, count = x.shape[:2]
        if state is not None:
            if count == 1:
                return self._step(x, state)
            frames = x.swapaxes(0, 1)[:, :, None]  # [T, B, 1, D]
            state, y = jax.lax.scan(lambda s, f: self._step(f, s)[::-1], state, frames)
            return y[:, :, 0].swapaxes(0, 1), state
        state, rings = self.init_state(batch), []
        by = turn(jnp.arange(count)[None], self.width // self.heads)
        for i, (block, ring) in enumerate(zip(self.blocks, state.rings, strict=True)):
            layer = drop and drop.layer(i)
            x, k, v = block(x, by, window(count, self.window)[None], layer)
            rings.append(write(ring, k, v, state.pos))
        return self.norm(x), BackboneState(tuple(rings), state.pos + count)

    def _step(
        self, x: Float[Array, "B 1 D"], state: BackboneState
    ) -> tuple[Float[Array, "B 1 D"], BackboneState]:
        by, rings = turn(state.pos[:, None], self.width // self.heads), []
        for block, ring in zip(self.blocks, state.rings, strict=True):
            x, ring = block.step(x, by, state.pos, ring)
            rings.append(ring)
        return self.norm(x), BackboneState(tuple(rings), state.pos + 1)


def table(rows: int, width: int, *, rngs: nnx.Rngs) -> nnx.Param:
    """An embedding table [rows, width]."""
    return nnx.Param(0.5 * jax.random.normal(rngs.params(), (rows, width)))


@jax.custom_vjp
def lookup(table: Float[Array, "K C"], ids: Int[Array, "*B"]) -> Float[Array, "*B C"]:
    """Rows of `table`; the gradient is a product with one-hot rows."""
    return table[ids]


def _lookup_forward(table, ids):
    return table[ids], (ids, table.shape[0])


def _lookup_backward(saved, g):
    ids, entries = saved
    onehot = (ids.reshape(-1, 1) == jnp.arange(entries)).astype(g.dtype)
    return onehot.T @ g.reshape(-1, g.shape[-1]), None


lookup.defvjp(_lookup_forward, _lookup_backward)


@jax.custom_vjp
def pick(values: Float[Array, "B U D"], index: Int[Array, "B T"]) -> Float[Array, "B T D"]:
    """Row by row, the vectors of `values` at `index`; the gradient is a product, too."""
    return jnp.take_along_axis(values, index[..., None], axis=1, mode="clip")


def _pick_forward(values, index):
    return pick(values, index), (index, values.shape[1])


def _pick_backward(saved, g):
    index, units = saved
    onehot = (index[..., None] == jnp.arange(units)).astype(g.dtype)
    return jnp.einsum("btu,btd->bud", onehot, g), None


pick.defvjp(_pick_forward, _pick_backward)
