"""EnCodec at 24 kHz (Defossez et al. 2022, arXiv:2210.13438): 75 frames a second, 32 books.

A SEANet with a two-layer LSTM in encoder and decoder, and residual vectors. Its convolutions mirror
the first inputs to the left of the beginning: a stream must begin with `first_frames` at least, or
what stands before the first of them is not known yet.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from codec.pretrained import seanet
from codec.pretrained.seanet import EXACT, Published, Shape
from data.published import ImportFailed, Tensors


@dataclass(frozen=True)
class Config(Published):
    """What a published config says, as far as it can vary here."""

    lstm_layers: int

    memory_frames = 2**31  # an LSTM forgets nothing for certain: decode from the beginning

    @property
    def first_frames(self) -> int:
        """What the widest mirror needs."""
        return max(self.shape.kernel, self.shape.last_kernel)


def read_config(told: dict[str, Any]) -> Config:
    """Of a published `config.json`.

    Raises:
        ImportFailed: A variant that is not causal or not mono: EnCodec at 48 kHz.
    """
    for field, wanted in (
        ("use_causal_conv", True), ("norm_type", "weight_norm"), ("audio_channels", 1),
        ("normalize", False), ("trim_right_ratio", 1.0),
    ):  # fmt: skip
        if told.get(field, wanted) != wanted:
            raise ImportFailed(
                f"config: {field} is {told[field]!r}, here only {wanted!r}: there is "
                "EnCodec at 24 kHz, which is causal, not the one at 48"
            )
    rate, size = told.get("sampling_rate", 24_000), told.get("codebook_size", 1024)
    ratios = tuple(told.get("upsampling_ratios", (8, 5, 4, 2)))
    frame_rate = math.ceil(rate / math.prod(ratios))
    kbps = max(told.get("target_bandwidths", (1.5, 3.0, 6.0, 12.0, 24.0)))
    books = int(1000 * kbps // (frame_rate * math.log2(size)))
    shape = Shape(
        filters=told.get("num_filters", 32),
        hidden=told.get("hidden_size", 128),
        ratios=ratios,
        kernel=told.get("kernel_size", 7),
        last_kernel=told.get("last_kernel_size", 7),
        residual_kernel=told.get("residual_kernel_size", 3),
        residuals=told.get("num_residual_layers", 1),
        dilation_growth=told.get("dilation_growth_rate", 2),
        compress=told.get("compress", 2),
        mode=told.get("pad_mode", "reflect"),
        shortcut=told.get("use_conv_shortcut", True),
    )
    width = told.get("codebook_dim") or shape.hidden
    return Config(shape, rate, (size,) * books, width, told.get("num_lstm_layers", 2))


class LstmState(NamedTuple):
    """Of one layer."""

    hidden: Float[Array, "B C"]
    cell: Float[Array, "B C"]


class Lstm(nnx.Module):
    """Layers of long short-term memory, added to their input."""

    def __init__(self, tensors: Tensors, name: str, width: int, layers: int):
        self.width = width
        inward, around, bias = [], [], []
        for i in range(layers):
            take = partial(self._take, tensors, f"{name}.lstm")
            inward.append(nnx.Param(take(f"weight_ih_l{i}", (4 * width, width)).T))
            around.append(nnx.Param(take(f"weight_hh_l{i}", (4 * width, width)).T))
            both = (take(f"bias_{side}_l{i}", (4 * width,), zero=True) for side in ("ih", "hh"))
            bias.append(nnx.Param(sum(both)))
        self.inward, self.around, self.bias = map(nnx.List, (inward, around, bias))

    @staticmethod
    def _take(tensors: Tensors, name: str, kind: str, shape: tuple[int, ...], **how) -> Array:
        return jnp.asarray(tensors.take(f"{name}.{kind}", shape, **how))

    def init_state(self, batch: int) -> tuple[LstmState, ...]:
        """Nothing heard yet."""
        shape = (batch, self.width)
        return tuple(LstmState(jnp.zeros(shape), jnp.zeros(shape)) for _ in self.inward)

    def __call__(
        self, x: Float[Array, "B T C"], state: tuple[LstmState, ...] | None = None
    ) -> tuple[Float[Array, "B T C"], tuple[LstmState, ...]]:
        """`x` and what the layers make of it."""
        state, y, after = self.init_state(x.shape[0]) if state is None else state, x, []
        for inward, around, bias, past in zip(
            self.inward, self.around, self.bias, state, strict=True
        ):
            driven = jnp.matmul(y, inward[...], precision=EXACT) + bias[...]
            around = around[...]

            def step(past, drive, around=around):
                gates = drive + jnp.matmul(past.hidden, around, precision=EXACT)
                enter, forget, new, leave = jnp.split(gates, 4, axis=-1)
                cell = jax.nn.sigmoid(forget) * past.cell
                cell = cell + jax.nn.sigmoid(enter) * jnp.tanh(new)
                hidden = jax.nn.sigmoid(leave) * jnp.tanh(cell)
                return LstmState(hidden, cell), hidden

            past, y = jax.lax.scan(step, past, driven.swapaxes(0, 1))
            y = y.swapaxes(0, 1)
            after.append(past)
        return x + y, tuple(after)


class Residual(nnx.Module):
    """Residual vector quantisation: each book describes what the ones before it have left."""

    def __init__(self, tables: list[Float[Array, "K D"]]):
        # Apart, since of a stack each would be copied before its product, and with their squares,
        # whose sum took longer than the product: of Mimi's 32 books 16 ms a step.
        self.tables = nnx.List([nnx.Param(table) for table in tables])
        self.halves = nnx.List([nnx.Param(jnp.sum(table**2, axis=1) / 2) for table in tables])

    def encode(self, x: Float[Array, "B T D"], books: int) -> Int[Array, "B T Q"]:
        """The nearest entries of the first `books` books."""
        codes = []
        for table, half in list(zip(self.tables, self.halves, strict=True))[:books]:
            cross = jnp.matmul(x, table[...].T, precision=EXACT)
            found = jnp.argmin(half[...] - cross, axis=-1)
            codes.append(found)
            x = x - table[...][found]
        return jnp.stack(codes, axis=-1)

    def decode(self, codes: Int[Array, "B T Q"]) -> Float[Array, "B T D"]:
        """The sum of the entries."""
        return sum(self.tables[q][...][codes[..., q]] for q in range(codes.shape[-1]))


class Encodec(nnx.Module):
    """EnCodec, with the surface of `codec.Codec`."""

    RENAMES: dict[str, str] = {}
    IGNORED = ("codebook.inited", "codebook.cluster_size", "codebook.embed_avg")

    def __init__(self, cfg: Config, tensors: Tensors):
        self.cfg = cfg

        def lstm(tensors: Tensors, name: str, width: int) -> Lstm:
            return Lstm(tensors, name, width, cfg.lstm_layers)

        self.encoder = seanet.encoder(tensors, "encoder", cfg.shape, [lstm])
        self.decoder = seanet.decoder(tensors, "decoder", cfg.shape, [lstm])
        name, shape = "quantizer.layers.{}.codebook.embed", (cfg.sizes[0], cfg.width)
        tables = [jnp.asarray(tensors.take(name.format(q), shape)) for q in range(len(cfg.sizes))]
        self.quantizer = Residual(tables)

    def init_encoder_state(self, batch: int) -> tuple:
        """State of a stream of which nothing has been heard."""
        return self.encoder.init_state(batch)

    def init_decoder_state(self, batch: int) -> tuple:
        """State of a stream of which nothing has been said."""
        return self.decoder.init_state(batch)

    def encode(
        self, samples: Float[Array, "B S"], state: tuple | None = None, books: int | None = None
    ) -> tuple[Int[Array, "B T Q"], tuple]:
        """Codes of ceil(S / frame) frames in the first `books` books, and the new state."""
        latent, state = self.encoder(samples[..., None], state)
        return self.quantizer.encode(latent, books or len(self.cfg.sizes)), state

    def decode(
        self, codes: Int[Array, "B T Q"], state: tuple | None = None
    ) -> tuple[Float[Array, "B S"], tuple]:
        """Samples of whole frames, and the new state. Any leading books do."""
        samples, state = self.decoder(self.quantizer.decode(codes), state)
        return samples[..., 0], state
