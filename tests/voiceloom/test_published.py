"""Published speech LMs in the engine: streams, company, cuts, and what cannot be asked of them."""

import json
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file, save_file

import voiceloom
from codec import pretrained as codecs
from data.published import ImportFailed
from data.text import FrontEnd
from lm import pretrained
from lm.pretrained import orpheus
from tests.lm.pretrained.reference import TOKENS
from voiceloom import published
from voiceloom.batch import Batch
from voiceloom.conductor import Conductor, Costs
from voiceloom.synthesizer import Synthesizer

HERE = Path(__file__).parents[1]
CSM = HERE / "lm" / "pretrained" / "csm"
SNAC = HERE / "codec" / "pretrained" / "snac"
TEXT = "so it goes on. and on"


@pytest.fixture(scope="module")
def csm():
    return voiceloom.load(CSM, warm=False)


@pytest.fixture(scope="module")
def pair(csm):
    """Two rows' steps, compiled once."""
    return Batch(csm.engine, 2)


def said(synth, how, **asked):
    """Samples, codes and onsets of a stream in chunks of so many frames."""
    chunks = list(synth.stream(TEXT, "3", chunk_frames=how, **asked))
    samples = np.concatenate([chunk.samples for chunk in chunks])
    return samples, np.concatenate([c.codes for c in chunks]), [o for c in chunks for o in c.onsets]


def test_the_same_comes_out_in_any_chunks(csm):
    samples, codes, onsets = said(csm, 8, seed=1)
    others = said(csm, [1, 3, 2], seed=1)
    np.testing.assert_array_equal(others[1], codes)
    np.testing.assert_array_equal(others[0], samples)
    assert len(codes) * csm.engine.frame_samples <= len(samples)
    assert not np.array_equal(said(csm, 8, seed=2)[1][: len(codes)], codes)
    # The guess of where it is ends at the end of each sentence, with all of it said.
    assert [o.span for o in onsets] == sorted(o.span for o in onsets)
    assert onsets[0].span[0] == 0 and onsets[-1].span[1] >= len(TEXT) - 1


def test_the_codes_are_those_of_the_model(csm):
    """What the engine says is what the LM alone writes for the same prompt, key and settings."""
    loaded = pretrained.load(CSM)
    lm = nnx.merge(loaded.graphdef, loaded.params)
    prompt = loaded.config.prompt(loaded.tokenizer, "so it goes on", "3")
    state = lm.init_state(1, jnp.array([1]), 512)
    state = lm.prefill(jnp.asarray(prompt)[None], jnp.array([len(prompt)]), state)
    generate = jax.jit(lm.generate, static_argnums=3)
    _, codes, valid = generate(lm.sampling(1), state, jnp.int32(6), 6)
    chunk = next(csm.stream("so it goes on", "3", seed=1, chunk_frames=6))
    np.testing.assert_array_equal(chunk.codes, np.asarray(codes)[:, 0][np.asarray(valid)[:, 0]])
    codec = codecs.load(CSM)
    decoded, _ = nnx.merge(codec.graphdef, codec.params).decode(jnp.asarray(chunk.codes)[None])
    loudest = np.abs(decoded).max()  # random weights are loud
    np.testing.assert_allclose(chunk.samples, decoded[0], atol=1e-5 * loudest)


def test_babble_is_cut_and_forgotten(csm, monkeypatch):
    monkeypatch.setattr(published, "PATIENCE", 0.0)
    monkeypatch.setattr(csm, "engine", published.Engine(published.load(CSM)))
    limit = int(2.0 / csm.engine.frame_s)
    whole = said(csm, 8)[1]
    assert len(whole) <= 2 * limit
    np.testing.assert_array_equal(said(csm, 3)[1], whole)


def test_a_row_alone_is_the_row_in_company(pair):
    read, engine = FrontEnd("us"), pair.engine
    texts = ("so it goes on", "hello there", "a")

    def codes(voice, text, others):
        mine = pair.open(np.array([voice], np.float32), seed=5)
        rows = [pair.open(np.array([1], np.float32), seed=6) for _ in others]
        for row, words in zip(rows, others, strict=True):
            row.begin(read(words), text=words)
        mine.begin(read(text), text=text)
        made = [pair.frames([mine.row, *(r.row for r in rows)], 5)[0].codes for _ in range(3)]
        for row in (mine, *rows):
            row.close()
        return np.concatenate(made)

    alone = codes(2, texts[0], ())
    np.testing.assert_array_equal(codes(2, texts[0], texts[1:2]), alone)
    assert engine.books == 5 and len(alone)


def test_sentences_are_conducted(csm):
    costs = Costs({1: 0.001, 4: 0.001}, {1: 0.001, 4: 0.001}, 0.005)
    conductor = Conductor(csm, sizes=(1, 4), costs=costs)
    try:
        sessions = [conductor.open(voice, seed=3) for voice in ("3", "4")]
        for session in sessions:
            session.feed(TEXT)
            session.flush()
        heard = [np.concatenate([chunk.codes for chunk in session]) for session in sessions]
        assert all(len(codes) for codes in heard)
        assert sessions[0].interrupt(1e9).text_spoken == TEXT
        with pytest.raises(ValueError, match="look-ahead"):
            conductor.open("3", lookahead=2)
        assert not conductor.sessions
    finally:
        conductor.close()


def test_what_it_cannot_do_is_refused(csm):
    assert csm.voices[:3] == ["0", "1", "2"]
    for asked in ({"rate": 1.2}, {"pitch": 2.0}, {"lookahead": 2}):
        with pytest.raises(ValueError, match="cannot be asked for"):
            csm.stream(TEXT, "0", **asked)
    with pytest.raises(voiceloom.VoiceError, match="voices of its own"):
        csm.voice(voiceloom.Waveform(np.sin(np.arange(48_000) / 20).astype(np.float32), 24_000))


def test_a_codec_of_another_model_is_refused(tmp_path):
    with pytest.raises(ImportFailed, match="give the codec that it belongs to"):
        published.load(CSM, SNAC)


@pytest.fixture
def snac(tmp_path):
    """The tests' SNAC, with as many entries as the tests' Orpheus has."""
    config, tensors = json.loads((SNAC / "config.json").read_text()), {}
    for name, value in load_file(SNAC / "model.safetensors").items():
        tensors[name] = value[: TOKENS["codes"]] if name.endswith("codebook.weight") else value
    save_file(tensors, tmp_path / "model.safetensors")
    config["codebook_size"] = TOKENS["codes"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    return tmp_path


def test_a_codec_that_looks_ahead_says_the_end(monkeypatch, snac):
    """Orpheus' sound comes late, and all of it comes: the stream is the codec's whole decoding."""
    tokens = orpheus.Tokens(**TOKENS)
    folder = HERE / "lm" / "pretrained" / "orpheus"
    read = partial(pretrained.loading.load, tokens=tokens)
    monkeypatch.setattr(published.pretrained, "load", read)
    synth = Synthesizer(published.load(folder, snac))
    chunks = list(synth.stream("so it goes on", "tara", chunk_frames=[1, 4]))
    codes = np.concatenate([chunk.codes for chunk in chunks])
    frames = codes[(codes >= 0).all(axis=1)]
    whole = synth.engine.codec.decode(frames[None])[0]
    stream = np.concatenate([chunk.samples for chunk in chunks])
    assert len(frames) and len(stream) >= len(whole)
    np.testing.assert_allclose(stream[: len(whole)], whole, atol=1e-5)
    assert np.abs(stream[len(whole) :]).max(initial=0.0) < 1e-3


def test_the_weights_are_all_used():
    names = load_file(CSM / "model.safetensors")
    assert any(name.startswith("codec_model.") for name in names)
    assert published.load(CSM).codec.hash == published.load(CSM).lm.hash
