"""Streams of training batches from folders of records, and clips in order for evaluation.

The codec's diet is crops. All clips of all folders are thought of as laid end to end; an epoch is
that length cut into slots of one crop each, shuffled. A slot only says which clip is drawn (the one
it begins in), so clips come in proportion to their seconds with no chance involved, and the crop
falls anywhere in the clip. Chance is drawn from the seed and the element's number, so element n is
the same after a restart, and process k of n sees elements k, k + n, ... of one common stream.
"""

import os
from collections.abc import Sequence

import grain
import numpy as np
import soxr

from data import records, said
from data.audio import SAMPLE_RATE
from data.records import Reader
from data.utterances import onsets

# A crop longer than its clip goes on with another clip, or (a quarter of the time) with silence: a
# stream has both joins and digital zero in it.
_SILENCE_SHARE = 0.25
_GAIN_DB = (-12.0, 6.0)
_RATE = (0.85, 1.2)  # beyond these a resampled voice sounds like a tape, not like a person
_PEAK = 0.98


def audio_crops(
    folders: Sequence[str],
    split: str,
    seconds: float,
    batch: int,
    seed: int,
    *,
    resampled_share: float = 0.0,
    frame_samples: int | None = None,
    shard_index: int = 0,
    shard_count: int = 1,
    threads: int = 1,
) -> grain.IterDataset:
    """Endless batches of crops: `samples` float32 [B, S] at 24 kHz and `bandwidth_hz` float32 [B].

    A crop has a random gain of -12 to +6 dB, less where its peak would pass 0.98.

    Args:
        folders: Folders of records, `runs/records/NAME`; their seconds weigh alike.
        split: Of all the folders.
        seconds: Of a crop.
        batch: Crops to a batch, in this process.
        seed: Of the order and of every crop.
        resampled_share: Of the crops, this share is played at 0.85 to 1.2 times the speed: pitch,
            formants and rate move together, which makes further voices.
        frame_samples: If given, what the frames of so many samples say goes along, as far as it is
            known: `said` int32 [B, T, 4], see `data.said`.
        shard_index: This process among `shard_count`, which together see the whole stream.
        shard_count: Number of processes.
        threads: Threads that read ahead.
    """
    crops = _Crops(folders, split, round(seconds * SAMPLE_RATE), resampled_share, frame_samples)
    stream = (
        grain.MapDataset.range(crops.slots)
        .seed(seed)
        .shuffle()
        .repeat()
        .random_map(crops)[shard_index::shard_count]
        .batch(batch, drop_remainder=True)  # or else grain cannot count this endless stream
    )
    return stream.to_iter_dataset(
        grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads)
    )


def code_crops(
    folders: Sequence[str], split: str, frames: int, batch: int, seed: int
) -> grain.IterDataset:
    """Endless batches of `codes` int32 [B, T, Q]: every clip alike, -1 beyond its end.

    Args:
        folders: Folders of code records, `runs/codes/NAME`.
        split: Of all the folders.
        frames: Of a crop.
        batch: Crops to a batch.
        seed: Of the order and of every crop.
    """
    readers = [Reader(folder, split) for folder in folders]
    codes = [reader[i]["codes"] for reader in readers for i in range(len(reader))]
    if not codes:
        raise records.RecordError(f"{', '.join(map(str, folders))}: no clip in split {split!r}")

    def crop(clip: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        start = rng.integers(max(1, len(codes[clip]) - frames + 1))
        cut = codes[clip][start : start + frames].astype(np.int32)
        return {"codes": np.pad(cut, ((0, frames - len(cut)), (0, 0)), constant_values=-1)}

    stream = grain.MapDataset.range(len(codes)).seed(seed).shuffle().repeat().random_map(crop)
    return stream.batch(batch, drop_remainder=True).to_iter_dataset()


def spoken_crops(
    folder: str | os.PathLike, split: str, frames: int, batch: int, seed: int
) -> grain.IterDataset:
    """Endless batches of `codes` int32 [B, T, Q] and `said` int32 [B, T, 4] (see `data.said`).

    Clips are laid end to end, and a crop falls anywhere.

    Args:
        folder: Of code records with labels.
        split: Of it.
        frames: Of a crop.
        batch: Crops to a batch.
        seed: Of every crop.

    Raises:
        RecordError: The folder holds less than a crop.
    """
    reader, codes, symbols = Reader(folder, split), [], []
    for record in (reader[i] for i in range(len(reader))):
        codes.append(record["codes"].astype(np.int32))
        onset = onsets(record["bounds_s"], record["frame_rate"], len(codes[-1]))
        symbol = np.append(record["symbol"], said.NOTHING)
        symbols.append(said.of_onsets(symbol, onset, len(codes[-1])))
    spare = sum(map(len, codes)) - frames
    if spare < 0:
        raise records.RecordError(f"{folder}: no {frames} frames in split {split!r}")
    every = {"codes": np.concatenate(codes), "said": np.concatenate(symbols)}

    def crop(_: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        start = rng.integers(spare + 1)
        return {name: values[start : start + frames] for name, values in every.items()}

    slots = grain.MapDataset.range(1 + spare // frames).seed(seed).repeat()
    return slots.random_map(crop).batch(batch, drop_remainder=True).to_iter_dataset()


def clips(folder: str | os.PathLike, split: str) -> grain.MapDataset:
    """The records of a split in order, once, with `samples` as float32."""
    return grain.MapDataset.source(Reader(folder, split)).map(_with_floats)


class _Crops:
    """Slot number and chance in, crop out."""

    def __init__(
        self,
        folders: Sequence[str],
        split: str,
        samples: int,
        resampled_share: float,
        frame_samples: int | None,
    ):
        self._readers = [Reader(folder, split) for folder in folders]
        self._samples, self._resampled_share = samples, resampled_share
        self._frame_samples = frame_samples
        seconds = [[line["seconds"] for line in reader.index] for reader in self._readers]
        ends = np.cumsum(np.concatenate(seconds)) * SAMPLE_RATE
        if not len(ends):
            raise records.RecordError(f"{', '.join(map(str, folders))}: no clip in split {split!r}")
        self._ends = ends  # in the line of all clips, samples
        self._firsts = np.cumsum([0] + [len(reader) for reader in self._readers])  # clip numbers
        self.slots = max(1, int(ends[-1]) // samples)

    def __call__(self, slot: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        size = self._samples
        at = (slot + rng.random()) / self.slots * self._ends[-1]
        rate = rng.uniform(*_RATE) if rng.random() < self._resampled_share else 1.0
        needed = int(np.ceil(size * rate)) + 1 if rate != 1.0 else size
        clip = min(int(np.searchsorted(self._ends, at, side="right")), len(self._ends) - 1)
        samples, bandwidth_hz, symbol, onset = self._run(clip, needed, rng)
        if rate != 1.0:
            samples = soxr.resample(samples, SAMPLE_RATE * rate, SAMPLE_RATE, quality="LQ")[:size]
            bandwidth_hz = min(bandwidth_hz * rate, SAMPLE_RATE / 2)
        gain = 10 ** (rng.uniform(*_GAIN_DB) / 20)
        gain = min(gain, _PEAK / max(np.abs(samples).max(), 1e-6))
        crop = {"samples": samples * np.float32(gain), "bandwidth_hz": np.float32(bandwidth_hz)}
        if self._frame_samples:
            frames = size // self._frame_samples
            crop["said"] = said.of_onsets(symbol, onset / rate / self._frame_samples, frames)
        return crop

    def _run(
        self, clip: int, needed: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, float, np.ndarray, np.ndarray]:
        """`needed` samples from somewhere in a clip, the lowest bandwidth among them, the symbols
        and the sample at which each begins."""
        samples, bandwidth_hz, symbol, onset = self._read(clip)
        spare = len(samples) - needed
        if spare >= 0:
            start = rng.integers(spare + 1)
            piece = records.to_float(samples[start : start + needed])
            return piece, bandwidth_hz, symbol, onset - start
        run = np.zeros(needed, np.float32)
        if rng.random() < _SILENCE_SHARE:
            start = rng.integers(-spare + 1)
            run[start : start + len(samples)] = records.to_float(samples)
            return run, bandwidth_hz, symbol, onset + start
        filled, symbols, onsets = 0, [], []
        while True:
            piece = records.to_float(samples[: needed - filled])
            run[filled : filled + len(piece)] = piece
            symbols.append(symbol)
            onsets.append(np.minimum(onset, len(samples)) + filled)
            filled += len(piece)
            if filled == needed:
                return run, bandwidth_hz, np.concatenate(symbols), np.concatenate(onsets)
            samples, other_hz, symbol, onset = self._read(self._neighbour(clip, rng))
            bandwidth_hz = min(bandwidth_hz, other_hz)

    def _neighbour(self, clip: int, rng: np.random.Generator) -> int:
        """Another clip of the same folder: mostly of the same bandwidth, so that none is lost."""
        folder = np.searchsorted(self._firsts, clip, side="right") - 1
        return int(rng.integers(self._firsts[folder], self._firsts[folder + 1]))

    def _read(self, clip: int) -> tuple[np.ndarray, float, np.ndarray, np.ndarray]:
        folder = np.searchsorted(self._firsts, clip, side="right") - 1
        record = self._readers[folder][int(clip - self._firsts[folder])]
        return record["samples"], record["bandwidth_hz"], *_labels(record)


def _labels(record: records.Record) -> tuple[np.ndarray, np.ndarray]:
    """Symbols of a record and the sample at which each begins; after the last, nothing."""
    if record.get("bounds_s") is None:
        return np.array([said.NOTHING]), np.zeros(1)
    return np.append(record["symbol"], said.NOTHING), record["bounds_s"] * SAMPLE_RATE


def _with_floats(record: records.Record) -> records.Record:
    return record | {"samples": records.to_float(record["samples"])}
