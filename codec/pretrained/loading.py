"""From a folder to a codec: which one it is, says its config."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from flax import nnx

from codec.pretrained import encodec, mimi
from data.published import ImportFailed, Tensors, read_config


class Pretrained(NamedTuple):
    """A codec in the house's dialect: `nnx.merge(graphdef, params)` inside `jax.jit`."""

    config: Any  # rates, sizes
    graphdef: Any  # static
    params: dict  # float32
    hash: str  # SHA-256 of the weights


CODECS: dict[str, tuple[Callable, Callable]] = {
    "mimi": (mimi.read_config, mimi.Mimi),
    "encodec": (encodec.read_config, encodec.Encodec),
}
"""By the `model_type` of a config: what reads the rest of it, and the module."""


def load(folder: str | os.PathLike) -> Pretrained:
    """The codec of a folder with `config.json` and safetensors, as transformers saves them.

    Raises:
        ImportFailed: With the cause and the cure.
    """
    folder = Path(folder)
    told = read_config(folder)
    kind = told.get("model_type")
    if kind not in CODECS:
        known = ", ".join(CODECS)
        raise ImportFailed(f"{folder}: a model of type {kind!r}; there are {known}")
    read, module = CODECS[kind]
    config = read(told)
    tensors = Tensors(folder, module.RENAMES)
    made = module(config, tensors)
    tensors.finish(module.IGNORED)
    graphdef, state = nnx.split(made, nnx.Param)
    return Pretrained(config, graphdef, nnx.to_pure_dict(state), tensors.hash)
