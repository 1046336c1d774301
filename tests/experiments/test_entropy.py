"""The entropy model from training to a release, and what it saves on codes that can be guessed."""

import sys

import jax
import numpy as np
import pytest

import voiceloom
from data.records import Writer
from experiments import entropy, entropy_base
from experiments.train import train
from tests.voiceloom.tiny import CODEC, codec_params
from voiceloom import weights


@pytest.fixture
def config(tmp_path):
    """A tiny codec and code records of held notes, in `tmp_path`."""
    params = codec_params(CODEC)
    codec_hash = weights.save_codec(tmp_path / "codec", CODEC, params, {})
    rng = np.random.default_rng(0)
    facts = {"frame_rate": CODEC.frame_rate, "codec_hash": codec_hash}
    for split in ("train", "test"):
        with Writer(tmp_path / "codes", split) as writer:
            writer.facts = facts
            for i in range(300):
                codes = np.repeat(rng.integers(0, 64, (1, CODEC.books)), 40, axis=0)
                about = dict(id=str(i), speaker="s", language="en", codes=codes.astype(np.uint16))
                writer.write(about | facts)
    config = entropy_base.get_config("tiny")
    config.codec, config.width, config.steps = str(tmp_path / "codec"), 16, 500
    config.data.train = config.data.held_out = (str(tmp_path / "codes"),)
    config.every.update(log=100, checkpoint=500, evaluate=500)
    return config


def test_from_training_to_shorter_packets(config, tmp_path, monkeypatch):
    train(config, tmp_path / "run")
    monkeypatch.setattr(sys, "argv", ["entropy", str(tmp_path / "run")])
    entropy.main()
    codec = voiceloom.load_codec(tmp_path / "codec")
    codes = np.repeat([[3, 14, 15, 9]], 25, axis=0)
    data = codec.entropy.encode(codes)
    assert len(data) < 0.9 * 25 * 4 * 6 / 8
    np.testing.assert_array_equal(codec.entropy.decode(data, 25, 4), codes)


def test_codes_of_another_codec_are_refused(config, tmp_path, monkeypatch):
    config.steps = 2
    train(config, tmp_path / "run")
    weights.save_codec(tmp_path / "codec", CODEC, codec_params(CODEC), {})
    path = tmp_path / "codes" / "meta.json"
    path.write_text(path.read_text().replace(weights.load_codec(tmp_path / "codec").hash, "0" * 64))
    monkeypatch.setattr(sys, "argv", ["entropy", str(tmp_path / "run")])
    with pytest.raises(weights.WeightsError, match="codes of another codec"):
        entropy.main()


def test_a_weight_that_does_not_fit_its_table_is_refused(config):
    params = entropy.EntropyTask(config).init(jax.random.key(0)).params
    with pytest.raises(OverflowError, match="out reaches"):
        entropy.to_tables(params | {"out": params["out"] + 1000})
