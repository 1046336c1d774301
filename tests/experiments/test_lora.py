"""Tuning a published codec: the decoder learns, the codes stay, and the result is a folder."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import voiceloom
from data import lora
from data.published import ImportFailed
from data.records import Writer, to_int16
from experiments import lora_codec
from experiments.lora import main
from experiments.train import train
from tests.voiceloom.tiny import speechlike

BASE = Path(__file__).parents[1] / "codec" / "pretrained" / "encodec"


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """The folder of a tuned codec, and the metrics of its run."""
    work = tmp_path_factory.mktemp("lora")
    for split in ("train", "test"):
        with Writer(work / "records", split) as writer:
            for i in range(3):
                samples = to_int16(speechlike(1.0 + 0.2 * i))
                writer.write(
                    dict(
                        id=f"{split}{i}", speaker="made", language="en", accent="us", text=None,
                        split=split, samples=samples, bandwidth_hz=12_000.0,
                    )
                )  # fmt: skip
    config = lora_codec.get_config("tiny")
    config.base = str(BASE)
    config.data.train = config.data.held_out = (str(work / "records"),)
    config.learning_rate = 0.03
    train(config, work / "run")
    main([str(work / "run"), "--out", str(work / "tuned")])
    return work / "tuned", (work / "run" / "metrics.jsonl").read_text()


def test_the_decoder_comes_nearer_and_the_codes_stay(tuned):
    folder, metrics = tuned
    last = json.loads(metrics.splitlines()[-1])
    assert last["held_out/mel"] < 0.98 * last["held_out/mel_published"]
    ours, published = voiceloom.load_codec(folder), voiceloom.load_codec(BASE)
    samples = speechlike(1.0)[None]
    codes = published.encode(samples)
    np.testing.assert_array_equal(ours.encode(samples), codes)
    assert np.abs(ours.decode(codes) - published.decode(codes)).max() > 1e-4
    assert ours.hash != published.hash


def test_updates_are_only_for_the_weights_they_were_made_for(tuned, tmp_path):
    shutil.copytree(tuned[0], tmp_path / "model")
    tensors = load_file(tmp_path / "model" / "model.safetensors")
    name = "encoder.layers.0.conv.bias"
    save_file(tensors | {name: tensors[name] + 1}, tmp_path / "model" / "model.safetensors")
    with pytest.raises(ImportFailed, match="made for other weights"):
        voiceloom.load_codec(tmp_path / "model")


def test_updates_that_fit_nothing_are_named(tuned, tmp_path):
    shutil.copytree(tuned[0], tmp_path / "model")
    model_hash = voiceloom.load_codec(BASE).hash
    lora.save(tmp_path / "model", {"decoder.nothing": {"a": np.ones((2, 1)), "b": np.ones((1, 2))}},
              model_hash)  # fmt: skip
    with pytest.raises(ImportFailed, match="decoder.nothing is not a matrix"):
        voiceloom.load_codec(tmp_path / "model")
    (tmp_path / "model" / lora.FILE).write_bytes(b"no tensors")
    with pytest.raises(ImportFailed, match="damaged"):
        voiceloom.load_codec(tmp_path / "model")
