"""The default codec with one thing changed, trained briefly: what the recipe was chosen from.

    python -m experiments.compare_codecs --variants --count 12 --out runs/codec_ablation.md
    python -m experiments.train --config=experiments/codec_variants.py:fast --workdir=runs/fast

A thousand steps without critics, the rate decayed at the end, tell these apart; the critics are a
matter of their own and cost twice as much.
"""

import ml_collections

from experiments import codec_base

BASE = {
    "optimizer.kind": "adamw",
    "optimizer.learning_rate": 1e-3,
    "adversarial_from": 1_000_000,
    "evaluation_batches": 32,
    "every.evaluate": 1_000,
    "steps": 1_000,
}
"""Where the search began, and the terms of all."""

VARIANTS = {
    "base": {},
    "deep_encoder": {"model.encoder_blocks": 5},
    "two_frame_blocks": {"model.frame_blocks": 2},
    "wide_frame": {"model.frame_width": 384},
    "code_dim_16": {"model.code_dim": 16},
    "shallow_decoder": {"model.decoder_blocks": 5},
    "fast": {"optimizer.learning_rate": 2e-3},
    "long_crops": {"data.seconds": 2.56, "data.batch": 4},
    "any_depth": {"depths.half": 0.0, "depths.all": 0.0},
    "no_resampling": {"data.resampled_share": 0.0},
    "fast_twice_as_long": {"optimizer.learning_rate": 2e-3, "steps": 2_000},
    "muon": {"optimizer.kind": "muon"},
    "fast_muon": {"optimizer.kind": "muon", "optimizer.learning_rate": 2e-3},
    "faster_muon": {"optimizer.kind": "muon", "optimizer.learning_rate": 4e-3},
    "wide_frame_muon": {
        "model.frame_width": 384,
        "optimizer.kind": "muon",
        "optimizer.learning_rate": 2e-3,
    },
}


def get_config(name: str = "base") -> ml_collections.ConfigDict:
    """The config of one of `VARIANTS`."""
    config = codec_base.get_config()
    config.update_from_flattened_dict(BASE | VARIANTS[name])
    return config
