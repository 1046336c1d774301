"""Published codecs: transformers' own answers, streams that equal the whole, wrong files."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file, save_file

from codec import pretrained
from codec.pretrained import ImportFailed
from tests.codec.pretrained.reference import noise

HERE = Path(__file__).parent / "pretrained"
CODECS = ("mimi", "encodec")


@pytest.fixture(scope="module", params=CODECS)
def loaded(request):
    """Name, config, and jitted whole and stepped forms."""
    model = pretrained.load(HERE / request.param)

    def form(name):
        def run(params, x, state=None):
            return getattr(nnx.merge(model.graphdef, params), name)(x, state)

        return lambda x, state=None: jax.jit(run)(model.params, x, state)

    answers = np.load(HERE / request.param / "answers.npz")
    lengths = [int(name.split("_")[1]) for name in answers.files if name.startswith("codes")]
    return model.config, form("encode"), form("decode"), answers, lengths


def test_codes_and_samples_are_those_of_transformers(loaded):
    _, encode, decode, answers, lengths = loaded
    for length in lengths:
        codes, _ = encode(noise(length))
        np.testing.assert_array_equal(codes, answers[f"codes_{length}"])
        samples, _ = decode(answers[f"codes_{length}"].astype(np.int32))
        wanted = answers[f"decoded_{length}"]
        assert samples.shape == wanted.shape and np.abs(wanted).max() > 0.01
        np.testing.assert_allclose(samples, wanted, atol=1e-5, rtol=1e-5)


def test_a_stream_is_the_whole(loaded):
    cfg, encode, decode, _, lengths = loaded
    whole = noise(max(lengths))
    size, first = cfg.frame_samples, cfg.first_frames
    codes, _ = encode(whole)
    samples, _ = decode(codes)
    assert codes.shape[1] > first + 4
    heard, said, hears, says, at = [], [], None, None, 0
    for count in (first, 1, 3, codes.shape[1]):  # frames; the last block is what is left
        block = whole[:, at * size : (at + count) * size]
        found, hears = encode(block, hears)
        made, says = decode(codes[:, at : at + count], says)
        heard.append(found)
        said.append(made)
        at += count
    np.testing.assert_array_equal(np.concatenate(heard, axis=1), codes)
    np.testing.assert_allclose(np.concatenate(said, axis=1), samples, atol=1e-5, rtol=1e-5)


def test_fewer_books_are_the_first_books(loaded):
    cfg, encode, decode, _, lengths = loaded
    codes, _ = encode(noise(min(lengths)))
    assert codes.shape[-1] == len(cfg.sizes)
    assert np.isfinite(decode(codes[..., :2])[0]).all()
    assert cfg.nominal_kbps(2) == pytest.approx(2 * np.log2(cfg.sizes[0]) * cfg.frame_rate / 1000)


# ---- files that are wrong -----------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """A copy of a good one, and how to change its tensors."""
    shutil.copytree(HERE / "encodec", tmp_path / "model")

    def change(edit):
        path = tmp_path / "model" / "model.safetensors"
        tensors = load_file(path)
        edit(tensors)
        save_file(tensors, path)

    return tmp_path / "model", change


def test_a_renamed_tensor_is_missed_and_named(folder):
    path, change = folder
    name = "decoder.layers.0.conv.bias"
    change(lambda t: t.update({"decoder.layers.0.conv.bais": t.pop(name)}))
    with pytest.raises(ImportFailed, match=rf"no tensor {name} .*the nearest is decoder"):
        pretrained.load(path)


def test_a_tensor_too_many_is_named(folder):
    path, change = folder
    change(lambda t: t.update({"decoder.adapter.weight": np.ones(3, np.float32)}))
    with pytest.raises(ImportFailed, match=r"nobody has a use for decoder\.adapter\.weight"):
        pretrained.load(path)


def test_zeros_shapes_and_infinities_are_refused(folder):
    path, change = folder
    name = "quantizer.layers.0.codebook.embed"
    for value, says in (
        (lambda x: 0 * x, "all zeros"),
        (lambda x: x[:-1], "should be"),
        (lambda x: np.full_like(x, np.inf), "not finite"),
    ):
        kept = {}
        change(lambda t, kept=kept, value=value: (kept.update(x=t[name]),
                                                  t.update({name: value(t[name])})))  # fmt: skip
        with pytest.raises(ImportFailed, match=says):
            pretrained.load(path)
        change(lambda t, kept=kept: t.update({name: kept["x"]}))
    pretrained.load(path)


def test_a_cut_file_is_damaged(folder):
    path, _ = folder
    weights = path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(ImportFailed, match="damaged"):
        pretrained.load(path)


def test_another_config_does_not_fit(folder):
    path, _ = folder
    config = json.loads((path / "config.json").read_text())
    for change, says in (
        ({"num_filters": 3}, "should be"),
        ({"use_causal_conv": False}, "use_causal_conv"),
        ({"model_type": "bark"}, "bark"),
    ):
        (path / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(ImportFailed, match=says):
            pretrained.load(path)
    (path / "config.json").write_text("{")
    with pytest.raises(ImportFailed, match="config"):
        pretrained.load(path)


def test_a_pickle_is_not_opened(folder):
    path, _ = folder
    (path / "model.safetensors").rename(path / "pytorch_model.bin")
    with pytest.raises(ImportFailed, match="pickle"):
        pretrained.load(path)


def test_an_index_stays_in_its_folder(folder):
    path, _ = folder
    (path / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../a.safetensors"}}')
    with pytest.raises(ImportFailed, match="outside"):
        pretrained.load(path)
