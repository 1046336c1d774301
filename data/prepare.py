"""A corpus in, records out: `python -m data.prepare SOURCE --format FORMAT --out FOLDER`.

Every clip is decoded, mixed to mono, brought to 24 kHz, cut to 30 ms of silence before the sound
and 200 ms after it, and stored with its text and, where the corpus has them, its phones and their
times. A clip that cannot be used is skipped with name and reason in `report.jsonl`.

Work goes on in `FOLDER.partial`, split by split, and becomes `FOLDER` in one rename at the end. A
run that was killed goes on after its last finished split; a run on a finished folder changes
nothing.
"""

import argparse
import json
import os
import shutil
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from data import audio, corpora, records
from data.corpora import Clip, Skip
from data.phones import units_from_labels

MAX_S = 60.0
SPLITS = ("train", "val", "test")
_TEXT_IS_GIVEN = (
    "ljspeech",
    "libritts",
    "vctk",
)  # layouts in which a clip without text is an error


def prepare(
    source: Path,
    layout: str,
    out: Path,
    *,
    split: str | None = None,
    language: str = "",
    accent: str = "",
    shards: int = 1,
) -> dict[str, Any]:
    """Meta data of the folder `out`, prepared from the corpus at `source` unless it exists already.

    Args:
        source: Folder of the corpus.
        layout: A key of `corpora.FORMATS`.
        out: Folder of the records.
        split: Put every clip into this one. By default the corpus' own, or where it has none 1 % of
            the clips each for val and test, by a hash of the id.
        language: Of clips whose corpus does not say.
        accent: "us" or "gb", of English clips whose corpus does not say.
        shards: Files to each split.
    """
    if (out / "meta.json").exists():
        return records.read_meta(out)
    partial = out.with_name(out.name + ".partial")
    asked = {
        "source": str(source.resolve()), "format": layout, "split": split, "language": language,
        "accent": accent, "shards": shards,
    }  # fmt: skip
    if records.read_meta(partial).get("asked") != asked:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        (partial / "meta.json").write_text(json.dumps({"asked": asked, "splits": {}}))

    by_split: dict[str, list[Clip]] = {}
    skipped, seen = [], set()
    for item in corpora.FORMATS[layout](source):
        if isinstance(item, Clip) and item.id in seen:
            item = Skip(str(item.path), f"second clip of id {item.id!r}")
        elif isinstance(item, Clip) and layout in _TEXT_IS_GIVEN and not item.text:
            item = Skip(str(item.path), "no text")
        if isinstance(item, Skip):
            skipped.append(item)
            continue
        seen.add(item.id)
        by_split.setdefault(split or item.split or _split_of(item.id), []).append(item)

    for name, clips in by_split.items():
        done = records.read_meta(partial)["splits"]
        if name in done:
            continue
        writer = records.Writer(partial, name, shards)
        refused = []
        try:
            for result in tqdm(
                _results(clips, name, language, accent), name, len(clips), unit="clip"
            ):
                if isinstance(result, Skip):
                    refused.append(result)
                else:
                    writer.write(result)
        except BaseException:
            writer.abandon()
            raise
        writer.close(skipped=[list(skip) for skip in refused])

    meta = records.read_meta(partial)
    if not any(entry["count"] for entry in meta["splits"].values()):
        raise corpora.CorpusError(f"{source}: no usable clip in it as {layout}; see {partial}")
    skipped += [Skip(*pair) for entry in meta["splits"].values() for pair in entry.pop("skipped")]
    report = "".join(json.dumps(skip._asdict(), ensure_ascii=False) + "\n" for skip in skipped)
    (partial / "report.jsonl").write_text(report)
    (partial / "meta.json").write_text(json.dumps(meta, indent=1, ensure_ascii=False))
    partial.rename(out)
    return meta


def record(clip: Clip, split: str, language: str = "", accent: str = "") -> records.Record:
    """The record of a clip.

    Raises:
        ValueError: The audio is of no use, or the labels do not fit it.
    """
    sound = audio.load(clip.path, max_s=MAX_S)
    start, stop = audio.trim(sound.samples, sound.sample_rate)
    language = clip.language or language
    result = {
        "id": clip.id,
        "speaker": clip.speaker,
        "language": language,
        "accent": clip.accent or (accent if language.startswith("en") else ""),
        "text": clip.text,
        "split": split,
        "samples": records.to_int16(sound.samples[start:stop]),
        "bandwidth_hz": sound.bandwidth_hz,
    }
    if clip.phones is None or clip.durations is None:
        return result
    units, bounds_s = units_from_labels(clip.phones, clip.durations)
    bounds_s = np.clip(bounds_s - start / sound.sample_rate, 0, (stop - start) / sound.sample_rate)
    arrays = {"symbol": units.symbol, "stress": units.stress, "word": units.word}
    return result | arrays | {"bounds_s": bounds_s.astype(np.float32)}


def _results(
    clips: Iterable[Clip], split: str, language: str, accent: str
) -> Iterator[records.Record | Skip]:
    def one(clip: Clip) -> records.Record | Skip:
        try:
            return record(clip, split, language, accent)
        except ValueError as error:
            return Skip(str(clip.path), str(error).removeprefix(f"{clip.path}: "))

    clips, block = list(clips), 64  # in blocks, so that no more than these wait in memory
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoder and resampler release the lock
        for i in range(0, len(clips), block):
            yield from pool.map(one, clips[i : i + block])


def _split_of(clip_id: str) -> str:
    return {0: "val", 1: "test"}.get(zlib.crc32(clip_id.encode()) % 100, "train")


def main() -> None:
    parser = argparse.ArgumentParser("data.prepare", description=__doc__.split("\n\n")[0])
    parser.add_argument("source", type=Path, help="folder of the corpus")
    parser.add_argument("--format", choices=corpora.FORMATS, required=True, dest="layout")
    parser.add_argument("--out", type=Path, required=True, help="folder of the records, a new one")
    parser.add_argument("--split", choices=SPLITS, help="put every clip into this split")
    parser.add_argument("--language", default="", help="where the corpus does not say: en, de, ...")
    parser.add_argument("--accent", default="", choices=["", "us", "gb"], help="of English clips")
    parser.add_argument("--shards", type=int, default=1, help="record files to each split")
    arguments = parser.parse_args()
    try:
        meta = prepare(**vars(arguments))
    except (corpora.CorpusError, records.RecordError) as error:
        parser.exit(1, f"{error}\n")
    for name, entry in meta["splits"].items():
        minutes = entry["seconds"] / 60
        print(f"{name}: {entry['count']} clips, {minutes:.1f} min, {entry['speakers']} speakers")
    skipped = len((arguments.out / "report.jsonl").read_text().splitlines())
    print(f"{arguments.out}: {skipped} files skipped, see report.jsonl")


if __name__ == "__main__":
    main()
