"""A published codec's decoder, tuned by rank-8 updates on the house's recordings.

    python -m experiments.train --config=experiments/lora_codec.py --config.base=FOLDER \\
        --workdir=runs/tuned
"""

import ml_collections


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
    """The config; `tiny` is for codecs of a few channels."""
    config = ml_collections.ConfigDict()
    config.task = "codec_lora"
    config.base = ""  # folder, as `voiceloom.load_codec` takes it
    config.rank = 8
    config.learning_rate, config.warmup = 1e-3, 50
    config.steps = 2_000
    config.ema_decay = 0.99
    config.seed = 0
    config.data = dict(
        train=("runs/records/crowd", "runs/records/asterisk"),
        held_out=("runs/records/crowd",),
        seconds=1.28,
        batch=4,
        seed=0,
    )
    config.every = dict(log=20, checkpoint=200, evaluate=500)
    config.evaluation_batches = 8
    if arg == "tiny":
        config.rank, config.steps, config.warmup = 2, 12, 2
        config.data.seconds, config.data.batch = 0.64, 2
        config.every = dict(log=2, checkpoint=6, evaluate=12)
        config.evaluation_batches = 1
    return config
