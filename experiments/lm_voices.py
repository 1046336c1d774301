"""Further on from `lm_long.py`, with more voices, from more places.

    python -m voiceloom.export lm runs/lm --out runs/release_long   # beside a copy of the codec
    python -m experiments.train --config=experiments/lm_voices.py --workdir=runs/lm_voices
    python -m voiceloom.export lm runs/lm_voices --codes runs/codes/synthetic runs/codes/synthetic_3

A clone of a voice beyond the mixtures of the corpus was half way there (.77 where a mixture has
.88), one of a human voice a quarter: so this part hears the teacher's voices of other languages
(`experiments.teacher_voices`), and every speaker once more as another person
(`experiments.people`), through another microphone, in another room (`experiments.rooms`).
"""

import ml_collections

from experiments import lm_base


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
    """The config."""
    config = lm_base.get_config(arg)
    config.data.train = (
        "runs/codes/synthetic",
        "runs/codes/synthetic_088",
        "runs/codes/synthetic_114",
        "runs/codes/synthetic_elsewhere_1",
        "runs/codes/synthetic_3",
        *(f"runs/codes/synthetic_3_elsewhere_{place}" for place in (1, 2)),
        "runs/codes/crowd_text",
        *(f"runs/codes/crowd_elsewhere_{place}" for place in range(1, 9)),
        "runs/codes/asterisk_en",
    )
    with config.unlocked():
        config.init_from = "runs/release_long"
    config.steps = 6_600  # of the released one 4,000 without the last places (LOG.md)
    config.optimizer.update(learning_rate=5e-4, decay=0.6)
    config.every.checkpoint = 250
    return config
