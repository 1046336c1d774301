"""Waveforms survive files and pipes; loudness is steady, safe and blind to chunking."""

import io

import numpy as np
import pytest
import soundfile

from voiceloom import loudness
from voiceloom.waveform import Chunk, Onset, Waveform, wav_header

RATE = 24_000


def tone(seconds=1.0, amplitude=0.3, rate=RATE):
    return (amplitude * np.sin(2 * np.pi * 220 * np.arange(int(seconds * rate)) / rate)).astype("f")


@pytest.mark.parametrize(("suffix", "atol"), [("wav", 2e-4), ("flac", 2e-4), ("ogg", 0.05)])
def test_a_saved_waveform_loads_again(tmp_path, suffix, atol):
    path = tmp_path / f"a.{suffix}"
    Waveform(tone(), RATE).save(path)
    again = Waveform.load(path, RATE)
    assert again.sample_rate == RATE and abs(again.duration_s - 1) < 1e-3
    np.testing.assert_allclose(again.samples, tone(), atol=atol)


def test_overload_is_clipped_in_files_and_never_wraps_round(tmp_path):
    loud = Waveform(tone(amplitude=1.5), RATE)
    loud.save(tmp_path / "loud.wav")
    np.testing.assert_allclose(
        Waveform.load(tmp_path / "loud.wav", RATE).samples, np.clip(loud.samples, -1, 1), atol=1e-3
    )
    assert np.abs(np.frombuffer(loud.pcm16(), "<i2").astype(int)).max() == 32767


def test_a_header_and_pcm_make_a_readable_wav():
    wave = Waveform(tone(0.1), RATE)
    samples, rate = soundfile.read(io.BytesIO(wav_header(RATE) + wave.pcm16()), dtype="float32")
    assert rate == RATE
    np.testing.assert_allclose(samples, wave.samples, atol=1e-4)


def test_stereo_is_refused():
    with pytest.raises((ValueError, TypeError)):  # TypeError where the tests check signatures
        Waveform(np.zeros((2, 5)), RATE)


def test_joined_chunks_keep_audio_text_and_codes():
    onset = lambda span, t: Onset("a", 1, 0, span, t)  # noqa: E731
    first = Chunk(np.ones(4), RATE, 0.0, (onset((3, 5), 0.0),), np.ones((1, 2), np.int32))
    second = Chunk(np.zeros(8), RATE, 4 / RATE, (onset((5, 9), 0.1),), np.zeros((2, 2), np.int32))
    whole = Chunk.join([first, second])
    assert whole.samples.tolist() == [1] * 4 + [0] * 8
    assert whole.text_span == (3, 9) and len(whole.onsets) == 2 and whole.codes.shape == (3, 2)
    assert Chunk(np.zeros(4), RATE).text_span is None


def test_loudness_keeps_the_streaming_contract():
    block = round(loudness.BLOCK_S * RATE)
    x = np.random.default_rng(0).normal(size=(2, 24 * block)).astype("f") * [[0.5], [0.02]]

    def apply(_, samples, state):
        return loudness.level(np.asarray(samples, "f"), RATE, state)

    whole, _ = apply(None, x, None)
    parts, state = [], None
    for part in np.split(x, np.array([1, 2, 5, 13]) * block, axis=1):
        y, state = apply(None, part, state)
        parts.append(y)
    assert np.array_equal(np.concatenate(parts, axis=1), whole)
    assert np.array_equal(apply(None, x[:1], None)[0], whole[:1])


@pytest.mark.parametrize("amplitude", [0.08, 0.2, 3.0])
def test_quiet_and_loud_speech_end_at_one_level_below_full_scale(amplitude):
    y, _ = loudness.level(tone(8.0, amplitude)[None], RATE)
    assert np.abs(y).max() < 1
    if amplitude < 1:  # 3.0 is beyond the 6 dB of gain there are, but must not clip
        level_db = 10 * np.log10(np.mean(y[0, -RATE:] ** 2))
        assert abs(level_db - loudness.TARGET_DB) < 0.5


def test_pauses_do_not_raise_the_gain():
    speech, hush = tone(2.0, amplitude=0.1414), tone(3.0, 1e-3)  # at the target level: gain 1
    y, _ = loudness.level(np.concatenate([speech, hush, speech])[None], RATE)
    np.testing.assert_allclose(y[0, 5 * RATE :], speech, atol=1e-3)
