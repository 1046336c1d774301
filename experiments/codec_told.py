"""A speaker for the released codec: its decoder, told the text; all that there was stands still.

make corpora
python -m experiments.own_speech runs/codes/own --people runs/records/people runs/records/libri
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
        config.weights.update(phones=4.0, said=8.0)
        config.frozen = ("encoder", "quantizer", "decoder")  # told nothing, it sounds as it did
    # Of recordings with labels; and as many rows of our own speech come along.
    config.data.train = config.data.held_out = ("runs/records/synthetic",)
    config.data.batch //= 2
    config.depths = dict(half=1.0, all=0.0)  # what the language model writes
    config.steps = 2_400
    config.optimizer.update(warmup=100)
    return config
