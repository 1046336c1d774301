"""SNAC at 24, 32 and 44 kHz (Siuzdak et al. 2024, arXiv:2410.14411): some books speak less often.

DAC's layers, channel by channel, and a quantiser whose coarse levels have one code for several
steps. A frame is a step of the coarsest: at 24 kHz, twelve a second, it has one code of the first
level, two of the second and four of the third. They stand in columns, level by level, each in
order of time: (a, b1, b2, c1, c2, c3, c4). Leading levels sound alone: one, three or seven columns;
where a number between them ends, the rest of the frame is without that level.

At 32 and 44 kHz windows of 32 steps attend to each other, so a stream waits for the end of a
window; recordings are filled up to whole windows, as by the reference.

The decoder adds noise, scaled by what it says. The reference draws it anew each time; here it is
drawn for the place in the recording, the same in every stream: the same codes sound the same.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from codec.pretrained import seanet
from codec.pretrained.mimi import turned
from codec.pretrained.seanet import EXACT
from codec.pretrained.snake import (
    DILATIONS,
    Codec,
    Conv,
    Signal,
    Snake,
    Symmetric,
    Transposed,
    Unit,
    joined,
    nowhere,
)
from data.published import ImportFailed, Tensors

_HEAD = 64  # width of a head


@dataclass(frozen=True)
class Config(Symmetric):
    """What a published config says, as far as it can vary here."""

    memory_frames = 2**31  # noise and windows count from the beginning: decode from there


def read_config(told: dict[str, Any]) -> Config:
    """Of a published `config.json`.

    Raises:
        ImportFailed: A variant that was never published.
    """
    ratios, strides = tuple(told.get("encoder_rates", (3, 3, 7, 7))), tuple(told["vq_strides"])
    for field, wanted in (
        ("depthwise", True), ("noise", True), ("decoder_rates", list(reversed(ratios))),
    ):  # fmt: skip
        if told.get(field, wanted) != wanted:
            raise ImportFailed(f"config: {field} is {told[field]!r}, here only {wanted!r}")
    if any(strides[0] % stride for stride in strides):
        raise ImportFailed(f"config: vq_strides {strides}: the first is no multiple of the others")
    columns = sum(strides[0] // stride for stride in strides)
    return Config(
        sample_rate=told.get("sampling_rate", 44_100),
        ratios=ratios,
        encoder_width=told.get("encoder_dim", 64),
        decoder_width=told.get("decoder_dim", 1536),
        last_kernel=7,
        sizes=(told.get("codebook_size", 4096),) * columns,
        strides=strides,
        width=told.get("codebook_dim", 8),
        window=told.get("attn_window_size", 32) or 1,
    )


class Noise(nnx.Module):
    """Noise, as strong in each channel as a map of the signal says."""

    def __init__(self, tensors: Tensors, name: str, width: int, level: int):
        self.level = level
        self.conv = seanet.Conv(tensors, f"{name}.linear", width, width, 1, bias=False)

    def init_state(self, batch: int) -> tuple:
        """Nothing."""
        return ()

    def __call__(self, signal: Signal, state: tuple) -> tuple[Signal, tuple]:
        """Zeros stay zeros."""
        noise = gaussian(self.level, signal.at)[..., None]
        return Signal(signal.x + noise * self.conv(signal.x)[0], signal.at), ()


def gaussian(level: int, at: Int[Array, "B T"]) -> Float[Array, "B T"]:
    """Normal deviates that belong to their places, whatever the block they are drawn in."""
    key = jax.random.key(level)
    draw = lambda place: jax.random.normal(jax.random.fold_in(key, place))  # noqa: E731
    return jax.vmap(jax.vmap(draw))(at)


class Attention(nnx.Module):
    """Windows of steps that attend to each other, later by all but one of them."""

    def __init__(self, tensors: Tensors, name: str, width: int, window: int):
        self.width, self.window = width, window
        take = lambda kind, *shape: jnp.asarray(tensors.take(f"{name}.{kind}", shape))  # noqa: E731
        self.gain = nnx.Param(take("norm.weight", width))
        self.shift = nnx.Param(jnp.asarray(tensors.take(f"{name}.norm.bias", (width,), zero=True)))
        self.qkv = nnx.Param(take("to_qkv.weight", 3 * width, width).T)
        self.slow = nnx.Param(take("rel_pos.inv_freq", _HEAD // 2))
        self.out = nnx.Param(take("to_out.weight", width, width).T)

    def init_state(self, batch: int) -> Signal:
        """Steps that a window may still need, each with its query, key and value."""
        return nowhere(batch, 2 * (self.window - 1), 4 * self.width)

    def __call__(self, signal: Signal, state: Signal) -> tuple[Signal, Signal]:
        """The steps of `window` - 1 steps ago, and what their windows say."""
        x, at = signal
        batch, steps, _ = x.shape
        centred = x - x.mean(axis=-1, keepdims=True)
        deviation = jnp.sqrt(jnp.mean(centred**2, axis=-1, keepdims=True) + 1e-5)
        normed = centred / deviation * self.gain[...] + self.shift[...]
        qkv = jnp.matmul(normed, self.qkv[...], precision=EXACT)
        q, k, v = jnp.split(qkv.reshape(batch, steps, -1, _HEAD), 3, axis=2)
        angle = (at % self.window)[..., None, None] * self.slow[...]
        turn = jnp.sin(angle), jnp.cos(angle)
        parts = (part.reshape(batch, steps, -1) for part in (turned(q, turn), turned(k, turn), v))
        (held, places), after = joined(state, Signal(jnp.concatenate([x, *parts], axis=-1), at))
        x, q, k, v = jnp.split(held, 4, axis=-1)
        now = slice(self.window - 1, self.window - 1 + steps)
        q, k, v = (part.reshape(batch, part.shape[1], -1, _HEAD) for part in (q[:, now], k, v))
        scores = jnp.einsum("bqhd,bkhd->bhqk", q, k, precision=EXACT) * _HEAD**-0.5
        window = places // self.window  # nowhere has one of its own
        seen = window[:, now, None] == window[:, None]
        weights = jax.nn.softmax(jnp.where(seen[:, None], scores, -jnp.inf), axis=-1)
        y = jnp.einsum("bhqk,bkhd->bqhd", weights, v, precision=EXACT).reshape(batch, steps, -1)
        y = jnp.matmul(y, self.out[...], precision=EXACT)
        y = jnp.where(places[:, now, None] < 0, 0.0, y)
        return Signal(x[:, now] + y, places[:, now]), after


class Snac(Codec):
    """SNAC."""

    def __init__(self, cfg: Config, tensors: Tensors):
        super().__init__(cfg, _encoder(cfg, tensors), _decoder(cfg, tensors), tensors)


def _encoder(cfg: Config, tensors: Tensors) -> list[nnx.Module]:
    width = cfg.encoder_width
    layers: list[nnx.Module] = [Conv(tensors, "encoder.block.0", 1, width, 7)]
    for i, ratio in enumerate(cfg.ratios, 1):
        name = f"encoder.block.{i}.block"
        layers += _units(tensors, name, 0, width)
        layers.append(Snake(tensors, f"{name}.3", width))
        layers.append(Conv(tensors, f"{name}.4", width, 2 * width, 2 * ratio, stride=ratio))
        width *= 2
    last = len(cfg.ratios) + 1
    if cfg.window > 1:
        layers.append(Attention(tensors, f"encoder.block.{last}", width, cfg.window))
        last += 1
    name = f"encoder.block.{last}"
    return [*layers, Conv(tensors, name, width, width, cfg.last_kernel, depthwise=True)]


def _decoder(cfg: Config, tensors: Tensors) -> list[nnx.Module]:
    hidden, width, first = cfg.hidden, cfg.decoder_width, 2
    layers: list[nnx.Module] = [
        Conv(tensors, "decoder.model.0", hidden, hidden, 7, depthwise=True),
        Conv(tensors, "decoder.model.1", hidden, width, 1),
    ]
    if cfg.window > 1:
        layers.append(Attention(tensors, "decoder.model.2", width, cfg.window))
        first += 1
    for i, ratio in enumerate(reversed(cfg.ratios)):
        name = f"decoder.model.{first + i}.block"
        layers.append(Snake(tensors, f"{name}.0", width))
        layers.append(Transposed(tensors, f"{name}.1", width, width // 2, ratio, short=False))
        width //= 2
        layers.append(Noise(tensors, f"{name}.2", width, i))
        layers += _units(tensors, name, 3, width)
    last = first + len(cfg.ratios)
    layers.append(Snake(tensors, f"decoder.model.{last}", width))
    return [*layers, Conv(tensors, f"decoder.model.{last + 1}", width, 1, 7)]


def _units(tensors: Tensors, block: str, first: int, width: int) -> list[nnx.Module]:
    return [
        Unit(tensors, [f"{block}.{first + i}.block.{part}" for part in range(4)], width, dilation,
             depthwise=True)
        for i, dilation in enumerate(DILATIONS)
    ]  # fmt: skip
