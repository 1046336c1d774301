"""Folders of records: what preparation writes and training reads by number.

A record is one clip: a msgpack map in an ArrayRecord file, arrays carrying their dtype and shape.
A folder holds, for each split, `SPLIT-00000-of-00001.array_record`, `SPLIT.index.jsonl` (one line a
record: id, speaker, language, seconds; so that a sampler knows lengths and voices without reading
audio) and, over all, `meta.json`, which is written last: a split that it does not name is not
there, and one whose files have another size than it says is damaged.

Records are stored one by one and uncompressed, because 16-bit speech shrinks by a tenth only and
random access wants neither a group nor an inflation around it.
"""

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
from array_record.python.array_record_data_source import ArrayRecordDataSource
from array_record.python.array_record_module import ArrayRecordWriter
from jaxtyping import Float, Int16

from data.audio import SAMPLE_RATE

Record = dict[str, Any]
_ARRAY = 1  # msgpack extension code
# More parallelism would write behind our back and report a full disk hours later, when closing.
_OPTIONS = "group_size:1,uncompressed,max_parallelism:1"


class RecordError(ValueError):
    """A folder of records that is missing, unfinished or damaged."""


def to_int16(samples: Float[np.ndarray, " S"]) -> Int16[np.ndarray, " S"]:
    """Samples as stored: rounded, and limited to -1..1."""
    return np.round(np.clip(samples, -1.0, 1.0) * 32767.0).astype(np.int16)


def to_float(samples: Int16[np.ndarray, " S"]) -> Float[np.ndarray, " S"]:
    """Samples as used: float32 in -1..1."""
    return samples.astype(np.float32) * np.float32(1 / 32767)


def pack(record: Mapping[str, Any]) -> bytes:
    """Bytes of a record: str, int, float, None, and numpy arrays of any shape."""
    return msgpack.packb(dict(record), default=_pack_array)


def unpack(data: bytes) -> Record:
    """The record of such bytes."""
    return msgpack.unpackb(data, ext_hook=_unpack_array)


def _pack_array(x: Any) -> Any:
    if isinstance(x, np.ndarray):
        return msgpack.ExtType(_ARRAY, msgpack.packb((x.dtype.str, x.shape, x.tobytes())))
    if isinstance(x, np.generic):
        return x.item()
    raise TypeError(f"a record cannot hold a {type(x).__name__}; give it a numpy array")


def _unpack_array(code: int, data: bytes) -> Any:
    dtype, shape, raw = msgpack.unpackb(data)
    return np.frombuffer(raw, dtype).reshape(shape)


def read_meta(folder: str | os.PathLike) -> Record:
    """What `meta.json` says of a folder; `{"splits": {}}` if there is none yet."""
    path = Path(folder) / "meta.json"
    return json.loads(path.read_text()) if path.exists() else {"splits": {}}


class Writer:
    """Writes the records of one split. The split exists once `close` has returned, not before.

    As a context manager it closes at the end of the block, and leaves nothing if the block raises.
    """

    def __init__(self, folder: str | os.PathLike, split: str, shards: int = 1):
        self._folder, self._split = Path(folder), split
        self._folder.mkdir(parents=True, exist_ok=True)
        self._names = [f"{split}-{i:05d}-of-{shards:05d}.array_record" for i in range(shards)]
        self._writers = [
            ArrayRecordWriter(str(self._temporary(name)), _OPTIONS) for name in self._names
        ]
        self._index: list[list[Record]] = [[] for _ in range(shards)]
        self._written = 0
        self.facts: Record = {}  # further entries of the split in `meta.json`

    def write(self, record: Mapping[str, Any]) -> None:
        """Adds a record: id, speaker, language, and `samples`, or `codes` with `frame_rate`."""
        shard = self._written % len(self._writers)
        self._written += 1
        try:
            self._writers[shard].write(pack(record))
        except RuntimeError as error:
            raise self._unwritable(error) from error
        line = {key: record[key] for key in ("id", "speaker", "language")}
        self._index[shard].append(line | {"seconds": _seconds(record)})

    def close(self) -> None:
        """Finishes the split: moves its files into place, then enters it in `meta.json`."""
        sizes = {}
        try:
            for name, writer in zip(self._names, self._writers, strict=True):
                writer.close()
                with open(self._temporary(name), "rb") as file:
                    os.fsync(file.fileno())
                self._temporary(name).replace(self._folder / name)
                sizes[name] = (self._folder / name).stat().st_size
            lines = [line for shard in self._index for line in shard]
            text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
            _replace(self._folder / f"{self._split}.index.jsonl", text)
            meta = read_meta(self._folder)
            meta["splits"][self._split] = {
                "count": len(lines),
                "seconds": round(sum(line["seconds"] for line in lines), 3),
                "speakers": len({line["speaker"] for line in lines}),
                "files": sizes,
            } | self.facts
            _replace(self._folder / "meta.json", json.dumps(meta, indent=1, ensure_ascii=False))
        except (OSError, RuntimeError) as error:
            raise self._unwritable(error) from error

    def abandon(self) -> None:
        """Removes what was written and not closed, as if this split had never been begun."""
        for name, writer in zip(self._names, self._writers, strict=True):
            with contextlib.suppress(Exception):  # a full disk refuses the last block too
                writer.close()
            self._temporary(name).unlink(missing_ok=True)

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, kind, error, trace) -> None:
        try:
            if kind is None:
                self.close()
        finally:
            self.abandon()

    def _temporary(self, name: str) -> Path:
        return self._folder / f"{name}.partial"

    def _unwritable(self, error: Exception) -> RecordError:
        free = os.statvfs(self._folder).f_bavail * os.statvfs(self._folder).f_frsize / 2**20
        return RecordError(
            f"{self._folder}: cannot write {self._split} ({error}); {free:.0f} MiB are free there: "
            "make room or give another folder, then run again"
        )


class Reader:
    """Records of one split by number: a random access source for `grain.MapDataset.source`.

    `reader[i]` is a dict of str, numbers and numpy arrays (`samples` int16; see `to_float`).
    `reader.index[i]` is its line of the index: id, speaker, language, seconds.
    """

    def __init__(self, folder: str | os.PathLike, split: str):
        self.folder, self.split = Path(folder), split
        splits = read_meta(folder)["splits"]
        if split not in splits:
            raise RecordError(
                f"{folder}: no split {split!r} (it has: {', '.join(splits) or 'none'}); "
                "run `python -m data.prepare` to its end"
            )
        for name, size in splits[split]["files"].items():
            path = self.folder / name
            if not path.exists() or path.stat().st_size != size:
                found = f"{path.stat().st_size} bytes" if path.exists() else "missing"
                raise RecordError(
                    f"{path}: damaged, {found} where {size} bytes were written; "
                    f"delete {folder} and prepare it again"
                )
        with open(self.folder / f"{split}.index.jsonl", encoding="utf-8") as file:
            self.index: list[Record] = [json.loads(line) for line in file]
        files = [str(self.folder / name) for name in splits[split]["files"]]
        self._source = ArrayRecordDataSource(files) if self.index else []

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, i: int) -> Record:
        try:
            return unpack(self._source[i])
        except IndexError:
            raise
        except Exception as error:  # array_record and msgpack raise many kinds
            raise RecordError(
                f"{self.folder}: record {i} of split {self.split} is damaged ({error}); "
                "delete the folder and prepare it again"
            ) from error

    def __repr__(self) -> str:
        return f"Reader({str(self.folder)!r}, {self.split!r})"


def _seconds(record: Mapping[str, Any]) -> float:
    if "codes" in record:
        return len(record["codes"]) / record["frame_rate"]
    return len(record["samples"]) / SAMPLE_RATE


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".partial")
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
