"""Another person says the same in another voice, in step with what was said."""

import numpy as np
import pytest

from experiments import people
from experiments.people import Person

RATE = 24_000


def vowel(seconds, pitch_hz, formant_hz, wobble=0.0):
    """A buzz through one resonance, its pitch going up and down by a share of itself."""
    t = np.arange(round(seconds * RATE)) / RATE
    hz = pitch_hz * (1 + wobble * np.sin(2 * np.pi * 2 * t))
    phase = 2 * np.pi * np.cumsum(hz) / RATE
    near = lambda k: np.exp(-(((k * pitch_hz - formant_hz) / 300) ** 2))  # noqa: E731
    return sum(near(k) * np.sin(k * phase) for k in range(1, 40)).astype(np.float32) / 4


def resonance_hz(samples):
    power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    hz = np.fft.rfftfreq(len(samples), 1 / RATE)
    return float(np.sum(hz * power) / np.sum(power))


def melody(samples):
    parselmouth = pytest.importorskip("parselmouth")
    track = parselmouth.Sound(samples.astype(float), RATE).to_pitch_ac(0.01, 65.0)
    hz = track.selected_array["frequency"]
    return hz[hz > 0]


@pytest.mark.parametrize("formants, pitch", [(1.2, 1.0), (0.85, 1.0), (1.0, 1.3), (1.15, 0.8)])
def test_formants_pitch_and_length_move_apart(formants, pitch):
    said = vowel(1.5, 150, 1_200)
    heard = people.heard(said, Person(formants, pitch, 1.0, 1.1), RATE)
    assert len(heard) == round(1.1 * len(said)) and heard.dtype == np.float32
    assert np.median(melody(heard)) == pytest.approx(150 * pitch, rel=0.03)
    assert resonance_hz(heard) == pytest.approx(1_200 * formants, rel=0.06)


def test_liveliness_is_how_far_the_melody_goes():
    said = vowel(1.5, 150, 1_200, wobble=0.2)
    spread = lambda lively: np.ptp(  # noqa: E731
        np.percentile(melody(people.heard(said, Person(1.0, 1.0, lively, 1.0), RATE)), [10, 90])
    )
    assert spread(0.7) < 0.8 * spread(1.0) and spread(1.4) > 1.2 * spread(1.0)


def test_a_whisper_and_a_track_that_errs_by_octaves_are_no_errors():
    whisper = np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32)
    assert len(people.heard(whisper, Person(1.1, 1.2, 1.0, 0.9), RATE)) == round(0.9 * RATE)
    low_end = np.concatenate([vowel(1.0, 320, 1_200), vowel(0.4, 72, 1_200)])
    heard = people.heard(low_end, Person(1.1, 0.9, 1.4, 1.0), RATE)
    assert np.isfinite(heard).all() and np.abs(heard).max() > 0.05


def test_people_differ_and_stay_human():
    drawn = [people.drawn(np.random.default_rng(seed)) for seed in range(200)]
    assert len(set(drawn)) == 200
    assert all(0.6 < p.pitch < 1.7 and 0.8 < p.formants < 1.25 for p in drawn)
