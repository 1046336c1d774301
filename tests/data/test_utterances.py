"""Rows: onsets and pointers agree with the codes, nothing crosses voices, all of it repeatable."""

import grain
import numpy as np
import pytest

from data.phones import SYMBOLS, boundary_class
from data.prosody import LEVELS, PITCHES
from data.records import Writer
from data.utterances import (
    Rows,
    advance_limit,
    advances,
    batches,
    from_folders,
    longest_dwells,
    onsets,
    read,
)

COMMA, STOP = SYMBOLS.index(","), SYMBOLS.index(".")
PHONES = [i for i in range(1, len(SYMBOLS)) if not boundary_class(i)]


def made_record(number, units=12, frames=30, books=8, frame_rate=12.5, speaker=None):
    """A record whose codes tell clip and frame: codes[t, q] = 100 * number + t."""
    rng = np.random.default_rng(number)
    symbol = rng.choice(PHONES, units)
    symbol[units // 2], symbol[-1] = COMMA, STOP
    bounds_s = np.sort(rng.uniform(0.05, (frames - 3) / frame_rate, units + 1))
    word = np.minimum(np.arange(units) // 3, (units - 1) // 3)
    return {
        "id": f"clip_{number}",
        "speaker": speaker or f"speaker_{number % 3}",
        "codes": np.repeat(100 * number + np.arange(frames)[:, None], books, 1).astype(np.uint16),
        "hz": np.where(np.arange(frames) % 5 < 3, 100.0 + number, 0.0).astype(np.float32),
        "level_db": rng.uniform(-60, -20, frames).astype(np.float32),
        "frame_rate": frame_rate,
        "symbol": symbol,
        "stress": rng.integers(0, 3, units),
        "word": word,
        "bounds_s": bounds_s.astype(np.float32),
    }


def made_rows(count=30, frames=100, books=8, **kwargs):
    clips = read([made_record(i, books=books) for i in range(count)], frames)
    return Rows(clips, frames=frames, units=64, limit=3, voice_frames=(10, 20), **kwargs)


def test_onsets_fall_into_the_frame_they_sound_in():
    bounds = np.array([0.0, 0.0799, 0.08, 0.241, 5.0], np.float32)
    np.testing.assert_array_equal(onsets(bounds, 12.5, 10), [0, 0, 1, 3, 9])
    np.testing.assert_array_equal(onsets(bounds, 25.0, 10), [0, 1, 2, 6, 9])


def test_excess_onsets_wait_for_the_next_frame():
    counts = advances(np.array([0, 2, 2, 2, 2, 2, 3]), 6, 2)
    np.testing.assert_array_equal(counts, [1, 0, 2, 2, 2, 0])


def test_limit_and_dwells_come_from_the_histogram():
    clips = read([made_record(i) for i in range(40)], 100)
    counts = np.concatenate([np.bincount(c.onset, minlength=30) for c in clips])
    assert (counts <= advance_limit(clips)).mean() >= 0.999
    assert advance_limit(clips, 0.5) < advance_limit(clips)
    dwells = longest_dwells(clips, 12.5, least=10)
    assert len(dwells) == len(SYMBOLS) + 1 and min(dwells) > 0
    held = [np.diff(c.onset)[c.symbol == COMMA].max() for c in clips]
    assert np.quantile(held, 0.99) / 12.5 < dwells[COMMA] <= (max(held) + 1) / 12.5


@pytest.mark.parametrize("books", [8, 16])
def test_rows_are_joined_utterances_of_one_voice(books):
    rows = made_rows(books=books, alone=0.2)
    joined = 0
    for n in range(60):
        row = rows[n]
        frames, units = int(row["mask"].sum()), int(row["length"])
        assert row["codes"].shape == (100, books) and row["mask"][:frames].all()
        clips = row["codes"][:frames:30, 0] // 100
        joined += len(clips) > 1
        assert len(set(clips % 3)) == 1, "voices are mixed"
        assert units == 12 * len(clips)
        assert row["advance"][:frames].sum() == units + 1, "the pointer ends at <end>"
        assert not row["advance"][frames:].any() and not row["symbol"][units:].any()
        assert (np.diff(row["word"][:units]) >= 0).all()
        assert (row["word"][:units].max() + 1) == 4 * len(clips)
        voice = row["voice"][: row["voice_length"], 0]
        assert 10 <= row["voice_length"] <= 20 and (np.diff(voice) == 1).all()
        assert voice[0] // 100 not in clips and voice[0] // 100 % 3 == clips[0] % 3
    assert 30 < joined < 60


def test_the_pointer_is_where_the_sound_is():
    """In a row of several clips every unit begins in the frame its clip says."""
    rows = made_rows(alone=0.0)
    row = rows[0]
    pointer = np.cumsum(row["advance"])
    for begin in range(0, int(row["mask"].sum()), 30):
        clip = int(row["codes"][begin, 0] // 100)
        onset = np.floor(made_record(clip)["bounds_s"][:-1] * 12.5)
        first = 12 * (begin // 30)
        for frame in range(30):
            reached = first + int((onset <= frame).sum())
            assert abs(int(pointer[begin + frame]) - reached) <= 2  # some wait: at most 3 a frame
        assert pointer[begin + 29] in (first + 12, first + 13)


def test_every_utterance_comes_once_in_an_epoch_and_is_repeatable():
    rows, again = made_rows(alone=1.0, seed=3), made_rows(alone=1.0, seed=3)
    firsts = [int(rows[n]["codes"][0, 0]) // 100 for n in range(60)]
    assert sorted(firsts[:30]) == sorted(firsts[30:]) == list(range(30))
    assert firsts[:30] != firsts[30:]
    for n in (41, 7, 0):
        for name, value in again[n].items():
            np.testing.assert_array_equal(value, rows[n][name])


def test_batches_resume_and_split_among_processes():
    rows = made_rows()
    grain.experimental.assert_equal_output_after_checkpoint(batches(rows, 4, count=24))
    whole = list(batches(rows, 4, count=24))
    halves = [list(batches(rows, 2, count=24, shard_index=i, shard_count=2)) for i in range(2)]
    for k, batch in enumerate(whole):
        np.testing.assert_array_equal(batch["codes"][0::2], halves[0][k]["codes"])
        np.testing.assert_array_equal(batch["codes"][1::2], halves[1][k]["codes"])


def test_long_clips_are_cut_where_a_word_begins():
    clip = made_record(0, units=60, frames=200)
    pieces = read([clip], 80)
    assert len(pieces) >= 3 and sum(len(p.symbol) for p in pieces) == 60
    np.testing.assert_array_equal(np.concatenate([p.codes for p in pieces]), clip["codes"])
    np.testing.assert_array_equal(np.concatenate([p.symbol for p in pieces]), clip["symbol"])
    start = 0
    whole = onsets(clip["bounds_s"], 12.5, 200)
    for first, piece in zip(np.cumsum([0] + [len(p.symbol) for p in pieces]), pieces, strict=False):
        assert len(piece.codes) <= 80 and piece.word[0] == 0
        assert first == 0 or clip["word"][first] != clip["word"][first - 1]
        np.testing.assert_array_equal(
            piece.onset[:-1] + start, whole[first : first + len(piece.symbol)]
        )
        start += len(piece.codes)


def test_a_share_of_the_clips_is_the_same_at_every_speed_and_part_of_every_larger_one(tmp_path):
    for suffix in ("", "@0.88"):
        with Writer(tmp_path / f"codes{suffix}", "train") as writer:
            for number in range(40):
                record = made_record(number) | {"language": "en"}
                writer.write(record | {"id": f"clip_{number}{suffix}"})

    def chosen(share, folder="codes"):
        clips, rate = from_folders([tmp_path / folder], "train", 80, share)
        assert rate == 12.5
        return {int(u.codes[0, 0]) // 100 for u in clips}

    assert chosen(1.0) == set(range(40))
    assert chosen(0.25) < chosen(0.5) < chosen(1.0) and 10 < len(chosen(0.5)) < 30
    assert chosen(0.5) == chosen(0.5, "codes@0.88")


@pytest.mark.parametrize("field, name", [("bounds_s", "timings"), ("hz", "pitch")])
def test_records_without_timings_or_pitch_are_refused(field, name):
    record = made_record(0)
    del record[field]
    with pytest.raises(ValueError, match=f"clip_0.*no {name}"):
        read([record], 80)


def test_pitch_is_told_about_the_median_of_all_clips_of_a_speaker():
    """Clips at 100 and at 112.25 Hz (two semitones apart), one speaker, the first one thrice."""
    clips = [made_record(i, speaker="one") for i in range(4)]
    for clip, hz in zip(clips, (100.0, 100.0, 100.0, 112.25), strict=True):
        clip["hz"] = np.where(clip["hz"] > 0, hz, 0).astype(np.float32)
    tokens = [u.prosody // LEVELS for u in read(clips, 80)]
    middle = PITCHES // 2
    assert set(tokens[0]) == {0, middle} and set(tokens[3]) == {0, middle + 2}
    rows = Rows(read(clips, 80), frames=80, units=64, limit=3, voice_frames=(10, 20), alone=1.0)
    for n in range(4):
        row = rows[n]
        clip = row["codes"][0, 0] // 100
        np.testing.assert_array_equal(row["prosody"][:30] // LEVELS, tokens[clip])
