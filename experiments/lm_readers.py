"""The released LM: further on from `lm_people.py`, with readers, twisters and its own past.

    make codes speech people
    python -m voiceloom.export lm runs/lm_people --out runs/release_4   # beside a copy of the codec
    python -m experiments.train --config=experiments/lm_readers.py --workdir=runs/lm_readers
    python -m voiceloom.export lm runs/lm_readers --calibrate --codes runs/codes/synthetic

Clones of 67 people at microphones of their own were .33 of the way there before the readers; with
them .48, with the own past of some rows .53, but less clear the more of it (val 5.4 % without,
6.5 % with half of the rows). So a quarter here, and what is released is the mean of this run and
the release before. Its pasts were said once, 4,400 rows in batches of 48, by a script: in the step,
as here, two rows take as long as all the rest of it (LOG.md, 2026-11-29).
"""

import ml_collections

from experiments import lm_base

PLACES = {"synthetic": 1, "synthetic_3": 0, "synthetic_5": 0, "speechocean": 0}
PLACES |= {"libri": 3, "people": 4}


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
    """The config."""
    config = lm_base.get_config(arg)
    config.data.train = (
        *(f"runs/codes/{name}" for name in PLACES),
        *(f"runs/codes/{name}_elsewhere_{i + 1}" for name, n in PLACES.items() for i in range(n)),
        "runs/codes/crowd_text",
        *(f"runs/codes/crowd_elsewhere_{place}" for place in range(1, 5)),
        "runs/codes/asterisk_en",
    )
    with config.unlocked():
        config.init_from = "runs/release_4"
    config.steps, config.dropout, config.own_past = 1_700, 0.2, 0.25
    config.optimizer.update(learning_rate=4e-4, warmup=100, decay=0.8)
    config.every.checkpoint = 250
    return config
