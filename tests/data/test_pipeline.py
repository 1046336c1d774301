import itertools

import grain
import numpy as np
import pytest

from data import pipeline, records
from data.records import Writer

RATE = 24_000
SECONDS = 0.25


def tone(hertz: float, seconds: float) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)


def write(folder, clips: list[np.ndarray], bandwidth_hz: float = 12_000.0) -> str:
    with Writer(folder, "train") as writer:
        for i, samples in enumerate(clips):
            record = {"id": str(i), "speaker": "s", "language": "", "bandwidth_hz": bandwidth_hz}
            writer.write(record | {"samples": records.to_int16(samples)})
    return str(folder)


@pytest.fixture
def folders(tmp_path):
    """Two corpora: one of four long clips, one of three of 16 kHz, shorter than a crop."""
    long = write(tmp_path / "long", [tone(200 + 50 * i, 1 + i) for i in range(4)])
    short = write(tmp_path / "short", [tone(2_000 + 50 * i, 0.1) for i in range(3)], 8_000.0)
    return [long, short]


def crops(folders, batch=4, seed=0, **options):
    return pipeline.audio_crops(folders, "train", SECONDS, batch, seed, **options)


def take(stream, count):
    return list(itertools.islice(stream, count))


def hertz(samples) -> float:
    padded = np.abs(np.fft.rfft(samples * np.hanning(len(samples)), 4 * len(samples)))
    return np.argmax(padded) * RATE / (4 * len(samples))


def test_batches_have_the_stated_form(folders):
    for batch in take(crops(folders, resampled_share=0.5), 20):
        assert batch["samples"].shape == (4, 6_000) and batch["samples"].dtype == np.float32
        assert batch["bandwidth_hz"].shape == (4,) and batch["bandwidth_hz"].dtype == np.float32
        assert np.abs(batch["samples"]).max() <= 0.981
        assert np.abs(batch["samples"]).max(axis=1).min() > 0.05


def test_the_symbols_of_a_frame_are_those_that_are_heard(tmp_path):
    """Clips of three tones, some shorter than a crop; a symbol is the number of its tone."""
    pitches, frame = np.array([0.0, 400.0, 900.0, 1_600.0]), 1_200
    folder = tmp_path / "labelled"
    with Writer(folder, "train") as writer:
        for i, seconds in enumerate((0.6, 0.2, 0.9)):
            bounds_s = np.array([0.1, 0.3, 0.35, 1.0], "f") * seconds
            parts = zip(pitches, np.diff([0.0, *bounds_s]), strict=True)
            sound = np.concatenate([tone(pitch, length) for pitch, length in parts])
            record = {"id": str(i), "speaker": "s", "language": "", "bandwidth_hz": 12_000.0}
            record |= {"symbol": np.array([1, 2, 3]), "bounds_s": bounds_s}
            writer.write(record | {"samples": records.to_int16(sound)})
    options = dict(resampled_share=0.5, frame_samples=frame)
    compared = 0
    for batch in take(crops([str(folder)], **options), 30):
        assert batch["said"].shape == (4, 5, 4) and batch["said"].dtype == np.int32
        for samples, symbols in zip(batch["samples"], batch["said"], strict=True):
            for at, (symbol, *begun) in enumerate(symbols):
                if symbol > 0 and max(begun) < 0:
                    heard = hertz(samples[at * frame : (at + 1) * frame])
                    if np.abs(samples[at * frame : (at + 1) * frame]).max() > 0.01:
                        assert np.argmin(np.abs(np.log(pitches[1:] / heard))) == symbol - 1
                        compared += 1
    assert compared > 100


def test_codes_come_with_the_symbols_of_their_frames(tmp_path):
    """Code 2 u is unit u, and 2 u + 1 the frame in which the next one begins, too."""
    with Writer(tmp_path, "train") as writer:
        for i, first in enumerate((3, 40)):
            record = {"id": str(i), "speaker": "s", "language": "", "frame_rate": 12.5}
            codes = np.repeat(np.arange(first, first + 9), 2)[1:, None].astype(np.uint16)
            symbol, bounds_s = np.arange(first, first + 9), (np.arange(10) * 2 - 1) * 0.08
            writer.write(record | {"codes": codes, "symbol": symbol, "bounds_s": bounds_s})
    batch = next(iter(pipeline.spoken_crops(tmp_path, "train", 6, 8, 0)))
    assert batch["codes"].shape == (8, 6, 1) and batch["said"].shape == (8, 6, 4)
    now = np.where(batch["said"][..., 1] >= 0, batch["said"][..., 1], batch["said"][..., 0])
    np.testing.assert_array_equal(now, batch["codes"][..., 0])
    with pytest.raises(records.RecordError, match="no 60 frames"):
        pipeline.spoken_crops(tmp_path, "train", 60, 8, 0)


def test_the_seed_decides_all(folders):
    def digest(seed):
        return np.stack([b["samples"] for b in take(crops(folders, seed=seed), 6)])

    np.testing.assert_array_equal(digest(3), digest(3))
    assert not np.array_equal(digest(3), digest(4))


def test_a_restart_goes_on_at_the_same_crop(folders):
    stream = crops(folders, resampled_share=0.5, threads=2)
    grain.experimental.assert_equal_output_after_checkpoint(
        grain.experimental.LimitIterDataset(stream, 12)
    )


def test_shards_together_are_the_whole(folders):
    whole = take(crops(folders, batch=1), 60)
    for count in (2, 3):
        parts = [take(crops(folders, batch=1, shard_index=k, shard_count=count), 60 // count)
                 for k in range(count)]  # fmt: skip
        interleaved = [part for turn in zip(*parts, strict=True) for part in turn]
        for one, other in zip(whole, interleaved, strict=True):
            np.testing.assert_array_equal(one["samples"], other["samples"])


def test_clips_come_in_proportion_to_their_seconds(tmp_path):
    frequencies = [300, 600, 1_200, 2_400]
    clips = [tone(f, s) for f, s in zip(frequencies, [1, 2, 3, 6], strict=True)]
    stream = crops([write(tmp_path, clips)], batch=48)  # 12 s are 48 crops of 0.25 s
    for batch in take(stream, 3):  # in every epoch, up to the crops that straddle two clips
        heard = np.array([hertz(samples) for samples in batch["samples"]])
        counts = [int(np.sum(np.abs(heard - f) < 10)) for f in frequencies]
        np.testing.assert_allclose(counts, [4, 8, 12, 24], atol=2)


def test_clips_shorter_than_a_slot_all_have_their_turn_in_no_order(tmp_path):
    frequencies = [1_000 + 100 * i for i in range(20)]  # five fall into each slot
    folder = write(tmp_path, [tone(f, SECONDS / 5) for f in frequencies])
    firsts = []  # a crop begins with the clip that its slot drew, or ends with it after silence
    for batch in take(crops([folder], batch=4), 40):
        for samples in batch["samples"]:
            begin = np.flatnonzero(samples)[0]
            firsts.append(round(hertz(samples[begin : begin + 1_200]), -2))
    assert set(firsts) == set(frequencies)
    slots = np.reshape([(f - 1_000) // 500 for f in firsts], (40, 4))  # an epoch in each row
    assert len(np.unique(slots, axis=0)) > 10


def test_epochs_differ(folders):
    slots = sum(s * RATE for s in (1, 2, 3, 4, 0.3)) // 6_000
    first, second = take(crops(folders, batch=int(slots)), 2)
    assert not np.array_equal(first["samples"], second["samples"])


def test_gain_stays_in_its_range(tmp_path):
    folder = write(tmp_path, [np.full(RATE, 0.25)])
    levels = np.concatenate([b["samples"][:, 0] for b in take(crops([folder], batch=50), 4)])
    decibels = 20 * np.log10(levels / 0.25)
    assert decibels.min() > -12.1 and decibels.max() < 6.1
    assert decibels.min() < -10 and decibels.max() > 4
    loud = write(tmp_path / "loud", [np.full(RATE, 0.9)])
    assert take(crops([loud], batch=50), 1)[0]["samples"].max() <= 0.981


def test_short_clips_are_joined_or_padded(folders):
    whole = 0
    for batch in take(crops(folders[1:], batch=8), 12):
        for samples in batch["samples"]:
            sounding = np.abs(samples).reshape(-1, 100).max(axis=1) > 0
            seconds = sounding.sum() * 100 / RATE
            # Silence after one clip, or clips end to end.
            assert seconds == pytest.approx(0.1, abs=0.01) or seconds == SECONDS
            whole += seconds == SECONDS
        assert (batch["bandwidth_hz"] == 8_000).all()
    assert 50 < whole < 90  # of 96, three quarters


def test_resampling_moves_pitch_and_bandwidth_together(tmp_path):
    folder = write(tmp_path, [tone(1_000, 3)], 8_000.0)
    plain = take(crops([folder], batch=32), 1)[0]
    assert (plain["bandwidth_hz"] == 8_000).all()
    batch = take(crops([folder], batch=32, resampled_share=1.0), 1)[0]
    rates = np.array([hertz(samples) for samples in batch["samples"]]) / 1_000
    assert 0.84 < rates.min() < 0.95 and 1.1 < rates.max() < 1.21
    np.testing.assert_allclose(batch["bandwidth_hz"], 8_000 * rates, rtol=0.01)
    some = take(crops([folder], batch=200, resampled_share=0.25), 1)[0]
    assert 25 < np.sum(some["bandwidth_hz"] != 8_000) < 75
    full = write(tmp_path / "full", [tone(1_000, 3)])
    batch = take(crops([full], batch=32, resampled_share=1.0), 1)[0]
    assert batch["bandwidth_hz"].max() == 12_000 and batch["bandwidth_hz"].min() < 11_500


def test_an_empty_split_is_an_error(tmp_path):
    with pytest.raises(records.RecordError, match="no clip"):
        crops([write(tmp_path, [])])


def test_clips_are_in_order_once_and_float(folders):
    seen = list(pipeline.clips(folders[0], "train"))
    assert [clip["id"] for clip in seen] == ["0", "1", "2", "3"]
    assert [len(clip["samples"]) / RATE for clip in seen] == [1, 2, 3, 4]
    assert seen[0]["samples"].dtype == np.float32
    np.testing.assert_allclose(seen[0]["samples"], tone(200, 1), atol=1e-4)
