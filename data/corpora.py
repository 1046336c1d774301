"""The layouts in which speech corpora come, each as a list of clips.

    manifest  manifest.jsonl, one object a line: audio, id, speaker, language, text, split, ...
    ljspeech  metadata.csv (id|text|normalised text) beside wavs/
    libritts  SUBSET/SPEAKER/CHAPTER/*.wav with *.normalized.txt; also LibriTTS-R
    vctk      wav48_silence_trimmed/pNNN/*_mic1.flac with txt/pNNN/*.txt
    folder    any audio files, each with or without a .txt of the same name; a sub-folder, a speaker

A lister only looks at names and texts; audio is opened by `data.prepare`. What cannot be a clip is
yielded as a `Skip` with its reason, so that one bad line does not end a run.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


class CorpusError(ValueError):
    """A folder that does not have the layout it is said to have."""


class Skip(NamedTuple):
    name: str  # file, or file and line
    reason: str


@dataclass(frozen=True)
class Clip:
    """A clip as its corpus describes it."""

    path: Path
    id: str  # unique in the corpus
    speaker: str
    language: str = ""
    text: str | None = None
    split: str | None = None  # None: the corpus does not divide itself
    accent: str = ""  # "us", "gb" or unknown
    phones: str | None = None  # one character a symbol, with its durations: see `data.phones`
    durations: tuple[int, ...] | None = None


Listing = Iterator[Clip | Skip]


def manifest(root: Path) -> Listing:
    """Clips of a `manifest.jsonl`. Needs `audio`; the other fields may be missing."""
    path = _require(root, "manifest.jsonl")
    with open(path) as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                entry = json.loads(line)
                audio = root / entry["audio"]
                durations = entry.get("durations")
                yield Clip(
                    path=audio,
                    id=str(entry.get("id", audio.relative_to(root).with_suffix(""))),
                    speaker=str(entry.get("speaker") or "unknown"),
                    language=entry.get("language") or "",
                    text=entry.get("text"),
                    split=entry.get("split"),
                    accent=entry.get("accent") or "",
                    phones=entry.get("phones"),
                    durations=None if durations is None else tuple(durations),
                )
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                yield Skip(f"{path}:{number}", f"malformed line ({error!r})")


def _require(root: Path, name: str) -> Path:
    path = root / name
    if not path.exists():
        raise CorpusError(f"{root}: no {name} in it; give the corpus' own folder, or its --format")
    return path


FORMATS: dict[str, Callable[[Path], Listing]] = {"manifest": manifest}
