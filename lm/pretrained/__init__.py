"""Other people's speech LMs on the house's terms: their weights, read as they are published.

    model = pretrained.load("folder")  # config, tokenizer, safetensors: as transformers saves them
    lm = nnx.merge(model.graphdef, model.params)
    prompt = model.config.prompt(model.tokenizer, "Hello there.")
    state = lm.prefill(prompt[None], lengths, lm.init_state(1, seed, capacity))
    state, codes, valid = lm.generate(lm.sampling(1), state, frames, max_frames)

Each is one file and has the surface of `SpeechLM`: text and what was said before in, whole frames
of a published codec's codes out, row by row. Nothing here needs torch, and nothing of a file is
executed.
"""

from data.published import ImportFailed
from lm.pretrained.interface import SpeechLM, State
from lm.pretrained.loading import Pretrained, load
from lm.pretrained.sampling import Sampling
from lm.pretrained.text import Utterance

__all__ = ["ImportFailed", "Pretrained", "Sampling", "SpeechLM", "State", "Utterance", "load"]
