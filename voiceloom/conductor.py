"""Many streams on one machine: who speaks next, how much, and who has to wait outside.

One thread owns the batch. It takes what clients have sent (text, the end of it, a farewell), asks
the scheduler (`voiceloom.scheduler`) for the next dispatch, makes it, and hands every stream its
chunk. Nothing else touches the models, so clients may be as many and as slow as they like: a chunk
is put into a queue and forgotten.

Taking up a sentence costs a few milliseconds (front end and text encoder), so at most one stream
does so between two dispatches.
"""

import collections
import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from voiceloom import scheduler, spoken
from voiceloom.batch import Batch, talking, warm
from voiceloom.engine import MAX_FRAMES, Engine
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
    """Bounds on the time of a dispatch, for every size of batch: fixed, and for every frame."""

    fixed_s: dict[int, float]
    frame_s: dict[int, float]

    def __call__(self, streams: int, frames: int) -> float:
        """Seconds at most; without bound where no batch holds so many streams."""
        size = next((s for s in sorted(self.fixed_s) if s >= streams), None)
        if size is None:
            return float("inf")
        return self.fixed_s[size] + frames * self.frame_s[size]


def measure_costs(engine: Engine, sizes: tuple[int, ...] = SIZES, times: int = 8) -> Costs:
    """Times dispatches of one and of MAX_FRAMES frames with every row speaking; compiles them."""
    fixed, per_frame = {}, {}
    for size in sizes:
        warm(engine, size)
        batch = talking(engine, size)
        slowest = {}
        for frames in (1, MAX_FRAMES):
            taken = []
            for _ in range(times + 1):
                begun = time.perf_counter()
                batch.frames(range(size), frames)
                taken.append(time.perf_counter() - begun)
            slowest[frames] = RESERVE * max(taken[1:])
        per_frame[size] = max(0.0, slowest[MAX_FRAMES] - slowest[1]) / (MAX_FRAMES - 1)
        fixed[size] = max(0.0, slowest[1] - per_frame[size])
    return Costs(fixed, per_frame)


class Session:
    """One client's stream. Every method may be called from any thread."""

    def __init__(self, conductor: "Conductor", speaker: Speaker):
        self._conductor, self.speaker = conductor, speaker
        self.text = ""  # all that was fed
        self.onsets: list[Onset] = []
        self.given_s = 0.0
        self.first: float | None = None  # time of the first chunk
        self.taken_s = 0.0  # that the client has fetched
        self.heard_s: float | None = None  # as it says itself, when it interrupts
        self.closed = False
        self._queue: queue.SimpleQueue = queue.SimpleQueue()
        self._deliver: Callable[[Chunk | Exception | None], None] = self._queue.put
        self._delivering = threading.Lock()

    def feed(self, text: str) -> None:
        """More text to say."""
        self.text += text
        self._conductor.tell(lambda: self._conductor.attempt(self, lambda: self.speaker.feed(text)))

    def flush(self) -> None:
        """No more text is to come."""
        self._conductor.tell(lambda: self._conductor.attempt(self, self.speaker.flush))

    def cancel(self) -> None:
        """Stops within the dispatch that is under way; what has been made stays."""
        self._conductor.tell(lambda: self._conductor.end(self, None))

    def interrupt(self, offset_s: float) -> Spoken:
        """Stops, and says what of the text had been heard after so much playback."""
        self.cancel()
        return spoken.at(self.text, self.onsets, self.given_s, offset_s)

    def lead_s(self, now: float) -> float | None:
        """Audio given out and not yet heard, if it is played as it comes; None before the first.

        What a slow client has not fetched it cannot have heard.
        """
        if self.first is None:
            return None
        return max(self.given_s - (now - self.first), self.given_s - self.taken_s)

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
        return self.speaker.report()

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
        self.costs = costs or measure_costs(synth.engine, sizes)
        self._batch = Batch(synth.engine, sizes[0])
        self.sessions: list[Session] = []
        self._resting: frozenset[Session] = frozenset()
        self._promised = 0  # rows of sessions that are being opened
        self._told: collections.deque[Callable[[], Any]] = collections.deque()
        self._turn = threading.Condition()
        self._closing = False
        self.dispatched: Callable[[float], Any] = lambda ratio: None
        """Told of every dispatch: its time as a part of the bound that the scheduler counts on."""
        self.dispatches = 0
        self._thread = threading.Thread(target=self._run, name="conductor", daemon=True)
        self._thread.start()

    # ---- for clients, from any thread ------------------------------------------------------

    def open(self, voice: VoiceLike, **how) -> Session:
        """A stream in a voice; arguments as `Synthesizer.stream`'s.

        Raises:
            Busy: One more would be one too many. VoiceError: At once.
        """
        begun = time.perf_counter()
        found = self._synth.voice(voice)
        front_end, memory = self._synth.front_end(found.accent), self._synth.engine.memory(found)
        with self._turn:
            streams = len(self.sessions) + self._promised
            frame_s = self._synth.engine.frame_s
            if self._closing or not scheduler.admits(streams, self._bound, frame_s, self.policy):
                raise Busy(streams, self._retry_after_s())
            self._promised += 1
        ready: queue.SimpleQueue = queue.SimpleQueue()

        def begin() -> None:
            try:
                self._fit(len(self.sessions) + 1)
                slot = self._batch.open(found.vector, memory=memory, **how)
                speaker = Speaker(self._synth.engine, slot, front_end, None, begun)
                session = Session(self, speaker)
                self.sessions.append(session)
                ready.put(session)
            except Exception as error:  # to the one who asked
                ready.put(error)
            finally:
                self._promised -= 1

        self.tell(begin)
        session = ready.get()
        if isinstance(session, Exception):
            raise session
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

    def _stop(self) -> None:
        raise SystemExit

    def _run(self) -> None:
        wait_s: float | None = None
        with contextlib.suppress(SystemExit):
            while True:
                with self._turn:
                    if not self._told and wait_s != 0.0:
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
        _LOG.error("a dispatch failed, %d streams with it", len(self.sessions), exc_info=error)
        for session in list(self.sessions):
            self.end(session, RuntimeError(f"the engine failed: {error}; ask again"))
        self._batch = Batch(self._synth.engine, self._sizes[0])

    def _dispatch(self) -> float | None:
        """Makes the next frames; how long there is nothing to do after it, None until told."""
        for session in list(self.sessions):
            if session.speaker.finished:
                self.end(session, None)
        ready, taken_up, left = [], False, False
        for session in list(self.sessions):
            if session.speaker.waiting and taken_up:
                left = True
                continue
            taken_up |= session.speaker.waiting
            if self.attempt(session, session.speaker.ready):
                ready.append(session)
        if not ready:
            return 0.0 if left else None
        now = time.perf_counter()
        resting = frozenset(i for i, session in enumerate(ready) if session in self._resting)
        frame_s = self._synth.engine.frame_s
        chosen = scheduler.plan(
            [session.lead_s(now) for session in ready], resting, self._bound, frame_s, self.policy
        )
        self._resting = frozenset(ready[i] for i in chosen.resting)
        if not chosen.frames:
            return chosen.wait_s
        speaking = [ready[i] for i in chosen.rows]
        rows = [session.speaker.row for session in speaking]
        blocks = self._batch.frames(rows, chosen.frames)
        took_s = time.perf_counter() - now
        self.dispatched(took_s / self._bound(len(rows), chosen.frames))
        self.dispatches += 1
        for session, block in zip(speaking, blocks, strict=True):
            take = session.speaker.take
            chunk = self.attempt(session, lambda: take(block, chosen.frames, now))  # noqa: B023
            if chunk is None:
                continue
            if session.first is None:
                session.first = time.perf_counter()
            session.given_s += chunk.duration_s
            session.onsets += chunk.onsets
            session.deliver(chunk)
            if session.speaker.finished:
                self.end(session, None)
        return 0.0

    def _bound(self, streams: int, frames: int) -> float:
        """Seconds of a dispatch at most. All rows of the batch are computed, whoever speaks."""
        return self.costs(max(streams, self._batch.size), frames)

    def _fit(self, streams: int) -> None:
        """The batch for so many."""
        size = scheduler.fitting(self._sizes, self._batch.size, streams)
        if size != self._batch.size:
            self._batch.resize(size)

    def _retry_after_s(self) -> float:
        """Until one of the streams will have said what it has: a guess of the order of seconds."""
        return 1.0 + len(self.sessions) / 4
