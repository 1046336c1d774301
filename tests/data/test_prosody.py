"""Pitch and level of frames: what is measured of known tones, and what a token says."""

import numpy as np
import pytest

from data.prosody import LEVELS, PITCHES, Prosody, measure, median_hz, tokens

RATE, FRAME_RATE = 24_000, 12.5


def glide(start_hz, stop_hz, seconds):
    """A buzz whose pitch moves evenly in semitones."""
    hz = start_hz * (stop_hz / start_hz) ** np.linspace(0, 1, round(seconds * RATE))
    phase = 2 * np.pi * np.cumsum(hz) / RATE
    return sum(np.sin(k * phase) / k for k in range(1, 12)).astype(np.float32) * 0.1


@pytest.mark.parametrize("hz", [90.0, 220.0])
def test_a_buzz_has_its_pitch_and_silence_has_none(hz):
    samples = np.concatenate([glide(hz, hz, 0.8), np.zeros(round(0.8 * RATE), np.float32)])
    found = measure(samples, RATE, FRAME_RATE, 25)  # five frames beyond the last sample
    np.testing.assert_allclose(found.hz[1:9], hz, rtol=0.01)
    assert (found.hz[11:] == 0).all() and (found.level_db[11:] < -90).all()
    assert len(found.hz) == len(found.level_db) == 25


def test_a_rise_is_the_same_tokens_in_every_voice_and_at_every_loudness():
    made = []
    for hz, gain in ((90.0, 1.0), (200.0, 0.1)):
        found = measure(gain * glide(hz, hz * 2 ** (6 / 12), 1.6), RATE, FRAME_RATE, 20)
        made.append(tokens(found, median_hz([found.hz]))[1:19])
    pitch = [m // LEVELS - PITCHES // 2 for m in made]
    np.testing.assert_allclose(pitch[0], pitch[1], atol=1)
    assert 5 <= pitch[0][-1] - pitch[0][0] <= 6 and (np.diff(pitch[0]) >= 0).all()
    np.testing.assert_array_equal(made[0] % LEVELS, made[1] % LEVELS)


def test_tokens_stay_in_range():
    melody = Prosody(
        np.array([0.0, 20.0, 2000.0, 100.0], np.float32),
        np.array([-100.0, -20.0, 0.0, -20.0], np.float32),
    )
    found = tokens(melody, 100.0)
    assert found.min() >= 0 and found.max() < PITCHES * LEVELS
    assert list(found // LEVELS) == [0, 1, PITCHES - 1, PITCHES // 2] and found[0] == 0


def test_a_clip_shorter_than_a_period_is_unvoiced():
    found = measure(np.zeros(100, np.float32), RATE, 50.0, 1)
    assert found.hz == 0 and median_hz([found.hz]) == 0.0
    assert tokens(found, 0.0).shape == (1,)
