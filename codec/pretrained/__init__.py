"""Other people's codecs on the house's contract: their weights, read as they are published.

    model = pretrained.load("folder")  # config.json, model.safetensors: as transformers saves
    codec = nnx.merge(model.graphdef, model.params)
    codes, state = codec.encode(samples, state)

Each codec is one file and has the surface of `codec.Codec`: `encode`, `decode`, and the states of a
stream. Nothing here needs torch, and nothing of a file is executed.
"""

from codec.pretrained.loading import Pretrained, load
from data.published import ImportFailed

__all__ = ["ImportFailed", "Pretrained", "load"]
