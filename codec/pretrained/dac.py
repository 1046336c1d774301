"""DAC at 16, 24 and 44.1 kHz (Kumar et al. 2023, arXiv:2306.06546): 50 to 86 frames a second.

Symmetric convolutions with snakes between them, and residual vectors that are searched by their
angle in eight dimensions. At 24 kHz the reference's sound ends eight samples before its last frame
does, since an odd stride leaves one out; here they are there, and silent.
"""

from dataclasses import dataclass
from typing import Any

from flax import nnx

from codec.pretrained.snake import DILATIONS, Codec, Conv, Snake, Symmetric, Transposed, Unit
from data.published import Tensors


@dataclass(frozen=True)
class Config(Symmetric):
    """What a published config says."""

    @property
    def memory_frames(self) -> int:
        """What a stream's sound looks back to: as far as it is late, twice, and a frame."""
        return 2 * self.flush_frames + 1


def read_config(told: dict[str, Any]) -> Config:
    """Of a published `config.json`."""
    books = told.get("n_codebooks", 9)
    return Config(
        sample_rate=told.get("sampling_rate", 16_000),
        ratios=tuple(told.get("downsampling_ratios", (2, 4, 8, 8))),
        encoder_width=told.get("encoder_hidden_size", 64),
        decoder_width=told.get("decoder_hidden_size", 1536),
        last_kernel=3,
        sizes=(told.get("codebook_size", 1024),) * books,
        strides=(1,) * books,
        width=told.get("codebook_dim", 8),
    )


class Dac(Codec):
    """DAC; a column of codes is a book."""

    def __init__(self, cfg: Config, tensors: Tensors):
        super().__init__(cfg, _encoder(cfg, tensors), _decoder(cfg, tensors), tensors)


def _encoder(cfg: Config, tensors: Tensors) -> list[nnx.Module]:
    width = cfg.encoder_width
    layers: list[nnx.Module] = [Conv(tensors, "encoder.conv1", 1, width, 7)]
    for i, ratio in enumerate(cfg.ratios):
        name = f"encoder.block.{i}"
        layers += _units(tensors, name, width)
        layers.append(Snake(tensors, f"{name}.snake1", width))
        layers.append(Conv(tensors, f"{name}.conv1", width, 2 * width, 2 * ratio, stride=ratio))
        width *= 2
    layers.append(Snake(tensors, "encoder.snake1", width))
    return [*layers, Conv(tensors, "encoder.conv2", width, width, cfg.last_kernel)]


def _decoder(cfg: Config, tensors: Tensors) -> list[nnx.Module]:
    width = cfg.decoder_width
    layers: list[nnx.Module] = [Conv(tensors, "decoder.conv1", cfg.hidden, width, 7)]
    for i, ratio in enumerate(reversed(cfg.ratios)):
        name = f"decoder.block.{i}"
        layers.append(Snake(tensors, f"{name}.snake1", width))
        layers.append(Transposed(tensors, f"{name}.conv_t1", width, width // 2, ratio, short=True))
        width //= 2
        layers += _units(tensors, name, width)
    layers.append(Snake(tensors, "decoder.snake1", width))
    return [*layers, Conv(tensors, "decoder.conv2", width, 1, 7)]


def _units(tensors: Tensors, block: str, width: int) -> list[nnx.Module]:
    parts = ("snake1", "conv1", "snake2", "conv2")
    return [
        Unit(tensors, [f"{block}.res_unit{i}.{part}" for part in parts], width, dilation,
             depthwise=False)
        for i, dilation in enumerate(DILATIONS, 1)
    ]  # fmt: skip
