"""The default codec with one thing changed, trained briefly: what the recipe was chosen from.

    python -m experiments.compare_codecs --variants --out experiments/results/codec_ablation.md
    python -m experiments.train --config=experiments/codec_variants.py:wide --workdir=runs/wide

Fifteen hundred steps without critics, rate decayed to the end, tell these apart; the critics are a
matter of their own and cost twice as much.
"""

import ml_collections

from experiments import codec_base

VARIANTS = {
    "base": {},
    "deep_encoder": {"model.encoder_blocks": 5},
    "two_frame_blocks": {"model.frame_blocks": 2},
    "wide_frame": {"model.frame_width": 384},
    "wide": {"model.width": 320},
    "code_dim_16": {"model.code_dim": 16},
    "short_kernel": {"model.kernel": 5},
    "shallow_decoder": {"model.decoder_blocks": 5},
    "fast": {"optimizer.learning_rate": 2e-3},
    "long_crops": {"data.seconds": 2.56, "data.batch": 4},
    "all_books_always": {"depths.half": 0.0, "depths.all": 1.0},
    "any_depth": {"depths.half": 0.0, "depths.all": 0.0},
    "no_resampling": {"data.resampled_share": 0.0},
    "muon": {"optimizer.kind": "muon"},
}


def get_config(name: str = "base") -> ml_collections.ConfigDict:
    """The config of one of `VARIANTS`."""
    config = codec_base.get_config()
    config.steps, config.adversarial_from = 1_500, 1_000_000
    config.every = dict(log=20, checkpoint=500, evaluate=1_500)
    config.evaluation_batches = 32
    config.update_from_flattened_dict(VARIANTS[name])
    return config
