"""Mimi (Defossez et al. 2024, arXiv:2410.00037): 12.5 frames a second, up to 32 books of 2,048.

A SEANet to 25 Hz, a transformer that sees ten seconds back, a strided convolution to 12.5 Hz; one
book learned from WavLM beside the residual ones, in a space of its own; and all of it back. The
decoder's transformer and transposed convolutions stream here as the encoder's do.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from codec.pretrained import seanet
from codec.pretrained.encodec import Residual
from codec.pretrained.seanet import EXACT, Conv, Past, Published, Shape, Transposed
from data.published import ImportFailed, Tensors

_LEAST_USAGE = 1e-5  # a table is a sum of vectors over their number; an entry may have none


@dataclass(frozen=True)
class Config(Published):
    """What a published config says, as far as it can vary here."""

    stride: int  # frames of the transformer to a frame of codes
    layers: int
    heads: int
    mlp_width: int
    window: int  # frames that the transformers see, their own included
    theta: float
    epsilon: float
    semantic: int  # the first books, which stand apart

    @property
    def frame_samples(self) -> int:
        """Samples of a frame."""
        return super().frame_samples * self.stride

    @property
    def memory_frames(self) -> int:
        """A decoder that begins so many frames early says the same: windows and convolutions."""
        return -(-self.layers * self.window // self.stride) + 2 * self.shape.kernel


def read_config(told: dict[str, Any]) -> Config:
    """Of a published `config.json`.

    Raises:
        ImportFailed: A variant that this is not.
    """
    heads = told.get("num_attention_heads", 8)
    for field, wanted in (
        ("use_causal_conv", True), ("audio_channels", 1), ("pad_mode", "constant"),
        ("trim_right_ratio", 1.0), ("hidden_act", "gelu"), ("attention_bias", False),
        ("num_key_value_heads", heads),
    ):  # fmt: skip
        if told.get(field, wanted) != wanted:
            raise ImportFailed(f"config: {field} is {told[field]!r}, here only {wanted!r}")
    hidden = told.get("hidden_size", 512)
    if told.get("upsample_groups", hidden) != hidden:
        raise ImportFailed(
            "config: upsample_groups is not hidden_size; here only channel by channel"
        )
    rate, ratios = (
        told.get("sampling_rate", 24_000),
        tuple(told.get("upsampling_ratios") or (8, 6, 5, 4)),
    )
    fast = math.ceil(rate / math.prod(ratios))
    stride = int(fast / told["frame_rate"]) if told.get("frame_rate") else 2
    shape = Shape(
        filters=told.get("num_filters", 64),
        hidden=hidden,
        ratios=ratios,
        kernel=told.get("kernel_size", 7),
        last_kernel=told.get("last_kernel_size", 3),
        residual_kernel=told.get("residual_kernel_size", 3),
        residuals=told.get("num_residual_layers", 1),
        dilation_growth=told.get("dilation_growth_rate", 2),
        compress=told.get("compress", 2),
        mode="constant",
        shortcut=told.get("use_conv_shortcut", False),
    )
    rope = told.get("rope_parameters") or {}
    return Config(
        shape=shape,
        sample_rate=rate,
        stride=stride,
        layers=told.get("num_hidden_layers", 8),
        heads=heads,
        mlp_width=told.get("intermediate_size", 2048),
        window=told.get("sliding_window", 250),
        theta=rope.get("rope_theta", told.get("rope_theta", 10_000.0)),
        epsilon=told.get("norm_eps", 1e-5),
        sizes=(told.get("codebook_size", 2048),) * told.get("num_quantizers", 32),
        semantic=told.get("num_semantic_quantizers", 1),
        width=told.get("codebook_dim") or told.get("vector_quantization_hidden_dimension", 256),
    )


class Memory(NamedTuple):
    """Keys and values of the last window - 1 frames of a layer."""

    keys: Float[Array, "B M H Dh"]
    values: Float[Array, "B M H Dh"]


class TransformerState(NamedTuple):
    """Of B streams."""

    memories: tuple[Memory, ...]
    pos: Int[Array, " B"]  # frames so far


class Layer(nnx.Module):
    """Pre-norm attention and MLP, both scaled channel by channel."""

    def __init__(self, cfg: Config, tensors: Tensors, name: str):
        width, hidden = cfg.shape.hidden, cfg.mlp_width
        self.heads, self.epsilon = cfg.heads, cfg.epsilon

        def take(kind: str, *shape: int) -> Float[Array, "*s"]:
            return jnp.asarray(tensors.take(f"{name}.{kind}", shape))

        qkv = [take(f"self_attn.{part}_proj.weight", width, width).T for part in "qkv"]
        self.qkv = nnx.Param(jnp.concatenate(qkv, axis=1))
        self.out = nnx.Param(take("self_attn.o_proj.weight", width, width).T)
        self.up = nnx.Param(take("mlp.fc1.weight", hidden, width).T)
        self.down = nnx.Param(take("mlp.fc2.weight", width, hidden).T)
        norms = ("input_layernorm", "post_attention_layernorm")
        self.gains = nnx.Param(jnp.stack([take(f"{norm}.weight", width) for norm in norms]))
        shifts = [tensors.take(f"{name}.{norm}.bias", (width,), zero=True) for norm in norms]
        self.shifts = nnx.Param(jnp.asarray(np.stack(shifts)))
        self.scales = nnx.Param(
            jnp.stack([take(f"{part}_layer_scale.scale", width) for part in ("self_attn", "mlp")])
        )

    def __call__(
        self, x: Float[Array, "B T D"], turn: tuple[Array, Array], seen: Bool[Array, "B T N"],
        memory: Memory,
    ) -> tuple[Float[Array, "B T D"], Memory]:  # fmt: skip
        """Attends to the memory and to `x` where `seen` allows it."""
        batch, steps, width = x.shape
        qkv = _times(self._normed(x, 0), self.qkv)
        q, k, v = (a.reshape(batch, steps, self.heads, -1) for a in jnp.split(qkv, 3, axis=-1))
        q, k = turned(q, turn), turned(k, turn)
        keys = jnp.concatenate([memory.keys, k], axis=1)
        values = jnp.concatenate([memory.values, v], axis=1)
        scores = jnp.einsum("bqhd,bkhd->bhqk", q, keys, precision=EXACT) * q.shape[-1] ** -0.5
        weights = jax.nn.softmax(jnp.where(seen[:, None], scores, -jnp.inf), axis=-1)
        y = jnp.einsum("bhqk,bkhd->bqhd", weights, values, precision=EXACT)
        x = x + self.scales[...][0] * _times(y.reshape(batch, steps, width), self.out)
        y = jax.nn.gelu(_times(self._normed(x, 1), self.up), approximate=False)
        kept = memory.keys.shape[1]
        after = Memory(*(a[:, a.shape[1] - kept :] for a in (keys, values)))
        return x + self.scales[...][1] * _times(y, self.down), after

    def _normed(self, x: Float[Array, "B T D"], which: int) -> Float[Array, "B T D"]:
        centred = x - x.mean(axis=-1, keepdims=True)
        deviation = jnp.sqrt(jnp.mean(centred**2, axis=-1, keepdims=True) + self.epsilon)
        return centred / deviation * self.gains[...][which] + self.shifts[...][which]


def _times(x: Float[Array, "B T I"], weight: nnx.Param) -> Float[Array, "B T O"]:
    return jnp.matmul(x, weight[...], precision=EXACT)


def turned(x: Float[Array, "B T H Dh"], turn: tuple[Array, Array]) -> Float[Array, "B T H Dh"]:
    """RoPE on halves: the checkpoint's rows were permuted for it."""
    a, b = jnp.split(x, 2, axis=-1)
    sin, cos = turn
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


class Transformer(nnx.Module):
    """Causal layers with a sliding window."""

    def __init__(self, cfg: Config, tensors: Tensors, name: str):
        self.window, self.heads, self.theta = cfg.window, cfg.heads, cfg.theta
        self.head_width = cfg.shape.hidden // cfg.heads
        layers = range(cfg.layers)
        self.layers = nnx.List([Layer(cfg, tensors, f"{name}.layers.{i}") for i in layers])

    def init_state(self, batch: int) -> TransformerState:
        """Nothing seen yet."""
        shape = (batch, self.window - 1, self.heads, self.head_width)
        memories = tuple(Memory(jnp.zeros(shape), jnp.zeros(shape)) for _ in self.layers)
        return TransformerState(memories, jnp.zeros(batch, jnp.int32))

    def __call__(
        self, x: Float[Array, "B T D"], state: TransformerState | None = None
    ) -> tuple[Float[Array, "B T D"], TransformerState]:
        """What the last `window` frames say, frame by frame."""
        state = self.init_state(x.shape[0]) if state is None else state
        steps, half = x.shape[1], self.head_width // 2
        at = state.pos[:, None] + jnp.arange(steps)  # [B, T]
        held = state.pos[:, None] + jnp.arange(1 - self.window, steps)  # [B, N] of every key
        lag = at[..., None] - held[:, None]
        seen = (lag >= 0) & (lag < self.window) & (held[:, None] >= 0)
        slow = self.theta ** -(jnp.arange(half) / half)
        angle = at[..., None, None] * slow
        turn, after = (jnp.sin(angle), jnp.cos(angle)), []
        for layer, memory in zip(self.layers, state.memories, strict=True):
            x, memory = layer(x, turn, seen, memory)
            after.append(memory)
        return x, TransformerState(tuple(after), state.pos + steps)


class EncoderState(NamedTuple):
    """What the encoder remembers between blocks."""

    seanet: tuple
    transformer: TransformerState
    down: Past


class DecoderState(NamedTuple):
    """What the decoder remembers between blocks."""

    up: Float[Array, "B M C"]
    transformer: TransformerState
    seanet: tuple


class Mimi(nnx.Module):
    """Mimi, with the surface of `codec.Codec`."""

    RENAMES = {
        "encoder.encoder_seanet.": "encoder.",
        "encoder.encoder_transformer.": "encoder_transformer.",
        "encoder.downsample.": "downsample.",
        "decoder.decoder_seanet.": "decoder.",
        "decoder.decoder_transformer.": "decoder_transformer.",
        "decoder.upsample.": "upsample.",
    }
    IGNORED = ("codebook.initialized",)

    def __init__(self, cfg: Config, tensors: Tensors):
        self.cfg, width, stride = cfg, cfg.shape.hidden, cfg.stride
        self.encoder = seanet.encoder(tensors, "encoder", cfg.shape)
        self.encoder_transformer = Transformer(cfg, tensors, "encoder_transformer")
        self.down = Conv(
            tensors, "downsample.conv", width, width, 2 * stride, stride=stride, mode="replicate",
            bias=False,
        )  # fmt: skip
        self.semantic = Projected(cfg, tensors, "semantic", cfg.semantic)
        self.acoustic = Projected(cfg, tensors, "acoustic", len(cfg.sizes) - cfg.semantic)
        self.up = Transposed(
            tensors, "upsample.conv", width, width, 2 * stride, stride, depthwise=True, bias=False
        )
        self.decoder_transformer = Transformer(cfg, tensors, "decoder_transformer")
        self.decoder = seanet.decoder(tensors, "decoder", cfg.shape)

    def init_encoder_state(self, batch: int) -> EncoderState:
        """State of a stream of which nothing has been heard."""
        return EncoderState(
            self.encoder.init_state(batch),
            self.encoder_transformer.init_state(batch),
            self.down.init_state(batch),
        )

    def init_decoder_state(self, batch: int) -> DecoderState:
        """State of a stream of which nothing has been said."""
        return DecoderState(
            self.up.init_state(batch),
            self.decoder_transformer.init_state(batch),
            self.decoder.init_state(batch),
        )

    def encode(
        self,
        samples: Float[Array, "B S"],
        state: EncoderState | None = None,
        books: int | None = None,
    ) -> tuple[Int[Array, "B T Q"], EncoderState]:
        """Codes of ceil(S / frame) frames in the first `books` books, and the new state."""
        state = self.init_encoder_state(samples.shape[0]) if state is None else state
        books, first = books or len(self.cfg.sizes), self.cfg.semantic
        x, fine = self.encoder(samples[..., None], state.seanet)
        x, seen = self.encoder_transformer(x, state.transformer)
        x, down = self.down(x, state.down)
        codes = self.semantic.encode(x, min(books, first))
        if books > first:
            codes = jnp.concatenate([codes, self.acoustic.encode(x, books - first)], axis=-1)
        return codes, EncoderState(fine, seen, down)

    def decode(
        self, codes: Int[Array, "B T Q"], state: DecoderState | None = None
    ) -> tuple[Float[Array, "B S"], DecoderState]:
        """Samples of whole frames, and the new state. Any leading books do."""
        state = self.init_decoder_state(codes.shape[0]) if state is None else state
        first = self.cfg.semantic
        x = self.semantic.decode(codes[..., :first])
        if codes.shape[-1] > first:
            x = x + self.acoustic.decode(codes[..., first:])
        x, up = self.up(x, state.up)
        x, seen = self.decoder_transformer(x, state.transformer)
        samples, fine = self.decoder(x, state.seanet)
        return samples[..., 0], DecoderState(up, seen, fine)


class Projected(nnx.Module):
    """Residual vectors in a space of their own."""

    def __init__(self, cfg: Config, tensors: Tensors, kind: str, books: int):
        name, width = f"quantizer.{kind}_residual_vector_quantizer", cfg.shape.hidden

        def matrix(side: str, outputs: int, inputs: int) -> Float[Array, "I O"]:
            weight = tensors.take(f"{name}.{side}_proj.weight", (outputs, inputs, 1))
            return jnp.asarray(weight[..., 0].T)

        self.enter = nnx.Param(matrix("input", cfg.width, width))
        self.leave = nnx.Param(matrix("output", width, cfg.width))
        tables = []
        for q in range(books):
            book = f"{name}.layers.{q}.codebook"
            total = tensors.take(f"{book}.embed_sum", (cfg.sizes[0], cfg.width))
            usage = tensors.take(f"{book}.cluster_usage", (cfg.sizes[0],))
            tables.append(jnp.asarray(total / np.maximum(usage, _LEAST_USAGE)[:, None]))
        self.quantizer = Residual(tables)

    def encode(self, x: Float[Array, "B T D"], books: int) -> Int[Array, "B T Q"]:
        """Codes of the first `books` books."""
        return self.quantizer.encode(_times(x, self.enter), books)

    def decode(self, codes: Int[Array, "B T Q"]) -> Float[Array, "B T D"]:
        """What they stand for."""
        return _times(self.quantizer.decode(codes), self.leave)
