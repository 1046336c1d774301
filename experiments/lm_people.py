r"""The released LM: further on from `lm_voices.py`, with 245 more people, on an accelerator.

    make codes speech people
    python -m voiceloom.export lm runs/lm_voices --out runs/release_2   # beside a copy of the codec
    python -m experiments.train --config=experiments/lm_people.py --workdir=runs/lm_people
    python -m voiceloom.export lm runs/lm_people --calibrate \
      --codes runs/codes/synthetic runs/codes/synthetic_3

A clone of a person nobody had trained on was a third of the way there, and 38 people were all that
had been heard. Their number binds (LOG.md), and compute does not once an H100 is at hand: it makes
60 steps of 64 rows a second, two cores together 1.4 of 8.
"""

import ml_collections

from experiments import lm_base

PLACES = {"synthetic": 3, "synthetic_2": 1, "synthetic_3": 2, "synthetic_4": 2, "speechocean": 3}


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
    """The config."""
    config = lm_base.get_config(arg)
    config.data.train = (
        *(f"runs/codes/{name}" for name in PLACES),
        *(f"runs/codes/{name}_elsewhere_{i + 1}" for name, n in PLACES.items() for i in range(n)),
        "runs/codes/synthetic_088",
        "runs/codes/synthetic_114",
        "runs/codes/synthetic_tempo_1.3",
        "runs/codes/crowd_text",
        *(f"runs/codes/crowd_elsewhere_{place}" for place in range(1, 9)),
        "runs/codes/asterisk_en",
    )
    config.data.batch = 64
    with config.unlocked():
        config.init_from = "runs/release_2"
    config.steps, config.optimizer.warmup = 8_000, 300
    return config
