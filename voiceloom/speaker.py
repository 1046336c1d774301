"""One stream of speech as a machine without threads and without waiting.

Text is fed as it comes, chunks are taken as long as there are any; whoever holds the machine (a
generator, an async generator, later a server) decides when. It cuts text into sentences, has each
read by the front end when its turn comes, fills the engine's text buffer with it, and knows where
in the text every chunk is and where the time went. With a look-ahead a sentence is begun before it
is all there: word by word, as many words behind the writer as the model may look ahead.
"""

import collections
import time
from collections.abc import Iterable, Sequence
from itertools import cycle
from typing import NamedTuple

import numpy as np

from data import markup
from data.incremental import Sentence
from data.markup import Steer
from data.phones import SYMBOLS, Units, boundary_class
from data.text import FrontEnd, TextError
from voiceloom.batch import Block, Slot
from voiceloom.engine import MAX_FRAMES, Engine, next_size
from voiceloom.loudness import BLOCK_S, TARGET_DB
from voiceloom.report import Report
from voiceloom.segments import Segment, Segmenter
from voiceloom.waveform import Chunk, Onset

PAUSE_S = 0.16
"""Silence put between sentences; with the tail and the lead that the model speaks, about 0.35 s."""

PARAGRAPH_S = 0.4
"""Further silence at a blank line."""

AUDIBLE_DB = -40.0
"""First audio is the first 10 ms above this, relative to the level of speech."""


class Part(NamedTuple):
    """Units for one filling of the text buffer."""

    units: Units  # spans and words count from the beginning of the whole text
    steer: Steer  # of the units
    text: str  # that they were read from, without marks
    lead_s: float  # of silence before it
    pause_s: float  # of silence after it, if anything follows
    open: bool = False  # its sentence is still being written


class Speaker:
    """Text in, chunks out. Not for two threads at once."""

    def __init__(
        self,
        engine: Engine,
        slot: Slot,
        front_end: FrontEnd,
        chunk_frames: int | Sequence[int] | None,
        begun: float,
        voice_s: float,
    ):
        """Takes up a slot.

        Args:
            engine: Of the slot.
            slot: Just opened.
            front_end: Reads the text, in the voice's accent.
            chunk_frames: Frames per chunk, or several to cycle; None grows them with the lead.
            begun: `time.perf_counter()` of the request.
            voice_s: Spent since then on the voice and the slot.
        """
        sizes = [chunk_frames] if isinstance(chunk_frames, int) else list(chunk_frames or [])
        if not all(1 <= size <= MAX_FRAMES for size in sizes):
            raise ValueError(f"chunk_frames must be 1 to {MAX_FRAMES}, got {chunk_frames}")
        self._engine, self._slot, self._front_end = engine, slot, front_end
        self._sizes = cycle(sizes) if sizes else None
        self._lookahead = slot.lookahead
        self._segmenter = Segmenter(at_clauses=slot.lookahead is None)
        self._segments: collections.deque[Segment] = collections.deque()
        self._parts: collections.deque[Part] = collections.deque()
        self._part: Part | None = None
        self._between = False  # two sentences
        self._sentence: Sentence | None = None  # of the part that is open
        self._written = False  # whether there may be text that it has not taken up
        self._starved = False  # whether the part cannot go on without it
        self._flushed = False
        self._reached = -1  # unit of the part that is being spoken
        self._words = 0  # in the parts read so far
        self._made = 0  # samples of all frames and pauses
        self._given = 0  # samples of all chunks: less by the codec's delay
        self._silence = 0  # samples of it before the next chunk

        self._begun, self._first, self._audible_s = begun, None, None
        self._until: float | None = None  # when all that was given is heard, played as it comes
        self._size, self._frame_cost_s = 1, 0.0
        self._spent = {"voice": voice_s, "text": 0.0, "prefill": 0.0}
        self._first_block: Block | None = None
        self._busy_s, self._frames = voice_s, 0

    def feed(self, text: str) -> None:
        """More text; what is certain of it can be taken as chunks now."""
        self._written = True
        self._segments += self._segmenter.feed(text)

    def flush(self) -> None:
        """No more text: the rest is a sentence too. `next` raises TextError if there was none."""
        self._written = self._flushed = True
        self._segments += self._segmenter.flush()
        if not (self._segments or self._words):
            raise TextError("no text: nothing to speak; give at least one word")

    @property
    def row(self) -> int:
        """Of its slot in the batch."""
        return self._slot.row

    def lead_s(self, now: float) -> float | None:
        """Audio given out and not yet heard, if it is played as it comes; None before the first."""
        return None if self._until is None else self._until - now

    @property
    def pause_s(self) -> float:
        """Silence before its next frame, which comes with that."""
        return self._silence / self._engine.sample_rate

    @property
    def to_come(self) -> int:
        """Units of the word being spoken that have not begun."""
        if self._part is None or self._reached < 0:
            return 0
        spans = self._part.units.span
        return int((spans[self._reached + 1 :] == spans[self._reached]).all(axis=1).sum())

    @property
    def waiting(self) -> bool:
        """Whether there is text to take up, which takes some milliseconds."""
        if self._part is not None:
            return self._part.open and self._written
        return bool(self._parts or self._segments or self._written)

    @property
    def speaking(self) -> bool:
        """Whether frames can be made of the text that it has taken up."""
        return self._part is not None and not self._starved

    @property
    def finished(self) -> bool:
        """Whether all has been said that there will ever be to say."""
        waiting = self._part or self._parts or self._segments
        return self._slot is None or (self._flushed and not waiting)

    def take_up(self) -> None:
        """Takes up the text that is `waiting`.

        Raises:
            TextError: Nothing in all of the text can be spoken.
        """
        if self._slot is None or not self.waiting:
            return
        begun = time.perf_counter()
        if self._part:
            self._go_on(self._slot)
        else:
            self._turn_to_part(self._slot)
        self._busy_s += time.perf_counter() - begun

    def next(self) -> Chunk | None:
        """The next chunk, or None where more text is needed; raises as `take_up` does."""
        self.take_up()
        if not self.speaking:
            return None
        begun = time.perf_counter()
        size = next(self._sizes) if self._sizes else self._size
        return self.take(self._slot.frames(size), size, begun)

    def take(self, block: Block, size: int, begun: float) -> Chunk | None:
        """The chunk of a block that was made for it; None if its text had not arrived.

        Args:
            block: Of its slot.
            size: Frames that were asked for.
            begun: `time.perf_counter()` before the dispatch.
        """
        self._starved = not block.done and len(block.codes) < size
        if not len(block.codes) and not block.done:
            return None  # its next word has not been written
        chunk = self._chunk(block)
        if block.done:
            self._silence += round(self._part.pause_s * self._engine.sample_rate)
            self._between = self._part.pause_s > 0
            self._part = None
        self._account(size, block, chunk, begun)
        return chunk

    def close(self) -> None:
        """Frees the slot."""
        if self._slot is not None:
            self._slot.close()
        self._slot = self._part = None
        self._segments.clear()
        self._parts.clear()

    def report(self) -> Report:
        """What has been made up to now."""
        block, first = self._first_block, (self._first or self._begun) - self._begun
        return Report(
            voice_s=self._spent["voice"],
            text_s=self._spent["text"],
            prefill_s=self._spent["prefill"],
            frames_s=block.lm_s if block else 0.0,
            decode_s=block.decode_s if block else 0.0,
            first_chunk_s=first,
            first_audible_s=first + (self._audible_s or 0.0),
            audio_s=self._given / self._engine.sample_rate,
            busy_s=self._busy_s,
            frames=self._frames,
            tokens=self._frames * self._engine.books,
        )

    def _turn_to_part(self, slot: Slot) -> None:
        """Fills the text buffer with what is to be spoken next, if anything."""
        begun = time.perf_counter()
        while not self._parts and self._segments:
            segment = self._segments.popleft()
            try:
                self._parts += self._read(segment)
            except TextError:  # a sentence of emoji, say; an error only if all of the text is
                if not (self._words or self._segments or self._segmenter.pending):
                    raise
        if not self._parts:
            self._written = False
            if self._lookahead is not None:
                self._parts += self._read_open()
        read = time.perf_counter()
        if not self._parts:
            return
        self._part, self._reached = self._parts.popleft(), -1
        if self._between:
            slot.breathe()
        slot.begin(
            self._part.units, self._part.steer, self._part.text, complete=not self._part.open
        )
        self._silence += round(self._part.lead_s * self._engine.sample_rate)
        if self._first is None:
            self._spent["text"] = read - begun
            self._spent["prefill"] = time.perf_counter() - read

    def _read_open(self) -> Iterable[Part]:
        """What can be said of a sentence that is being written."""
        self._sentence, segment = Sentence(self._front_end), self._segmenter.open
        reading = self._sentence.read(segment.text, complete=False)
        if reading is None:
            return []
        units = self._placed(reading.units, segment)
        return [Part(units, reading.steer, "", reading.lead_s, 0.0, open=True)]

    def _go_on(self, slot: Slot) -> None:
        """Takes up what has been written of the part's sentence since."""
        complete = bool(self._segments)
        self._written = complete  # then there may be more behind it
        segment = self._segments.popleft() if complete else self._segmenter.open
        reading = self._sentence.read(segment.text, complete)
        if not complete and len(reading.units.symbol) == len(self._part.units.symbol):
            return
        self._starved = False
        units = self._placed(reading.units, segment)
        slot.extend(units, reading.steer, complete=complete)
        self._part = self._part._replace(units=units, steer=reading.steer, open=not complete)
        if complete:
            self._words = int(units.word[-1]) + 1
            self._part = self._part._replace(pause_s=_pause_s(units, segment))

    def _placed(self, units: Units, segment: Segment) -> Units:
        """Units of a segment with words and spans counted from the beginning of the text."""
        return units._replace(word=units.word + self._words, span=units.span + segment.start)

    def _read(self, segment: Segment) -> Iterable[Part]:
        if self._lookahead is None:
            units, steer, lead_s = markup.read(self._front_end, segment.text)
        else:  # as if it had come word by word
            sentence = Sentence(self._front_end)
            units, steer, lead_s = sentence.read(segment.text, complete=True)
        units = self._placed(units, segment)
        self._words = int(units.word[-1]) + 1
        parts, at, text = [], 0, markup.bare(segment.text)
        for piece in split(units, self._engine.longest):
            count = len(piece.symbol)
            parts.append(Part(piece, Steer(*(a[at : at + count] for a in steer)), text, 0.0, 0.0))
            at += count
        parts[0] = parts[0]._replace(lead_s=lead_s)
        parts[-1] = parts[-1]._replace(pause_s=_pause_s(units, segment))
        return parts

    def _chunk(self, block: Block) -> Chunk:
        rate, units = self._engine.sample_rate, self._part.units
        self._made += self._silence
        onsets = []
        for i, pointer in enumerate(block.pointer):
            last = min(int(pointer), len(units.symbol) - 1)
            begin_s = (self._made + i * self._engine.frame_samples) / rate
            for u in range(self._reached + 1, last + 1):
                share = (u - self._reached - 0.5) / (last - self._reached)
                onsets.append(self._onset(u, begin_s + share * self._engine.frame_s))
            self._reached = max(self._reached, last)
        if block.done:  # of a pointer that is guessed there may be units left
            end_s = (self._made + len(block.pointer) * self._engine.frame_samples) / rate
            onsets += [self._onset(u, end_s) for u in range(self._reached + 1, len(units.symbol))]
        samples = np.concatenate([np.zeros(self._silence, np.float32), block.samples])
        chunk = Chunk(samples, rate, self._given / rate, tuple(onsets), block.codes)
        self._made += len(block.codes) * self._engine.frame_samples
        self._given += len(samples)
        self._silence = 0
        return chunk

    def _onset(self, u: int, time_s: float) -> Onset:
        units = self._part.units
        span = (int(units.span[u, 0]), int(units.span[u, 1]))
        symbol = SYMBOLS[units.symbol[u]]
        return Onset(symbol, int(units.stress[u]), int(units.word[u]), span, time_s)

    def _account(self, size: int, block: Block, chunk: Chunk, begun: float) -> None:
        now = time.perf_counter()
        self._busy_s += now - begun
        self._frames += len(block.codes)
        # Where the writer was slower than speech, playback begins anew with this chunk.
        self._until = max(now, self._until or now) + chunk.duration_s
        if self._first is None:
            self._first, self._first_block = now, block
            self._size = 1  # the second chunk is as short as the first: nothing is known yet
        else:
            self._size = next_size(size, self._until - now, self._frame_cost_s)
        self._frame_cost_s = max(0.9 * self._frame_cost_s, (now - begun) / len(block.codes))
        if self._audible_s is None:
            length = round(BLOCK_S * chunk.sample_rate)
            whole = chunk.samples[: len(chunk.samples) // length * length].reshape(-1, length)
            loud = np.mean(whole**2, axis=1) > 10 ** ((TARGET_DB + AUDIBLE_DB) / 10)
            if loud.any():
                self._audible_s = chunk.start_s + int(loud.argmax()) * BLOCK_S


def _pause_s(units: Units, segment: Segment) -> float:
    ends = boundary_class(int(units.symbol[-1])) in (2, 3, 4)
    return PAUSE_S * ends + PARAGRAPH_S * segment.paragraph


def split(units: Units, longest: int) -> list[Units]:
    """`units` in pieces of at most `longest`, cut at the last pause or else word that fits."""
    pieces = []
    while len(units.symbol) > longest:
        head = np.arange(1, longest)
        pause = np.array([boundary_class(int(s)) > 0 for s in units.symbol[: longest - 1]])
        seams = head[pause] if pause.any() else head[np.diff(units.word[:longest]) > 0]
        cut = int(seams[-1]) if len(seams) else longest
        pieces.append(Units(*(a[:cut] for a in units)))
        units = Units(*(a[cut:] for a in units))
    return [*pieces, units]
