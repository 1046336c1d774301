"""Published codecs: the references' own answers, streams that equal the whole, wrong files."""

import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file, save_file

from codec import pretrained
from codec.pretrained import ImportFailed, snac
from codec.pretrained.snac import gaussian
from tests.codec.pretrained.reference import breath, noise

HERE = Path(__file__).parent / "pretrained"
CODECS = ("mimi", "encodec", "dac", "snac", "snac_windows")


class Loaded:
    """A codec, jitted, and the answers of its reference."""

    def __init__(self, name):
        model = pretrained.load(HERE / name)
        self.codec = nnx.merge(model.graphdef, model.params)
        self.cfg, self.answers = model.config, np.load(HERE / name / "answers.npz")
        found = [key.split("_") for key in self.answers.files]
        self.lengths = [int(length) for kind, length in found if kind == "codes"]
        self._graphdef, self._params = model.graphdef, model.params

    def encode(self, samples, state=None):
        return self._run("encode", samples, state)

    def decode(self, codes, state=None):
        return self._run("decode", codes, state)

    def _run(self, name, x, state):
        def run(params, x, state):
            return getattr(nnx.merge(self._graphdef, params), name)(x, state)

        fast = {"xla_backend_optimization_level": 0}  # compiling is what takes time here
        return jax.jit(run, compiler_options=fast)(self._params, x, state)


@pytest.fixture(scope="module", params=CODECS)
def loaded(request):
    """With the noise that its reference was given."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snac, "gaussian", lambda level, at: breath(at).astype(jnp.float32))
        yield Loaded(request.param)


def test_codes_and_samples_are_those_of_the_reference(loaded):
    for length in loaded.lengths:
        wanted, sound = (loaded.answers[f"{kind}_{length}"] for kind in ("codes", "decoded"))
        codes, _ = loaded.encode(noise(length))
        np.testing.assert_array_equal(codes, wanted)
        samples, _ = loaded.decode(wanted.astype(np.int32))
        assert samples.shape[1] == wanted.shape[1] * loaded.cfg.frame_samples
        assert np.abs(sound).max() > 0.01 and not samples[:, sound.shape[1] :].any()  # DAC's end
        np.testing.assert_allclose(samples[:, : sound.shape[1]], sound, atol=1e-5, rtol=1e-5)


def test_a_stream_is_the_whole_later(loaded):
    cfg = loaded.cfg
    length, first, size = max(loaded.lengths), cfg.first_frames, cfg.frame_samples
    codes, _ = loaded.encode(noise(length))
    samples, _ = loaded.decode(codes)
    flush = cfg.flush_frames if cfg.lag_frames else 0
    hear = np.pad(noise(length), ((0, 0), (0, cfg.lag_frames * size)), constant_values=np.nan)
    say = np.pad(codes, ((0, 0), (0, flush), (0, 0)), constant_values=-1)
    for step, state, x, unit, wanted, late in (
        (loaded.encode, loaded.codec.init_encoder_state(1), hear, size, codes, cfg.lag_frames),
        (loaded.decode, loaded.codec.init_decoder_state(1), say, 1, samples, cfg.delay_samples),
    ):
        again = x.shape[1] // unit * (wanted.shape[1] // codes.shape[1])  # after nothing, anew
        if late:
            x = np.concatenate([x, x], axis=1)
        parts = []
        for block in np.split(x, [first * unit, (first + 1) * unit], axis=1):
            part, state = step(block, state)
            parts.append(part)
        stream = np.concatenate(parts, axis=1)
        assert (stream[:, :late] == (-1 if unit > 1 else 0)).all()
        for begin in (late, again + late) if late else (0,):
            streamed = stream[:, begin : begin + wanted.shape[1]]
            np.testing.assert_allclose(streamed, wanted, atol=1e-5, rtol=1e-5)


def test_fewer_books_are_the_first_books(loaded):
    cfg = loaded.cfg
    codes, _ = loaded.encode(noise(min(loaded.lengths)))
    assert codes.shape[-1] == len(cfg.sizes)
    assert np.isfinite(loaded.decode(codes[..., :2])[0]).all()
    assert cfg.nominal_kbps(2) == pytest.approx(2 * np.log2(cfg.sizes[0]) * cfg.frame_rate / 1000)


def test_noise_belongs_to_its_place():
    places = jnp.arange(5000)[None]
    drawn = gaussian(0, places)
    np.testing.assert_array_equal(gaussian(0, places[:, 1000:2000]), drawn[:, 1000:2000])
    assert abs(drawn.mean()) < 0.05 and abs(drawn.std() - 1) < 0.05
    assert abs(np.corrcoef(drawn, gaussian(1, places))[0, 1]) < 0.05


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
    told = json.loads((HERE / "snac" / "config.json").read_text())
    for change in ({"depthwise": False}, {"decoder_rates": [2, 3]}, {"vq_strides": [3, 2, 1]}):
        (path / "config.json").write_text(json.dumps(told | change))
        with pytest.raises(ImportFailed, match=next(iter(change))):
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
