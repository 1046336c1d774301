"""Quantisers behind one interface: residual vectors, scalars plain and nested, and both."""

from flax import nnx

from codec.config import Config
from codec.quantize.interface import Quantized, Quantizer
from codec.quantize.residual import ResidualQuantizer
from codec.quantize.scalar import ScalarQuantizer
from codec.quantize.split import SplitQuantizer

__all__ = ["Quantized", "Quantizer", "make_quantizer"]


def make_quantizer(cfg: Config, *, rngs: nnx.Rngs) -> Quantizer:
    """The quantiser that the config names."""
    shape = (cfg.frame_width, cfg.books)
    match cfg.quantizer:
        case "residual":
            return ResidualQuantizer(*shape, cfg.entries, cfg.code_dim, rngs=rngs)
        case "scalar":
            return ScalarQuantizer(*shape, cfg.entries, cfg.code_dim, stages=cfg.stages, rngs=rngs)
        case "split":
            return SplitQuantizer(*shape, cfg.first_entries, cfg.entries, cfg.code_dim, rngs=rngs)
    raise ValueError(f"quantizer {cfg.quantizer!r}: one of residual, scalar, split")
