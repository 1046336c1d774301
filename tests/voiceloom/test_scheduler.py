"""The guarantee: admitted streams do not run dry, whatever costs and arrivals do."""

import itertools

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from voiceloom.scheduler import DEFAULT, MAX_FRAMES, Plan, Policy, admits, next_text, plan

FRAME_S = 0.08
TEXT = round(DEFAULT.text_s / FRAME_S)


def linear(fixed, per_frame, per_stream):
    """Costs of the shape that the engine has: a dispatch, a frame, a frame of a stream."""
    return lambda streams, frames: fixed + frames * (per_frame + streams * per_stream)


class Stream:
    """Texts of so many frames each, one after another."""

    def __init__(self, texts):
        self.ahead, self.left, self.until = list(texts), 0, None
        self.inside = False  # it has a row, which costs

    def lead(self, now):
        return None if self.until is None else self.until - now

    @property
    def over(self):
        return not (self.left or self.ahead)


def serve(cost, begin_s, policy, arrivals, texts, rng, least=0.3, seconds=30.0):
    """A server whose work takes `least` of its bound or more; yields time and leads."""
    now, streams, coming = 0.0, [], list(zip(arrivals, texts, strict=True))
    while now < seconds and (streams or coming):
        for at, own in [c for c in coming if c[0] <= now]:
            if admits(len(streams), cost, begin_s, FRAME_S, policy):
                streams.append(Stream(own))
            coming.remove((at, own))
        if not streams:
            now = min(at for at, _ in coming) if coming else seconds
            continue
        yield now, [s.lead(now) for s in streams]
        ready, waiting = [s for s in streams if s.left], [s for s in streams if not s.left]
        leads = [s.lead(now) for s in ready]
        rows = sum(s.inside for s in streams)
        bound = lambda count, frames: cost(max(count, rows), frames)  # noqa: B023, E731
        chosen = next_text(leads, [s.lead(now) for s in waiting], bound, begin_s, policy)
        if chosen is not None:
            waiting[chosen].left = waiting[chosen].ahead.pop(0)
            waiting[chosen].inside = True
            now += rng.uniform(least, 1.0) * begin_s
            continue
        pauses = rng.choice([0.0, 0.0, 0.16], len(leads)).tolist()
        chosen = plan(leads, pauses, bound, FRAME_S, policy)
        if not chosen.frames:
            now += chosen.wait_s + 1e-9
            continue
        now += rng.uniform(least, 1.0) * cost(rows, chosen.frames)
        for row in chosen.rows:
            stream = ready[row]
            made = min(chosen.frames, stream.left)
            if stream.until is not None:
                yield now, [stream.until - now]
            stream.until = (stream.until or now) + made * FRAME_S + pauses[row]
            stream.left -= made
        streams = [s for s in streams if not s.over]


@settings(deadline=None, max_examples=200)
@example(  # so many slow texts at once that admission has to count them
    fixed=0.0, per_frame=1e-4, per_stream=1e-4, begin_s=0.03, first=1, within_s=0.01, longest=TEXT,
    least=1.0, seed=0,
)  # fmt: skip
@given(
    fixed=st.floats(0.0, 0.03),
    per_frame=st.floats(0.0001, 0.03),
    per_stream=st.floats(0.0001, 0.01),
    begin_s=st.floats(0.0, 0.03),
    first=st.integers(1, 3),
    within_s=st.sampled_from([0.01, 1.0, 10.0]),
    longest=st.sampled_from([TEXT, 2 * TEXT]),
    least=st.sampled_from([0.3, 1.0]),
    seed=st.integers(0, 1000),
)
def test_nobody_who_was_admitted_runs_dry(
    fixed, per_frame, per_stream, begin_s, first, within_s, longest, least, seed
):
    rng = np.random.default_rng(seed)
    arrivals = np.unique(rng.uniform(0, within_s, 60)).tolist()
    texts = [[TEXT] * 3] * len(arrivals)
    if longest > TEXT:  # else all end together
        texts = [
            [*rng.integers(TEXT, longest, rng.integers(0, 4)).tolist(), int(rng.integers(1, TEXT))]
            for _ in arrivals
        ]
    cost, policy = linear(fixed, per_frame, per_stream), Policy(first_frames=first)
    for now, leads in serve(cost, begin_s, policy, arrivals, texts, rng, least):
        heard = [lead for lead in leads if lead is not None]
        assert min(heard, default=1.0) >= policy.delay_s - 1e-9, f"dry at {now:.3f} s"


@settings(deadline=None)
@given(arrivals=st.lists(st.floats(0.0, 8.0), min_size=1, max_size=8, unique=True))
def test_nothing_is_made_beyond_the_high_mark(arrivals):
    cost, rng = linear(0.002, 0.001, 0.0005), np.random.default_rng(0)
    policy, most = Policy(), 0.0
    for _, leads in serve(cost, 0.01, policy, arrivals, [[100] * 4] * len(arrivals), rng):
        most = max([most, *(lead for lead in leads if lead is not None)])
    assert policy.low_s + 0.5 < most <= policy.high_s


def test_streams_that_began_apart_come_to_speak_together():
    cost, rng = linear(0.002, 0.001, 0.0005), np.random.default_rng(0)
    found = serve(cost, 0.01, Policy(), [0.0, 0.31, 0.53, 0.9], [[400]] * 4, rng)
    last = [leads for now, leads in found if now > 4.0]
    apart = max(max(leads) - min(leads) for leads in last)
    assert apart < MAX_FRAMES * FRAME_S + 0.16, "further than a dispatch and a pause"


def test_a_new_stream_is_not_kept_waiting_by_long_chunks():
    cost, none = linear(0.002, 0.001, 0.0005), [0.0] * 3
    assert plan([0.5, 1.3], none, cost, FRAME_S).frames == MAX_FRAMES
    assert plan([0.5, 1.3, None], none, cost, FRAME_S) == Plan(1, (0, 1, 2))


def test_texts_are_taken_up_while_there_is_time_for_them():
    cost = linear(0.02, 0.001, 0.0005)  # a text and a dispatch after it: 41 to 43 ms
    first = lambda leads, waiting: next_text(leads, waiting, cost, 0.01)  # noqa: E731
    assert first([0.5], []) is None
    assert first([0.5], [0.9, None]) == 1, "who has not been heard yet comes first"
    assert first([0.5], [0.9, 0.05, None]) == 1, "unless somebody would run dry"
    assert first([0.5, 0.02], [0.9, None]) is None, "the dispatch cannot wait"
    assert first([0.5, 0.02], [0.01, None]) == 0, "but for who is even nearer to his end"
    assert first([], [None, None]) == 0


def test_chunks_grow_with_the_lead_and_no_further():
    cost = linear(0.0, 0.02, 0.0)
    sizes = [plan([lead], [0.0], cost, FRAME_S).frames for lead in (0.02, 0.05, 0.08, 0.12, 0.6)]
    assert sizes == [1, 2, 3, 5, 8]
    for lead, size in zip((0.05, 0.08, 0.12), sizes[1:], strict=False):
        assert cost(1, size) + Policy().delay_s <= lead < cost(1, size + 1) + Policy().delay_s


def test_who_would_come_above_the_high_mark_takes_no_part():
    cost, policy = linear(0.001, 0.001, 0.0), Policy()
    assert plan([1.4, 0.5], [0.0, 0.0], cost, FRAME_S).rows == (1,)
    assert plan([1.3, 0.5], [0.0, 0.0], cost, FRAME_S).rows == (0, 1)
    assert plan([1.3, 0.5], [0.2, 0.2], cost, FRAME_S).rows == (1,), "its pause counts"
    assert plan([1.3, 0.5], [0.0, 5.0], cost, FRAME_S).rows == (0, 1), "it would never speak"
    resting = plan([0.9, 1.9], [0.0, 0.0], cost, FRAME_S)
    assert resting.frames == 0 and abs(resting.wait_s - (0.9 - policy.low_s)) < 1e-9


def test_admission_keeps_the_headroom():
    cost = linear(0.001, 0.002, 0.004)
    streams = next(n for n in itertools.count() if not admits(n, cost, 0.0, FRAME_S))
    assert cost(streams, 1) <= 0.8 * FRAME_S < cost(streams + 1, 1)
    assert not admits(streams - 1, cost, 0.01, FRAME_S), "texts take their time, too"
    assert not admits(0, linear(0.2, 0.0, 0.0), 0.0, FRAME_S), "its first chunk would not pay"
    assert plan([], [], cost, FRAME_S).frames == 0
