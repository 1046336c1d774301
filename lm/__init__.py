"""Token language model: text and voice to codec codes. Knows no waveform.

`Config` and `LM` are the model; `nnx.merge(structure(cfg), init_params(cfg, key))` inside `jax.jit`
gives one from a plain dict of parameters; `lm.sample` runs it, `lm.task` trains it.
"""

from lm.config import Config
from lm.model import LM, init_params, parameters, structure

__all__ = ["LM", "Config", "init_params", "parameters", "structure"]
