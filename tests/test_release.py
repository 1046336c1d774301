"""The weights in the repository: small, bound to each other, and as the README shows them."""

import json
import re
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx

import voiceloom
from voiceloom import weights

ROOT = Path(__file__).parents[1]
TEXT = "Your order has shipped, and it should arrive on Thursday. Shall I read the address?"


@pytest.fixture(scope="module")
def synth():
    return voiceloom.load(warm=False)


def test_codec_and_lm_are_one_release_under_40_mb():
    files = [weights.DEFAULT / f"{name}.safetensors" for name in ("codec", "lm", "voices")]
    files += weights.DEFAULT.glob("entropy.safetensors")
    assert sum(file.stat().st_size for file in files) < 40e6
    bound = json.loads((weights.DEFAULT / "lm.json").read_text())
    assert weights.load_codec().codes_hash in bound.values()
    card = (weights.DEFAULT / "README.md").read_text()
    assert all(word in card for word in ("Kokoro-82M", "CC-BY-SA", "Apache-2.0", "word errors"))


def test_the_readme_runs_as_it_is_shown(synth, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(voiceloom, "load", lambda: synth)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    made: dict = {}
    for shown in blocks:
        exec(compile(shown, "README.md", "exec"), made)
    hello = voiceloom.Waveform.load("hello.wav")
    assert 1.0 < hello.duration_s < 5.0
    assert np.sqrt(np.mean(hello.samples**2)) > 0.01
    assert capsys.readouterr().out.count("s ready to play") >= 3
    assert made["codes"].shape == (2, 13, 8) and made["again"].shape[1] >= 24_000
    assert made["frame"].shape == (2, 1920)


@pytest.mark.parametrize("frames", [1, 2, 4, [1, 5, 2, 8]], ids=str)
def test_streamed_is_whole_bit_for_bit(synth, frames):
    whole = synth.say(TEXT, "bm_george", seed=3)
    streamed = voiceloom.Chunk.join(
        list(synth.stream(TEXT, "bm_george", seed=3, chunk_frames=frames))
    )
    np.testing.assert_array_equal(streamed.codes, whole.codes)
    np.testing.assert_array_equal(streamed.samples, whole.samples)


def test_a_recording_is_heard_and_gone_on_from(synth):
    voice = synth.voice(ROOT / "samples" / "01.mp3")
    assert len(voice.prompt.symbol) > 15 and len(voice.prompt.codes) > 20
    assert 1.0 < synth.say("The boat left early.", voice).duration_s < 3.0


def test_the_codec_steps_as_it_runs_whole(synth):
    loaded = weights.load_codec()
    codec = nnx.merge(loaded.graphdef, loaded.params)
    speech = synth.say("One, two, three.", "af_heart").samples
    frames = len(speech) // codec.cfg.frame_samples
    speech = speech[None, : frames * codec.cfg.frame_samples]
    codes, _ = jax.jit(codec.encode)(speech)
    stepped = synth.engine.codec.encoder().push(speech)
    assert (stepped == np.asarray(codes)).mean() > 0.999  # last bits may tip a lookup
    codes = codes[..., : synth.engine.books]
    decoded, _ = jax.jit(codec.decode)(codes)
    by_frames = synth.engine.codec.decoder().push(np.asarray(codes))
    assert np.abs(np.asarray(decoded) - by_frames).max() < 1e-5
