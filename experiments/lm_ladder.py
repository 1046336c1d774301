"""The rungs of the ladder: one task and one cost, each tuned; only the way to the text differs.

    python -m experiments.train --config=experiments/lm_ladder.py:flat --workdir=runs/ladder/flat

`experiments.ladder` trains all of them and makes the table. The rate is constant, so that a run
can be looked at after a quarter and a half of its compute and go on.
"""

import ml_collections

from experiments import lm_base

RUNGS = ("flat", "prefix", "cross", "pointer")

# Learning rate and batch, the best of pilots at 0.02 PFLOP by held-out nats a frame (LOG.md).
TUNED = {"flat": (1e-3, 2), "prefix": (1e-3, 4), "cross": (1e-3, 4), "pointer": (2e-3, 8)}


def get_config(name: str = "pointer") -> ml_collections.ConfigDict:
    """The config of one of `RUNGS`."""
    config = lm_base.get_config()
    learning_rate, config.data.batch = TUNED[name]
    config.optimizer.update(learning_rate=learning_rate, warmup=100, decay=0.0)
    config.every = dict(log=20, checkpoint=100, evaluate=250)
    config.steps = 1_000
    if name != "pointer":
        config.task = "baseline"
        # What the pointer spends on its text encoder, its mixing and its prosody goes into layers:
        # 11.3 to 12.0 M parameters each, against the pointer's 12.6.
        config.model.update(design=name, pitches=0, layers=6 if name == "cross" else 10)
        config.evaluation_batches = 4
    return config
