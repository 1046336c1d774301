"""Sentences that have been read, by us or by the teacher: sound, and when each unit begins."""

import dataclasses
import json
from pathlib import Path

from data.phones import SYMBOL_IDS, boundary_class, units_from_labels
from voiceloom.waveform import Chunk, Waveform


@dataclasses.dataclass(frozen=True)
class Reading:
    """A reading of U units.

    Attributes:
        sound: All of it.
        symbols: Id of every unit.
        words: Index of the word that each is of.
        onsets_s: When each begins.
    """

    sound: Waveform
    symbols: tuple[int, ...]
    words: tuple[int, ...]
    onsets_s: tuple[float, ...]

    @property
    def kinds(self) -> tuple[int, ...]:
        """Boundary class of every unit, 0 for a phone."""
        return tuple(boundary_class(symbol) for symbol in self.symbols)


def of_speech(chunk: Chunk) -> Reading:
    """Ours, with its own alignment."""
    return Reading(
        chunk,
        tuple(SYMBOL_IDS[onset.symbol] for onset in chunk.onsets),
        tuple(onset.word for onset in chunk.onsets),
        tuple(onset.time_s for onset in chunk.onsets),
    )


def of_corpus(line: dict, folder: Path) -> Reading:
    """The teacher's, with the labels of the synthetic corpus."""
    units, bounds_s = units_from_labels(line["phones"], line["durations"])
    return Reading(
        Waveform.load(folder / line["audio"]),
        tuple(int(symbol) for symbol in units.symbol),
        tuple(int(word) for word in units.word),
        tuple(float(t) for t in bounds_s[:-1]),
    )


def lines(folder: Path, limit: int | None = None, **wanted: str) -> list[dict]:
    """Lines of a manifest whose fields are as wanted."""
    text = (folder / "manifest.jsonl").read_text(encoding="utf-8")
    found = map(json.loads, text.splitlines())
    return [x for x in found if all(x.get(key) == value for key, value in wanted.items())][:limit]
