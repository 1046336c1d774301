"""Many streams on one machine: who speaks next, how much, and who has to wait outside.

One thread owns the batch. It takes what clients have sent (text, the end of it, a farewell), asks
the scheduler (`voiceloom.scheduler`) for the next dispatch, makes it, and hands every stream its
chunk. Nothing else touches the models, so clients may be as many and as slow as they like: a chunk
is put into a queue and forgotten.

Letting a stream in and taking up a sentence (front end and text encoder) cost some milliseconds
each, in which nobody speaks: the scheduler says for how many there is time before a dispatch.
"""

import collections
import contextlib
import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from data.incremental import Sentence
from voiceloom import scheduler, spoken
from voiceloom.batch import Batch, newcomer, talking, warm
from voiceloom.engine import MAX_FRAMES, Engine
from voiceloom.likeness import SENTENCE
from voiceloom.scheduler import Policy
from voiceloom.speaker import Report, Speaker
from voiceloom.spoken import Spoken
from voiceloom.synthesizer import Synthesizer, VoiceLike
from voiceloom.waveform import Chunk, Onset

_LOG = logging.getLogger(__name__)

SIZES = (1, 4, 16)
"""Rows of a batch: the smallest that holds all streams is used."""

RESERVE = 1.3
"""On the slowest dispatch that was measured: other processes take their share now and then."""


class Busy(RuntimeError):
    """No room for another stream now; `retry_after_s` says when to ask again."""

    def __init__(self, streams: int, retry_after_s: float):
        super().__init__(
            f"{streams} streams are being spoken and one more might make somebody's stutter; try "
            f"again in {retry_after_s:.0f} s"
        )
        self.retry_after_s = retry_after_s


class Costs(NamedTuple):
    """Bounds on the time of a dispatch, by size of batch, and of what may come before it."""

    fixed_s: dict[int, float]
    frame_s: dict[int, float]
    begin_s: float  # bound on letting a stream in with its first text
    move_s: float = 0.0  # bound on a change between two sizes

    def __call__(self, streams: int, frames: int) -> float:
        """Seconds at most; without bound where no batch holds so many streams."""
        size = next((s for s in sorted(self.fixed_s) if s >= streams), None)
        if size is None:
            return float("inf")
        return self.fixed_s[size] + frames * self.frame_s[size]


def measure_costs(synth: Synthesizer, sizes: tuple[int, ...] = SIZES, times: int = 4) -> Costs:
    """Times dispatches of one and of MAX_FRAMES frames with every row speaking; compiles them.

    Before each, a sentence is read and one row taken by a newcomer with a text of the longest kind.
    """
    engine, front_end = synth.engine, synth.front_end("us")
    fixed, per_frame, begin_s = {}, {}, 0.0
    for size in sizes:
        warm(engine, size)
        batch = talking(engine, size)
        slowest = {}
        for frames in (1, MAX_FRAMES):
            taken, entered = [], []
            for _ in range(times + 1):
                batch.slots[0].close()
                begun = time.perf_counter()
                Sentence(front_end).read(SENTENCE, complete=True)
                newcomer(batch)
                came = time.perf_counter()
                batch.frames(range(size), frames)
                entered.append(came - begun)
                taken.append(time.perf_counter() - came)
            slowest[frames] = RESERVE * max(taken[1:])
            begin_s = max(begin_s, RESERVE * max(entered[1:]))
        per_frame[size] = max(0.0, slowest[MAX_FRAMES] - slowest[1]) / (MAX_FRAMES - 1)
        fixed[size] = max(0.0, slowest[1] - per_frame[size])
    return Costs(fixed, per_frame, begin_s, RESERVE * measure_moves(engine, sizes))


def measure_moves(engine: Engine, sizes: Sequence[int]) -> float:
    """The slowest change between two sizes of a batch, seconds; compiles all of them."""
    slowest = 0.0
    for small, large in itertools.combinations(sizes, 2):
        batch = talking(engine, small)
        for i, size in enumerate((large, small) * 2):
            begun = time.perf_counter()
            batch.resize(size)
            slowest = max(slowest, time.perf_counter() - begun) if i > 1 else slowest
    return slowest


class Session:
    """One client's stream. Every method may be called from any thread."""

    def __init__(self, conductor: "Conductor", enter: Callable[[], Speaker]):
        self._conductor, self.enter = conductor, enter
        self.speaker: Speaker | None = None  # until it has a row
        self.wishes: list[Callable[[Speaker], Any]] = []  # that came before that
        self.text = ""  # all that was fed
        self.onsets: list[Onset] = []
        self.to_come = 0  # units of the last word that have not begun
        self.given_s = 0.0
        self.taken_s = 0.0  # that the client has fetched
        self.heard_s: float | None = None  # as it says itself, when it interrupts
        self.cancelled = self.closed = False
        self._queue: queue.SimpleQueue = queue.SimpleQueue()
        self._deliver: Callable[[Chunk | Exception | None], None] = self._queue.put
        self._delivering = threading.Lock()

    def feed(self, text: str) -> None:
        """More text to say."""
        self.text += text
        self._conductor.tell(lambda: self._conductor.ask(self, lambda it: it.feed(text)))

    def flush(self) -> None:
        """No more text is to come."""
        self._conductor.tell(lambda: self._conductor.ask(self, lambda it: it.flush()))

    def cancel(self) -> None:
        """Stops at once; what is being made is not given out any more."""
        with self._delivering:
            self.cancelled = True
        self._conductor.tell(lambda: self._conductor.end(self, None))

    def interrupt(self, offset_s: float) -> Spoken:
        """Stops, and says what of the text had been heard after so much playback."""
        self.cancel()
        return spoken.at(self.text, self.onsets, self.given_s, offset_s, self.to_come)

    def lead_s(self, now: float) -> float | None:
        """The speaker's; but what a slow client has not fetched it cannot have heard."""
        lead_s = self.speaker and self.speaker.lead_s(now)
        return None if lead_s is None else max(lead_s, self.given_s - self.taken_s)

    @property
    def unheard_s(self) -> float:
        """Audio that was made and is known not to have been heard."""
        return 0.0 if self.heard_s is None else self.given_s - self.heard_s

    def listen(self, deliver: Callable[[Chunk | Exception | None], None]) -> None:
        """Has chunks (an error, and at the end None) handed to `deliver` from now on."""
        with self._delivering:
            while not self._queue.empty():
                deliver(self._queue.get())
            self._deliver = deliver

    def give(self, chunk: Chunk) -> None:
        """A chunk for the client, who still wants it; the conductor has it."""
        with self._delivering:
            if self.cancelled:
                return
            self.given_s += chunk.duration_s
            self.onsets += chunk.onsets
            self.to_come = self.speaker.to_come
            self._deliver(chunk)

    def deliver(self, made: Chunk | Exception | None) -> None:
        """Hands something to the client; the conductor does."""
        with self._delivering:
            self._deliver(made)

    def taken(self, chunk: Chunk) -> None:
        """The client has fetched a chunk."""
        self.taken_s += chunk.duration_s
        self._conductor.wake()

    @property
    def report(self) -> Report:
        """What the stream cost, and when it was heard first."""
        return self.speaker.report() if self.speaker else Report()

    def __iter__(self):
        """Chunks as they are made, to the end; raises what went wrong."""
        while (made := self._queue.get()) is not None:
            if isinstance(made, Exception):
                raise made
            self.taken(made)
            yield made


class Conductor:
    """Serves sessions until it is closed."""

    def __init__(
        self,
        synth: Synthesizer,
        policy: Policy = scheduler.DEFAULT,
        sizes: tuple[int, ...] = SIZES,
        costs: Costs | None = None,
    ):
        """Starts to serve.

        Args:
            synth: Voices and models.
            policy: Of the scheduler.
            sizes: Rows of a batch, in order; the last one is the most streams there can be.
            costs: Of dispatches; measured if None, which takes some seconds.
        """
        self._synth, self.policy, self._sizes = synth, policy, sizes
        self.costs = costs or measure_costs(synth, sizes)
        self._batch = Batch(synth.engine, sizes[0])
        self.sessions: list[Session] = []
        self._told: collections.deque[Callable[[], Any]] = collections.deque()
        self._turn = threading.Condition()
        self._closing = False
        self.dispatched: Callable[[int, float], Any] = lambda frames, part: None
        """Told of every dispatch: its frames, and its time as a part of the bound on it."""
        self.dispatches = 0
        self._thread = threading.Thread(target=self._run, name="conductor", daemon=True)
        self._thread.start()

    # ---- for clients, from any thread ------------------------------------------------------

    def open(self, voice: VoiceLike, seed: int = 0, **how) -> Session:
        """A stream in a voice, given out at once: its client can write before it has a row.

        Args:
            voice: As `Synthesizer.stream`'s.
            seed: Of everything random in the stream.
            **how: As `Engine.settings`'.

        Raises:
            Busy: One more would be one too many.
            VoiceError: There is no such voice.
            ValueError: Something is asked that the model does not have.
        """
        begun = time.perf_counter()
        engine, found = self._synth.engine, self._synth.voice(voice)
        front_end, memory = self._synth.front_end(found.accent), engine.memory(found)
        engine.settings(**how)  # refuses what cannot be asked here and now

        found_s = time.perf_counter() - begun

        def enter() -> Speaker:
            entered = time.perf_counter()
            self._batch.resize(self._next_size)
            slot = self._batch.open(found.vector, seed, memory=memory, **how)
            voice_s = found_s + time.perf_counter() - entered
            return Speaker(engine, slot, front_end, None, begun, voice_s)

        session = Session(self, enter)
        with self._turn:
            streams = len(self.sessions)
            costs = (self._bound, self.costs.begin_s, engine.frame_s)
            if self._closing or not scheduler.admits(streams, *costs, self.policy):
                raise Busy(streams, self._retry_after_s())
            self.sessions.append(session)
            self._turn.notify()
        return session

    def tell(self, what: Callable[[], Any]) -> None:
        """Has something done between two dispatches."""
        with self._turn:
            self._told.append(what)
            self._turn.notify()

    def wake(self) -> None:
        """Has the conductor look again whether there is something to do."""
        with self._turn:
            self._turn.notify()

    @property
    def closing(self) -> bool:
        """Whether nobody is taken in any more."""
        return self._closing

    def drain(self, timeout_s: float) -> bool:
        """Takes nobody in any more and waits for the streams; whether all came to their end."""
        self._closing = True
        until = time.monotonic() + timeout_s
        while self.sessions and time.monotonic() < until:
            time.sleep(0.02)
        return not self.sessions

    def close(self) -> None:
        """Ends all streams and the thread."""
        self._closing = True
        self.tell(lambda: [self.end(session, None) for session in list(self.sessions)])
        self.tell(self._stop)
        self._thread.join()

    # ---- in the conductor's thread ------------------------------------------------------------

    def end(self, session: Session, error: Exception | None) -> None:
        """Takes a session out; its client gets the error, if there is one, and the end."""
        if session.closed:
            return
        session.closed = True
        if session.speaker is not None:
            session.speaker.close()
        self.sessions.remove(session)
        if error is not None:
            session.deliver(error)
        session.deliver(None)

    def attempt(self, session: Session, what: Callable[[], Any]) -> Any:
        """What `what` gives; an error of it is the session's end."""
        if session.closed:
            return None
        try:
            return what()
        except Exception as error:
            self.end(session, error)
            return None

    def ask(self, session: Session, wish: Callable[[Speaker], Any]) -> None:
        """Has its speaker do something, once it has one."""
        if session.speaker is None:
            session.wishes.append(wish)
        else:
            self.attempt(session, lambda: wish(session.speaker))

    @property
    def _within(self) -> list[Session]:
        return [session for session in self.sessions if session.speaker is not None]

    @property
    def _knocking(self) -> list[Session]:
        return [session for session in self.sessions if session.speaker is None]

    def _take_up(self) -> None:
        """Lets streams in and has texts taken up, as long as the scheduler finds time for it."""
        while True:
            now = time.perf_counter()
            waiting = [session for session in self.sessions if self._waits(session, now)]
            speaking = [s for s in self._within if s.speaker.speaking and s not in waiting]
            leads, theirs = ([s.lead_s(now) for s in of] for of in (speaking, waiting))
            begin_s = self.costs.begin_s
            if self._knocking and self._next_size != self._batch.size:
                begin_s += self.costs.move_s
            chosen = scheduler.next_text(leads, theirs, self._bound, begin_s, self.policy)
            if chosen is None:
                return
            session = waiting[chosen]
            self.attempt(session, lambda: self._begin(session))  # noqa: B023

    def _waits(self, session: Session, now: float) -> bool:
        """Whether it has to be let in, or to take up a text."""
        speaker = session.speaker
        if speaker is None:
            return True
        # More of the sentence that it speaks can wait until it comes to speak again.
        lead_s = session.lead_s(now)
        can_wait = speaker.speaking and lead_s is not None and lead_s > self.policy.low_s
        return speaker.waiting and not can_wait

    def _begin(self, session: Session) -> None:
        if session.speaker is None:
            session.speaker = session.enter()
            for wish in session.wishes:
                wish(session.speaker)
        session.speaker.take_up()

    def _stop(self) -> None:
        raise SystemExit

    def _run(self) -> None:
        wait_s: float | None = None
        with contextlib.suppress(SystemExit):
            while True:
                with self._turn:
                    if not (self._told or self._knocking) and wait_s != 0.0:
                        self._turn.wait(wait_s)
                try:
                    for _ in range(len(self._told)):
                        self._told.popleft()()
                    wait_s = self._dispatch()
                except Exception as error:  # of a device, say: nobody's fault, so everybody's
                    self._begin_anew(error)
                    wait_s = 0.0

    def _begin_anew(self, error: Exception) -> None:
        """Tells all clients what went wrong; fresh rows for the next, since theirs may be gone."""
        _LOG.error("a dispatch failed, %d streams with it", len(self._within), exc_info=error)
        for session in self._within:
            self.end(session, RuntimeError(f"the engine failed: {error}; ask again"))
        self._batch = Batch(self._synth.engine, self._sizes[0])

    def _dispatch(self) -> float | None:
        """Makes the next frames; how long there is nothing to do after it, None until told."""
        self._take_up()
        for session in self._within:
            if session.speaker.finished:
                self.end(session, None)
        ready = [session for session in self._within if session.speaker.speaking]
        if not ready:
            return None
        now = time.perf_counter()
        leads = [session.lead_s(now) for session in ready]
        pauses = [session.speaker.pause_s for session in ready]
        frame_s = self._synth.engine.frame_s
        chosen = scheduler.plan(leads, pauses, self._bound, frame_s, self.policy)
        if not chosen.frames:
            return chosen.wait_s
        speaking = [ready[i] for i in chosen.rows]
        rows = [session.speaker.row for session in speaking]
        blocks = self._batch.frames(rows, chosen.frames)
        took_s = time.perf_counter() - now
        self.dispatched(chosen.frames, took_s / self._bound(len(rows), chosen.frames))
        self.dispatches += 1
        for session, block in zip(speaking, blocks, strict=True):
            take = session.speaker.take
            chunk = self.attempt(session, lambda: take(block, chosen.frames, now))  # noqa: B023
            if chunk is None:
                continue
            session.give(chunk)
            if session.speaker.finished:
                self.end(session, None)
        return 0.0

    def _bound(self, streams: int, frames: int) -> float:
        """Seconds of a dispatch at most. All rows of the batch are computed, whoever speaks."""
        return self.costs(max(streams, self._batch.size), frames)

    @property
    def _next_size(self) -> int:
        """Rows of the batch once one more stream is in it."""
        return scheduler.fitting(self._sizes, self._batch.size, len(self._batch.slots) + 1)

    def _retry_after_s(self) -> float:
        """Until one of the streams will have said what it has: a guess of the order of seconds."""
        return 1.0 + len(self.sessions) / 4
