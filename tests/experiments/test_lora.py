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
    return tune(BASE, work, "tuned"), (work / "tuned_run" / "metrics.jsonl").read_text()


def tune(base, work, name):
    """The folder of that name, with what a model has learned of the records in `work`."""
    config = lora_codec.get_config("tiny")
    config.base = str(base)
    config.data.train = config.data.held_out = (str(work / "records"),)
    config.learning_rate = 0.03
    train(config, work / f"{name}_run")
    main([str(work / f"{name}_run"), "--out", str(work / name)])
    return work / name


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


def test_what_was_tuned_before_is_tuned_further(tuned):
    once = tuned[0]
    twice = tune(once, once.parent, "twice")
    (first, base), (both, again) = lora.read(once), lora.read(twice)
    assert base == again and first.keys() == both.keys()
    for name, update in both.items():
        rank = first[name]["a"].shape[1]
        np.testing.assert_array_equal(update["a"][:, :rank], first[name]["a"])
        assert update["a"].shape[1] == 2 * rank
    codes = voiceloom.load_codec(BASE).encode(speechlike(1.0)[None])
    ours, before = voiceloom.load_codec(twice), voiceloom.load_codec(once)
    assert np.abs(ours.decode(codes) - before.decode(codes)).max() > 1e-4


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
