"""Rows that speak together: one dispatch makes the next frames of all of them.

A row is one stream's. Its numbers depend on the row alone (text, voice, seed and state), so a
stream is bit for bit the same at any chunk size and in any company of the same number of rows.
Rows come and go while the others speak: a new one overwrites what the last one left, and what it
does not overwrite counts as unwritten. A batch can be grown and shrunk; other sizes are other
executables, whose sums may differ in the last bit.
"""

import time
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float32, Int

from data.markup import Steer
from data.phones import Units
from lm.sample import Memory
from voiceloom import loudness
from voiceloom.engine import BUCKETS, Engine
from voiceloom.prompt import REMIND, Prompt
from voiceloom.voice import Voice


class Block(NamedTuple):
    """What one dispatch gave a row, T frames of it; fewer than asked for where the text ended or
    has not arrived."""

    samples: Float32[np.ndarray, " S"]
    codes: Int[np.ndarray, "T Q"]
    pointer: Int[np.ndarray, " T"]  # unit being spoken at the end of each frame; -1 before all
    done: bool  # all units are spoken
    lm_s: float  # of the whole dispatch
    decode_s: float


class Batch:
    """So many rows, some of them open. Not for two threads at once."""

    def __init__(self, engine: Engine, size: int = 1):
        """Rows that have said nothing; all are free."""
        self.engine, self.size = engine, size
        self.slots: dict[int, Slot] = {}  # the open rows
        states = engine.init(np.zeros(size, np.int32))
        self._lm, self._decoder = states.lm, states.decoder
        self._text = None
        self._voice = np.zeros((size, engine.voice_width), np.float32)
        self._sampling = engine.sampling(size)
        self._loudness = [loudness.init_state(1)] * size
        self._late = [engine.delay_samples] * size  # samples to drop: the codec's delay, once

    def open(
        self,
        voice: Float32[np.ndarray, " Dv"],
        seed: int = 0,
        temperature: float | None = None,
        rate: float = 1.0,
        pitch: float = 0.0,
        pitch_range: float = 1.0,
        lookahead: int | None = None,
        memory: Memory | None = None,
    ) -> "Slot":
        """A row for a stream that has said nothing yet.

        Args:
            voice: The voice vector.
            seed: Of everything random in the stream.
            temperature: Of the first book and the durations, all others in proportion; None for the
                sampler's own.
            rate: Speaking rate, a factor.
            pitch: Semitones above the voice's own.
            pitch_range: Factor on the rise and fall of the melody.
            lookahead: Words that the model may know of beyond the one it speaks; None for all.
            memory: What it has heard before, as `Engine.memory` gives it for a voice. It hears
                that again when it has spoken for long, between two sentences.

        Raises:
            ValueError: Something is asked that the model does not have, or no row is free.
        """
        wanted = self.engine.settings(temperature, rate, pitch, pitch_range, lookahead)
        free = [row for row in range(self.size) if row not in self.slots]
        if not free:
            raise ValueError(f"all {self.size} rows are taken: close one, or grow the batch")
        row = free[0]
        for values, value in zip(self._sampling, wanted, strict=True):
            values[row] = value
        self._voice[row] = voice
        self._loudness[row], self._late[row] = loudness.init_state(1), self.engine.delay_samples
        rows = np.arange(self.size) == row
        seeds = np.full(self.size, seed % 2**31, np.int32)
        self._lm, self._decoder = self.engine.restart(rows, seeds, (self._lm, self._decoder))
        self.slots[row] = Slot(self, row, lookahead, memory)
        self.remind(self.slots[row])
        return self.slots[row]

    def remind(self, slot: "Slot") -> None:
        """Has a row hear its prompt, if it has one, in place of what it has said last."""
        if slot.memory is not None:
            rows = np.arange(self.size) == slot.row
            self._lm = self.engine.recall(rows, slot.memory, self._lm)
        slot.spoken = 0

    def load(
        self,
        slot: "Slot",
        units: Units,
        steer: Steer | None,
        text: str,
        complete: bool,
        fresh: bool,
    ) -> None:
        """Text for a row: see `Slot.begin` (`fresh`) and `Slot.extend`."""
        voice = self._voice[slot.row]
        one = self.engine.read(units, steer, text, voice, slot.lookahead, complete)
        if self._text is None:
            self._text = self.engine.blank(one, self.size)
        rows = np.arange(self.size) == slot.row
        self._text, self._lm = self.engine.load(rows, np.bool_(fresh), one, (self._text, self._lm))

    def frames(self, rows: Sequence[int], count: int) -> list[Block]:
        """Up to `count` frames, at most MAX_FRAMES, of each of these rows; one dispatch."""
        engine, begun = self.engine, time.perf_counter()
        active = np.isin(np.arange(self.size), rows)
        self._lm, out = engine.generate(
            active, self._text, self._voice, self._sampling, np.int32(count), self._lm
        )
        # Copies: a view would keep the device's buffers alive as long as somebody keeps the codes.
        codes, pointer, valid = (
            np.array(a).swapaxes(0, 1) for a in (out.codes, out.pointer, out.valid)
        )
        done = np.asarray(self._lm.done)
        written = time.perf_counter()
        made = valid.sum(axis=1)
        samples, self._decoder = engine.decode_frames(
            codes, out.said, valid, np.int32(made.max()), self._decoder
        )
        samples = np.asarray(samples)
        decoded = time.perf_counter()
        blocks = []
        for row in rows:
            sound, self._loudness[row] = engine.level(
                samples[row : row + 1, : made[row] * engine.frame_samples], self._loudness[row]
            )
            self.slots[row].spoken += int(made[row])
            drop = min(self._late[row], sound.shape[1])
            self._late[row] -= drop
            blocks.append(
                Block(
                    sound[0, drop:],
                    codes[row, : made[row]],
                    pointer[row, : made[row]],
                    done=bool(done[row]),
                    lm_s=written - begun,
                    decode_s=decoded - written,
                )
            )
        return blocks

    def resize(self, size: int) -> None:
        """Other rows for the open streams, which go on as they are; slots know their new row."""
        if size == self.size:
            return
        order = sorted(self.slots)
        if size < len(order):
            raise ValueError(f"{len(order)} streams are open and do not fit into {size} rows")

        rows = np.zeros((size, self.size), bool)
        rows[np.arange(len(order)), order] = True
        self._lm, self._decoder = self.engine.move(rows, (self._lm, self._decoder))
        if self._text is not None:
            self._text = self.engine.move_text(rows, self._text)
        jax.block_until_ready((self._lm, self._decoder, self._text))  # or it would cost later
        voice = np.zeros((size, self._voice.shape[1]), np.float32)
        voice[: len(order)] = self._voice[order]
        sampling = self.engine.sampling(size)
        for new, old in zip(sampling, self._sampling, strict=True):
            new[: len(order)] = old[order]
        spare = size - len(order)
        self._voice, self._sampling, self.size = voice, sampling, size
        self._loudness = [self._loudness[r] for r in order] + [loudness.init_state(1)] * spare
        self._late = [self._late[r] for r in order] + [self.engine.delay_samples] * spare
        slots, self.slots = [self.slots[r] for r in order], {}
        for row, slot in enumerate(slots):
            slot.row = row
            self.slots[row] = slot


class Slot:
    """One open row: text segments in, blocks of samples out."""

    def __init__(self, batch: Batch, row: int, lookahead: int | None, memory: Memory | None):
        self.batch, self.row, self.lookahead, self.memory = batch, row, lookahead, memory
        self.spoken = 0  # frames since its prompt

    def begin(
        self, units: Units, steer: Steer | None = None, text: str = "", complete: bool = True
    ) -> None:
        """Takes up the next segment in the voice's present state; arguments as `extend`'s."""
        # Caches, previous codes and position stay: the next sentence goes on from this one.
        self.batch.load(self, units, steer, text, complete, fresh=True)

    def extend(
        self, units: Units, steer: Steer | None = None, text: str = "", complete: bool = True
    ) -> None:
        """More of the segment has been written: takes all of it in place of what there was.

        Args:
            units: At most BUCKETS[-1] of them; those spoken already must not have changed.
            steer: How they are to be said.
            text: What the units were read from, for models that read it themselves.
            complete: Whether the segment ends here. If not, speech waits before the last
                `lookahead` words.
        """
        self.batch.load(self, units, steer, text, complete, fresh=False)

    def breathe(self) -> None:
        """Between two sentences: hears its prompt again if it has spoken for long."""
        if self.spoken >= REMIND:
            self.batch.remind(self)

    def frames(self, count: int) -> Block:
        """Up to `count` frames of this row alone; fewer where segment or text end."""
        return self.batch.frames([self.row], count)[0]

    def close(self) -> None:
        """Frees the row; a second call does nothing."""
        if self.batch.slots.get(self.row) is self:
            del self.batch.slots[self.row]


def warm(engine: Engine, size: int = 1) -> None:
    """Compiles every step that `size` rows need; else each compiles when it is first called."""
    slot = newcomer(Batch(engine, size))
    for count in BUCKETS:
        slot.begin(*_made_up(count))
    slot.frames(1)


def talking(engine: Engine, size: int) -> Batch:
    """A batch with every row speaking a long made-up text: to measure dispatches on."""
    batch = Batch(engine, size)
    for seed in range(size):
        newcomer(batch, seed)
    return batch


def newcomer(batch: Batch, seed: int = 0) -> Slot:
    """A free row, taken by a stream that costs what one can: a past, and a long made-up text."""
    voice = _made_up_voice(batch.engine)
    slot = batch.open(voice.vector, seed, memory=batch.engine.memory(voice))
    slot.begin(*_made_up(BUCKETS[-1]))
    return slot


def _made_up_voice(engine: Engine) -> Voice:
    """One that has been heard."""
    ones = np.ones(1, np.int32)
    codes = np.zeros((1, engine.books), np.int32)
    vector = np.zeros(engine.voice_width, np.float32)
    return Voice("", vector, "us", "", Prompt(ones, ones, ones, codes, ones))


def _made_up(count: int) -> tuple[Units, None, str]:
    """So many units, and a text of fewer tokens than that."""
    ones = np.ones(count, np.int32)
    return Units(ones, ones, ones, np.ones((count, 2), np.int32)), None, "so " * (count // 2)
