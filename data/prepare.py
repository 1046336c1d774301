"""A corpus in, records out: `python -m data.prepare SOURCE --format FORMAT --out FOLDER`.

Every clip is decoded, mixed to mono, brought to 24 kHz, cut to 30 ms of silence before the sound
and 200 ms after it, and stored with its text and, where the corpus has them, its phones and their
times. A clip that cannot be used is skipped with name and reason in `report.jsonl`. `--transcribe`
writes the texts of English clips that have none (`data.recognizer`), however long they are: what
is longer than a row of the language model is cut at its pauses.

Work goes on in `FOLDER.partial`, split by split, and becomes `FOLDER` in one rename at the end. A
run that was killed goes on after its last finished split; a run on a finished folder changes
nothing.
"""

import argparse
import dataclasses
import json
import os
import shutil
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int32
from tqdm import tqdm

from data import audio, corpora, records
from data.corpora import Clip, Skip
from data.phones import boundary_class, units_from_labels
from data.recognizer import Recognizer

MAX_S = 60.0
PIECE_S = 12.0  # a row of the language model has 12.8 s
_LEAST_PHONE_S = 0.025  # one step of the synthetic corpus' labels
SPLITS = ("train", "val", "test")
# Layouts that have a text to every clip: one without is a mistake there.
_TEXT_IS_GIVEN = ("ljspeech", "libritts", "vctk")


def prepare(
    source: Path,
    layout: str,
    out: Path,
    *,
    split: str | None = None,
    hold_out: int = 0,
    language: str = "",
    accent: str = "",
    shards: int = 1,
    transcribe: bool = False,
) -> dict[str, Any]:
    """Meta data of the folder `out`, prepared from the corpus at `source` unless it exists already.

    Args:
        source: Folder of the corpus.
        layout: A key of `corpora.FORMATS`.
        out: Folder of the records.
        split: Put every clip into this one. By default the corpus' own, or where it has none 1 % of
            the clips each for val and test, by a hash of the id.
        hold_out: Every so many speakers, by a hash of the name, go to the split test; 0 for none.
        language: Of clips whose corpus does not say.
        accent: "us" or "gb", of English clips whose corpus does not say.
        shards: Files to each split.
        transcribe: Write the text of clips that have none, in pieces of at most `PIECE_S`.
    """
    partial = out.with_name(out.name + ".partial")
    asked = {
        "source": str(source.resolve()), "format": layout, "split": split, "language": language,
        "accent": accent, "shards": shards, "transcribe": transcribe,
    }  # fmt: skip
    # Not where it is 0: folders that were made before there was such a thing stay good.
    asked |= {"hold_out": hold_out} if hold_out else {}
    if out.exists():
        meta = records.read_meta(out)
        if meta.get("asked") != asked:
            raise records.RecordError(
                f"{out}: holds something else ({meta.get('asked', 'no records')}, not {asked}); "
                "delete it or give another --out"
            )
        return meta
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
        held = hold_out and zlib.crc32(item.speaker.encode()) % hold_out == 0
        place = "test" if held else split or item.split or _split_of(item.id)
        by_split.setdefault(place, []).append(item)

    recognizer = Recognizer() if transcribe else None
    for name, clips in by_split.items():
        done = records.read_meta(partial)["splits"]
        if name in done:
            continue
        refused = []
        with records.Writer(partial, name, shards) as writer:
            results = _results(clips, name, language, accent, recognizer)
            for result in tqdm(results, name, len(clips), unit="clip"):
                if isinstance(result, Skip):
                    refused.append(result)
                    continue
                for piece in result:
                    writer.write(piece)
            writer.facts["skipped"] = refused

    meta = records.read_meta(partial)
    for entry in meta["splits"].values():
        skipped += [Skip(*pair) for pair in entry["skipped"]]
    report = "".join(json.dumps(skip._asdict(), ensure_ascii=False) + "\n" for skip in skipped)
    (partial / "report.jsonl").write_text(report, encoding="utf-8")
    if not any(entry["count"] for entry in meta["splits"].values()):
        raise corpora.CorpusError(
            f"{source}: no usable clip in it as {layout}; see {partial / 'report.jsonl'}"
        )
    partial.rename(out)
    return meta


def pieces(clip: Clip, recognizer: Recognizer | None) -> Iterator[tuple[Clip, audio.Audio]]:
    """The clip and its sound; in pieces if it is long and has no text yet.

    Raises:
        ValueError: The audio is of no use.
    """
    free = recognizer is not None and not clip.text
    sound = audio.load(clip.path, max_s=None if free else MAX_S)
    if not free or len(sound.samples) <= PIECE_S * sound.sample_rate:
        yield clip, sound
        return
    for i, (start, stop) in enumerate(audio.cuts(sound.samples, sound.sample_rate, PIECE_S)):
        piece = dataclasses.replace(clip, id=f"{clip.id}_{i}")
        yield piece, sound._replace(samples=sound.samples[start:stop])


def record(
    clip: Clip,
    sound: audio.Audio,
    split: str,
    language: str = "",
    accent: str = "",
    recognizer: Recognizer | None = None,
) -> records.Record:
    """The record of a clip, its text from `recognizer` where it has none.

    Raises:
        ValueError: The labels do not fit the sound.
    """
    start, stop = audio.trim(sound.samples, sound.sample_rate)
    language = clip.language or language
    result = {
        "id": clip.id,
        "speaker": clip.speaker,
        "language": language,
        "accent": clip.accent or (accent if language.startswith("en") else ""),
        "text": clip.text or (recognizer and recognizer(sound.samples[start:stop])) or None,
        "split": split,
        "samples": records.to_int16(sound.samples[start:stop]),
        "bandwidth_hz": sound.bandwidth_hz,
    }
    if clip.phones is None or clip.durations is None:
        return result
    units, bounds_s = units_from_labels(clip.phones, clip.durations)
    bounds_s = _pauses_where_silent(units.symbol, bounds_s, sound)
    # Labels begin up to 100 ms before anything is audible, and the cut is made by ear: 10 ms are
    # left to each of the first units, so that none is without time.
    bounds_s = np.maximum(bounds_s - start / sound.sample_rate, 0.01 * np.arange(len(bounds_s)))
    bounds_s = np.minimum(bounds_s, (stop - start) / sound.sample_rate)
    arrays = {"symbol": units.symbol, "stress": units.stress, "word": units.word}
    return result | arrays | {"bounds_s": bounds_s.astype(np.float32)}


def _pauses_where_silent(
    symbol: Int32[np.ndarray, " U"], bounds_s: Float32[np.ndarray, " U+1"], sound: audio.Audio
) -> Float32[np.ndarray, " U+1"]:
    """`bounds_s` with every pause beginning where the silence around it does.

    A duration model gives much of a silence to the phone before it: in the synthetic corpus the
    sound ends 340 ms (median of 400 clips) before the closing mark and 90 ms before a comma.
    """
    spans = audio.sounding(sound.samples, sound.sample_rate)
    begins = np.array([span.stop for span in spans]) / sound.sample_rate  # silences after a sound
    ends = np.array([span.start for span in spans[1:]] + [np.inf]) / sound.sample_rate
    fitted = bounds_s.copy()
    for u in range(1, len(symbol)):
        if boundary_class(int(symbol[u])) == 0:
            continue
        overlap = np.minimum(ends, bounds_s[u + 1]) - np.maximum(begins, bounds_s[u])
        gap = int(np.argmax(overlap))
        if overlap[gap] > 0:
            earliest = min(fitted[u - 1] + _LEAST_PHONE_S, bounds_s[u])
            fitted[u] = np.clip(begins[gap], earliest, bounds_s[u + 1])
    return fitted


def _results(
    clips: Iterable[Clip],
    split: str,
    language: str,
    accent: str,
    recognizer: Recognizer | None,
) -> Iterator[list[records.Record] | Skip]:
    def one(clip: Clip) -> list[records.Record] | Skip:
        try:
            parts = pieces(clip, recognizer)
            return [record(*part, split, language, accent, recognizer) for part in parts]
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
    parser.add_argument(
        "--hold-out", type=int, default=0, metavar="N", help="every Nth speaker goes to test"
    )
    parser.add_argument("--language", default="", help="where the corpus does not say: en, de, ...")
    parser.add_argument("--accent", default="", choices=["", "us", "gb"], help="of English clips")
    parser.add_argument(
        "--transcribe", action="store_true", help="texts for clips without, English"
    )
    parser.add_argument("--shards", type=int, default=1, help="record files to each split")
    arguments = parser.parse_args()
    try:
        meta = prepare(**vars(arguments))
    except (corpora.CorpusError, records.RecordError, ImportError) as error:
        parser.exit(1, f"{error}\n")
    for name, entry in meta["splits"].items():
        minutes = entry["seconds"] / 60
        print(f"{name}: {entry['count']} clips, {minutes:.1f} min, {entry['speakers']} speakers")
    skipped = len((arguments.out / "report.jsonl").read_text().splitlines())
    print(f"{arguments.out}: {skipped} files skipped, see report.jsonl")


if __name__ == "__main__":
    main()
