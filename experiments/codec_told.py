"""The decoder of the released codec, told the text of what it says.

    make corpora people
    python -m experiments.own_speech runs/codes/own
    python -m experiments.train --config=experiments/codec_told.py --workdir=runs/told
    python -m voiceloom.export codec runs/told
"""

import ml_collections

from data.phones import SYMBOLS
from experiments import codec_decoder


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
    """The config."""
    config = codec_decoder.get_config(arg)
    config.task = "told"
    with config.unlocked():
        config.model.symbols = len(SYMBOLS)
        config.data.own = "runs/codes/own"
        config.weights.update(phones=4.0, said=4.0)
    config.data.batch //= 2  # as many rows of our own speech come along
    config.depths = dict(half=0.6, all=0.1)
    config.steps = 4_400
    config.optimizer.warmup = 100
    return config
