"""The samples' folder: sounds, pictures, and a table that says what was heard."""

import numpy as np
import soundfile

import voiceloom
from experiments import samples
from tests.voiceloom.tiny import write_release
from voiceloom import judges


class Deaf:
    """A transcriber that hears one word too many."""

    name = "deaf"

    def transcribe(self, _samples, _rate):
        return "Hello. Hello."


def test_every_sentence_is_there_to_hear_and_to_see(tmp_path, monkeypatch):
    hum = judges.Pitch(np.arange(3) / 100, np.array([0.0, 200, 220]), np.array([False, True, True]))
    monkeypatch.setattr(judges, "pitch", lambda *_: hum)
    synth = voiceloom.load(write_release(tmp_path / "release"), warm=False)
    out = tmp_path / "samples"
    arguments = ["--out", str(out), "--voices", "anna", "bert", "--sentences", "Hello.", "Hi!"]
    samples.main(arguments, synth, Deaf())
    assert sorted(p.name for p in out.iterdir()) == [
        "01.mp3", "01.png", "02.mp3", "02.png", "README.md",
    ]  # fmt: skip
    assert soundfile.info(out / "01.mp3").samplerate == synth.sample_rate
    page = (out / "README.md").read_text(encoding="utf-8")
    assert "| 1 | Hello. | anna |" in page and "| 1 / 1 |" in page and "210 Hz" in page
