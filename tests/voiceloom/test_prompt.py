"""Prompts: a reference is heard once, and speech goes on from it."""

import numpy as np
import pytest

from lm.aligner import Transcript
from tests.voiceloom.tiny import speechlike
from voiceloom import prompt
from voiceloom.batch import Batch
from voiceloom.conductor import Conductor, Costs
from voiceloom.voice import Voice
from voiceloom.waveform import Chunk

RATE, FRAME_RATE = 24_000, 12.5


def transcript(seconds, phones_a_second=10):
    """Made-up phones without a pause."""
    count = round(seconds * phones_a_second)
    bounds = np.linspace(0.1, seconds - 0.1, count + 1).astype(np.float32)
    rng = np.random.default_rng(0)
    return Transcript(rng.integers(10, 60, count, np.int32), np.zeros(count, np.int32), bounds)


def loudness_codes(samples):
    """Codes that are how loud every frame is, of four books."""
    frames = samples[: len(samples) // 1920 * 1920].reshape(-1, 1920)
    return np.repeat((1000 * frames.std(axis=1)).astype(int)[:, None], 4, axis=1)


def listened(seconds, said=None):
    said = transcript(seconds) if said is None else said
    return prompt.listen(
        speechlike(seconds), RATE, loudness_codes, FRAME_RATE, said, limit=3
    ), loudness_codes(speechlike(seconds))


@pytest.mark.parametrize("seconds", [1.5, 4.0, 30.0])
def test_a_prompt_has_as_much_of_the_clip_as_the_model_remembers_and_a_pause(seconds):
    heard, codes = listened(seconds)
    frames = len(heard.codes)
    spoken = frames - prompt.PAUSE
    assert prompt.FRAMES - prompt.PAUSE - 2 <= spoken or spoken >= (seconds - 0.2) * FRAME_RATE
    np.testing.assert_array_equal(heard.codes[: spoken - 1], codes[: spoken - 1])
    assert (heard.codes[1 - prompt.PAUSE :] == 0).all() and (heard.codes[: spoken - 1] > 0).all()
    assert len(heard.advance) == len(heard.prosody) == frames <= prompt.FRAMES
    assert heard.advance.sum() == len(heard.symbol) == len(heard.word)
    assert heard.advance.max() <= 3 and (heard.prosody > 0).any()


def record(seconds, ends_s):
    """A training clip of 37 codes a frame whose phones end at `ends_s`; its last unit is a stop."""
    frames = round(seconds * FRAME_RATE)
    bounds = np.append(np.linspace(0.2, ends_s, 31), seconds).astype(np.float32)
    pitch = np.full(frames, 220, np.float32)
    return dict(
        codes=np.arange(frames)[:, None] + np.zeros(8, np.uint16),
        symbol=np.arange(31), word=np.zeros(31, int), bounds_s=bounds, frame_rate=FRAME_RATE,
        hz=pitch, level_db=np.full(frames, -20, np.float32),
    )  # fmt: skip


def test_a_training_clip_is_a_prompt_whose_silence_goes_on():
    heard = prompt.from_record(record(4.0, 3.9), 4, 3, speaker_hz=220.0)
    spoken = 49  # frames that end 3.9 s or later
    np.testing.assert_array_equal(heard.codes[:50], np.arange(50)[:, None] + np.zeros((1, 4)))
    assert len(heard.codes) == spoken + prompt.PAUSE == len(heard.prosody)
    assert (heard.codes[50:] == 49).all()
    assert heard.advance.sum() == len(heard.symbol) and not heard.advance[-prompt.PAUSE :].any()
    assert len(prompt.from_record(record(9.0, 4.0), 4, 3, 220.0).codes) == 50 + prompt.PAUSE
    assert prompt.from_record(record(11.0, 10.0), 4, 3, 220.0) is None


def test_what_nobody_understands_is_no_prompt():
    assert listened(4.0, transcript(0.5))[0] is None
    assert listened(4.0, Transcript(*(np.zeros(0, np.int32),) * 3))[0] is None


@pytest.fixture
def prompted(synth):
    """A voice that has been heard, and the same vector alone."""
    anna = synth.voice("anna")
    heard = listened(4.0)[0]
    heard = heard._replace(codes=heard.codes[:, : synth.engine.books])
    return Voice("anna", anna.vector, "us", anna.lm_hash, heard), anna


def test_who_has_spoken_for_long_hears_the_prompt_again_before_a_sentence(synth, prompted):
    voice, vector = prompted
    read = synth.front_end("us")
    for memory in (synth.engine.memory(voice), None):
        batch = Batch(synth.engine)
        slot = batch.open(vector.vector, seed=1, memory=memory)
        since = []
        for _ in range(12):
            slot.breathe()
            slot.begin(read("Nine ships left the harbour."))
            since.append(int(batch._lm.backbone.pos[0]))
            while not slot.frames(5).done:
                pass
        if memory is None:
            assert since == sorted(since) and since[-1] > prompt.REMIND
        else:
            begun = int(memory.backbone.pos[0])
            again = [i for i in range(1, 12) if since[i] == begun]
            assert since[0] == begun and again
            assert max(since) < begun + prompt.REMIND
    text = "Nine ships left the harbour. " * 12
    whole = synth.say(text, voice, seed=2)
    pieces = Chunk.join(list(synth.stream(text, voice, seed=2, chunk_frames=[1, 5, 2])))
    np.testing.assert_array_equal(whole.codes, pieces.codes)
    np.testing.assert_array_equal(whole.samples, pieces.samples)


def test_speech_goes_on_from_the_prompt_alone_and_in_company(synth, prompted, tmp_path):
    voice, vector = prompted
    alone = synth.say("Nine ships left.", voice, seed=1)
    assert not np.array_equal(alone.codes, synth.say("Nine ships left.", vector, seed=1).codes)
    voice.save(tmp_path / "a.safetensors")
    again = synth.say("Nine ships left.", tmp_path / "a.safetensors", seed=1)
    np.testing.assert_array_equal(again.samples, alone.samples)

    conductor = Conductor(synth, sizes=(4,), costs=Costs({4: 0.004}, {4: 0.001}, 0.005))
    runs = []
    for company in ((), ("bert", voice)):
        others = [conductor.open(other, seed=7) for other in company]
        for other in others:
            other.feed("Somebody else is speaking, on and on and on. ")
        session = conductor.open(voice, seed=1)
        session.feed("Nine ships left.")
        session.flush()
        runs.append(Chunk.join(list(session)))
    conductor.close()
    np.testing.assert_array_equal(runs[0].codes, runs[1].codes)
