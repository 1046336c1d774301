"""What is measured on readings: melody, times, drift; each on readings whose answer is known."""

import json

import numpy as np
import pytest
import soundfile

from data.phones import SYMBOL_IDS, SYMBOLS
from data.prepare import prepare
from experiments import cloning, long_form, lookahead, timestamps
from experiments.long_form import Sentence
from experiments.readings import Reading, lines
from voiceloom.waveform import Chunk, Onset, Waveform

RATE = 24_000


def notes(hz, seconds=0.15):
    """A reading of one unit a note."""
    steady = np.repeat(hz, round(seconds * RATE))
    phase = 2 * np.pi * np.cumsum(steady) / RATE
    samples = (0.2 * sum(np.sin(k * phase) / k for k in range(1, 8))).astype(np.float32)
    symbols = tuple(SYMBOL_IDS["a"] for _ in hz)
    onsets = tuple(seconds * i for i in range(len(hz)))
    return Reading(Waveform(samples, RATE), symbols, tuple(range(len(hz))), onsets)


def test_the_same_melody_in_another_key_is_alike_and_its_mirror_is_not():
    tune = np.array([120.0, 130, 150, 140, 125, 110, 115, 140, 160, 120])
    first, higher, mirror = notes(tune), notes(1.5 * tune), notes(120 * 120 / tune)
    assert lookahead.likeness(first, higher) > 0.98
    assert lookahead.likeness(first, mirror) < -0.9
    assert lookahead.likeness(first, notes(tune[:-1])) is None, "other units"
    assert lookahead.likeness(notes(tune[:5]), notes(tune[:5])) is None, "too few"


def test_the_look_ahead_table_is_paired_with_the_whole_sentence():
    row = lambda errors: {"errors": errors, "words": 10, "melody": 0.5}  # noqa: E731
    found = {"0": [row(3), row(1)], "all": [row(2), row(0)]}
    table = lookahead.markdown(found)
    assert "| 0 | 20.0 [10.0, 30.0] | 10.0 [10.0, 10.0] | 0.50" in table
    assert "| all | 10.0 [0.0, 20.0] |  | 0.50" in table and "20 words" in table
    assert len(lookahead.picture(found).axes) == 2


def test_times_are_compared_with_what_the_aligner_hears():
    """An aligner that hears each phone 30 ms later than the reading says."""
    symbols = [SYMBOL_IDS[s] for s in "ab,c."]
    onsets = (0.1, 0.3, 0.5, 0.7, 0.9)
    reading = Reading(
        Waveform(np.zeros(RATE, np.float32), RATE), tuple(symbols), (0, 1, 1, 2, 2), onsets
    )

    def phones(samples):
        found = np.full((len(samples) // 240, len(SYMBOLS)), -12.0)
        found[:, 0] = -0.01
        edges = [round(100 * (t + 0.03)) for t in (*onsets, 1.0)]
        for symbol, begin, end in zip(symbols, edges, edges[1:], strict=False):
            if symbol not in (SYMBOL_IDS[","], SYMBOL_IDS["."]):
                found[begin:end, 0], found[begin:end, symbol] = -12.0, -0.01
        return found

    late = timestamps.apart(reading, phones)
    assert late == pytest.approx([-0.03] * 3, abs=0.011)
    found = timestamps.gather([reading], phones)
    assert len(found["phones"]) == len(found["words"]) == 3
    assert "| us, words | 3 |" in timestamps.markdown({"us": found})


def test_sentences_are_cut_where_their_first_phone_begins():
    joined, rate = "One two. Three.", 1000
    onsets = [
        Onset(symbol, 0, word, span, time)
        for symbol, word, span, time in (
            ("w", 0, (0, 3), 0.1), ("t", 1, (4, 7), 0.5), (".", 1, (7, 8), 0.9),
            ("θ", 2, (9, 14), 1.3), (".", 2, (14, 15), 1.8),
        )
    ]  # fmt: skip
    speech = Chunk(np.arange(2000, dtype=np.float32), rate, 0.0, tuple(onsets))
    pieces = long_form.cut(speech, ["One two.", "Three."], joined)
    assert [(text, count) for text, _, count in pieces] == [("One two.", 3), ("Three.", 2)]
    assert [int(sound.samples[0]) for _, sound, _ in pieces] == [50, 1250]
    assert sum(len(sound.samples) for _, sound, _ in pieces) == 1950


def test_a_drift_is_found_and_none_is_made_up():
    rng = np.random.default_rng(0)
    # The second reading begins in the middle; the last twenty sentences are loud ones.
    made = [
        Sentence(voice, number, 6.0 * i, 10, errors=5 + base + rng.normal(), rate=10 + i / 100,
                 level_db=-20 + 3 * (number >= 80) + rng.normal() / 10, likeness=0.8)
        for base, voice in enumerate("ab")
        for i, number in enumerate(np.roll(np.arange(100), -50 * base))
    ]  # fmt: skip
    rate, errors = long_form.slope(made, "rate"), long_form.slope(made, "errors")
    level = long_form.slope(made, "level_db")
    assert rate.mean == pytest.approx(1.0, abs=1e-6)
    assert errors.low < 0 < errors.high
    assert level.low < 0 < level.high and level.high < 0.2
    assert "| rate, units a second |" in long_form.markdown(made)
    assert len(long_form.picture(made).axes) == 4


def test_lines_of_a_manifest_are_chosen_by_their_fields(tmp_path):
    (tmp_path / "manifest.jsonl").write_text('{"id": "a", "split": "val"}\n{"id": "b"}\n')
    assert [x["id"] for x in lines(tmp_path, split="val")] == ["a"]
    assert len(lines(tmp_path)) == 2 and len(lines(tmp_path, 1)) == 1


def test_clones_are_of_manifests_and_of_records(tmp_path):
    entries = []
    for i, seconds in enumerate([3.0, 12.0, 5.0, 2.5, 1.0]):
        wave = 0.3 * np.sin(np.arange(round(seconds * 24_000)) / 20)
        soundfile.write(tmp_path / f"{i}.wav", wave.astype("f4"), 24_000)
        entries.append({"audio": f"{i}.wav", "speaker": "me", "language": "en", "text": f"{i}",
                        "split": "test", "seconds": seconds})  # fmt: skip
    (tmp_path / "manifest.jsonl").write_text("".join(json.dumps(e) + "\n" for e in entries))
    prepare(tmp_path, "manifest", tmp_path / "records")
    for folder in (tmp_path, tmp_path / "records"):
        clips = cloning.by_speaker(folder)["me"]
        # The longest of a usual length first, too short ones not at all.
        assert [clip.text for clip in clips] == ["2", "0", "3", "1"]
        assert clips[0].load().duration_s == pytest.approx(5.0, abs=0.02)


def test_a_clone_half_way_to_the_speaker_covers_half():
    own, other, nobody = np.eye(3)
    near = lambda share: (np.sqrt(1 - share**2) * nobody + share * own).astype(float)  # noqa: E731
    kinds = {}
    for kind, share in (("recording", 1.0), ("resynthesis", 0.8), ("clone", 0.4)):
        right, others, nearest = cloning.score(
            np.array([near(share)] * 4), [0] * 4, np.array([own, other])
        )
        kinds[kind] = {"own": right, "others": others, "nearest": nearest, "speaker": [0] * 4}
        kinds[kind] |= {"errors": [1, 0, 0, 0], "words": [5] * 4}
    assert kinds["clone"]["nearest"] == [True] * 4 and kinds["clone"]["others"] == [0.0] * 4
    assert cloning.covered(kinds, 10).mean == pytest.approx(0.5)
    (line,) = (x for x in cloning.markdown({"made": kinds}).splitlines() if "clone" in x)
    assert line.startswith("| made, 1 | clone | 4 | 0.40") and "| 5.0 [" in line
    assert cloning.score(np.array([other]), [0], np.array([own, other]))[2] == [False]
    twin = np.array([0.96, 0.28, 0.0])  # whom nobody could tell from `own`
    _, others, nearest = cloning.score(np.array([twin]), [0], np.array([own, twin, other]))
    assert nearest == [True] and others == pytest.approx([twin @ other])
