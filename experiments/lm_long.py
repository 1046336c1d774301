"""The default model on all of the synthetic speech and the people who order coffee, for longer.

    make codes speech
    python -m experiments.train --config=experiments/lm_long.py --workdir=runs/lm

Beside the 3.5 hours of `lm_base` and its reader: 5.7 further hours of the teacher with 120 further
mixtures, and half an hour of 38 people who order coffee, in texts that a recogniser wrote, at seven
speeds. Advance and prosody of 4.0 hours were known by heart after 4,500 steps (LOG.md).
"""

import ml_collections

from experiments import lm_base

SPEEDS = ("", "_088", "_114")
CROWD_SPEEDS = ("", "_082", "_088", "_094", "_107", "_114", "_122")


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
    """The config."""
    config = lm_base.get_config(arg)
    config.data.train = (
        *(f"runs/codes/synthetic{speed}" for speed in SPEEDS),
        *(f"runs/codes/synthetic_2{speed}" for speed in SPEEDS),
        *(f"runs/codes/crowd_text{speed}" for speed in CROWD_SPEEDS),
        "runs/codes/asterisk_en",
    )
    config.steps = 14_000
    return config
