"""From a folder to a codec: which one it is, says its config."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from flax import nnx

from codec.pretrained import dac, encodec, mimi, snac
from data import lora
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
    "dac": (dac.read_config, dac.Dac),
    "snac": (snac.read_config, snac.Snac),
}
"""By the `model_type` of a config: what reads the rest of it, and the module."""


def load(folder: str | os.PathLike) -> Pretrained:
    """The codec of a folder with `config.json` and safetensors, as transformers saves them.

    SNAC's config has no `model_type`; it is known by its `vq_strides`. Of CSM it is the Mimi
    inside. Updates that `experiments.lora` has put there are added.

    Raises:
        ImportFailed: With the cause and the cure.
    """
    folder = Path(folder)
    told, within = read_config(folder), ""
    if told.get("model_type") == "csm":  # the language model's folder has its Mimi, too
        told, within = told.get("codec_config") or {}, "codec_model."
    kind = told.get("model_type", "snac" if "vq_strides" in told else None)
    if kind not in CODECS:
        known = ", ".join(CODECS)
        raise ImportFailed(f"{folder}: a model of type {kind!r}; there are {known}")
    read, module = CODECS[kind]
    config = read(told)
    tensors = Tensors(folder, module.RENAMES, within)
    made = module(config, tensors)
    tensors.finish(module.IGNORED)
    graphdef, state = nnx.split(made, nnx.Param)
    params, sha256 = lora.load(folder, nnx.to_pure_dict(state), tensors.hash)
    return Pretrained(config, graphdef, params, sha256)
