"""The default codec: 12.5 Hz, 16 residual books of 1024, 24 kHz.

    python -m experiments.train --config=experiments/codec_base.py --workdir=runs/codec

See LOG.md for the cost and result of each run. That of 2026-11-24 was stopped at step 5,500, when
its critics had joined, and went on with `--config.optimizer.learning_rate=1e-3
--config.steps=20000`: at 4e-3 fresh critics are a shock that takes 1,500 steps to get over.
"""

import ml_collections


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
    """The config; `tiny` trains in under a minute on two cores."""
    config = ml_collections.ConfigDict()
    config.task = "codec"
    config.model = dict(frame_rate=12.5, books=16)
    config.steps = 24_000
    config.adversarial_from = 3_000
    config.ema_decay = 0.999
    config.seed = 0
    # Windows without a common hop, with small primes for the FFT (see codec/discriminator.py).
    config.critic = dict(sizes=(336, 600, 1080, 1800), bands=4, width=96)
    config.weights = dict(mel=15.0, quantization=1.0, matching=2.0, adversarial=1.0)
    # Shares of the examples coded with half and with all of the books; the others with any number.
    config.depths = dict(half=0.35, all=0.35)
    # Muon: mel distance .339 after 1,000 steps, Adam's at its best rate .364 for equal core-hours.
    config.optimizer = dict(
        kind="muon",
        learning_rate=4e-3,
        critic_learning_rate=1e-3,
        warmup=300,
        final=0.05,
        weight_decay=0.01,
        clip=5.0,
    )
    config.data = dict(
        train=tuple(f"runs/records/{n}" for n in ("synthetic", "asterisk", "kerstin", "crowd")),
        held_out=("runs/records/crowd", "runs/records/synthetic"),
        seconds=1.28,
        batch=8,
        seed=0,
        resampled_share=0.25,
    )
    config.every = dict(log=20, checkpoint=500, evaluate=1_000)
    config.evaluation_batches = 8
    if arg == "tiny":
        config.model = dict(
            frame_rate=12.5,
            books=4,
            entries=64,
            width=32,
            frame_width=32,
            encoder_blocks=1,
            decoder_blocks=1,
            frame_blocks=1,
            expansion=2,
        )
        config.critic = dict(sizes=(336, 600), bands=1, width=16)
        config.steps, config.adversarial_from, config.optimizer.warmup = 12, 6, 2
        config.data.batch, config.data.seconds = 2, 0.64
        config.every = dict(log=2, checkpoint=4, evaluate=6)
        config.evaluation_batches = 1
    return config
