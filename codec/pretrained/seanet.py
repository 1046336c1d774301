"""SEANet: the convolutional encoder and decoder that EnCodec and Mimi share.

A causal convolution is a product over the last `kernel` inputs laid side by side, so a stream keeps
the inputs that the next output still needs. What stands before the first input differs: zeros
(Mimi), the first input over and over (Mimi's down-sampler), the first inputs mirrored (EnCodec);
and a last block that does not fill a stride is filled up on the right in the same manner, layer by
layer, as the reference does (Tagliasacchi et al. 2020; Defossez et al. 2022, arXiv:2210.13438).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from codec.config import Rates
from codec.layers import Chain
from data.published import Tensors

Maker = Callable[[Tensors, str, int], nnx.Module]
"""A layer of a SEANet's middle, from its tensors' name and its width."""

EXACT = jax.lax.Precision.HIGHEST  # what a quantiser searches with must not be rounded


class Past(NamedTuple):
    """The inputs that a convolution still needs, and whether there have been any."""

    inputs: Float[Array, "B H C"]
    begun: Bool[Array, " B"]


class Conv(nnx.Module):
    """A causal convolution."""

    def __init__(
        self, tensors: Tensors, name: str, inputs: int, outputs: int, kernel: int, *,
        stride: int = 1, dilation: int = 1, mode: str = "constant", depthwise: bool = False,
        bias: bool = True,
    ):  # fmt: skip
        self.inputs, self.kernel, self.stride, self.dilation = inputs, kernel, stride, dilation
        self.mode, self.history = mode, (kernel - 1) * dilation + 1 - stride
        self.depthwise, each = depthwise, 1 if depthwise else inputs
        found = tensors.filter(name, (outputs, each, kernel), outputs if bias else None)
        taps = found.weight.transpose(2, 1, 0).reshape(kernel * each, outputs)
        self.taps = nnx.Param(jnp.asarray(taps))
        self.bias = nnx.Param(jnp.asarray(found.bias)) if bias else None

    def init_state(self, batch: int) -> Past:
        """Nothing heard yet."""
        return Past(jnp.zeros((batch, self.history, self.inputs)), jnp.zeros(batch, bool))

    def __call__(
        self, x: Float[Array, "B T C"], state: Past | None = None
    ) -> tuple[Float[Array, "B N O"], Past]:
        """ceil(T / stride) outputs; only the last block of a stream may leave a stride unfilled."""
        state = self.init_state(x.shape[0]) if state is None else state
        before = state.inputs
        if self.mode != "constant" and self.history:
            first = _beginning(x, self.history, self.mode)
            before = jnp.where(state.begun[:, None, None], before, first)
        joined = jnp.concatenate([before, x], axis=1)
        after = Past(joined[:, joined.shape[1] - self.history :], jnp.ones_like(state.begun))
        count = -(-x.shape[1] // self.stride)
        full = _filled(joined, count * self.stride - x.shape[1], self.mode)
        span = (count - 1) * self.stride + 1
        beside = [
            full[:, k * self.dilation : k * self.dilation + span : self.stride]
            for k in range(self.kernel)
        ]
        taps = self.taps[...]
        if self.depthwise:
            y = sum(part * tap for part, tap in zip(beside, taps, strict=True))
        else:
            y = jnp.matmul(jnp.concatenate(beside, axis=-1), taps, precision=EXACT)
        return y if self.bias is None else y + self.bias[...], after


def _beginning(x: Float[Array, "B T C"], count: int, mode: str) -> Float[Array, "B H C"]:
    """What stands before the first input."""
    if mode == "replicate":
        return jnp.repeat(x[:, :1], count, axis=1)
    short = max(0, count + 1 - x.shape[1])  # the reference mirrors zeros, too
    return jnp.pad(x, ((0, 0), (0, short), (0, 0)))[:, 1 : count + 1][:, ::-1]


def _filled(x: Float[Array, "B T C"], count: int, mode: str) -> Float[Array, "B U C"]:
    """`x` and `count` further inputs on the right."""
    if not count:
        return x
    how = {"constant": "constant", "replicate": "edge", "reflect": "reflect"}[mode]
    return jnp.pad(x, ((0, 0), (0, count), (0, 0)), how)


class Transposed(nnx.Module):
    """A causal transposed convolution: every input adds to the next `kernel` outputs; what it adds
    beyond the last input's stride is trimmed."""

    def __init__(
        self, tensors: Tensors, name: str, inputs: int, outputs: int, kernel: int, stride: int,
        *, depthwise: bool = False, bias: bool = True,
    ):  # fmt: skip
        self.inputs, self.outputs, self.stride = inputs, outputs, stride
        self.reach, self.depthwise = -(-kernel // stride), depthwise
        shape = (inputs, 1 if depthwise else outputs, kernel)
        found = tensors.filter(name, shape, outputs if bias else None)
        padded = np.pad(found.weight, ((0, 0), (0, 0), (0, self.reach * stride - kernel)))
        taps = padded.reshape(*shape[:2], self.reach, stride).transpose(2, 0, 3, 1)  # [M, I, s, O]
        if not depthwise:
            taps = taps.reshape(self.reach * inputs, stride * outputs)
        self.taps = nnx.Param(jnp.asarray(taps))
        self.bias = nnx.Param(jnp.asarray(found.bias)) if bias else None

    def init_state(self, batch: int) -> Float[Array, "B M C"]:
        """Nothing said yet."""
        return jnp.zeros((batch, self.reach - 1, self.inputs))

    def __call__(
        self, x: Float[Array, "B T C"], state: Float[Array, "B M C"] | None = None
    ) -> tuple[Float[Array, "B N O"], Float[Array, "B M C"]]:
        """T * stride outputs."""
        state = self.init_state(x.shape[0]) if state is None else state
        joined, steps = jnp.concatenate([state, x], axis=1), x.shape[1]
        shifted = [joined[:, self.reach - 1 - m :][:, :steps] for m in range(self.reach)]
        taps = self.taps[...]
        if self.depthwise:
            parts = zip(shifted, taps[..., 0], strict=True)
            y = sum(part[:, :, None] * tap.T for part, tap in parts)  # [B, T, s, C]
        else:
            y = jnp.matmul(jnp.concatenate(shifted, axis=-1), taps, precision=EXACT)
        y = y.reshape(x.shape[0], steps * self.stride, self.outputs)
        after = joined[:, joined.shape[1] - (self.reach - 1) :]
        return y if self.bias is None else y + self.bias[...], after


class Residual(nnx.Module):
    """Two convolutions with ELUs, added to their input or to a linear map of it."""

    def __init__(
        self, tensors: Tensors, name: str, width: int, hidden: int, kernel: int, dilation: int,
        *, mode: str, shortcut: bool,
    ):  # fmt: skip
        self.wide = Conv(
            tensors, f"{name}.block.1.conv", width, hidden, kernel, dilation=dilation, mode=mode
        )
        self.point = Conv(tensors, f"{name}.block.3.conv", hidden, width, 1, mode=mode)
        self.shortcut = (
            Conv(tensors, f"{name}.shortcut.conv", width, width, 1, mode=mode) if shortcut else None
        )

    def init_state(self, batch: int) -> Past:
        """Nothing heard yet; the other convolutions have no past."""
        return self.wide.init_state(batch)

    def __call__(
        self, x: Float[Array, "B T C"], state: Past | None = None
    ) -> tuple[Float[Array, "B T C"], Past]:
        """`x` and what is added."""
        y, state = self.wide(jax.nn.elu(x), state)
        y, _ = self.point(jax.nn.elu(y))
        return y + (x if self.shortcut is None else self.shortcut(x)[0]), state


class Elu(nnx.Module):
    """An activation among the layers; it remembers nothing."""

    def init_state(self, batch: int) -> tuple:
        """Nothing."""
        return ()

    def __call__(
        self, x: Float[Array, "B T C"], state: tuple | None = None
    ) -> tuple[Float[Array, "B T C"], tuple]:
        """Exponential linear units."""
        return jax.nn.elu(x), ()


class Shape(NamedTuple):
    """Of a SEANet, as the configs name it."""

    filters: int
    hidden: int
    ratios: tuple[int, ...]  # of the decoder; the encoder has them in reverse
    kernel: int
    last_kernel: int
    residual_kernel: int
    residuals: int  # to each ratio
    dilation_growth: int
    compress: int
    mode: str
    shortcut: bool


@dataclass(frozen=True)
class Published(Rates):
    """What the published configs have in common."""

    shape: Shape
    sample_rate: int
    sizes: tuple[int, ...]  # entries of each book
    width: int  # of a book's vectors

    delay_samples = 0
    lag_frames = 0  # no codec here looks ahead

    @property
    def frame_samples(self) -> int:
        """Samples of a frame."""
        return math.prod(self.shape.ratios)

    @property
    def frame_rate(self) -> float:
        """Frames a second."""
        return self.sample_rate / self.frame_samples


def encoder(tensors: Tensors, name: str, shape: Shape, middle: Sequence[Maker] = ()) -> Chain:
    """Samples [B, S, 1] to one vector a product of the ratios; `middle` comes before the last."""
    layers: list[nnx.Module] = []
    conv = _Namer(tensors, name, layers, shape.mode)
    conv(1, shape.filters, shape.kernel)
    width = shape.filters
    for ratio in reversed(shape.ratios):
        conv.residuals(shape, width)
        conv.elu()
        conv(width, 2 * width, 2 * ratio, stride=ratio)
        width *= 2
    for make in middle:
        layers.append(make(tensors, conv.next(), width))
    conv.elu()
    conv(width, shape.hidden, shape.last_kernel)
    return Chain(layers)


def decoder(tensors: Tensors, name: str, shape: Shape, middle: Sequence[Maker] = ()) -> Chain:
    """Vectors to samples [B, S, 1]; `middle` comes after the first convolution."""
    layers: list[nnx.Module] = []
    conv = _Namer(tensors, name, layers, shape.mode)
    width = shape.filters * 2 ** len(shape.ratios)
    conv(shape.hidden, width, shape.kernel)
    for make in middle:
        layers.append(make(tensors, conv.next(), width))
    for ratio in shape.ratios:
        conv.elu()
        layers.append(
            Transposed(tensors, f"{conv.next()}.conv", width, width // 2, 2 * ratio, ratio)
        )
        width //= 2
        conv.residuals(shape, width)
    conv.elu()
    conv(width, 1, shape.last_kernel)
    return Chain(layers)


class _Namer:
    """Appends layers under the numbers that they have in the reference."""

    def __init__(self, tensors: Tensors, name: str, layers: list, mode: str):
        self._tensors, self._name, self._layers, self._mode = tensors, name, layers, mode

    def next(self) -> str:
        return f"{self._name}.layers.{len(self._layers)}"

    def __call__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        self._layers.append(
            Conv(
                self._tensors, f"{self.next()}.conv", inputs, outputs, kernel, stride=stride,
                mode=self._mode,
            )
        )  # fmt: skip

    def elu(self) -> None:
        self._layers.append(Elu())

    def residuals(self, shape: Shape, width: int) -> None:
        for i in range(shape.residuals):
            self._layers.append(
                Residual(
                    self._tensors, self.next(), width, width // shape.compress,
                    shape.residual_kernel, shape.dilation_growth**i, mode=self._mode,
                    shortcut=shape.shortcut,
                )
            )  # fmt: skip
