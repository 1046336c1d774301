"""What users call: streamed equals whole, bad input is refused, nothing leaks."""

import asyncio
import gc
import threading

import jax
import numpy as np
import pytest

import voiceloom
from data.phones import PUNCTUATION, SYMBOL_IDS, SYMBOLS, Units
from tests.voiceloom.tiny import speechlike
from voiceloom.engine import BUCKETS, next_size
from voiceloom.loudness import TARGET_DB
from voiceloom.speaker import split
from voiceloom.voice import Voice
from voiceloom.waveform import Chunk, Waveform

TEXT = "Good evening, friend. Is it $2 or 3? Then come in!"


@pytest.fixture(scope="module")
def whole(synth):
    return synth.say(TEXT, "anna", seed=3)


def same(a, b):
    return np.array_equal(a.samples, b.samples) and np.array_equal(a.codes, b.codes)


@pytest.mark.parametrize("frames", [1, 2, 4, 8, [1, 3, 8, 2, 5], None])
def test_streamed_is_whole_bit_for_bit(synth, whole, frames):
    chunks = list(synth.stream(TEXT, "anna", seed=3, chunk_frames=frames))
    assert len(chunks) > 3
    joined = Chunk.join(chunks)
    assert same(joined, whole) and joined.onsets == whole.onsets
    starts = np.cumsum([0] + [len(chunk.samples) for chunk in chunks[:-1]]) / synth.sample_rate
    assert [chunk.start_s for chunk in chunks] == pytest.approx(starts.tolist())


@pytest.mark.parametrize("size", [1, 5, 17])
def test_text_in_pieces_is_text_whole(synth, whole, size):
    pieces = (TEXT[i : i + size] for i in range(0, len(TEXT), size))
    assert same(synth.say(pieces, "anna", seed=3), whole)


def test_chunks_come_before_the_text_ends(synth):
    given = []

    def write():
        for piece in ("First things first. ", "Then ", "the rest."):
            given.append(piece)
            yield piece

    with synth.stream(write(), "anna") as speech:
        next(speech)
        assert given == ["First things first. ", "Then "]


def test_seed_voice_rate_and_temperature_matter(synth, whole):
    assert same(synth.say(TEXT, "anna", seed=3), whole)
    assert not same(synth.say(TEXT, "anna", seed=4), whole)
    assert not same(synth.say(TEXT, "bert", seed=3), whole)
    assert not same(synth.say(TEXT, "anna", seed=3, temperature=0.2), whole)
    slow, fast = (synth.say(TEXT, "anna", rate=rate).duration_s for rate in (0.2, 5.0))
    assert fast < 0.8 * slow


LONG = (
    "Seven silent sailors sold my brother some beautiful silver boats, and then left. Good! "
    "What was there to say?"
)


@pytest.mark.parametrize("lookahead", [0, 1, 2])
def test_word_by_word_is_the_whole_at_the_same_look_ahead(synth, lookahead):
    """The schedule of the writer is not heard: the same codes for letters, words and the whole."""
    how = dict(seed=3, lookahead=lookahead)
    whole = synth.say(LONG, "anna", **how)
    for pieces in (list(LONG), LONG.split(" ")):
        if len(pieces) < 20:
            pieces = [f"{word} " for word in pieces]
        chunks = list(synth.stream(iter(pieces), "anna", **how))
        joined = Chunk.join(chunks)
        assert np.array_equal(joined.codes, whole.codes)
        assert [o.symbol for o in joined.onsets] == [o.symbol for o in whole.onsets]
        assert [o.span for o in joined.onsets] == [o.span for o in whole.onsets]
    assert not np.array_equal(synth.say(LONG, "anna", seed=3).codes[:40], whole.codes[:40])


def test_a_sentence_is_begun_before_it_is_all_there(synth):
    given = []

    def write():
        for word in LONG.split(" "):
            given.append(word)
            yield f"{word} "

    speech, behind = synth.stream(write(), "anna", lookahead=2), []
    for chunk in speech:
        spoken = max((o.word for o in chunk.onsets), default=0)
        behind.append(len(given) - 1 - spoken)
        if len(behind) == 1:
            assert len(given) == 4, "one word, two words of look-ahead, and one that may change"
    assert min(behind[:6]) >= 2


def test_marks_are_heard_and_not_read(synth):
    marked = 'Wait <break time="800ms"/> here. <break time="1s"/><emphasis>Go</emphasis> on.'
    plain, speech = synth.say("Wait, here. Go on.", "anna"), synth.say(marked, "anna")
    assert [o.symbol for o in speech.onsets] == [o.symbol for o in plain.onsets]
    assert [marked[slice(*o.span)] for o in speech.onsets if o.symbol == "ɡ"] == ["Go"]
    times = {o.symbol: o.time_s for o in speech.onsets}
    after = next(o.time_s for o in speech.onsets if o.symbol == "h")
    assert after - times[","] > 0.7
    assert not same(synth.say("Wait, here. Go on.", "anna", pitch=3.0), plain)
    assert not same(synth.say("Wait, here. Go on.", "anna", pitch_range=0.0), plain)
    assert same(synth.say("Wait, here. Go on.", "anna", pitch=0.0), plain)


def test_speech_is_finite_leveled_and_below_full_scale(whole):
    assert whole.samples.dtype == np.float32 and np.isfinite(whole.samples).all()
    assert np.abs(whole.samples).max() < 1


def test_onsets_follow_the_text(whole):
    assert "".join(onset.symbol for onset in whole.onsets if onset.symbol in PUNCTUATION) == ",.?!"
    times = [onset.time_s for onset in whole.onsets]
    assert times == sorted(times) and 0 < times[0] and times[-1] < whole.duration_s
    words = {}
    for onset in whole.onsets:
        assert TEXT[slice(*onset.span)].strip()
        if onset.symbol not in PUNCTUATION:
            words.setdefault(onset.word, TEXT[slice(*onset.span)])
    assert {"evening", "friend", "Then", "come"} <= set(words.values())
    assert whole.text_span == (0, len(TEXT))


def test_sentences_are_parted_by_silence(synth, whole):
    stop = next(i for i, onset in enumerate(whole.onsets) if onset.symbol == ".")
    gap = whole.samples[round(whole.onsets[stop].time_s * synth.sample_rate) :]
    gap = gap[: round((whole.onsets[stop + 1].time_s - whole.onsets[stop].time_s) * 24_000)]
    run = np.diff(np.flatnonzero(np.concatenate([[1], gap, [1]])))
    assert run.max() >= 0.15 * synth.sample_rate


@pytest.mark.parametrize("text", ["", "  \n", "🎉🎉", "🎉. 🎉! 🎉"])
def test_text_without_words_is_refused(synth, text):
    with pytest.raises(voiceloom.TextError):
        synth.say(text, "anna")
    with pytest.raises(voiceloom.TextError):
        synth.say(iter(text), "anna")


def test_emoji_among_words_are_passed_over(synth):
    assert same(synth.say("🎉. Well done! 🎉", "anna"), synth.say("Well done!", "anna"))


def test_a_book_page_after_page_keeps_the_memory_it_has(synth):
    page = "This is a sentence of seven words, nearly. " * 12
    speech = synth.stream((page for _ in range(60)), "anna", chunk_frames=8)  # 5,040 words
    sizes, seconds = [], 0.0
    for i, chunk in enumerate(speech):
        seconds += chunk.duration_s
        if i % 400 == 100:
            gc.collect()
            sizes.append(sum(array.nbytes for array in jax.live_arrays()))
    assert seconds > 600 and len(set(sizes)) == 1 < len(sizes), sizes


def test_long_words_and_lists_are_split_to_fit():
    count = 3 * BUCKETS[-1]
    ids = np.full(count, SYMBOL_IDS["a"], np.int32)
    ids[100::90] = SYMBOL_IDS[","]
    units = Units(ids, ids * 0, np.arange(count, dtype=np.int32) // 6, np.zeros((count, 2), int))
    pieces = split(units, BUCKETS[-1])
    assert all(len(piece.symbol) <= BUCKETS[-1] for piece in pieces)
    assert np.array_equal(np.concatenate([piece.symbol for piece in pieces]), ids)
    assert all(SYMBOLS[piece.symbol[-1]] == "," for piece in pieces[:-1])
    unbroken = Units(*(np.zeros((count, *a.shape[1:]), np.int32) for a in units))
    assert [len(piece.symbol) for piece in split(unbroken, 1000)] == [1000, count - 1000]


def test_chunks_grow_with_the_lead_and_no_faster():
    assert next_size(1, 0.0, 0.01) == 1  # no lead yet
    assert next_size(1, 1.0, 0.01) == 2  # at most double
    assert next_size(8, 9.0, 0.01) == 8  # bounded
    assert next_size(8, 0.05, 0.01) == 2  # a lead of five frames' work pays for two
    assert next_size(4, -1.0, 0.01) == 1  # late: back to the shortest


def test_threads_do_not_disturb_each_other(synth, whole):
    jobs = [(TEXT, "anna", 3), (TEXT, "bert", 1), ("Something else.", "anna", 2)] * 2
    alone = [synth.say(text, voice, seed=seed) for text, voice, seed in jobs[:3]] * 2
    results = [None] * len(jobs)

    def work(i):
        text, voice, seed = jobs[i]
        results[i] = synth.say(text, voice, seed=seed)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(same(a, b) for a, b in zip(results, alone, strict=True)) and same(results[0], whole)


def test_closing_early_frees_the_stream(synth):
    gc.collect()
    before = len(jax.live_arrays())
    speech = synth.stream(TEXT, "anna")
    next(speech)
    assert len(jax.live_arrays()) > before
    speech.close()
    gc.collect()
    assert len(jax.live_arrays()) == before
    speech.close()
    with pytest.raises(StopIteration):
        next(speech)
    speech = synth.stream(TEXT, "anna")
    next(speech)
    del speech  # forgotten instead of closed
    gc.collect()
    assert len(jax.live_arrays()) == before


def test_closing_speech_closes_its_text(synth):
    closed = []

    def write():
        try:
            yield from ("One thing. ", "Two things. ", "Three. ")
        finally:
            closed.append(True)

    with synth.stream(write(), "anna") as speech:
        next(speech)
    assert closed == [True]


def test_async_streams_take_async_text(synth, whole):
    async def write():
        for word in TEXT.split(" "):
            await asyncio.sleep(0)
            yield word + " "

    async def listen():
        return Chunk.join([chunk async for chunk in synth.astream(write(), "anna", seed=3)])

    assert np.array_equal(asyncio.run(listen()).samples, whole.samples)


def test_async_streams_can_be_left(synth):
    async def listen():
        stream = synth.astream(TEXT, "anna")
        chunk = await anext(stream)
        await stream.aclose()
        return chunk

    gc.collect()
    before = len(jax.live_arrays())
    assert asyncio.run(listen()).duration_s > 0
    gc.collect()
    assert len(jax.live_arrays()) == before


def test_the_report_adds_up(synth):
    with synth.stream(TEXT, "anna", chunk_frames=2) as speech:
        chunks = list(speech)
    report = speech.report
    assert report.frames == sum(len(chunk.codes) for chunk in chunks)
    assert report.tokens == report.frames * chunks[0].codes.shape[1]
    assert report.audio_s == pytest.approx(sum(chunk.duration_s for chunk in chunks))
    parts = report.voice_s + report.text_s + report.prefill_s + report.frames_s + report.decode_s
    assert 0 < parts <= report.first_chunk_s <= report.first_audible_s
    assert report.real_time_factor > 0 and report.tokens_per_s > 0


def test_a_voice_from_a_recording_travels_in_a_file(synth, tmp_path):
    Waveform(speechlike(5.0, 16_000), 16_000).save(tmp_path / "ref.wav")
    voice = synth.voice(tmp_path / "ref.wav", accent="gb")
    assert voice.name == "ref" and np.mean(voice.vector**2) == pytest.approx(1, abs=1e-3)
    voice.save(tmp_path / "ref.safetensors")
    assert (tmp_path / "ref.safetensors").stat().st_size < 4096
    again = synth.voice(tmp_path / "ref.safetensors")
    assert again.name == "ref" and again.accent == "gb"
    assert np.array_equal(again.vector, voice.vector)
    assert same(synth.say("Hello.", again), synth.say("Hello.", voice))
    assert synth.say("Hello.", str(tmp_path / "ref.wav")).duration_s > 0


def test_a_quiet_reference_is_the_same_voice(synth):
    loud = synth.voice(Waveform(speechlike(3.0), 24_000)).vector
    quiet = synth.voice(Waveform(0.01 * speechlike(3.0), 24_000)).vector
    assert np.corrcoef(loud, quiet)[0, 1] > 0.99


@pytest.mark.parametrize(
    ("samples", "cause"),
    [
        (np.zeros(48_000), "silent"),
        (np.full(48_000, np.nan), "NaN"),
        (np.zeros(0), "silent|empty"),
        (speechlike(0.5), "at least 1 s"),
        (np.concatenate([speechlike(0.4), np.zeros(96_000, "f")]), "at least 1 s"),
    ],
)
def test_bad_references_are_refused(synth, tmp_path, samples, cause):
    with pytest.raises(voiceloom.VoiceError, match=cause):
        synth.voice(Waveform(samples, 24_000))
    import soundfile

    path = tmp_path / "bad.wav"
    soundfile.write(path, samples, 24_000, subtype="FLOAT")
    with pytest.raises(voiceloom.VoiceError, match=cause):
        synth.voice(path)


def test_unreadable_unknown_and_foreign_voices_are_refused(synth, tmp_path):
    (tmp_path / "noise.wav").write_bytes(b"RIFF, but not really")
    with pytest.raises(voiceloom.VoiceError, match="unreadable"):
        synth.voice(tmp_path / "noise.wav")
    with pytest.raises(voiceloom.VoiceError, match="no such file"):
        synth.voice("nowhere.wav")
    with pytest.raises(voiceloom.VoiceError, match="anna, bert"):
        synth.say("Hello.", "nobody")
    (tmp_path / "broken.safetensors").write_bytes(b"0")
    with pytest.raises(voiceloom.VoiceError, match="damaged"):
        synth.voice(tmp_path / "broken.safetensors")
    stranger = Voice("stranger", synth.voice("anna").vector, "us", "0" * 64)
    with pytest.raises(voiceloom.VoiceError, match="another language model"):
        synth.say("Hello.", stranger)


def test_chunk_sizes_out_of_range_are_refused(synth):
    for frames in (0, 9, [1, 0]):
        with pytest.raises(ValueError, match="chunk_frames"):
            synth.stream(TEXT, "anna", chunk_frames=frames)


@pytest.mark.parametrize("seconds", [0.3, 1.0, 2.345])
def test_the_codec_roundtrip_keeps_the_length(synth, seconds):
    samples = speechlike(seconds)
    wave = synth.codec_roundtrip(samples)
    assert len(wave.samples) == len(samples) and wave.sample_rate == synth.sample_rate
    assert np.isfinite(wave.samples).all()


def test_the_target_level_is_that_of_references(synth):
    from voiceloom.voice import read_reference

    level = np.mean(read_reference(Waveform(speechlike(2.0), 24_000), 24_000) ** 2)
    assert abs(10 * np.log10(level) - TARGET_DB) < 2


@pytest.mark.parametrize("seconds", [1.0, 4.0, 5.5, 9.0])
def test_a_voice_is_made_of_the_whole_reference(synth, seconds):
    """Its first and its last second count, however long it is."""
    codes = np.random.default_rng(0).integers(0, 64, (int(seconds / synth.engine.frame_s), 4))
    whole = synth.engine.encode_voice(codes)
    for part in (slice(0, 12), slice(-12, None)):
        other = codes.copy()
        other[part] = 63 - other[part]
        assert np.abs(synth.engine.encode_voice(other) - whole).max() > 1e-3
