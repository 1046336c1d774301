"""The entropy model of the default codec: what the next code will be, from those before it.

    python -m experiments.train --config=experiments/entropy_base.py --workdir=runs/entropy
    python -m experiments.entropy runs/entropy

Wants codes of every corpus (`make codes`); a few minutes on two cores.
"""

import ml_collections


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
    """The config; `tiny` trains in under a minute on two cores."""
    config = ml_collections.ConfigDict()
    config.task = "entropy"
    config.codec = "voiceloom/weights"
    config.width = 96
    config.steps = 3_000
    config.learning_rate = 4e-3
    config.ema_decay = 0.99
    config.seed = 0
    config.data = dict(
        train=tuple(f"runs/codes/{n}" for n in ("synthetic", "asterisk", "kerstin", "crowd")),
        held_out=("runs/codes/crowd", "runs/codes/synthetic"),
        frames=25,
        batch=32,
        seed=0,
    )
    config.every = dict(log=20, checkpoint=1_000, evaluate=500)
    config.evaluation_batches = 8
    if arg == "tiny":
        config.width = 8
        config.steps, config.data.batch = 30, 4
        config.every = dict(log=5, checkpoint=10, evaluate=15)
        config.evaluation_batches = 1
    return config
