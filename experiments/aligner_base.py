"""The phone aligner: 0.98 M parameters, timings from text for corpora that have none.

python -m experiments.train --config=experiments/aligner_base.py --workdir=runs/aligner
"""

from ml_collections import ConfigDict


def get_config(arg: str | None = None) -> ConfigDict:
    """The configuration; `tiny` trains on the held-out clips for seconds, to test the machinery."""
    config = ConfigDict()
    config.task = "aligner"
    config.seed = 0
    config.steps = 1300
    config.every = ConfigDict(dict(log=25, checkpoint=100, evaluate=200))
    config.evaluation_batches = 8

    config.model = ConfigDict()
    config.model.width = 160
    config.model.hidden = 320
    config.model.dilations = (1, 2, 4, 8, 1, 1)

    config.data = ConfigDict()
    config.data.sources = (  # folder of records, share of the clips
        ("runs/records/synthetic", 0.5),
        ("runs/records/asterisk", 0.3),
        ("runs/records/kerstin", 0.2),
    )
    config.data.held_out = (("runs/records/synthetic", 1.0),)
    config.data.batch = 4  # rows
    config.data.row_s = 12.0
    config.data.clip_s = 10.0  # slowed to 0.85 it still fits a row
    config.data.states_per_s = 30

    config.loss = ConfigDict()  # weights
    config.loss.frame = 1.0  # cross-entropy of the labelled frames
    config.loss.path = 1.0  # likelihood of the text's lattice, all clips

    config.opt = ConfigDict()
    config.opt.lr = 2e-3
    config.opt.warmup = 100
    config.opt.ema = 0.99

    if arg == "tiny":
        config.model.update(width=32, hidden=64, dilations=(1, 2))
        config.data.update(batch=2)
        config.opt.warmup = 5
        config.steps = 20
    return config
