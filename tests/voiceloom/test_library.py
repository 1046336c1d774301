"""Voices of a user: made, kept, mixed, given away, refused."""

import numpy as np
import pytest
import soundfile

import voiceloom
from tests.voiceloom.tiny import speechlike
from voiceloom import cli, synthesizer
from voiceloom.library import CONSENT, Library
from voiceloom.likeness import STRANGERS, Likeness, cosine, nearest
from voiceloom.voice import CLIPPED, Voice, VoiceError, flat_tops
from voiceloom.waveform import Waveform


@pytest.fixture
def library(tmp_path, monkeypatch, synth):
    """An empty library, and the synthesizer that uses it."""
    monkeypatch.setenv("VOICELOOM_VOICES", str(tmp_path / "voices"))
    monkeypatch.setattr(synth, "library", Library())
    monkeypatch.setattr(synthesizer, "load", lambda *args, **kwargs: synth)
    return synth.library


@pytest.fixture
def reference(tmp_path):
    soundfile.write(tmp_path / "ref.wav", speechlike(3.0), 24_000)
    return str(tmp_path / "ref.wav")


def run(*argv):
    return cli.main(list(argv))


def test_a_voice_is_added_used_given_away_and_removed(library, synth, reference, tmp_path, capsys):
    assert run("voice", "add", "mum", reference, "--accent", "gb") == 0
    told = capsys.readouterr().out
    assert CONSENT in told and "nearest other voice" in told and "3.0" in told
    voice = synth.voice("mum")
    assert voice.accent == "gb" and synth.voices == ["anna", "bert", "mum"]
    assert np.array_equal(voice.vector, synth.voice(reference, "gb").vector)
    assert synth.say("Hello.", "mum").duration_s > 0

    assert run("voice", "export", "mum", str(tmp_path / "mum.safetensors")) == 0
    assert run("voice", "remove", "mum") == 0 and "mum" not in library
    assert run("voice", "add", "ma", str(tmp_path / "mum.safetensors")) == 0
    assert np.array_equal(library["ma"].vector, voice.vector) and library["ma"].name == "ma"
    assert (tmp_path / "mum.safetensors").stat().st_size < 8_192


def test_a_mixture_lies_between_its_voices(library, synth):
    assert run("voice", "mix", "third", "anna=0.75", "bert=0.25") == 0
    mixed, anna, bert = (synth.voice(name) for name in ("third", "anna", "bert"))
    assert mixed.accent == anna.accent and np.mean(mixed.vector**2) == pytest.approx(1, abs=1e-3)
    to_anna, to_bert = (cosine(mixed.vector, v.vector) for v in (anna, bert))
    assert to_anna > to_bert > cosine(anna.vector, bert.vector)
    assert nearest(mixed, {"anna": anna, "bert": bert, "third": mixed})[0] == "anna"
    assert nearest(anna, {"anna": anna}) == ("none", 0.0)


@pytest.mark.parametrize(
    "argv, cause",
    [
        (("add", "../evil", "REF"), "letters"),
        (("add", "anna 2", "REF"), "letters"),
        (("add", "twice", "REF"), "--replace"),
        (("mix", "m", "anna=1"), "at least two"),
        (("mix", "m", "anna=1", "bert=-1"), "positive"),
        (("mix", "m", "anna", "bert"), "VOICE=SHARE"),
        (("mix", "m", "anna=1", "nobody=1"), "no voice 'nobody'"),
        (("remove", "anna"), "of yours"),
        (("export", "nobody", "a.safetensors"), "no voice"),
    ],
)
def test_refusals_say_why_and_change_nothing(library, synth, reference, capsys, argv, cause):
    twice = Voice("twice", synth.voice("anna").vector, "us", synth.voice("anna").lm_hash)
    library.add(twice)
    assert run("voice", *(reference if a == "REF" else a for a in argv)) == 2
    assert cause in capsys.readouterr().err
    assert library.names == ["twice"] and np.array_equal(library["twice"].vector, twice.vector)
    assert run("voice", "add", "twice", reference, "--replace") == 0
    assert not np.array_equal(library["twice"].vector, twice.vector)


def test_voices_of_several_models_are_not_mixed(synth):
    stranger = Voice("stranger", synth.voice("anna").vector, "us", "0" * 64)
    with pytest.raises(VoiceError, match="several language models"):
        Voice.mix("m", {synth.voice("anna"): 1.0, stranger: 1.0})


def test_a_clipped_reference_is_refused(synth):
    loud = np.clip(4 * speechlike(3.0), -0.9, 0.9)
    assert flat_tops(loud) > CLIPPED and flat_tops(speechlike(3.0)) == 0.0
    with pytest.raises(voiceloom.VoiceError, match="clipped.*less gain"):
        synth.voice(Waveform(loud, 24_000))


def test_halves_that_are_not_alike_are_doubted():
    alike = Likeness(4.0, 0.8, 0.7, "bert", 0.3)
    assert alike.doubt == "" and "\n" not in str(alike)
    assert "somebody else" in str(alike._replace(halves=STRANGERS - 0.01))


def test_likeness_is_seen_from_the_mean():
    a, b = np.array([1.0, 0.1]), np.array([1.0, -0.1])
    assert cosine(a, b) > 0.95
    assert cosine(a, b, np.array([1.0, 0.0])) == pytest.approx(-1.0)
