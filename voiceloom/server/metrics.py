"""What an operator watches, in Prometheus' exposition format."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from voiceloom.conductor import Conductor, Session
from voiceloom.scheduler import MAX_FRAMES

_FIRST_S = (0.005, 0.01, 0.02, 0.03, 0.06, 0.1, 0.2, 0.5, 1, 2, 5)
_OF_BOUND = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.25, 1.5, 2.0, 3.0)


class Metrics:
    """Of one server; a registry of its own, so that tests may have many."""

    def __init__(self, conductor: Conductor):
        self.registry = CollectorRegistry()
        counter = lambda name, about: Counter(name, about, registry=self.registry)  # noqa: E731
        self.opened = counter("voiceloom_streams", "Streams begun")
        self.refused = counter("voiceloom_refused", "Requests without room")
        self.audio = counter("voiceloom_audio_seconds", "Audio made")
        self.characters = counter("voiceloom_characters", "Characters said or to be said")
        self.unheard = counter("voiceloom_unheard_seconds", "Audio made and interrupted")
        self.busy = counter("voiceloom_busy_seconds", "Time spent making audio")
        self.first = Histogram(
            "voiceloom_first_chunk_seconds", "Request to first chunk", buckets=_FIRST_S,
            registry=self.registry,
        )  # fmt: skip
        of_bound = Histogram(
            "voiceloom_dispatch_of_bound", "Time of a dispatch by what the scheduler counts on",
            ["frames"], buckets=_OF_BOUND, registry=self.registry,
        )  # fmt: skip
        conductor.dispatched = lambda frames, part: of_bound.labels(frames).observe(part)
        bound = Gauge(
            "voiceloom_bound_seconds", "Of a dispatch at most", ["streams", "frames"],
            registry=self.registry,
        )  # fmt: skip
        for size in conductor.costs.fixed_s:
            for frames in (1, MAX_FRAMES):
                bound.labels(size, frames).set(conductor.costs(size, frames))
        begin = Gauge(
            "voiceloom_begin_bound_seconds", "Of letting in a stream", registry=self.registry
        )
        begin.set(conductor.costs.begin_s)
        streams = Gauge("voiceloom_open_streams", "Streams now", registry=self.registry)
        streams.set_function(lambda: len(conductor.sessions))
        dispatches = Gauge("voiceloom_dispatches", "Since the start", registry=self.registry)
        dispatches.set_function(lambda: conductor.dispatches)

    def ended(self, session: Session) -> None:
        """Enters a session that is over."""
        report = session.report
        self.audio.inc(session.given_s)
        self.characters.inc(len(session.text))
        self.busy.inc(report.busy_s)
        self.unheard.inc(session.unheard_s)
        if session.given_s:
            self.first.observe(report.first_chunk_s)

    def exposition(self) -> bytes:
        """All of it as text."""
        return generate_latest(self.registry)
