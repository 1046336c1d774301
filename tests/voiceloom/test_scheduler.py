"""The guarantee: admitted streams do not run dry, whatever costs and arrivals do."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from voiceloom.scheduler import MAX_FRAMES, Plan, Policy, admits, plan

FRAME_S = 0.08


def linear(fixed, per_frame, per_stream):
    """Costs of the shape that the engine has: a dispatch, a frame, a frame of a stream."""
    return lambda streams, frames: fixed + frames * (per_frame + streams * per_stream)


def serve(cost, policy, arrivals, lengths, rng, seconds=30.0):
    """A server whose dispatches take up to their bound; yields (time, lead, row) at every lead."""
    now, streams, waiting = 0.0, {}, list(zip(arrivals, lengths, strict=True))
    while now < seconds and (streams or waiting):
        for at, frames in [w for w in waiting if w[0] <= now]:
            if admits(len(streams), cost, FRAME_S, policy):
                streams[at] = {"left": frames, "made": 0, "first": None}
            waiting.remove((at, frames))
        if not streams:
            now = min(at for at, _ in waiting) if waiting else seconds
            continue
        order = list(streams)
        leads = [
            None if s["first"] is None else s["made"] * FRAME_S - (now - s["first"])
            for s in streams.values()
        ]
        yield now, leads, policy
        pauses = rng.choice([0.0, 0.0, 0.16], len(leads)).tolist()
        chosen = plan(leads, pauses, cost, FRAME_S, policy)
        if not chosen.frames:
            now += chosen.wait_s + 1e-9
            continue
        now += rng.uniform(0.3, 1.0) * cost(len(leads), chosen.frames)
        for row in chosen.rows:
            stream = streams[order[row]]
            stream["first"] = now if stream["first"] is None else stream["first"]
            made = min(chosen.frames, stream["left"])
            stream["made"] += made + pauses[row] / FRAME_S
            stream["left"] -= made
            if not stream["left"]:
                del streams[order[row]]


@settings(deadline=None, max_examples=200)
@given(
    fixed=st.floats(0.0, 0.03),
    per_frame=st.floats(0.0001, 0.03),
    per_stream=st.floats(0.0001, 0.01),
    first=st.integers(1, 3),
    seed=st.integers(0, 1000),
)
def test_nobody_who_was_admitted_runs_dry(fixed, per_frame, per_stream, first, seed):
    rng = np.random.default_rng(seed)
    arrivals = np.unique(rng.uniform(0, 10, 30)).tolist()
    lengths = rng.integers(1, 200, len(arrivals)).tolist()
    cost, policy = linear(fixed, per_frame, per_stream), Policy(first_frames=first)
    for now, leads, _ in serve(cost, policy, arrivals, lengths, rng):
        heard = [lead for lead in leads if lead is not None]
        assert min(heard, default=1.0) >= policy.delay_s - 1e-9, f"dry at {now:.3f} s"


@settings(deadline=None)
@given(arrivals=st.lists(st.floats(0.0, 8.0), min_size=1, max_size=8, unique=True))
def test_nothing_is_made_beyond_the_high_mark(arrivals):
    cost, rng = linear(0.002, 0.001, 0.0005), np.random.default_rng(0)
    policy, most = Policy(), 0.0
    for _, leads, _ in serve(cost, policy, arrivals, [400] * len(arrivals), rng):
        most = max([most, *(lead for lead in leads if lead is not None)])
    assert policy.low_s + 0.5 < most <= policy.high_s


def test_streams_that_began_apart_come_to_speak_together():
    cost, rng = linear(0.002, 0.001, 0.0005), np.random.default_rng(0)
    found = serve(cost, Policy(), [0.0, 0.31, 0.53, 0.9], [400] * 4, rng)
    last = [leads for now, leads, _ in found if now > 4.0]
    assert all(max(leads) - min(leads) < MAX_FRAMES * FRAME_S for leads in last)


def test_a_new_stream_is_not_kept_waiting_by_long_chunks():
    cost, none = linear(0.002, 0.001, 0.0005), [0.0] * 3
    assert plan([0.5, 1.3], none, cost, FRAME_S).frames == MAX_FRAMES
    assert plan([0.5, 1.3, None], none, cost, FRAME_S) == Plan(1, (0, 1, 2))


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
    streams = next(n for n in itertools.count() if not admits(n, cost, FRAME_S))
    assert cost(streams, 1) <= 0.8 * FRAME_S < cost(streams + 1, 1)
    assert not admits(0, linear(0.2, 0.0, 0.0), FRAME_S), "its first chunk would not pay"
    assert plan([], [], cost, FRAME_S).frames == 0
