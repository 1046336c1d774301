"""From a folder to a speech LM: which one it is, says its config."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import nnx

from data.published import ImportFailed, Tensors, read_config
from lm.pretrained import csm, orpheus
from lm.pretrained.text import Tokenizer


class Pretrained(NamedTuple):
    """A speech LM in the house's dialect: `nnx.merge(graphdef, params)` inside `jax.jit`."""

    config: csm.Config | orpheus.Config  # makes prompts
    tokenizer: Tokenizer
    graphdef: Any  # static; merged with the parameters it is an `lm.pretrained.SpeechLM`
    params: dict
    hash: str  # SHA-256 of the weights


def load(
    folder: str | os.PathLike,
    dtype: Any = jnp.float32,
    tokens: orpheus.Tokens = orpheus.Tokens(),  # noqa: B008  (constants)
) -> Pretrained:
    """The speech LM of a folder with config, tokenizer and safetensors, as transformers saves them.

    Args:
        folder: With `config.json`, `tokenizer.json` and the weights.
        dtype: What parameters and cache are kept in: float32, or bfloat16 for half the memory.
        tokens: Of a Llama: where its vocabulary has the codes.

    Raises:
        ImportFailed: With the cause and the cure.
    """
    folder = Path(folder)
    told = read_config(folder)
    kind = told.get("model_type")
    if kind == "csm":
        config, module = csm.read_config(told), csm.Csm
    elif kind == "llama":
        config, module = orpheus.read_config(told, tokens), orpheus.Orpheus
    else:
        raise ImportFailed(
            f"{folder}: a model of type {kind!r}; there are csm, and llama that is Orpheus"
        )
    tokenizer = Tokenizer(folder)
    if len(tokenizer) > config.vocabulary:
        raise ImportFailed(
            f"{folder}: a tokenizer of {len(tokenizer)} tokens, and a model of "
            f"{config.vocabulary}: they do not belong together"
        )
    tensors = Tensors(folder, module.RENAMES)
    made = module(config, tensors, dtype)
    tensors.finish()
    graphdef, state = nnx.split(made, nnx.Param)
    return Pretrained(config, tokenizer, graphdef, nnx.to_pure_dict(state), tensors.hash)
