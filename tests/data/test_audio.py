import itertools

import numpy as np
import pytest
import soundfile

from data import audio

RATE = 24_000


def tone(seconds: float, hertz: float = 440.0, rate: int = RATE, gain: float = 0.3) -> np.ndarray:
    return (gain * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype("f4")


def loudest_hertz(samples: np.ndarray) -> float:
    return np.argmax(np.abs(np.fft.rfft(samples))) * RATE / len(samples)


@pytest.mark.parametrize(
    "rate, bandwidth_hz", [(16_000, 8_000), (24_000, 12_000), (44_100, 12_000)]
)
@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg"])
def test_load_keeps_pitch_and_length_at_any_rate(tmp_path, rate, bandwidth_hz, suffix):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, tone(0.5, rate=rate), rate)
    result = audio.load(path)
    assert (result.sample_rate, result.bandwidth_hz) == (RATE, bandwidth_hz)
    assert result.samples.dtype == np.float32
    assert abs(len(result.samples) - RATE // 2) <= 1
    assert loudest_hertz(result.samples) == pytest.approx(440, abs=3)
    assert np.abs(result.samples).max() == pytest.approx(0.3, abs=0.03)


def test_load_mixes_channels(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.stack([tone(0.2), np.zeros(4_800, "f4")], 1), RATE)
    np.testing.assert_allclose(audio.load(tmp_path / "a.wav").samples, tone(0.2) / 2, atol=1e-4)


def test_load_goes_to_librosa_for_what_soundfile_refuses(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "a.wav", tone(0.2), RATE)

    def refuse(*_):
        raise soundfile.LibsndfileError(1)

    monkeypatch.setattr(audio.soundfile, "SoundFile", refuse)
    monkeypatch.setattr("librosa.load", lambda path, sr, mono: (tone(0.2, rate=16_000), 16_000))
    assert audio.load(tmp_path / "a.wav").bandwidth_hz == 8_000


def broken_files(folder):
    """Every useless file, by the word its error must say."""
    soundfile.write(folder / "no-samples.wav", np.zeros(0, "f4"), RATE)
    nan = tone(0.2)
    nan[100] = np.nan
    soundfile.write(folder / "nan.wav", nan, RATE, subtype="FLOAT")
    soundfile.write(folder / "silent.wav", np.zeros(RATE, "f4"), RATE)
    soundfile.write(folder / "long.wav", tone(2), RATE)
    (folder / "zero.wav").touch()
    (folder / "noise.wav").write_bytes(bytes(range(256)) * 20)
    return {
        "no-samples.wav": "no samples",
        "nan.wav": "NaN",
        "silent.wav": "silent",
        "long.wav": "too long",
        "zero.wav": "0 bytes",
        "noise.wav": "unreadable",
        "absent.wav": "no such file",
    }


@pytest.mark.filterwarnings("ignore")  # librosa says that audioread is old
def test_load_names_the_file_and_the_cause(tmp_path):
    for name, cause in broken_files(tmp_path).items():
        with pytest.raises(audio.AudioError, match=f"{name}.*{cause}"):
            audio.load(tmp_path / name, max_s=1.0)


def test_trim_keeps_the_asked_silence_only():
    noise = 1e-4 * np.random.default_rng(0).standard_normal(RATE).astype("f4")
    samples = np.concatenate([noise, tone(1.0), noise])
    start, stop = audio.trim(samples, RATE)
    assert start / RATE == pytest.approx(0.97, abs=0.006)
    assert stop / RATE == pytest.approx(2.2, abs=0.006)


def test_trim_leaves_a_clip_without_silence_alone():
    assert audio.trim(tone(0.3), RATE) == (0, 7_200)
    assert audio.trim(tone(0.01), RATE) == (0, 240)  # shorter than a frame


def test_sounding_finds_a_pause_and_ignores_loudness():
    pause = np.zeros(RATE // 2, "f4")
    samples = np.concatenate([tone(0.5), pause, tone(0.25)])
    for gain in (1.0, 0.01):
        spans = np.array(audio.sounding(gain * samples, RATE)) / RATE
        np.testing.assert_allclose(spans, [[0, 0.5], [1.0, 1.25]], atol=0.006)


def test_cuts_are_in_silence_and_no_piece_is_too_long():
    words = [np.concatenate([tone(0.8), np.zeros(round(gap * RATE), "f4")]) for gap in GAPS]
    samples = np.concatenate(words)
    pieces = audio.cuts(samples, RATE, 3.0)
    assert pieces[0].start == 0 and pieces[-1].stop == len(samples)
    assert all(a.stop == b.start for a, b in itertools.pairwise(pieces))
    assert max(piece.stop - piece.start for piece in pieces) <= 3.0 * RATE
    assert all(samples[piece.stop - 1] == 0 for piece in pieces)
    # First in the longest silence of the middle half, not in the longest of all.
    assert any(piece.stop / RATE == pytest.approx(4.1, abs=0.01) for piece in pieces)


def test_cuts_leave_what_has_no_silence():
    assert audio.cuts(tone(5.0), RATE, 3.0) == [(0, 5 * RATE)]


GAPS = 0.6, 0.1, 0.1, 0.2, 0.1, 0.1, 0.1, 0.1  # seconds after every word
