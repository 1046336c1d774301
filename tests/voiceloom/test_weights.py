"""A release loads as it was written, and nothing that does not fit together loads at all."""

import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import numpy as safetensors

from tests.voiceloom.tiny import CODEC, LM, codec_params, write_release
from voiceloom import weights
from voiceloom.prompt import Prompt
from voiceloom.voice import Voice
from voiceloom.weights import WeightsError


@pytest.fixture
def folder(release, tmp_path):
    """A copy of the release to damage."""
    return shutil.copytree(release, tmp_path / "weights")


def edit_json(path, **fields):
    about = json.loads(path.read_text()) | fields
    path.write_text(json.dumps(about))


def rewrite(folder, name, change):
    """Changes the tensors of a file, and makes its JSON agree."""
    path = folder / f"{name}.safetensors"
    tensors = safetensors.load_file(path)
    change(tensors)
    safetensors.save_file(tensors, path)
    edit_json(path.with_suffix(".json"), sha256=weights.file_hash(path))


def test_a_release_loads_as_written_in_bfloat16(release):
    loaded = weights.load(release)
    assert loaded.codec.config == CODEC and loaded.lm.config == LM
    written = codec_params(CODEC)
    assert jax.tree.structure(written) == jax.tree.structure(loaded.codec.params)
    for a, b in zip(jax.tree.leaves(written), jax.tree.leaves(loaded.codec.params), strict=True):
        assert b.dtype == jnp.float32
        assert np.array_equal(a.astype(jnp.bfloat16).astype(jnp.float32), b)
    assert {name: voice.accent for name, voice in loaded.voices.items()} == {
        "anna": "us",
        "bert": "gb",
    }
    assert loaded.lm.hash == weights.file_hash(release / "lm.safetensors")


@pytest.mark.parametrize("name", ["codec.safetensors", "codec.json", "lm.safetensors", "lm.json"])
def test_a_missing_file_says_how_to_get_it(folder, name):
    (folder / name).unlink()
    with pytest.raises(WeightsError, match=rf"no {name}.*train"):
        weights.load(folder)


def test_an_empty_folder_says_how_to_get_weights(tmp_path):
    with pytest.raises(WeightsError, match="train your own"):
        weights.load(tmp_path)


@pytest.mark.parametrize("name", ["codec", "lm"])
def test_a_truncated_file(folder, name):
    path = folder / f"{name}.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="truncated"):
        weights.load(folder)
    edit_json(path.with_suffix(".json"), sha256=weights.file_hash(path))
    with pytest.raises(WeightsError, match="unreadable"):
        weights.load(folder)


def test_a_codec_of_another_hash(folder, tmp_path):
    other = write_release(tmp_path / "other", dataclasses.replace(CODEC, kernel=5))
    for name in ("codec.safetensors", "codec.json"):
        shutil.copy(other / name, folder / name)
    with pytest.raises(WeightsError, match="another codec"):
        weights.load(folder)


def test_missing_unused_and_wrong_shaped_tensors(folder):
    name = next(iter(safetensors.load_file(folder / "codec.safetensors")))
    copy = folder.parent / "copy"
    for change, cause in (
        (lambda t: t.pop(name), "missing"),
        (lambda t: t.update(stray=np.zeros(3, np.float32)), "unused"),
        (lambda t: t.update({name: np.zeros((1, 2, 3), np.float32)}), "another shape"),
    ):
        shutil.copytree(folder, copy)
        rewrite(copy, "codec", change)
        with pytest.raises(WeightsError, match=cause):
            weights.load(copy)
        shutil.rmtree(copy)


def test_configs_that_do_not_fit(folder, tmp_path):
    codes_hash = weights.load_codec(folder).codes_hash
    for cause, changed in (("frame rate", {"frame_rate": 25.0}), ("symbols", {"symbols": 5})):
        copy, cfg = shutil.copytree(folder, tmp_path / cause), dataclasses.replace(CODEC, **changed)
        weights.save_codec(copy, cfg, codec_params(cfg), {}, codes_hash)
        with pytest.raises(WeightsError, match=cause):
            weights.load(copy)
    with pytest.raises(WeightsError, match="books"):
        weights.load(write_release(tmp_path / "b", lm_cfg=dataclasses.replace(LM, books=5)))
    faster = dataclasses.replace(LM, advance=7)  # than a codec that listens has slots for
    weights._check_pair(folder, dataclasses.replace(CODEC, symbols=0), faster)
    with pytest.raises(WeightsError, match="symbols of a frame: codec 4, LM 8"):
        weights._check_pair(folder, CODEC, faster)
    fields = json.loads((folder / "lm.json").read_text())["config"]
    edit_json(folder / "lm.json", config=fields | {"colour": "blue"})
    with pytest.raises(WeightsError, match="does not take that config"):
        weights.load(folder)


def test_damaged_json_and_other_formats(folder):
    edit_json(folder / "lm.json", format=99)
    with pytest.raises(WeightsError, match="format 99"):
        weights.load(folder)
    (folder / "lm.json").write_text("{")
    with pytest.raises(WeightsError, match="damaged"):
        weights.load(folder)


def test_voices_come_back_with_what_they_have_said(folder):
    lm_hash = weights.load(folder).lm.hash
    rng = np.random.default_rng(0)
    prompt = Prompt(
        *(rng.integers(0, 3, (5, 3)[: 1 + (n == "codes")], "i4") for n in Prompt._fields)
    )
    said = Voice("anna", rng.normal(size=LM.voice_width).astype("f"), "gb", lm_hash, prompt)
    weights.save_voices(
        folder, [said, said.renamed("b"), Voice("c", said.vector, "us", lm_hash)], lm_hash
    )
    again = weights.load(folder).voices
    assert list(again) == ["anna", "b", "c"] and again["b"].accent == "gb"
    np.testing.assert_array_equal(again["anna"].vector, said.vector)
    for kept, had in zip(again["b"].prompt, prompt, strict=True):
        np.testing.assert_array_equal(kept, had)
    assert again["c"].prompt is None


def test_voices_are_bound_to_their_language_model(folder, release):
    voices = list(weights.load(release).voices.values())
    weights.save_voices(folder, voices, "0" * 64)
    with pytest.raises(WeightsError, match="another language model"):
        weights.load(folder)
    (folder / "voices.safetensors").write_bytes(b"no voices")
    with pytest.raises(WeightsError, match="damaged"):
        weights.load(folder)
    (folder / "voices.safetensors").unlink()
    assert weights.load(folder).voices == {}
