"""Our own speech as code records."""

import numpy as np

from data import pipeline
from data.records import Writer
from experiments import own_speech, tokenise


def test_a_record_says_what_the_decoder_was_told(synth, tmp_path, monkeypatch):
    told, decode = [], synth.engine.decode_frames

    def overheard(codes, said, valid, frames, state):
        told.extend(np.asarray(said)[:, 0][valid[0]])
        return decode(codes, said, valid, frames, state)

    monkeypatch.setattr(synth.engine, "decode_frames", overheard)
    record = own_speech.said(synth, "Good evening, friend.", "anna", seed=3)
    codec = synth.engine.codec
    with Writer(tmp_path, "train") as writer:
        writer.write(record | tokenise.about(codec))
    crop = next(iter(pipeline.spoken_crops(tmp_path, "train", len(told), 1, 0)))
    np.testing.assert_array_equal(crop["codes"][0], record["codes"])
    end = np.flatnonzero(np.array(told)[:, 1:].max(axis=1) >= 0)[-1]  # then there is silence
    assert end > 5
    np.testing.assert_array_equal(crop["said"][0, : end + 1], told[: end + 1])
