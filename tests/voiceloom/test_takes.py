"""Of several readings the one in which the text is heard."""

import numpy as np
import pytest

from data.phones import SYMBOL_IDS
from tests.voiceloom.test_synthesizer import same
from voiceloom.takes import NEVER, clearest, clearness
from voiceloom.waveform import Chunk, Onset

HOP = 240  # samples to a frame of posteriors


def reading(text="mama.", frames=50):
    """A chunk that is to say `text`, of so many frames."""
    onsets = tuple(Onset(s, 0, 0, (i, i + 1), 0.1 * i) for i, s in enumerate(text))
    return Chunk(np.zeros(frames * HOP, np.float32), 24_000, onsets=onsets)


def hears(said):
    """A judge who is sure to hear these symbols, ten frames each, whatever is played to him."""
    heard = np.repeat([0 if s == "." else SYMBOL_IDS[s] for s in said], 10)
    log_probs = np.full((len(heard), len(SYMBOL_IDS) + 1), -9.0, np.float32)
    log_probs[np.arange(len(heard)), heard] = -0.01
    return lambda samples: log_probs[: len(samples) // HOP]


def test_what_was_meant_is_clearer_than_anything_else():
    assert clearness(reading(), hears("mama.")) == pytest.approx(-0.01, abs=1e-3)
    assert clearness(reading(), hears("nana.")) < -1
    assert clearness(reading(frames=3), hears("mama.")) == NEVER  # no room for five units


def test_the_clearest_is_taken_and_of_equals_the_first():
    takes = [reading(frames=3), reading(), reading()]
    assert clearest(takes, hears("mama.")) is takes[1]


def test_of_takes_it_is_one_of_the_seeds(synth):
    made = [synth.say("Good evening.", "anna", seed=seed) for seed in (4, 5, 6)]
    best = max(made, key=lambda said: clearness(said, synth._hear))
    assert same(synth.say(iter(["Good ", "evening."]), "anna", seed=4, takes=3), best)
