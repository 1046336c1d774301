"""The default codec with one thing changed, trained briefly: what the recipe was chosen from.

    python -m experiments.compare_codecs --variants --out experiments/results/codec_ablation.md
    python -m experiments.train --config=experiments/codec_variants.py:fast --workdir=runs/fast

A thousand steps without critics, the rate decayed at the end, tell these apart; the critics are a
matter of their own and cost twice as much.
"""

import ml_collections

from experiments import codec_base

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
    "twice_as_long": {"steps": 2_000},
    "fast_twice_as_long": {"optimizer.learning_rate": 2e-3, "steps": 2_000},
    "muon": {"optimizer.kind": "muon"},
    "fast_muon": {"optimizer.kind": "muon", "optimizer.learning_rate": 2e-3},
}


def get_config(name: str = "base") -> ml_collections.ConfigDict:
    """The config of one of `VARIANTS`."""
    config = codec_base.get_config()
    config.steps, config.adversarial_from = 1_000, 1_000_000
    config.every = dict(log=20, checkpoint=500, evaluate=1_000)
    config.evaluation_batches = 32
    config.update_from_flattened_dict(VARIANTS[name])
    return config
