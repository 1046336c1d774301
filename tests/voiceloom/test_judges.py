"""The judges' own arithmetic, and their models where those are at hand."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.signal

from voiceloom import judges

RATE = 16_000
ROOT = Path(__file__).parents[2]
MODELS = ROOT / "runs" / "judges"
WHISPER = MODELS / "whisper-tiny.en"
ENCODER = MODELS / "resemblyzer" / "pretrained.pt"


def hum(f0_hz: float, seconds: float = 1.0, rate: int = RATE, seed: int = 0) -> np.ndarray:
    """Returns a voiced sound [S]: harmonics under two formants, with a little noise."""
    time = np.arange(int(seconds * rate)) / rate
    sound = sum(
        np.sin(2 * np.pi * k * f0_hz * time) / (1 + abs(k * f0_hz - 600) / 200)
        for k in range(1, int(4000 / f0_hz))
    )
    sound += 0.01 * np.random.default_rng(seed).standard_normal(len(time))
    return (0.3 * sound / np.abs(sound).max()).astype(np.float32)


def babble(seconds: float, seed: int = 0) -> np.ndarray:
    """Returns noise in syllables [S]: it has no period, so that a lag is unmistakable."""
    noise = np.random.default_rng(seed).standard_normal(int(seconds * RATE))
    envelope = np.abs(np.sin(2 * np.pi * 2 * np.arange(len(noise)) / RATE))
    return (0.1 * noise * envelope).astype(np.float32)


# ---- words


@pytest.mark.parametrize(
    "reference, hypothesis",
    [
        ("Your table, for six!", "your table for six"),
        ("It costs twelve dollars and fifty cents.", "It costs $12.50."),
        ("The train leaves at three forty five.", "The train leaves at 3:45"),
        ("At six thirty p.m.", "At 630 p.m."),
        ("One hundred and eighty degrees", "180 degrees"),
        ("In eighteen fourteen, said it was more.", "in 1814 said it was more"),
        ("The next fifteen hundred years", "the next 1,500 years"),
        ("A debt of one thousand five hundred pounds", "a debt of 1500 pounds"),
        ("Zero zero seven, over and out", "007, over and out."),
        ("On eighteenth March, eighteen forty-two", "On 18th March 1842"),
        ("B, R, A, U, N.", "B-R-A-U-N"),
        ("Spell it: B, R, A, U, N.", "spell it: BRAUN"),
        ("If you are lost, do not call.", "If you're lost, don't call."),
        ("A grey theatre with a favourite colour", "a gray theater with a favorite color"),
        ("She sells sea shells", "she sells seashells"),
        ("a chapel-yard ward", "a chapelyard ward"),
    ],
)
def test_another_spelling_of_the_same_words_is_no_error(reference, hypothesis):
    assert judges.word_errors(reference, hypothesis).errors == 0
    assert judges.word_errors(hypothesis, reference).errors == 0


@pytest.mark.parametrize(
    "reference, hypothesis, errors, words",
    [
        ("the cat sat", "the cat sat", 0, 3),
        ("the cat sat", "the hat sat", 1, 3),
        ("the cat sat", "cat sat", 1, 3),
        ("the cat sat", "the the cat sat", 1, 3),
        ("the cat sat", "", 3, 3),
        ("", "hello there", 2, 0),
        ("Did you say fifteen, or fifty?", "Did you say 50 or 15?", 2, 6),
        ("for our hour", "four our hour", 1, 3),
        ("a b c", "a b d", 1, 1),
    ],
)
def test_word_errors_count_edits(reference, hypothesis, errors, words):
    assert judges.word_errors(reference, hypothesis) == (errors, words)


@pytest.mark.parametrize(
    "said, heard, recording, failed",
    [
        ("one two three four five", "one two three four five", None, False),
        ("one two three four five", "one two fish fowl five", None, False),
        ("one two three four five", "one two", None, True),  # a skip
        ("we all go home now", "we all go home now go home now", None, True),  # a repeat
        ("we all go home now", "we all go go home now", None, False),
        ("one two three four five", "one too fee for five", "one too fee four five", False),
        ("one two three four five", "one two", "one two", False),
        ("sea shells on the shore", "seashells on the shore", None, False),
        ("no", "", None, False),
    ],
)
def test_three_wrong_words_in_a_row_are_a_failure(said, heard, recording, failed):
    assert judges.failed(said, heard, recording) == failed


# ---- intervals


def test_bootstrap_of_a_ratio_is_exact_where_clips_agree():
    assert judges.bootstrap([1, 2, 3], [10, 20, 30]) == pytest.approx((0.1, 0.1, 0.1))


def test_bootstrap_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        words = rng.integers(4, 20, 60)
        interval = judges.bootstrap(rng.binomial(words, 0.2), words, resamples=400)
        assert interval.low <= interval.mean <= interval.high
        hits += interval.low <= 0.2 <= interval.high
    assert 0.88 <= hits / 200 <= 0.99


def test_bootstrap_repeats_itself_and_refuses_nothing():
    values = np.random.default_rng(1).normal(size=30)
    assert judges.bootstrap(values) == judges.bootstrap(values)
    with pytest.raises(ValueError, match="at least one clip"):
        judges.bootstrap([])
    with pytest.raises(ValueError, match="positive weight"):
        judges.bootstrap([1.0], [0])


# ---- alignment and fidelity


@pytest.mark.parametrize("delay", [0, 320, 1999, -700])
def test_align_finds_the_lag(delay):
    original = babble(2.0)
    copy = np.roll(np.pad(original, 4000), delay)[4000 : 4000 + len(original) - max(-delay, 0)]
    pair = judges.align(original, 0.5 * copy, RATE)
    assert pair.delay_s == delay / RATE
    assert len(pair.reference) == len(pair.degraded) >= len(original) - abs(delay)
    np.testing.assert_allclose(pair.degraded, 0.5 * pair.reference, atol=1e-7)


def test_align_finds_a_copy_that_kept_no_phase():
    original = babble(2.0)
    phase = np.random.default_rng(1).uniform(0, 2 * np.pi, 513)
    spectrum = scipy.signal.stft(original, nperseg=1024)[2]
    copy = scipy.signal.istft(spectrum * np.exp(1j * phase)[:, None], nperseg=1024)[1]
    pair = judges.align(original, np.pad(copy, (800, 0)), RATE)
    assert pair.delay_s == pytest.approx(800 / RATE, abs=0.02)


def test_fidelity_ignores_delay_and_hears_noise():
    pytest.importorskip("pesq")
    pytest.importorskip("pystoi")
    original = hum(140, 3.0) * np.repeat(np.tile([1.0, 0.1], 15), RATE // 10).astype(np.float32)
    late = np.pad(original, (800, 0))
    noisy = original + 0.1 * np.random.default_rng(0).standard_normal(len(original))
    for score in (judges.pesq_wb, judges.estoi):
        of = lambda copy, score=score: score(judges.align(original, copy, RATE))  # noqa: E731
        assert of(late) == pytest.approx(of(original), rel=0.02)
        assert of(noisy) < 0.8 * of(late)


@pytest.mark.parametrize("f0_hz, rate", [(95.0, 16_000), (210.0, 24_000)])
def test_pitch_is_found_where_there_is_some(f0_hz, rate):
    sound = np.concatenate([np.zeros(rate // 2, np.float32), hum(f0_hz, 1.0, rate)])
    track = judges.pitch(sound, rate)
    inside = (track.times_s > 0.6) & (track.times_s < 1.4)
    assert track.voiced[inside].mean() > 0.9
    assert np.median(track.hz[track.voiced]) == pytest.approx(f0_hz, rel=0.02)
    assert not track.voiced[track.times_s < 0.4].any()
    assert (track.hz[~track.voiced] == 0).all()


# ---- models


def test_a_missing_model_names_the_command_that_fetches_it(tmp_path):
    """As a user meets it: a process of its own, its message and its exit code."""
    command = [sys.executable, "-m", "voiceloom.evaluate", "--systems", "recording"]
    command += ["--asr", str(tmp_path / "nowhere"), "--out", str(tmp_path / "table")]
    done = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"COLUMNS": "200"}
    )
    assert done.returncode != 0
    assert f"No Whisper model at {tmp_path / 'nowhere'}" in done.stderr
    assert "python -m experiments.get_judges" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_missing_encoder_names_the_command_that_fetches_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="pretrained.pt not found.*get_judges"):
        judges.SpeakerEncoder(tmp_path / "pretrained.pt")


def test_a_missing_package_names_the_extra(tmp_path, monkeypatch):
    for name in ("model.bin", "config.json", "tokenizer.json"):
        (tmp_path / name).touch()
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    with pytest.raises(ImportError, match=r"faster_whisper.*pip install -e '\.\[evaluate\]'"):
        judges.Transcriber(tmp_path)


def test_a_torch_file_that_would_run_code_is_refused(tmp_path):
    path = tmp_path / "bad.pt"
    with path.open("wb") as stream:
        for header in (1, 2, 3, os.getcwd):
            pickle.dump(header, stream)
    with pytest.raises(pickle.UnpicklingError, match="getcwd"):
        judges.read_torch(path)


@pytest.mark.skipif(not ENCODER.exists(), reason="python -m experiments.get_judges")
def test_the_encoder_knows_a_voice_again():
    encoder = judges.SpeakerEncoder(ENCODER)
    low, again, high = (
        encoder.embed(hum(f0, 2.0, rate, seed), rate)
        for f0, rate, seed in ((100, RATE, 0), (100, 24_000, 1), (260, RATE, 2))
    )
    assert np.linalg.norm(low) == pytest.approx(1, abs=1e-5)
    assert low @ again > 0.95 > low @ high + 0.1
    loud = encoder.embed(3 * hum(100, 2.0), RATE)
    assert low @ loud > 0.999


@pytest.mark.skipif(not WHISPER.exists(), reason="python -m experiments.get_judges")
def test_transcripts_are_cached_by_what_was_heard(tmp_path):
    pytest.importorskip("faster_whisper")
    transcriber = judges.Transcriber(WHISPER, cpu_threads=1, cache=tmp_path)
    sound = hum(120, 1.0)
    first = transcriber.transcribe(sound, RATE)
    (entry,) = tmp_path.iterdir()
    entry.write_text("from the cache")
    assert transcriber.transcribe(sound, RATE) == "from the cache" != first
    transcriber.transcribe(sound * 0.5, RATE)
    assert len(list(tmp_path.iterdir())) == 2
