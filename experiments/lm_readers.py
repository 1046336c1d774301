r"""Further on from `lm_people.py`, gently: with 251 native readers, and with the model's own past.

    python -m voiceloom.export lm runs/lm_people --out runs/release_people   # beside the codec
    python -m experiments.train --config=experiments/lm_readers.py --workdir=runs/lm_readers
    python -m voiceloom.export lm runs/lm_readers --calibrate \
      --codes runs/codes/synthetic runs/codes/synthetic_3

Clones of 67 people at microphones of their own were .33 of the way there; after 3,000 steps with
the readers .48, after 500 more in which half of the rows hear their own past .53. The released
weights are means of such runs, without and with (LOG.md): the more of the latter, the more alike
and the less clear (val 5.4 % without, 6.5 % with half). Hence a quarter here, not run yet.
"""

import ml_collections

from experiments import lm_base

PLACES = {"synthetic": 1, "synthetic_2": 0, "synthetic_3": 0, "synthetic_4": 0, "speechocean": 1}
PLACES |= {"libri": 8, "mini": 0}


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
    """The config."""
    config = lm_base.get_config(arg)
    config.data.train = (
        *(f"runs/codes/{name}" for name in PLACES),
        *(f"runs/codes/{name}_elsewhere_{i + 1}" for name, n in PLACES.items() for i in range(n)),
        "runs/codes/crowd_text",
        *(f"runs/codes/crowd_elsewhere_{place}" for place in range(1, 9)),
        "runs/codes/asterisk_en",
    )
    with config.unlocked():
        config.init_from = "runs/release_people"
    config.steps, config.dropout, config.own_past = 6_000, 0.2, 0.25
    config.optimizer.update(learning_rate=5e-4, warmup=100, decay=0.8)
    config.every.checkpoint = 250
    return config
