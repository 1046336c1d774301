"""A language model that has learned one recording."""

import jax
import numpy as np
import pytest

import voiceloom
from lm.aligner import Transcript
from lm.task import LMTask
from tests.voiceloom.tiny import speechlike, write_release
from voiceloom import cli, learned, synthesizer, weights
from voiceloom.synthesizer import Synthesizer
from voiceloom.voice import VoiceError
from voiceloom.waveform import Waveform

REFERENCE = Waveform(speechlike(2.0), 24_000)


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    return write_release(tmp_path_factory.mktemp("release"))


@pytest.fixture
def heard(monkeypatch):
    """Ten phones, whatever is played."""
    symbol = np.arange(1, 11, dtype=np.int32)
    said = Transcript(symbol, symbol // 4, np.linspace(0.1, 1.9, 11).astype(np.float32))
    monkeypatch.setattr(learned.aligner, "transcribe", lambda _: said)


@pytest.fixture(autouse=True)
def recogniser(monkeypatch):
    """What it hears, and where it was asked; it is not installed everywhere."""
    told = {"text": "", "asked": 0}

    def listen(_):
        told["asked"] += 1
        return told["text"]

    monkeypatch.setattr(synthesizer, "Recognizer", lambda: listen)
    return told


def test_the_model_knows_the_recording_better_and_only_what_makes_codes_has_learned(
    release, heard, monkeypatch
):
    monkeypatch.setattr(learned, "STEPS", 12)
    monkeypatch.setattr(learned, "RATE", 1e-2)
    told, step = [], LMTask.train_step

    def spied(self, state, batch):
        state, metrics = step(self, state, batch)
        return state, metrics | {"told": jax.debug.callback(told.append, metrics["loss"])}

    monkeypatch.setattr(LMTask, "train_step", spied)
    loaded = weights.load(release)
    voice, made = learned.Learner(loaded)(REFERENCE)
    assert len(told) == 12 and told[-1] < 0.9 * told[0]
    old, new = loaded.lm.params, made.lm.params
    same = lambda a, b: all(jax.tree.leaves(jax.tree.map(np.array_equal, a, b)))  # noqa: E731
    assert {name for name in old if same(old[name], new[name])} >= set(learned.FROZEN)
    assert not same(old["depth"], new["depth"]) and not same(old["backbone"], new["backbone"])
    before, spoken = (Synthesizer(x).say("Mama.", voice) for x in (loaded, made))
    assert np.isfinite(spoken.samples).all() and spoken.duration_s > 0.1
    assert not np.array_equal(before.codes, spoken.codes)


def test_a_text_that_is_not_said_is_refused(release):
    with pytest.raises(VoiceError, match="does not say this text"):
        learned.Learner(weights.load(release))(REFERENCE, text="Nobody says a word of this here.")
    with pytest.raises(VoiceError, match="give the text that it says"):
        learned.Learner(weights.load(release))(REFERENCE, text="One two three four five. " * 20)


def test_the_recogniser_is_asked_for_english_and_not_believed_where_it_misheard(
    release, heard, recogniser, monkeypatch
):
    monkeypatch.setattr(learned, "STEPS", 1)
    learner, told = learned.Learner(weights.load(release)), []
    said = learner._said
    learner._said = lambda samples, accent, text: told.append(text) or said(samples, accent, text)
    recogniser["text"] = "Nobody says a word of this here."
    learner(REFERENCE)
    assert recogniser["asked"] == 1 and told == [recogniser["text"], None]
    learner(REFERENCE, accent="de")
    assert recogniser["asked"] == 1 and told[2:] == [None]

    def missing():
        raise ImportError

    monkeypatch.setattr(synthesizer, "Recognizer", missing)
    learned.Learner(weights.load(release))(REFERENCE)


def test_a_recording_of_nothing_is_refused(release, monkeypatch):
    nothing = Transcript(*(np.zeros(n, np.int32) for n in (0, 0, 1)))
    monkeypatch.setattr(learned.aligner, "transcribe", lambda _: nothing)
    with pytest.raises(VoiceError, match="hardly anything is said"):
        learned.Learner(weights.load(release))(REFERENCE)


def test_it_becomes_a_release_with_all_voices(release, heard, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(learned, "STEPS", 1)
    REFERENCE.save(tmp_path / "mum.wav")
    command = ["voice", "learn", "mum", str(tmp_path / "mum.wav"), str(tmp_path / "made"),
               "--weights", str(release)]  # fmt: skip
    assert cli.main(command) == 0
    assert "--voice mum" in capsys.readouterr().out
    synth = voiceloom.load(tmp_path / "made", warm=False)
    assert synth.voices[:3] == ["anna", "bert", "mum"] and synth.voice("mum").prompt is not None
    assert synth.say("Mama.", voice="mum").duration_s > 0.1
    assert list(weights.load(release).voices) == ["anna", "bert"], "the release is as it was"
    assert cli.main(command) == 2
    assert "is there already" in capsys.readouterr().err
    with pytest.raises(VoiceError, match="cannot name a voice"):
        learned.learn(tmp_path / "mum.wav", "mum/dad", tmp_path / "other", release=release)
