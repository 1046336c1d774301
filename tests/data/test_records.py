import resource

import numpy as np
import pytest

from data import records
from data.records import Reader, RecordError, Writer


def made(i: int, samples: int = 2_400) -> dict:
    sound = np.random.default_rng(i).integers(-9_000, 9_000, samples).astype(np.int16)
    return {"id": f"clip{i}", "speaker": f"s{i % 3}", "language": "en", "text": None,
            "samples": sound, "bandwidth_hz": 8_000.0}  # fmt: skip


def write(folder, count: int, split: str = "train", shards: int = 1) -> None:
    with Writer(folder, split, shards) as writer:
        for i in range(count):
            writer.write(made(i, 2_400 + 240 * i))


def test_pack_keeps_types_and_shapes():
    record = {
        "text": "Größe",
        "none": None,
        "bandwidth_hz": 8_000.0,
        "codes": np.arange(12, dtype=np.uint16).reshape(3, 4),
        "bounds_s": np.array([0, 0.5], np.float32),
        "empty": np.zeros(0, np.int32),
    }
    again = records.unpack(records.pack(record))
    assert again.keys() == record.keys()
    for key, value in record.items():
        np.testing.assert_array_equal(again[key], value)
        assert getattr(again[key], "dtype", None) == getattr(value, "dtype", None)


def test_int16_and_back_is_one_step_of_16_bits():
    samples = np.linspace(-1.2, 1.2, 1_000, dtype=np.float32)
    again = records.to_float(records.to_int16(samples))
    np.testing.assert_allclose(again, np.clip(samples, -1, 1), atol=0.6 / 32_767)


@pytest.mark.parametrize("shards", [1, 3])
def test_what_is_written_is_read_in_any_order(tmp_path, shards):
    write(tmp_path, 7, shards=shards)
    reader = Reader(tmp_path, "train")
    assert len(reader) == 7
    for i in (6, 0, 3):
        line, record = reader.index[i], reader[i]
        assert line["id"] == record["id"]
        assert line["seconds"] * 24_000 == len(record["samples"])
        want = made(int(record["id"][4:]), len(record["samples"]))
        np.testing.assert_array_equal(record["samples"], want["samples"])
    assert sorted(line["id"] for line in reader.index) == [f"clip{i}" for i in range(7)]
    entry = records.read_meta(tmp_path)["splits"]["train"]
    assert (entry["count"], entry["speakers"], len(entry["files"])) == (7, 3, shards)
    assert entry["seconds"] == pytest.approx(0.91)


def test_splits_share_a_folder(tmp_path):
    write(tmp_path, 3)
    write(tmp_path, 2, "val")
    assert [len(Reader(tmp_path, split)) for split in ("train", "val")] == [3, 2]


def test_code_records_count_by_their_frames(tmp_path):
    with Writer(tmp_path, "train") as writer:
        codes = np.zeros((50, 8), np.uint16)
        writer.write(
            {"id": "a", "speaker": "s", "language": "", "codes": codes, "frame_rate": 12.5}
        )
    assert Reader(tmp_path, "train").index[0]["seconds"] == 4.0


def test_an_unfinished_split_is_not_there(tmp_path):
    writer = Writer(tmp_path, "train")
    writer.write(made(0))
    with pytest.raises(RecordError, match="no split 'train'.*none.*data.prepare"):
        Reader(tmp_path, "train")
    writer.abandon()
    assert not list(tmp_path.iterdir())


def test_an_error_while_writing_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), Writer(tmp_path, "train") as writer:
        writer.write(made(0))
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_a_truncated_file_is_named_on_opening(tmp_path):
    write(tmp_path, 3)
    path = next(tmp_path.glob("*.array_record"))
    path.write_bytes(path.read_bytes()[:-1_000])
    with pytest.raises(RecordError, match=f"{path.name}: damaged.*bytes.*prepare it again"):
        Reader(tmp_path, "train")
    path.unlink()
    with pytest.raises(RecordError, match="missing"):
        Reader(tmp_path, "train")


def test_a_damaged_record_is_named_on_reading(tmp_path):
    write(tmp_path, 40)
    path = next(tmp_path.glob("*.array_record"))
    data = bytearray(path.read_bytes())
    middle = len(data) // 3
    data[middle : middle + 64] = bytes(64)
    path.write_bytes(data)
    with pytest.raises(RecordError, match="record .* of split train is damaged"):
        list(map(Reader(tmp_path, "train").__getitem__, range(40)))


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        with pytest.raises(RecordError, match="cannot write train.*MiB are free.*make room"):
            write(tmp_path / "out", 200)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list((tmp_path / "out").iterdir())
