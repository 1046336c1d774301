"""Llama's decoder (Touvron et al. 2023, arXiv:2302.13971; Grattafiori et al. 2024,
arXiv:2407.21783), which CSM and Orpheus are made of.

One form serves a prompt and a single step: every row of a batch stands at a position of its own,
and of what it is given the first `lengths` places count. A cache has a fixed number of slots, and
position p lies in slot p: what is beyond a row's position counts as unwritten, and a place that
does not count, or has no slot, is not written at all. Whoever calls keeps the rows within `room`.

Parameters may be kept in bfloat16: then products take it and give it, and all between them is
float32.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Float32, Int

from data.published import ImportFailed, Tensors
from lm.layers import NEVER, Ring, Turn, rotate

EXACT = jax.lax.Precision.HIGHEST  # or float32 is rounded on a GPU, and a near-tie falls otherwise


class Rope(NamedTuple):
    """Rotary positions; wavelengths longer than what was trained on first may be stretched."""

    theta: float
    factor: float = 1.0  # by which the longest are stretched
    low: float = 1.0  # turns within `original` up to which a wavelength is one of the longest
    high: float = 4.0  # turns from which on it stays as it is
    original: int = 8192

    def frequencies(self, head_width: int) -> Float32[np.ndarray, " F"]:
        """Radians from one position to the next, half as many as a head is wide."""
        plain = self.theta ** -(np.arange(0, head_width, 2) / head_width)
        turns = self.original * plain / (2 * np.pi)
        kept = np.clip((turns - self.low) / (self.high - self.low), 0, 1)
        return (plain * (kept + (1 - kept) / self.factor)).astype(np.float32)


class Shape(NamedTuple):
    """Of a decoder."""

    width: int
    mlp_width: int
    layers: int
    heads: int
    groups: int  # of heads that share a key and a value
    head_width: int
    epsilon: float
    positions: int  # as many as it was trained on
    rope: Rope


def read_shape(told: dict[str, Any]) -> Shape:
    """Of a published config, in the spelling of any version of transformers.

    Raises:
        ImportFailed: A field is missing, or the decoder is of another kind.
    """
    for field, wanted in (("hidden_act", "silu"), ("attention_bias", False), ("mlp_bias", False)):
        if told.get(field, wanted) != wanted:
            raise ImportFailed(f"config: {field} is {told[field]!r}, here only {wanted!r}")
    width, heads = field_of(told, "hidden_size"), field_of(told, "num_attention_heads")
    return Shape(
        width=width,
        mlp_width=field_of(told, "intermediate_size"),
        layers=field_of(told, "num_hidden_layers"),
        heads=heads,
        groups=told.get("num_key_value_heads") or heads,
        head_width=told.get("head_dim") or width // heads,
        epsilon=field_of(told, "rms_norm_eps"),
        positions=field_of(told, "max_position_embeddings"),
        rope=_read_rope(told),
    )


def field_of(told: dict[str, Any], name: str) -> Any:
    """A field of a config; raises ImportFailed without it."""
    if told.get(name) is None:
        raise ImportFailed(f"config: no {name}")
    return told[name]


def _read_rope(told: dict[str, Any]) -> Rope:
    found = told.get("rope_parameters") or {
        "rope_theta": told.get("rope_theta"), **(told.get("rope_scaling") or {})
    }  # fmt: skip
    theta, kind = field_of(found, "rope_theta"), found.get("rope_type", "default")
    if kind == "default":
        return Rope(theta)
    if kind != "llama3":
        raise ImportFailed(f"config: rotary positions of type {kind!r}; there are default, llama3")
    names = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
    return Rope(theta, *(field_of(found, name) for name in names))


class Source(NamedTuple):
    """Where parameters come from, and the type that they are kept in."""

    tensors: Tensors
    dtype: Any

    def table(self, name: str, *shape: int) -> nnx.Param:
        """A tensor as it lies."""
        return nnx.Param(jnp.asarray(self.tensors.take(name, shape), self.dtype))

    def tied(self, names: Sequence[str], *shape: int) -> nnx.Param:
        """One tensor that a file may have under several names: ImportFailed if they differ."""
        there = [name for name in names if name in self.tensors] or names
        first, *others = (self.tensors.take(name, shape) for name in there)
        if not all(np.array_equal(first, other) for other in others):
            raise ImportFailed(f"{' and '.join(there)} differ: the config says that they are tied")
        return nnx.Param(jnp.asarray(first, self.dtype))

    def maps(self, names: Sequence[str], inputs: int, outputs: Sequence[int]) -> nnx.Param:
        """Linear maps of the same inputs, their outputs side by side."""
        found = [
            self.tensors.take(f"{name}.weight", (size, inputs)).T
            for name, size in zip(names, outputs, strict=True)
        ]
        return nnx.Param(jnp.asarray(np.concatenate(found, axis=1), self.dtype))


def product(subscripts: str, x: Float[Array, "..."], y: Float[Array, "..."]) -> Float[Array, "..."]:
    """A sum of products as float32: of `x` in the type of `y`, in which it comes out of the sum."""
    return jnp.einsum(subscripts, x.astype(y.dtype), y, precision=EXACT).astype(jnp.float32)


class Cache(NamedTuple):
    """What B rows have heard."""

    rings: tuple[Ring, ...]  # one per layer; they never come round
    pos: Int[Array, " B"]  # places heard

    @property
    def room(self) -> Int[Array, " B"]:
        """Places that there are slots for."""
        return self.rings[0].keys.shape[2] - self.pos


class Layer(nnx.Module):
    """Pre-norm attention and MLP."""

    def __init__(self, shape: Shape, source: Source, name: str):
        self.shape = shape
        queries, keys = shape.heads * shape.head_width, shape.groups * shape.head_width
        attention, mlp = f"{name}.self_attn", f"{name}.mlp"
        self.qkv = source.maps(
            [f"{attention}.{part}_proj" for part in "qkv"], shape.width, (queries, keys, keys)
        )
        self.out = source.maps([f"{attention}.o_proj"], queries, [shape.width])
        self.up = source.maps(
            [f"{mlp}.gate_proj", f"{mlp}.up_proj"], shape.width, [shape.mlp_width] * 2
        )
        self.down = source.maps([f"{mlp}.down_proj"], shape.mlp_width, [shape.width])
        self.before = source.table(f"{name}.input_layernorm.weight", shape.width)
        self.between = source.table(f"{name}.post_attention_layernorm.weight", shape.width)

    def __call__(
        self, x: Float[Array, "B T D"], by: Turn, slot: Int[Array, "B T"],
        seen: Bool[Array, "B T M"], ring: Ring,
    ) -> tuple[Float[Array, "B T D"], Ring]:  # fmt: skip
        """Writes `x` into its slots and attends to those that are `seen`."""
        batch, count, _ = x.shape
        heads, groups = self.shape.heads, self.shape.groups
        qkv = product("bti,io->bto", normed(x, self.before, self.shape.epsilon), self.qkv[...])
        qkv = qkv.reshape(batch, count, heads + 2 * groups, -1)
        q, k, v = jnp.split(qkv, [heads, heads + groups], axis=2)
        ring = Ring(_put(ring.keys, rotate(k, by), slot), _put(ring.values, v, slot))
        q = rotate(q, by).reshape(batch, count, groups, heads // groups, -1)
        scores = product("btgrd,bgmd->bgrtm", q, ring.keys) * q.shape[-1] ** -0.5
        weights = jax.nn.softmax(jnp.where(seen[:, None, None], scores, NEVER), axis=-1)
        y = product("bgrtm,bgmd->btgrd", weights, ring.values).reshape(batch, count, -1)
        x = x + product("bti,io->bto", y, self.out[...])
        y = product("bti,io->bto", normed(x, self.between, self.shape.epsilon), self.up[...])
        gate, value = jnp.split(y, 2, axis=-1)
        return x + product("bti,io->bto", jax.nn.silu(gate) * value, self.down[...]), ring


def normed(x: Float[Array, "B T D"], gain: nnx.Param, epsilon: float) -> Float[Array, "B T D"]:
    """`x` with a root mean square of one, times the gains."""
    return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + epsilon) * gain[...]


def _put(
    cache: Float[Array, "B G M Dh"], x: Float[Array, "B T G Dh"], slot: Int[Array, "B T"]
) -> Float[Array, "B G M Dh"]:
    """The cache with `x` in its slots; there is none beyond the last."""
    at = jnp.arange(cache.shape[0])[:, None, None], jnp.arange(cache.shape[1])[:, None]
    x = x.swapaxes(1, 2).astype(cache.dtype)
    return cache.at[*at, slot[:, None]].set(x, mode="drop", unique_indices=True)


class Llama(nnx.Module):
    """All layers, and the last norm."""

    def __init__(self, shape: Shape, source: Source, name: str):
        self.shape = shape
        layers = range(shape.layers)
        self.layers = nnx.List([Layer(shape, source, f"{name}.layers.{i}") for i in layers])
        self.gain = source.table(f"{name}.norm.weight", shape.width)

    def init_state(self, batch: int, capacity: int) -> Cache:
        """Nothing heard yet, and slots for `capacity` places."""
        shape, dtype = self.shape, self.gain[...].dtype
        empty = partial(jnp.zeros, (batch, shape.groups, capacity, shape.head_width), dtype)
        rings = tuple(Ring(empty(), empty()) for _ in self.layers)
        return Cache(rings, jnp.zeros(batch, jnp.int32))

    def __call__(
        self,
        x: Float[Array, "B T D"],
        cache: Cache | None = None,
        lengths: Int[Array, " B"] | None = None,
    ) -> tuple[Float[Array, "B T D"], Cache]:
        """What has been said up to every place, and the new cache.

        Args:
            x: The places, padded on the right.
            cache: What was heard before them; None begins a sequence, with room for it alone.
            lengths: Places of each row that count, 0 to T and at most its `room`; None for all.
                What comes out beyond them is of no use.

        Raises:
            ValueError: More places than the cache has slots.
        """
        batch, count, _ = x.shape
        cache = self.init_state(batch, count) if cache is None else cache
        lengths = jnp.full(batch, count, jnp.int32) if lengths is None else lengths
        capacity = cache.rings[0].keys.shape[2]
        if count > capacity:
            raise ValueError(f"{count} places at once, and a cache of {capacity}")
        ahead = jnp.arange(count)
        place = cache.pos[:, None] + ahead
        # A slot of its own beyond the last for each place that does not count: none is written.
        slot = jnp.where(ahead < lengths[:, None], place, capacity + ahead)
        seen = jnp.arange(capacity) <= place[..., None]
        angle = place[:, :, None, None] * self.shape.rope.frequencies(self.shape.head_width)
        by, rings = Turn(jnp.sin(angle), jnp.cos(angle)), []
        for layer, ring in zip(self.layers, cache.rings, strict=True):
            x, ring = layer(x, by, slot, seen, ring)
            rings.append(ring)
        return normed(x, self.gain, self.shape.epsilon), Cache(tuple(rings), cache.pos + lengths)
