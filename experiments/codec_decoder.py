"""The decoder of the released codec, tuned alone, on far more people than the codec was trained on.

    make corpora people
    python -m experiments.train --config=experiments/codec_decoder.py --workdir=runs/decoder
    python -m voiceloom.export codec runs/decoder

The codec heard 38 people and 23 synthetic voices. Through it people of the test sets lose .05 of
their likeness, seen voices .02: what is missing is in the decoder as well as in the codes, and the
decoder can go on learning without any code losing its meaning.
"""

import ml_collections

from experiments import codec_base


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
    """The config."""
    config = codec_base.get_config(arg)
    config.task = "decoder"
    further = ("libri", "mini", "speechocean", "people")
    config.data.train += tuple(f"runs/records/{name}" for name in further)
    with config.unlocked():
        config.init_from = "voiceloom/weights"
        config.frozen = ("encoder", "quantizer")
    # The language model writes half of the books, and all that is spoken is heard through them.
    config.depths = dict(half=0.6, all=0.25)
    config.adversarial_from, config.steps = 0, 3_200
    # Fresh critics teach nothing at first: the decoder follows slowly.
    config.optimizer.update(learning_rate=1e-3, warmup=600)
    config.every = dict(log=20, checkpoint=250, evaluate=500)
    return config
