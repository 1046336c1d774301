"""What DAC and SNAC share: snakes and symmetric convolutions, here as an exact stream.

Such a convolution looks ahead as far as back, and finds zeros before the beginning and after the
end of a recording, at every layer. Here it waits for what it looks ahead to, and a signal carries
where in the recording its steps stand, and is zero where they stand nowhere. So a stream says what
the whole says, edges included, a fixed time later; and the whole is a stream that ends with frames
of nothing until all has come out. Nothing is a code of -1, or a sample that is not a number. After
that much of it a new recording may begin in the same stream.

The layers are those of DAC (Kumar et al. 2023, arXiv:2306.06546); the snake is that of Ziyin et al.
2020, arXiv:2006.08195.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from codec import layers
from codec.config import Rates
from codec.pretrained import seanet
from codec.pretrained.seanet import EXACT, Past
from data.published import Tensors

DILATIONS = (1, 3, 9)
"""Of the residual units beside each ratio."""

_HALF = 3  # of a kernel of seven
_UNITS = sum(_HALF * dilation for dilation in DILATIONS)


@dataclass(frozen=True)
class Symmetric(Rates):
    """What the published configs say, as far as it can vary here.

    A step is what the encoder makes of `hop` samples; a frame is a step of the coarsest level.
    """

    sample_rate: int
    ratios: tuple[int, ...]  # of the encoder; the decoder has them in reverse
    encoder_width: int  # doubled by every ratio
    decoder_width: int  # halved by every ratio
    last_kernel: int  # of the encoder
    sizes: tuple[int, ...]  # entries of each column of codes
    strides: tuple[int, ...]  # steps to a code, level by level; the first is the largest
    width: int  # of a book's vectors
    window: int = 1  # steps that attend to each other

    @property
    def hidden(self) -> int:
        """Width of a step."""
        return self.encoder_width * 2 ** len(self.ratios)

    @property
    def frame_samples(self) -> int:
        """Samples of a frame."""
        return math.prod(self.ratios) * self.strides[0]

    @property
    def frame_rate(self) -> float:
        """Frames a second."""
        return self.sample_rate / self.frame_samples

    @property
    def whole_frames(self) -> int:
        """The reference fills a recording up to a multiple of so many, for whole windows."""
        return math.lcm(self.strides[0], self.window) // self.strides[0]

    def frames(self, samples: int) -> int:
        """Frames that so many samples take."""
        return -(-samples // (self.frame_samples * self.whole_frames)) * self.whole_frames

    @property
    def lookahead_samples(self) -> int:
        """What the encoder must hear after a frame before it can code it."""
        ahead = self.last_kernel // 2 + self.window - 1
        for ratio in reversed(self.ratios):
            ahead = (ahead + 1) * ratio - -(-ratio // 2) + _UNITS
        return ahead + _HALF

    @property
    def lag_frames(self) -> int:
        """How many frames later than its samples a stream's codes come out."""
        return -(-self.lookahead_samples // self.frame_samples)

    @property
    def delay_samples(self) -> int:
        """How much later than its frame a stream's sound comes out."""
        late = _HALF + self.window - 1
        for ratio in reversed(self.ratios):
            late = late * ratio + -(-ratio // 2) + _UNITS
        return late + _HALF

    @property
    def flush_frames(self) -> int:
        """Frames of nothing that bring out the last of a stream's sound."""
        return -(-self.delay_samples // self.frame_samples)


# ---- layers -------------------------------------------------------------------------------------


class Signal(NamedTuple):
    """Steps of B recordings, and where in them they stand: -1 is nowhere, and zero there."""

    x: Float[Array, "B T C"]
    at: Int[Array, "B T"]


def placed(x: Float[Array, "B T C"], at: Int[Array, "B T"]) -> Signal:
    """`x` with zeros where it stands nowhere."""
    return Signal(jnp.where(at[..., None] >= 0, x, 0.0), at)


def nowhere(batch: int, steps: int, width: int) -> Signal:
    """What is before a beginning."""
    return Signal(jnp.zeros((batch, steps, width)), jnp.full((batch, steps), -1))


def joined(past: Signal, signal: Signal) -> tuple[Signal, Signal]:
    """Both in a row, and the new past."""
    x, at = (jnp.concatenate(pair, axis=1) for pair in zip(past, signal, strict=True))
    steps = signal.at.shape[1]
    return Signal(x, at), Signal(x[:, steps:], at[:, steps:])


class Chain(layers.Chain):
    """Layers of signals in a row."""

    def __call__(self, signal: Signal, state: tuple) -> tuple[Signal, tuple]:
        """The signal through all layers, and the new states."""
        after = []
        for layer, past in zip(self.blocks, state, strict=True):
            signal, past = layer(signal, past)
            after.append(past)
        return signal, tuple(after)


class Wait(nnx.Module):
    """The same, so many steps later."""

    def __init__(self, width: int, steps: int):
        self.width, self.steps = width, steps

    def init_state(self, batch: int) -> Signal:
        """Nothing yet."""
        return nowhere(batch, self.steps, self.width)

    def __call__(self, signal: Signal, state: Signal) -> tuple[Signal, Signal]:
        """What came `steps` steps ago."""
        both, after = joined(state, signal)
        steps = signal.at.shape[1]
        return Signal(both.x[:, :steps], both.at[:, :steps]), after


class Snake(nnx.Module):
    """`x + sin(a x)^2 / a`, with an a for each channel; it remembers nothing."""

    def __init__(self, tensors: Tensors, name: str, width: int):
        alpha = tensors.take(f"{name}.alpha", (1, width, 1))
        self.alpha = nnx.Param(jnp.asarray(alpha[0, :, 0]))

    def init_state(self, batch: int) -> tuple:
        """Nothing."""
        return ()

    def __call__(self, signal: Signal, state: tuple) -> tuple[Signal, tuple]:
        """Zeros stay zeros."""
        alpha = self.alpha[...]
        risen = jnp.sin(alpha * signal.x) ** 2 / (alpha + 1e-9)
        return Signal(signal.x + risen, signal.at), ()


class Conv(nnx.Module):
    """A symmetric convolution: an output stands where the middle of its inputs does."""

    def __init__(
        self, tensors: Tensors, name: str, inputs: int, outputs: int, kernel: int, *,
        stride: int = 1, dilation: int = 1, depthwise: bool = False,
    ):  # fmt: skip
        self.conv = seanet.Conv(
            tensors, name, inputs, outputs, kernel,
            stride=stride, dilation=dilation, depthwise=depthwise,
        )  # fmt: skip

    def init_state(self, batch: int) -> tuple[Past, Int[Array, "B H"]]:
        """The inputs that the next output still needs, and where they stand."""
        return self.conv.init_state(batch), jnp.full((batch, self.conv.history), -1)

    def __call__(
        self, signal: Signal, state: tuple[Past, Int[Array, "B H"]]
    ) -> tuple[Signal, tuple[Past, Int[Array, "B H"]]]:
        """T / stride outputs."""
        y, inputs = self.conv(signal.x, state[0])
        at, stride = jnp.concatenate([state[1], signal.at], axis=1), self.conv.stride
        middle = -(-self.conv.history // 2)
        places = at[:, middle::stride][:, : y.shape[1]]
        if stride > 1:
            places = places // stride  # nowhere stays -1
        return placed(y, places), (inputs, at[:, signal.at.shape[1] :])


class Transposed(nnx.Module):
    """A symmetric transposed convolution of two strides' width.

    Args:
        short: Its last output is left out if the stride is odd, as DAC has it: nothing is there.
    """

    def __init__(
        self, tensors: Tensors, name: str, inputs: int, outputs: int, stride: int, *, short: bool
    ):
        self.conv = seanet.Transposed(tensors, name, inputs, outputs, 2 * stride, stride)
        self.short = short and stride % 2 == 1

    def init_state(self, batch: int) -> Signal:
        """The last input."""
        return nowhere(batch, 1, self.conv.inputs)

    def __call__(self, signal: Signal, state: Signal) -> tuple[Signal, Signal]:
        """T * stride outputs."""
        stride = self.conv.stride
        y, last = self.conv(signal.x, state.x)
        at = jnp.concatenate([state.at, signal.at], axis=1)
        fine = jnp.where(at[..., None] < 0, -1, at[..., None] * stride + jnp.arange(stride))
        fine = fine.reshape(at.shape[0], -1)[:, stride // 2 :]
        places = fine[:, : y.shape[1]]
        if self.short:
            places = jnp.where(fine[:, 1 : y.shape[1] + 1] < 0, -1, places)
        return placed(y, places), Signal(last, at[:, -1:])


class Unit(nnx.Module):
    """A dilated convolution and one of a single step, each after a snake, added to their input.

    Args:
        names: Of the two snakes and convolutions, in the order in which they come.
    """

    def __init__(
        self, tensors: Tensors, names: Sequence[str], width: int, dilation: int,
        *, depthwise: bool,
    ):  # fmt: skip
        enter, wide, leave, point = names
        self.branch = Chain(
            [
                Snake(tensors, enter, width),
                Conv(tensors, wide, width, width, 7, dilation=dilation, depthwise=depthwise),
                Snake(tensors, leave, width),
            ]
        )
        self.point = seanet.Conv(tensors, point, width, width, 1)
        self.wait = Wait(width, _HALF * dilation)

    def init_state(self, batch: int) -> tuple:
        """Of the convolution, and of what it is added to."""
        return self.branch.init_state(batch), self.wait.init_state(batch)

    def __call__(self, signal: Signal, state: tuple) -> tuple[Signal, tuple]:
        """As late as the convolution is."""
        (y, at), branch = self.branch(signal, state[0])
        (x, _), wait = self.wait(signal, state[1])
        return placed(x + self.point(y)[0], at), (branch, wait)


class Book(nnx.Module):
    """Entries that are searched by their angle, in a narrow space of their own."""

    def __init__(self, cfg: Symmetric, tensors: Tensors, name: str, stride: int):
        self.stride = stride
        self.enter = seanet.Conv(tensors, f"{name}.in_proj", cfg.hidden, cfg.width, 1)
        self.leave = seanet.Conv(tensors, f"{name}.out_proj", cfg.width, cfg.hidden, 1)
        table = tensors.take(f"{name}.codebook.weight", (cfg.sizes[0], cfg.width))
        self.table = nnx.Param(jnp.asarray(table))

    def encode(self, x: Float[Array, "B N D"]) -> Int[Array, "B M"]:
        """The nearest entry to the mean of every `stride` steps."""
        batch, steps, width = x.shape
        means = x.reshape(batch, steps // self.stride, self.stride, width).mean(axis=2)
        table = self.table[...]
        directions = table / jnp.linalg.norm(table, axis=1, keepdims=True)
        return jnp.argmax(jnp.matmul(self.enter(means)[0], directions.T, precision=EXACT), axis=-1)

    def decode(self, codes: Int[Array, "B M"]) -> Float[Array, "B N D"]:
        """What they stand for; nothing, where they are -1."""
        found = self.leave(self.table[...][codes])[0]
        return jnp.repeat(placed(found, codes).x, self.stride, axis=1)


# ---- codecs -------------------------------------------------------------------------------------


class State(NamedTuple):
    """Of B streams."""

    count: Int[Array, " B"]  # samples heard, or frames said, of a recording
    layers: tuple


class Codec(nnx.Module):
    """A codec of symmetric convolutions, with the surface of `codec.Codec`.

    Args:
        encoder: From samples to steps, all in all `lookahead_samples` late.
        decoder: From steps to samples, `delay_samples` late.
        tensors: Of the quantiser, named alike in DAC and SNAC.
    """

    RENAMES: dict[str, str] = {}
    IGNORED: tuple[str, ...] = ()

    def __init__(
        self, cfg: Symmetric, encoder: list[nnx.Module], decoder: list[nnx.Module],
        tensors: Tensors,
    ):  # fmt: skip
        self.cfg = cfg
        wait = Wait(1, cfg.lag_frames * cfg.frame_samples - cfg.lookahead_samples)
        self.encoder, self.decoder = Chain([wait, *encoder]), Chain(decoder)
        levels = enumerate(cfg.strides)
        self.books = nnx.List(
            [Book(cfg, tensors, f"quantizer.quantizers.{q}", stride) for q, stride in levels]
        )

    def init_encoder_state(self, batch: int) -> State:
        """State of streams of which nothing has been heard."""
        return State(jnp.zeros(batch, jnp.int32), self.encoder.init_state(batch))

    def init_decoder_state(self, batch: int) -> State:
        """State of streams of which nothing has been said."""
        return State(jnp.zeros(batch, jnp.int32), self.decoder.init_state(batch))

    def encode(
        self, samples: Float[Array, "B S"], state: State | None = None, books: int | None = None
    ) -> tuple[Int[Array, "B T Q"], State]:
        """Codes in the first `books` columns, and the new state.

        Without a state a whole recording, filled up with silence to `cfg.frames(S)` frames. With
        one whole frames of streams, whose codes are `cfg.lag_frames` late: -1 until then.
        """
        batch, size, lag = samples.shape[0], self.cfg.frame_samples, self.cfg.lag_frames
        if state is None:
            spare = self.cfg.frames(samples.shape[1]) * size - samples.shape[1]
            filled = jnp.pad(samples, ((0, 0), (0, spare)))
            ended = jnp.pad(filled, ((0, 0), (0, lag * size)), constant_values=jnp.nan)
            codes, state = self.encode(ended, self.init_encoder_state(batch), books)
            return codes[:, lag:], state
        at, count = self._places(~jnp.isnan(samples), state.count, size)
        (x, at), after = self.encoder(placed(samples[..., None], at), state.layers)
        columns, steps = [], self.cfg.strides[0]
        for book in self.books:
            found = book.encode(x)
            x = x - book.decode(found)
            columns.append(found.reshape(batch, -1, steps // book.stride))
            if books and sum(c.shape[-1] for c in columns) >= books:
                break
        codes = jnp.concatenate(columns, axis=-1)[..., :books]
        return jnp.where(at[:, ::steps, None] < 0, -1, codes), State(count, after)

    def decode(
        self, codes: Int[Array, "B T Q"], state: State | None = None
    ) -> tuple[Float[Array, "B S"], State]:
        """Samples of whole frames, and the new state. Any leading columns do.

        Without a state of a whole recording. With one of streams, `cfg.delay_samples` late:
        silence until then; `cfg.flush_frames` frames of -1 bring out the end.
        """
        batch, frames, columns = codes.shape
        size, delay = self.cfg.frame_samples, self.cfg.delay_samples
        if state is None:
            rest = ((0, 0), (0, self.cfg.flush_frames), (0, 0))
            ended = jnp.pad(codes, rest, constant_values=-1)
            samples, state = self.decode(ended, self.init_decoder_state(batch))
            return samples[:, delay : delay + frames * size], state
        at, count = self._places(codes[..., 0] >= 0, state.count, 1)
        steps = self.cfg.strides[0]
        at = jnp.where(at[..., None] < 0, -1, at[..., None] * steps + jnp.arange(steps))
        absent = ((0, 0), (0, 0), (0, len(self.cfg.sizes) - columns))
        codes, x, first = jnp.pad(codes, absent, constant_values=-1), 0.0, 0
        for book in self.books:
            last = first + steps // book.stride
            if first < columns:
                x = x + book.decode(codes[..., first:last].reshape(batch, -1))
            first = last
        (x, _), after = self.decoder(placed(x, at.reshape(batch, -1)), state.layers)
        return jnp.tanh(x[..., 0]), State(count, after)

    def _places(
        self, there: Bool[Array, "B N"], count: Int[Array, " B"], size: int
    ) -> tuple[Int[Array, "B N"], Int[Array, " B"]]:
        """Where the inputs that are there stand in their recordings, and the new counts.

        They begin again after hours, before a number of samples can overflow, with the same phase
        in a window.
        """
        step = jnp.arange(there.shape[1])
        gap = jax.lax.cummax(jnp.where(there, -1, step), axis=1)  # the last nothing so far
        at = jnp.where(gap < 0, count[:, None] + step, step - gap - 1)
        at = jnp.where(there, at % (2**16 * self.cfg.whole_frames * size), -1)
        return at, at[:, -1] + 1
