"""The default LM: pointer, 8 books at 12.5 Hz, 12 M parameters.

    python -m experiments.train --config=experiments/lm_base.py --workdir=runs/lm

Needs codes: `python -m experiments.tokenise` on record folders with labels.
See LOG.md for the cost and result of each run.
"""

import ml_collections

from data.phones import SYMBOLS, boundary_class
from data.prosody import LEVELS, PITCHES

_PAUSE_S, _PHONE_S, _START_S = 0.9, 0.35, 0.3


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
    """The config; `tiny` trains in under a minute on two cores."""
    config = ml_collections.ConfigDict()
    config.task = "lm"
    classes = [boundary_class(symbol) for symbol in range(len(SYMBOLS))]
    config.model = dict(
        boundary_of=tuple(classes),
        # Sampling only; the export measures its own table on the corpus.
        max_dwell_s=(*(_PAUSE_S if c else _PHONE_S for c in classes), _START_S),
        frame_rate=12.5,
        books=8,
        pitches=PITCHES,
        levels=LEVELS,
        advance=3,
    )
    config.steps = 8_000
    config.ema_decay = 0.999
    config.seed = 0
    config.weights = dict(advance=1.0, prosody=1.0, depth=2.0)
    config.noise = 0.1
    config.own_past = 0.0  # share of the rows (`lm.own_past`)
    # Without it the held-out loss of 175 minutes rose after 16 epochs (LOG, the pair at 25 Hz).
    config.dropout = 0.1
    config.voice_dropout = 0.1
    config.depth_share = 0.25
    config.lookaheads = (0, 1, 2, 4, 10_000)
    config.evaluation_lookahead = 2
    config.optimizer = dict(
        learning_rate=1e-3, warmup=200, decay=0.5, final=0.05, b2=0.98, weight_decay=0.05, clip=1.0
    )
    config.codec = "voiceloom/weights"  # the one that made the codes; heard at evaluations
    config.data = dict(
        train=(
            "runs/codes/synthetic",
            "runs/codes/synthetic_088",
            "runs/codes/synthetic_114",
            "runs/codes/asterisk_en",
        ),
        held_out=("runs/codes/synthetic",),
        frames=160,
        units=224,
        voice_s=(2.0, 4.0),
        batch=8,
        seed=0,
    )
    config.every = dict(log=20, checkpoint=500, evaluate=500)
    config.evaluation_batches = 10
    if arg == "tiny":
        config.model.update(
            width=64,
            layers=2,
            heads=2,
            mlp_width=128,
            text_mlp_width=128,
            books=4,
            voice_books=4,
            depth_width=48,
            depth_layers=1,
            depth_heads=2,
            depth_mlp_width=96,
            code_width=24,
            voice_width=32,
            voice_mlp_width=32,
        )
        config.steps, config.optimizer.warmup = 12, 2
        config.data.update(frames=64, units=96, batch=4)
        config.every = dict(log=2, checkpoint=4, evaluate=6)
        config.evaluation_batches = 1
    return config
