"""Our own speech as code records."""

import random

import numpy as np
import pytest

from data import pipeline, utterances
from data.records import Writer, to_int16
from experiments import own_speech, tokenise
from tests.voiceloom.tiny import speechlike

TEXT = "Good evening, friend."


@pytest.fixture
def folder(synth, tmp_path):
    """One clip."""
    with Writer(tmp_path, "train") as writer:
        record = own_speech.said(synth, TEXT, synth.voice("anna"), seed=3)
        writer.write(record | tokenise.about(synth.engine.codec))
    return tmp_path


def test_a_record_says_what_the_speaker_was_told(synth, folder, monkeypatch):
    told, decode = [], synth.engine.decode_frames

    def overheard(codes, said, valid, frames, state):
        told.extend(np.asarray(said)[:, 0][valid[0]])
        return decode(codes, said, valid, frames, state)

    monkeypatch.setattr(synth.engine, "decode_frames", overheard)
    chunk = synth.say(TEXT, voice="anna", seed=3)
    crop = next(iter(pipeline.spoken_crops(folder, "train", len(told), 1, 0)))
    np.testing.assert_array_equal(crop["codes"][0], chunk.codes)
    end = np.flatnonzero(np.array(told)[:, 1:].max(axis=1) >= 0)[-1]  # then there is silence
    assert end > 5
    np.testing.assert_array_equal(crop["said"][0, : end + 1], told[: end + 1])


def test_the_language_model_reads_it_beside_recordings(synth, folder):
    (one,), rate = utterances.from_folders([folder], "train", longest=1000)
    chunk = synth.say(TEXT, voice="anna", seed=3)
    np.testing.assert_array_equal(one.codes, chunk.codes)
    frame = [int(onset.time_s * rate + 1e-4) for onset in chunk.onsets]
    np.testing.assert_array_equal(one.onset[:-1], frame)
    assert one.speaker == "anna" and one.stress.any() and one.word[-1] == 2
    wider = one._replace(codes=np.pad(one.codes, ((0, 0), (0, 1))), speaker="anna", clip=1)
    size = 2 * len(one.codes), 2 * len(one.symbol)
    rows = utterances.Rows(
        [one, wider], frames=size[0], units=size[1], limit=7, voice_frames=(4, 8), alone=0.0
    )
    assert rows[0]["codes"].shape == (size[0], one.codes.shape[1]), "books that both have"
    assert rows[0]["mask"].all()


def test_some_voices_are_cloned_from_training_people(synth, tmp_path):
    sound = to_int16(speechlike(4.0))
    with Writer(tmp_path, "train") as writer:
        for i, samples in enumerate((sound, sound[:10_000], 0 * sound)):
            writer.write(
                {"id": str(i), "speaker": f"person_{i}", "language": "en", "samples": samples}
            )
    drawn = own_speech.voices(synth, [tmp_path], random.Random(0))
    names = {drawn().name for _ in range(40)}
    assert names == {"anna", "bert", "person_0"}, "too short, silent"
    assert {own_speech.voices(synth, [], random.Random(0))().name} <= {"anna", "bert"}


def test_texts_are_of_both_sources(monkeypatch):
    lines = [{"text": f"Plain number {i}, no more."} for i in range(50)]
    monkeypatch.setattr(own_speech.readings, "lines", lambda folder, split: lines)
    monkeypatch.setattr(own_speech.twisters, "sentences", lambda n, seed: [("", "Sick six.")] * n)
    found = own_speech.texts(None, 400, 0.5, random.Random(0))
    hard, short = found.count("Sick six."), sum(text[:-1] == "Plain" for text in found)
    assert 150 < hard < 250 and 5 < short < 50
