"""The released LM: further on from `lm_people.py`, with 251 native readers, gently."""

import ml_collections

from experiments import lm_base

PLACES = {
    "synthetic": 1, "synthetic_2": 0, "synthetic_3": 0, "synthetic_4": 0, "synthetic_2_late": 0,
    "synthetic_4_late": 0, "libri": 8,
}  # fmt: skip


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
    """The config."""
    config = lm_base.get_config(arg)
    config.data.train = (
        *(f"runs/codes/{name}" for name in PLACES),
        *(f"runs/codes/{name}_elsewhere_{i + 1}" for name, n in PLACES.items() for i in range(n)),
        "runs/codes/kept_speechocean",
        "runs/codes/kept_speechocean_elsewhere_1",
        "runs/codes/crowd_text",
        *(f"runs/codes/crowd_elsewhere_{place}" for place in range(1, 9)),
        "runs/codes/asterisk_en",
    )
    with config.unlocked():
        config.init_from = "runs/release_s"
    config.steps, config.dropout = 5_000, 0.2
    config.optimizer.update(learning_rate=5e-4, warmup=100, decay=0.8)
    config.every.update(checkpoint=250, evaluate=500)
    return config
