"""The quantisers side by side: one codec, one recipe, one cost; only the bottleneck differs.

    python -m experiments.train --config=experiments/codec_quantizers.py:nested \
        --workdir=runs/quantizers/nested
    python -m experiments.compare_codecs --quantizers --count 12 \
        --out experiments/results/quantizers.md
"""

import ml_collections

from experiments import codec_base

ALWAYS_ALL = {"depths.half": 0.0, "depths.all": 1.0}
"""One rate, and so one checkpoint for each rate."""

QUANTIZERS = {
    # One checkpoint for every rate: residual vectors of 1024.
    "residual": {},
    # 16 books of 5 numbers of 4 levels: one rate, 2.0 kbit/s; and 8 of them: 1.0 kbit/s.
    "plain": {"model.quantizer": "scalar", "model.code_dim": 5} | ALWAYS_ALL,
    "plain_half": {"model.quantizer": "scalar", "model.code_dim": 5, "model.books": 8} | ALWAYS_ALL,
    # The same grid, any number of its books: the last numbers are left out.
    "dropped": {"model.quantizer": "scalar", "model.code_dim": 5},
    # 8 books of 10 numbers of 2 levels, and 8 more that halve their cells: any number of books.
    "nested": {"model.quantizer": "scalar", "model.code_dim": 10, "model.stages": 2},
    # Voxtral's form: a vector of 1024 and 36 dithered numbers of 21 levels, 2.1 kbit/s.
    "split": {"model.quantizer": "split", "model.books": 37, "model.entries": 21} | ALWAYS_ALL,
}


def get_config(name: str = "residual") -> ml_collections.ConfigDict:
    """The config of one of `QUANTIZERS`: the default's recipe before its critics join."""
    config = codec_base.get_config()
    # A quarter of the default's compute: 334 of its 1,333 TFLOP, as XLA counts both of its steps.
    config.steps = 6_450
    config.adversarial_from = 1_000_000
    config.evaluation_batches = 32
    with config.unlocked():
        config.model.update(quantizer="residual", code_dim=8, stages=1, entries=1024)
    config.update_from_flattened_dict(QUANTIZERS[name])
    return config
