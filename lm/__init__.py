"""Token language model: text and voice to codec codes. Knows no waveform.

`Config` and `LM` are the model, `make` builds it as (graphdef, params); `lm.sample` runs it.
"""

from lm.config import Config
from lm.model import LM, make, parameters

__all__ = ["LM", "Config", "make", "parameters"]
