"""Rows for the language model: codes, the units spoken in them, and when the pointer moves on.

A row is one to four utterances of one voice joined end to end, so that a full stop is not the end
of the world: the silences at a join belong to the closing punctuation before it. Row n takes one
clip of an epoch's permutation and fills up with others of its speaker that still fit, all drawn
from (seed, n): rows are the same after a restart, and process k of n sees rows k, k + n, ... of one
stream. Beside it lies a crop of another utterance of the speaker, for the voice. Codes are small
(an hour at 12.5 Hz and 16 books is 1.4 MB), so all of them are kept in memory.

Onsets in frames: unit u begins in frame floor(bounds_s[u] * frame_rate). A frame passes at most
`limit` units, the others wait for the next one.
"""

import os
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import grain
import numpy as np
from jaxtyping import Float, Int, UInt16

from data import prosody
from data.phones import SYMBOLS, boundary_class
from data.records import Reader


class Utterance(NamedTuple):
    """One clip, or a piece of one: T frames and the U units spoken in them."""

    codes: UInt16[np.ndarray, "T Q"]
    prosody: Int[np.ndarray, " T"]  # tokens of `data.prosody`
    symbol: Int[np.ndarray, " U"]
    stress: Int[np.ndarray, " U"]
    word: Int[np.ndarray, " U"]
    onset: Int[np.ndarray, " U+1"]  # frame in which each unit begins, then the trailing silence
    speaker: str
    clip: int  # number of the clip it is from


class Row(NamedTuple):
    """One row of a batch, as `rows` yields them stacked; the fields of its dicts."""

    codes: Int[np.ndarray, "T Q"]
    prosody: Int[np.ndarray, " T"]
    mask: np.ndarray  # bool [T], frames that there are
    advance: Int[np.ndarray, " T"]  # units passed in each frame; <start> is unit 0
    symbol: Int[np.ndarray, " U"]
    stress: Int[np.ndarray, " U"]
    word: Int[np.ndarray, " U"]
    length: np.ndarray  # int [], units that there are
    voice: Int[np.ndarray, "Tv Q"]  # of another utterance of the speaker
    voice_length: np.ndarray  # int [], frames of it


def onsets(bounds_s: Float[np.ndarray, " N"], frame_rate: float, frames: int) -> np.ndarray:
    """The frame of every onset [N], inside the clip and never decreasing."""
    # Bounds are float32: without the epsilon an onset on a frame's edge may fall before it.
    onset = np.floor(np.asarray(bounds_s, np.float64) * frame_rate + 1e-4).astype(np.int64)
    return np.maximum.accumulate(np.clip(onset, 0, frames - 1))


def advances(onset: Int[np.ndarray, " N"], frames: int, limit: int) -> Int[np.ndarray, " T"]:
    """Units passed in every frame, at most `limit`; the excess is carried over to the next."""
    counts = np.bincount(onset, minlength=frames)[:frames]
    waiting = 0
    for t, count in enumerate(counts):
        waiting += count
        counts[t] = min(waiting, limit)
        waiting -= counts[t]
    return counts


def advance_limit(utterances: Iterable[Utterance], quantile: float = 0.999) -> int:
    """The advance that this share of all frames stays within: `Config.advance`."""
    counts = [np.bincount(u.onset, minlength=len(u.codes)) for u in utterances]
    return max(1, int(np.quantile(np.concatenate(counts), quantile, method="higher")))


def longest_dwells(
    utterances: Iterable[Utterance], frame_rate: float, quantile: float = 0.995, least: int = 200
) -> tuple[float, ...]:
    """Longest time on a unit of every symbol and on <start>, seconds: `Config.max_dwell_s`.

    Symbols with fewer than `least` examples take the quantile of all phones or all pauses.
    """
    dwells: dict[int, list] = {}
    for u in utterances:
        for symbol, frames in zip(u.symbol, np.diff(u.onset), strict=True):
            dwells.setdefault(int(symbol), []).append(frames)
        dwells.setdefault(len(SYMBOLS), []).append(u.onset[0])
    # One frame more: an onset may fall anywhere in its frame.
    top = lambda frames: (float(np.quantile(frames, quantile)) + 1) / frame_rate  # noqa: E731
    pooled = {}
    for pause in (False, True):
        alike = [s for s in dwells if s < len(SYMBOLS) and (boundary_class(s) > 0) == pause]
        pooled[pause] = top(np.concatenate([dwells[s] for s in alike])) if alike else 0.5
    return tuple(
        top(dwells[s])
        if len(dwells.get(s, ())) >= least
        else pooled[s < len(SYMBOLS) and boundary_class(s) > 0]
        for s in range(len(SYMBOLS) + 1)
    )


def read(records: Iterable[Mapping[str, Any]], longest: int) -> list[Utterance]:
    """Utterances of records with codes and timings; clips over `longest` frames in pieces.

    A long clip is cut where a unit begins: at the last pause that fits, else at the last word.

    Raises:
      ValueError: A record has no codes, no pitch or no timings.
    """
    records, utterances = list(records), []
    for record in records:
        for name, what in (("codes", "codes"), ("hz", "pitch"), ("bounds_s", "timings")):
            if record.get(name) is None:
                raise ValueError(
                    f"record {record.get('id')!r} has no {what}: the language model needs codes, "
                    "pitch and timings; run `python -m experiments.tokenise` on a folder prepared "
                    "with labels"
                )
    tracks: dict[str, list] = {}
    for record in records:
        tracks.setdefault(record["speaker"], []).append(record["hz"])
    pitch = {speaker: prosody.median_hz(hz) for speaker, hz in tracks.items()}
    for clip, record in enumerate(records):
        codes = np.asarray(record["codes"], np.uint16)
        melody = prosody.Prosody(record["hz"], record["level_db"])
        tokens = prosody.tokens(melody, pitch[record["speaker"]])
        onset = onsets(record["bounds_s"], record["frame_rate"], len(codes))
        units = [np.asarray(record[name], np.int32) for name in ("symbol", "stress", "word")]
        pieces = _cuts(onset, units[0], units[2], len(codes), longest)
        for first, last, start, stop in pieces:
            symbol, stress, word = (values[first:last] for values in units)
            edge = np.clip(onset[first : last + 1] - start, 0, stop - start - 1)
            utterances.append(
                Utterance(
                    codes[start:stop],
                    tokens[start:stop],
                    symbol,
                    stress,
                    word - word[0],
                    edge,
                    record["speaker"],
                    clip,
                )
            )
    return utterances


def _cuts(onset, symbol, word, frames: int, longest: int) -> list[tuple[int, int, int, int]]:
    """Units [first, last) and frames [start, stop) of the pieces of a clip."""
    pieces, first, start = [], 0, 0
    while frames - start > longest:
        length = onset[first + 1 : -1] - start
        fits = np.flatnonzero((length > 0) & (length <= longest)) + first + 1
        new_word = fits[word[fits] != word[fits - 1]] if len(fits) else fits
        after_pause = [u for u in new_word if boundary_class(int(symbol[u - 1]))]
        candidates = after_pause if len(after_pause) else new_word
        if not len(candidates):
            return pieces  # a word longer than a row: the rest of the clip is of no use
        last = int(candidates[-1])
        pieces.append((first, last, start, int(onset[last])))
        first, start = last, int(onset[last])
    return [*pieces, (first, len(symbol), start, frames)]


class Rows:
    """A random access source of rows, for ever: `rows[n]` is a dict with the fields of `Row`."""

    def __init__(
        self,
        utterances: Sequence[Utterance],
        *,
        frames: int,
        units: int,
        limit: int,
        voice_frames: tuple[int, int],
        joined: int = 4,
        alone: float = 0.15,
        seed: int = 0,
    ):
        """Rows of `frames` frames and at most `units` units.

        Args:
          utterances: From `read`.
          frames: T of a row.
          units: U of a row; utterances with more are left out.
          limit: Units passed in a frame at most.
          voice_frames: Shortest and longest crop for the voice.
          joined: Utterances in a row at most.
          alone: Share of rows with one utterance only.
          seed: Of the order and of every row.
        """
        self._utterances = [
            u for u in utterances if len(u.codes) <= frames and len(u.symbol) <= units
        ]
        if not self._utterances:
            raise ValueError(f"no utterance fits into {frames} frames and {units} units")
        self._frames, self._units, self._limit = frames, units, limit
        self._voice_frames, self._joined, self._alone = voice_frames, joined, alone
        self._seed = seed
        self._speakers: dict[str, np.ndarray] = {}
        for i, u in enumerate(self._utterances):
            self._speakers.setdefault(u.speaker, []).append(i)
        self._speakers = {name: np.array(members) for name, members in self._speakers.items()}
        self._sizes = np.array([(len(u.codes), len(u.symbol)) for u in self._utterances])
        self._order = (-1, np.array([]))
        # Recordings have all books, our own speech those that we write.
        self._books = min(u.codes.shape[1] for u in self._utterances)

    @property
    def epoch(self) -> int:
        """Rows in which every utterance has been the first one once."""
        return len(self._utterances)

    def __len__(self) -> int:
        return 2**40

    def __getitem__(self, n: int) -> dict[str, np.ndarray]:
        epoch, at = divmod(int(n), self.epoch)
        if self._order[0] != epoch:
            order = np.random.default_rng([self._seed, 1, epoch]).permutation(self.epoch)
            self._order = epoch, order
        rng = np.random.default_rng([self._seed, 2, n])
        members = self._choose(int(self._order[1][at]), rng)
        row = self._join([self._utterances[i] for i in members])
        voice, length = self._voice(members, rng)
        return row._replace(voice=voice, voice_length=length)._asdict()

    def __repr__(self) -> str:
        return f"Rows({self.epoch} utterances, {self._frames} frames, seed {self._seed})"

    def _choose(self, first: int, rng: np.random.Generator) -> list[int]:
        """Utterances of one speaker that fit into a row together, in order."""
        chosen, left = [first], np.array([self._frames, self._units]) - self._sizes[first]
        if rng.random() < self._alone:
            return chosen
        others = self._speakers[self._utterances[first].speaker]
        others = others[others != first]
        while len(chosen) < self._joined:
            others = others[(self._sizes[others] <= left).all(axis=1)]
            if not len(others):
                break
            pick = int(others[rng.integers(len(others))])
            chosen.append(pick)
            left = left - self._sizes[pick]
            others = others[others != pick]
        return [chosen[i] for i in rng.permutation(len(chosen))]

    def _join(self, utterances: list[Utterance]) -> Row:
        """The row of utterances joined end to end, without its voice."""
        onset, word, offset, words = [], [], 0, 0
        for i, u in enumerate(utterances):
            # Only the last trailing silence is <end>; the others belong to the mark before them.
            ends = len(u.onset) if i == len(utterances) - 1 else len(u.onset) - 1
            onset.append(u.onset[:ends] + offset)
            word.append(u.word + words)
            offset, words = offset + len(u.codes), words + int(u.word[-1]) + 1
        codes = np.zeros((self._frames, self._books), np.int32)
        codes[:offset] = np.concatenate([u.codes[:, : self._books] for u in utterances])
        tokens = np.zeros(self._frames, np.int32)
        tokens[:offset] = np.concatenate([u.prosody for u in utterances])
        advance = np.zeros(self._frames, np.int32)
        advance[:offset] = advances(np.concatenate(onset), offset, self._limit)
        return Row(
            codes=codes,
            prosody=tokens,
            mask=np.arange(self._frames) < offset,
            advance=advance,
            symbol=self._padded(np.concatenate([u.symbol for u in utterances])),
            stress=self._padded(np.concatenate([u.stress for u in utterances])),
            word=self._padded(np.concatenate(word)),
            length=np.int32(sum(len(u.symbol) for u in utterances)),
            voice=codes[:0],
            voice_length=np.int32(0),
        )

    def _padded(self, values: np.ndarray) -> np.ndarray:
        return np.pad(values.astype(np.int32), (0, self._units - len(values)))

    def _voice(self, members: list[int], rng: np.random.Generator) -> tuple[np.ndarray, np.int32]:
        """A crop of another utterance of the speaker; of the same where there is no other."""
        shortest, longest = self._voice_frames
        speaker = self._speakers[self._utterances[members[0]].speaker]
        clips = {self._utterances[i].clip for i in members}
        others = [i for i in speaker if self._utterances[i].clip not in clips]
        codes = self._utterances[int(rng.choice(others or members))].codes[:, : self._books]
        length = min(int(rng.integers(shortest, longest + 1)), len(codes))
        start = int(rng.integers(len(codes) - length + 1))
        voice = np.zeros((longest, codes.shape[1]), np.int32)
        voice[:length] = codes[start : start + length]
        return voice, np.int32(length)


def batches(
    rows: Rows, batch: int, *, count: int | None = None, shard_index: int = 0, shard_count: int = 1
) -> grain.IterDataset:
    """Batches of rows as dicts of arrays [B, ...]: for ever, or the first `count` rows once."""
    stream = grain.MapDataset.range(count or len(rows)).map(rows.__getitem__)
    stream = stream[shard_index::shard_count].batch(batch, drop_remainder=True)
    return stream.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=4))


def from_folders(
    folders: Sequence[str | os.PathLike], split: str, longest: int, share: float = 1.0
) -> tuple[list[Utterance], float]:
    """Utterances of record folders with codes, and their frame rate.

    Args:
      folders: Of records with codes.
      split: Of all of them.
      longest: Frames; longer clips come in pieces.
      share: Of the clips, the same ones at every speed and of every larger share.
    """
    records = [
        record
        for folder in folders
        for record in _records(folder, split)
        if zlib.crc32(record["id"].partition("@")[0].encode()) % 1000 < 1000 * share
    ]
    rates = {float(record["frame_rate"]) for record in records}
    if len(rates) != 1:
        raise ValueError(f"{', '.join(map(str, folders))}: frame rates {sorted(rates)}, not one")
    return read(records, longest), rates.pop()


def _records(folder: str | os.PathLike, split: str) -> Iterable[Mapping[str, Any]]:
    reader = Reader(folder, split)
    return (reader[i] for i in range(len(reader)))
