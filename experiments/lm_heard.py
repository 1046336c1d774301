r"""The released LM, further on with a listener (`experiments.listening`).

    make codes
    python -m experiments.own_speech runs/codes/twisters --clips 500 --hard 1.0
    python -m experiments.train --config=experiments/lm_heard.py --workdir=runs/heard
    python -m voiceloom.export lm runs/heard

What is said, and when, and how high, is of recordings and, where chains of one sound come from, of
ourselves: the codes are drawn anew. The voice encoder stands still, so every voice goes on meaning
the same.
"""

import ml_collections

from experiments import lm_base


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
    """The config."""
    config = lm_base.get_config(arg)
    config.task = "listening"
    config.data.train = ("runs/codes/synthetic", "runs/codes/twisters")
    with config.unlocked():
        config.init_from = "voiceloom/weights"
        config.frozen = ("voice",)
        config.takes = 4
        # As long a gradient as that of the recordings' losses, three times.
        config.weights.heard = 3.0
    config.steps, config.ema_decay = 180, 0.98
    config.optimizer.update(learning_rate=1e-4, warmup=10)
    config.every = dict(log=5, checkpoint=20, evaluate=60)
    if arg != "tiny":
        config.data.frames = 96  # 7.7 s: 32 takes in 14 s of a core
    return config
