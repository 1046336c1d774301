"""Of several takes the clearest: how they are heard, which is kept, and when there are enough."""

import numpy as np
import pytest

from voiceloom import cli, synthesizer
from voiceloom.waveform import Waveform

TEXT = "An iron urn."


@pytest.fixture
def heard(synth, monkeypatch):
    """What a recogniser hears of the takes, one after another; those left are not listened to."""
    texts = []

    class Recognizer:
        def __call__(self, samples):
            assert samples.dtype == np.float32 and len(samples) > 1_000
            return texts.pop(0)

    monkeypatch.setattr(synthesizer, "Recognizer", Recognizer)
    monkeypatch.setattr(synth, "_recognizer", None)
    return texts


def test_the_first_that_is_heard_right_is_kept(synth, heard):
    heard += ["", "An iron earn", "nobody listens any more"]  # which sounds the same
    said = synth.say(TEXT, "anna", takes=3, seed=5)
    assert heard == ["nobody listens any more"]
    second = synth.say(TEXT, "anna", seed=5 + synthesizer._NEXT_TAKE)
    np.testing.assert_array_equal(said.samples, second.samples)


def test_the_clearest_is_kept_if_none_is_heard_right(synth, heard):
    heard += ["An eye.", "An iron ear.", "Antlers in a row and more."]
    said = synth.say(iter(["An iron ", "urn."]), "anna", takes=3)
    second = synth.say(TEXT, "anna", seed=synthesizer._NEXT_TAKE)
    np.testing.assert_array_equal(said.samples, second.samples)


def test_one_take_needs_no_recogniser_and_none_is_refused(synth, monkeypatch):
    monkeypatch.setattr(synthesizer, "Recognizer", None)
    np.testing.assert_array_equal(
        synth.say(TEXT, "anna", takes=1).samples, synth.say(TEXT, "anna").samples
    )
    with pytest.raises(ValueError, match="at least one"):
        synth.say(TEXT, "anna", takes=0)


def test_the_command_line_writes_the_clearest(synth, heard, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(synthesizer, "load", lambda *args, **kwargs: synth)
    heard += ["A nine.", TEXT]
    out = str(tmp_path / "a.wav")
    assert cli.main(["say", TEXT, "-v", "bert", "--takes", "3", "-o", out]) == 0
    second = synth.say(TEXT, "bert", seed=synthesizer._NEXT_TAKE)
    np.testing.assert_allclose(Waveform.load(out).samples, second.samples, atol=1e-4)
    assert "a.wav: Chunk(" in capsys.readouterr().err


def test_who_lacks_the_recogniser_is_told_what_to_install(synth, monkeypatch, tmp_path, capsys):
    def missing():
        raise ImportError("no moonshine: pip install -e '.[transcribe]'")

    monkeypatch.setattr(synthesizer, "Recognizer", missing)
    monkeypatch.setattr(synth, "_recognizer", None)
    monkeypatch.setattr(synthesizer, "load", lambda *args, **kwargs: synth)
    out = str(tmp_path / "a.wav")
    assert cli.main(["say", TEXT, "-v", "bert", "--takes", "3", "-o", out]) == 2
    assert ".[transcribe]" in capsys.readouterr().err
