"""The guarantee: admitted streams do not run dry, whatever costs and arrivals do."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from voiceloom.scheduler import MAX_FRAMES, Plan, Policy, admits, plan

FRAME_S = 0.08
NOBODY = frozenset()


def linear(fixed, per_frame, per_stream):
    """Costs of the shape that the engine has: a dispatch, a frame, a frame of a stream."""
    return lambda streams, frames: fixed + frames * (per_frame + streams * per_stream)


def serve(cost, policy, arrivals, lengths, rng, seconds=30.0):
    """A server whose dispatches take up to their bound; yields (time, lead, row) at every lead."""
    now, streams, waiting = 0.0, {}, list(zip(arrivals, lengths, strict=True))
    resting = NOBODY
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
        chosen = plan(leads, resting, cost, FRAME_S, policy)
        resting = chosen.resting
        if not chosen.frames:
            now += chosen.wait_s + 1e-9
            continue
        now += rng.uniform(0.3, 1.0) * cost(len(chosen.rows), chosen.frames)
        for row in chosen.rows:
            stream = streams[order[row]]
            stream["first"] = now if stream["first"] is None else stream["first"]
            made = min(chosen.frames, stream["left"])
            stream["made"] += made
            stream["left"] -= made
        # Who has said all drops out: rows are counted anew, and so are those that rest.
        done = {order[row] for row in chosen.rows if streams[order[row]]["left"] == 0}
        resting = frozenset(
            [at for at in order if at not in done].index(order[row])
            for row in resting
            if order[row] not in done
        )
        for at in done:
            del streams[at]


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


def test_nothing_is_made_beyond_the_high_mark():
    cost, rng = linear(0.002, 0.001, 0.0005), np.random.default_rng(0)
    policy, most = Policy(), 0.0
    for _, leads, _ in serve(cost, policy, [0.0, 0.1, 0.2], [400] * 3, rng):
        most = max([most, *(lead for lead in leads if lead is not None)])
    assert policy.high_s <= most < policy.high_s + MAX_FRAMES * FRAME_S


def test_a_new_stream_is_not_kept_waiting_by_long_chunks():
    cost = linear(0.002, 0.001, 0.0005)
    assert plan([1.0, 1.5], NOBODY, cost, FRAME_S).frames == MAX_FRAMES
    assert plan([1.0, 1.5, None], NOBODY, cost, FRAME_S) == Plan(1, (0, 1, 2), NOBODY)


def test_chunks_grow_with_the_lead_and_no_further():
    cost = linear(0.0, 0.02, 0.0)
    sizes = [plan([lead], NOBODY, cost, FRAME_S).frames for lead in (0.02, 0.05, 0.08, 0.12, 1.0)]
    assert sizes == [1, 2, 3, 5, 8]
    for lead, size in zip((0.05, 0.08, 0.12), sizes[1:], strict=False):
        assert cost(1, size) + Policy().delay_s <= lead < cost(1, size + 1) + Policy().delay_s


def test_a_stream_rests_from_the_high_mark_to_the_low_one():
    cost, policy = linear(0.001, 0.001, 0.0), Policy()
    assert plan([2.1, 0.5], NOBODY, cost, FRAME_S).rows == (1,)
    resting = plan([2.1, 0.5], NOBODY, cost, FRAME_S).resting
    assert plan([1.5, 0.5], resting, cost, FRAME_S).rows == (1,), "still resting"
    assert plan([1.5, 0.5], NOBODY, cost, FRAME_S).rows == (0, 1), "never rested"
    assert plan([1.1, 0.5], resting, cost, FRAME_S).rows == (0, 1)
    alone = plan([2.5], NOBODY, cost, FRAME_S)
    assert alone.frames == 0 and abs(alone.wait_s - (2.5 - policy.low_s)) < 1e-9


def test_admission_keeps_the_headroom():
    cost = linear(0.001, 0.002, 0.004)
    streams = next(n for n in itertools.count() if not admits(n, cost, FRAME_S))
    assert cost(streams, 1) <= 0.8 * FRAME_S < cost(streams + 1, 1)
    assert not admits(0, linear(0.2, 0.0, 0.0), FRAME_S), "its first chunk would not pay"
    assert plan([], NOBODY, cost, FRAME_S).frames == 0
