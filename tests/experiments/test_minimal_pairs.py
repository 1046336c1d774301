"""The prosody benchmark hears rises and pauses that are there, and none that are not."""

import numpy as np
import pytest

from data.phones import SYMBOL_IDS
from experiments import minimal_pairs as pairs
from experiments.readings import Reading
from voiceloom.waveform import Waveform

RATE = 16_000


def buzz(hz, seconds):
    """A voiced stretch; `hz` a number or the two ends of a glide."""
    start, stop = hz if isinstance(hz, tuple) else (hz, hz)
    phase = 2 * np.pi * np.cumsum(np.geomspace(start, stop, round(seconds * RATE))) / RATE
    return (0.2 * sum(np.sin(k * phase) / k for k in range(1, 10))).astype(np.float32)


def silence(seconds):
    return np.zeros(round(seconds * RATE), np.float32)


def wave(*parts):
    return Waveform(np.concatenate(parts), RATE)


def reading(sound, *units):
    """Units as (symbol, word, onset)."""
    symbols, words, onsets = zip(*units, strict=True)
    return Reading(sound, tuple(SYMBOL_IDS[s] for s in symbols), words, onsets)


def test_the_end_of_a_rise_is_higher_by_what_it_rises():
    flat = wave(buzz(120, 1.0), silence(0.3))
    up = wave(buzz(120, 0.6), buzz((120, 120 * 2 ** (6 / 12)), 0.4), silence(0.3))
    rise = pairs.final_pitch(up) - pairs.final_pitch(flat)
    assert 4.0 < rise < 6.2  # the last 100 ms of a rise by 6
    assert pairs.final_pitch(wave(silence(0.2), buzz(120, 0.05), silence(0.5))) is None


def test_marks_compares_readings_of_the_same_words():
    heard = []

    def read(text, speaker, seed):
        heard.append((text, speaker, seed))
        return wave(buzz(100 if text[-1] != "?" else 112.25, 0.5), silence(0.2))

    above = pairs.marks([{"text": "He came.", "speaker": "one"}] * 3, read)
    assert np.shape(above["?"]) == np.shape(above["!"]) == (3, pairs.READINGS)
    assert np.allclose(above["?"], 2.0, atol=0.1) and np.allclose(above["!"], 0.0, atol=0.1)
    assert heard[:4] == [(f"He came{mark}", "one", 0) for mark in ".?,!"]


def test_pauses_are_told_from_seams_and_a_full_stop_is_neither():
    sound = wave(buzz(120, 0.5), silence(0.2), buzz(120, 0.5), buzz(130, 0.5), silence(0.3))
    units = [("a", 0, 0.0), (",", 0, 0.5), ("b", 1, 0.7), ("c", 2, 1.2), (".", 2, 1.7)]
    found = pairs.pauses([reading(sound, *units)])
    assert found["comma"] == pytest.approx([0.2], abs=0.03)
    assert found["none"] == [0.0]


def test_chance_is_told_from_a_rise():
    rng = np.random.default_rng(0)
    assert pairs.sign_flip(rng.normal(0.0, 1.0, 24)) > 0.05
    assert pairs.sign_flip(rng.normal(1.5, 1.0, 24)) < 0.001


def test_the_tables_say_what_was_found():
    found = {
        "marks": {"Voiceloom": {"?": [[2.0, 3.0], [0.0, 4.0]], "!": []}},
        "pauses": {"Voiceloom": {"comma": [0.2, 0.0], "none": [0.0, 0.0, 0.1, 0.0]}},
        "controls": [("rate, times as fast", "0.8", [0.8, 0.9])],
    }
    table = pairs.markdown(found)
    assert "| Voiceloom, `?` | 4 | 75 [" in table and "`!`" not in table
    assert "| Voiceloom, at a comma | 2 | 50 [" in table
    assert "| Voiceloom, between words without a mark | 4 | 25 [" in table
    assert "| rate, times as fast | 0.8 | 0.85 [" in table
    assert len(pairs.picture(found).axes) == 2
