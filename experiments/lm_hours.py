"""The default LM on a share of its speech: what a further hour buys.

python -m experiments.train --config=experiments/lm_hours.py:0.25 --workdir=runs/hours/0.25
"""

import ml_collections

from experiments import lm_base

SHARES = (0.125, 0.25, 0.5, 1.0)


def get_config(share: str = "1.0") -> ml_collections.ConfigDict:
    """The default's config, on this share of the clips, with a quarter of the steps."""
    config = lm_base.get_config()
    config.steps = 2_000
    with config.unlocked():
        config.data.share = float(share)
    return config
