"""Tokenising: the frozen codec's codes, labels along, further speakers by speed."""

import functools

import jax
import numpy as np
import pytest
from flax import nnx

from codec import Codec, Config
from data.records import Reader, Writer, read_meta, to_int16
from experiments.tokenise import at_speed, at_tempo, elsewhere, tokenise
from voiceloom import weights

CFG = Config(
    books=3, entries=16, width=16, frame_width=16, encoder_blocks=1, decoder_blocks=1, expansion=2
)


@pytest.fixture
def folders(tmp_path):
    """A codec with random weights, and records of two splits with labels."""
    params = nnx.to_pure_dict(nnx.state(Codec(CFG, rngs=nnx.Rngs(0)), nnx.Param))
    weights.save_codec(tmp_path / "codec", CFG, params, {})
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        with Writer(tmp_path / "records", split) as writer:
            writer.write(
                dict(
                    id="a", speaker="made", language="en", accent="us", text="Ah.", split=split,
                    samples=to_int16(0.1 * rng.normal(size=30_000)), bandwidth_hz=8000.0,
                    symbol=np.array([5, 9], np.int32), stress=np.array([1, 0], np.int32),
                    word=np.array([0, 0], np.int32),
                    bounds_s=np.array([0.03, 0.9, 1.2], np.float32),
                )
            )  # fmt: skip
    return tmp_path


def test_codes_are_those_of_the_released_codec(folders):
    tokenise(folders / "records", folders / "codes", folders / "codec")
    record, source = Reader(folders / "codes", "test")[0], Reader(folders / "records", "test")[0]
    frames = -(-(30_000 + CFG.delay_samples) // CFG.frame_samples)
    assert record["codes"].shape == (frames, CFG.books) and record["codes"].dtype == np.uint16
    model = weights.load_codec(folders / "codec")
    samples = np.zeros((1, frames * CFG.frame_samples), np.float32)
    samples[0, :30_000] = source["samples"] / 32767
    codes = jax.jit(lambda p, x: nnx.merge(model.graphdef, p).encode(x)[0])(model.params, samples)
    assert (np.asarray(codes[0]) == record["codes"]).mean() > 0.98  # other padding: near-ties
    for name in ("symbol", "stress", "word", "bounds_s"):
        np.testing.assert_array_equal(record[name], source[name])
    assert record["hz"].shape == record["level_db"].shape == (frames,)
    assert np.median(record["level_db"][:15]) == pytest.approx(-20, abs=1)  # noise of 0.1
    facts = read_meta(folders / "codes")["splits"]["test"]
    assert facts["codec_hash"] == model.hash and facts["frame_rate"] == CFG.frame_rate


def test_a_faster_clip_is_another_speaker_with_earlier_labels(folders):
    faster = functools.partial(at_speed, speed=1.25)
    tokenise(folders / "records", folders / "fast", folders / "codec", faster)
    assert list(read_meta(folders / "fast")["splits"]) == ["train"]
    record = Reader(folders / "fast", "train")[0]
    np.testing.assert_allclose(record["bounds_s"], np.array([0.03, 0.9, 1.2]) / 1.25, rtol=1e-6)
    assert record["speaker"] == "made@1.25"
    frames = -(-(24_000 + CFG.delay_samples) // CFG.frame_samples)
    assert len(record["codes"]) == frames


def test_speed_moves_the_pitch():
    tone = np.sin(2 * np.pi * 200 * np.arange(24_000) / 24_000).astype(np.float32)
    fast = at_speed(dict(id="t", speaker="s", samples=tone, bandwidth_hz=8000.0), 1.2)["samples"]
    hz = np.fft.rfft(fast * np.hanning(len(fast)))
    assert abs(np.argmax(np.abs(hz)) * 24_000 / len(fast) - 240) < 3


def test_tempo_leaves_the_pitch():
    t = np.arange(24_000) / 24_000
    tone = sum(np.sin(2 * np.pi * 150 * k * t) / k for k in range(1, 9)).astype(np.float32) / 4
    record = dict(id="t", speaker="s", samples=tone, bandwidth_hz=8e3, bounds_s=np.ones(2, "f"))
    fast = at_tempo(record, 1.25)
    assert len(fast["samples"]) == 19_200 and fast["speaker"] == "s@tempo_1.25"
    np.testing.assert_allclose(fast["bounds_s"], 0.8)
    hz = np.abs(np.fft.rfft(fast["samples"] * np.hanning(19_200)))
    assert abs(np.argmax(hz) * 24_000 / 19_200 - 150) < 4


def test_a_speaker_is_elsewhere_with_all_of_his_clips():
    click = np.zeros(24_000, np.float32)
    click[12_000] = 0.5
    record = dict(id="t", speaker="s", samples=click, bandwidth_hz=8000.0, bounds_s=np.ones(2, "f"))
    one, other = (elsewhere(record | {"id": name}, 1) for name in "ab")
    np.testing.assert_array_equal(one["samples"], other["samples"])
    assert one["speaker"] == other["speaker"] != elsewhere(record, 2)["speaker"]
    assert np.abs(elsewhere(record, 2)["samples"][:20_000] - one["samples"][:20_000]).max() > 0.05
    # In step: the click is where the labels, as long as the clip is now, say it is.
    assert abs(np.argmax(np.abs(one["samples"])) - 12_000 * one["bounds_s"][0]) < 30
    assert np.sqrt(np.mean(one["samples"] ** 2)) == pytest.approx(0.5 / 24_000**0.5, rel=0.3)
