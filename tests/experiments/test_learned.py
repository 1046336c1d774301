"""A language model that has learned one recording."""

import numpy as np
import pytest

from experiments import learned
from lm.task import LMTask
from tests.voiceloom.tiny import speechlike, write_release
from voiceloom.prompt import FRAMES, Prompt
from voiceloom.synthesizer import Synthesizer
from voiceloom.waveform import Waveform

REFERENCE = Waveform(speechlike(2.0), 24_000)


@pytest.fixture
def prompt():
    """Ten units in thirty frames."""
    rng, advance = np.random.default_rng(0), np.zeros(30, np.int32)
    advance[::3] = 1
    ones = np.arange(1, 11, dtype=np.int32)
    codes = rng.integers(64, size=(30, 3)).astype(np.int32)
    return Prompt(ones, ones // 4, advance, codes, rng.integers(26, size=30).astype(np.int32))


def test_rows_say_the_prompt_and_differ_in_the_crop_of_the_voice(prompt):
    heard = np.random.default_rng(1).integers(64, size=(80, 4))
    rows = learned.batch(prompt, heard, np.random.default_rng(2))
    assert rows["codes"].shape == (learned.ROWS, FRAMES, 3) and rows["mask"].sum() == 4 * 30
    for row in range(learned.ROWS):
        np.testing.assert_array_equal(rows["codes"][row, :30], prompt.codes)
        np.testing.assert_array_equal(rows["symbol"][row, :10], prompt.symbol)
        assert rows["length"][row] == 10 and rows["advance"][row].sum() == 10
    assert rows["voice"].shape == (learned.ROWS, 50, 4)
    assert len({row.tobytes() for row in rows["voice"]}) > 1


def test_the_model_knows_the_recording_better_and_the_release_is_as_it_was(
    tmp_path, prompt, monkeypatch
):
    release = write_release(tmp_path / "release")
    monkeypatch.setattr(Synthesizer, "_listen", lambda *_: prompt)
    monkeypatch.setattr(learned, "RATE", 1e-2)
    told = []
    step = LMTask.train_step

    def spied(self, state, batch):
        state, metrics = step(self, state, batch)
        return state, metrics | {"told": learned.jax.debug.callback(told.append, metrics["loss"])}

    monkeypatch.setattr(LMTask, "train_step", spied)
    learner = learned.Learner(release, 12)
    plain = Synthesizer(learner._loaded)
    voice = learner.voice(REFERENCE)
    spoken = learner.say("Mama.", voice)
    assert len(told) == 12 and told[-1] < 0.9 * told[0]
    assert np.isfinite(spoken.samples).all() and spoken.duration_s > 0.1
    before = plain.say("Mama.", voice)
    assert not np.array_equal(before.codes, spoken.codes)
    again = Synthesizer(learner._loaded).say("Mama.", plain.voice(REFERENCE))
    np.testing.assert_array_equal(again.codes, before.codes)
