"""Sampling: a stream's codes depend on the stream alone, and speech ends by structure."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lm import sample
from lm.model import walk
from lm.own_past import say_again
from lm.text import FREE
from tests.contract import poison, spec

STREAMS, FRAMES = 4, 48


@pytest.fixture(scope="module")
def units():
    """Four texts of 5 to 14 units."""
    rng = np.random.default_rng(0)
    symbol = rng.integers(9, 60, (STREAMS, 14)).astype(np.int32)
    word = np.arange(14)[None].repeat(STREAMS, 0) // 3
    return symbol, rng.integers(0, 3, symbol.shape), word, np.array([14, 9, 5, 11])


@pytest.fixture(scope="module")
def encode(params, merge):
    """Units, look-ahead and completeness to an encoded text; one executable."""
    run = jax.jit(lambda p, *a: sample.encode_text(merge(p), *a[:-1], complete=a[-1]))
    return lambda *units, lookahead=1, complete=True: run(
        params, *units, np.full(STREAMS, lookahead), np.full(STREAMS, complete)
    )


@pytest.fixture(scope="module")
def text(encode, units):
    return encode(*units)


@pytest.fixture(scope="module")
def voice(cfg):
    return jax.random.normal(jax.random.key(5), (STREAMS, cfg.voice_width))


@pytest.fixture(scope="module")
def sampling():
    """Streams that differ in everything; the third is greedy."""
    return sample.Sampling(
        temperature=jnp.array([0.9, 1.0, 0.0, 0.7]),
        depth_temperature=jnp.array([0.8, 1.0, 0.0, 0.5]),
        prosody_temperature=jnp.array([1.0, 0.6, 0.0, 0.9]),
        top_k=jnp.array([50, 64, 1, 5]),
        top_p=jnp.array([0.95, 1.0, 0.9, 0.8]),
        rate=jnp.array([1.0, 1.3, 1.0, 0.8]),
        pitch=jnp.array([0.0, 2.0, 0.0, -1.0]),
        pitch_range=jnp.array([1.0, 1.5, 1.0, 0.5]),
    )


@pytest.fixture(scope="module")
def fresh(params, merge):
    """The state of the streams before their first frame."""
    make = jax.jit(lambda p, seed: sample.init_state(merge(p), STREAMS, seed))
    return make(params, np.arange(STREAMS) + 40)


@pytest.fixture(scope="module")
def generate(params, merge):
    """`generate(text, voice, sampling, state, frames, active)`: one executable for all tests."""
    run = jax.jit(lambda p, *a: sample.generate(merge(p), *a[:5], FRAMES, a[5]))
    everyone = np.ones(STREAMS, bool)
    return lambda *args, active=everyone: run(params, *args, active)


def in_chunks(generate, text, voice, sampling, state, sizes):
    """All frames of a schedule, joined along time, and the last state."""
    chunks = []
    for size in sizes:
        state, frame = generate(text, voice, sampling, state, size)
        chunks.append(jax.tree.map(lambda a, n=size: np.asarray(a[:n]), frame))
    return state, jax.tree.map(lambda *a: np.concatenate(a), *chunks)


@pytest.fixture(scope="module")
def whole(generate, text, voice, sampling, fresh):
    """State and frames of all streams in one go."""
    return generate(text, voice, sampling, fresh, FRAMES)


def assert_same(frame, other, rows=slice(None), others=slice(None)):
    """Bit for bit the same, where there is anything."""
    valid, other_valid = np.asarray(frame.valid)[:, rows], np.asarray(other.valid)[:, others]
    np.testing.assert_array_equal(valid, other_valid)
    for name in ("codes", "pointer", "prosody", "said"):
        a, b = getattr(frame, name), getattr(other, name)
        np.testing.assert_array_equal(
            np.asarray(a)[:, rows][valid], np.asarray(b)[:, others][valid]
        )


@pytest.mark.parametrize("sizes", [[1] * 48, [2] * 24, [4] * 12, [8] * 6, [1, 2, 4, 8, 16, 17]])
def test_any_chunk_schedule_gives_the_same_codes(
    generate, text, voice, sampling, fresh, whole, sizes
):
    state, frames = in_chunks(generate, text, voice, sampling, fresh, sizes)
    assert_same(frames, whole[1])
    assert spec(state) == spec(fresh)


def test_streams_do_not_see_each_other(generate, text, voice, sampling, fresh, whole):
    """The same in another slot, and beside other streams."""
    order = np.array([2, 0, 3, 1])
    moved = jax.tree.map(lambda a: a[order], (text, voice, sampling, fresh))
    assert_same(generate(*moved, FRAMES)[1], whole[1], others=order)
    first = np.array([0, 0, 0, 0])
    alone = jax.tree.map(lambda a: a[first], (text, voice, sampling, fresh))
    assert_same(generate(*alone, FRAMES)[1], whole[1], others=first)


def test_unwritten_cache_is_not_read(generate, text, voice, sampling, fresh, whole):
    assert_same(generate(text, voice, sampling, poison(fresh, ("rings",)), FRAMES)[1], whole[1])


def test_a_slot_serves_a_new_stream(generate, text, voice, sampling, whole, fresh):
    """After `restart` nothing is left of the stream that had the slot."""
    rows = np.array([True, False, True, False])
    again = sample.restart(whole[0], jnp.asarray(rows), jnp.arange(STREAMS) + 40)
    _, frames = generate(text, voice, sampling, again, FRAMES)
    assert_same(frames, whole[1], rows, rows)
    assert not frames.valid[:, ~rows].any()


def test_a_paused_stream_goes_on_where_it_was(generate, text, voice, sampling, fresh, whole):
    active = np.array([True, False, True, True])
    state, before = generate(text, voice, sampling, fresh, 5, active=active)
    assert not before.valid[:, 1].any() and not before.starved.any()
    _, after = generate(text, voice, sampling, state, FRAMES)
    assert_same(after, whole[1], [1], [1])


def test_speech_ends_by_structure(cfg, units, whole):
    """The pointer never goes back or skips <end>; then the tail, and nothing more."""
    state, frames = whole
    length = units[3]
    for row in range(STREAMS):
        valid = np.asarray(frames.valid[:, row])
        count = valid.sum()
        assert valid[:count].all(), "a stream that has ended does not begin again"
        pointer = np.asarray(frames.pointer[:count, row])
        assert (np.diff(pointer, prepend=-1) == np.asarray(frames.advance[:count, row])).all()
        assert pointer.max() <= length[row]
        if state.done[row]:
            assert (pointer == length[row]).sum() == cfg.tail_frames + 1
    assert state.done.any(), "no stream has come to its end: the test shows nothing"


def test_a_frame_says_the_symbol_it_begins_in_and_those_that_begin_in_it(units, whole):
    symbol, _, _, length = units
    for row in range(STREAMS):
        valid = np.asarray(whole[1].valid[:, row])
        said = np.asarray(whole[1].said[:, row])[valid]
        reached = int(whole[1].pointer[valid.sum() - 1, row]) + 1
        begun = [-1, *symbol[row, : length[row]], -1][: reached + 1]
        after = np.cumsum(np.asarray(whole[1].advance[:, row])[valid])
        for frame, now, before in zip(said, after, [0, *after[:-1]], strict=True):
            expected = begun[before : now + 1]
            np.testing.assert_array_equal(frame, expected + [-1] * (len(frame) - len(expected)))
    assert (np.asarray(whole[1].advance) > 1).any(), "no frame begins two"


def test_no_unit_is_held_beyond_its_bound(cfg, params, generate, text, voice, sampling, fresh):
    """A rate that never advances by itself: the bound, five times as far, moves the pointer."""
    bound = text._replace(max_dwell=jnp.where(text.max_dwell < 1000, 1, text.max_dwell))
    stuck = sampling._replace(rate=jnp.full(STREAMS, 0.2))
    state, frames = generate(bound, voice, stuck, fresh, FRAMES)
    for row in range(STREAMS):
        pointer = np.asarray(frames.pointer[:, row])[np.asarray(frames.valid[:, row])]
        held = np.bincount(pointer[pointer >= 0])
        inside = held[:-1]  # the last one may be cut off by the end of the run, or be <end>
        assert (inside == 5).all()
    assert state.done[2], "5 units of 5 frames each end within 48 frames"


def test_a_faster_rate_advances_more(generate, text, voice, sampling, fresh):
    reach = []
    for rate in (0.8, 1.0, 1.25):
        moved, _ = generate(text, voice, sampling._replace(rate=jnp.full(STREAMS, rate)), fresh, 8)
        reach.append(int(moved.pointer.sum()))
    assert reach[0] < reach[1] < reach[2]


def steer(text, **fields):
    """`text` with some of its units steered."""
    return text._replace(steer=text.steer._replace(**fields))


def test_a_unit_to_be_held_is_held_and_not_passed_over(generate, text, voice, sampling, fresh):
    """Unit 3 (slot 4) for 5 frames, by streams that would pass three units in every frame."""
    hold = text.steer.hold.at[:, 4].set(5)
    held = steer(text, hold=hold)._replace(max_dwell=jnp.maximum(text.max_dwell, hold))
    hasty = sampling._replace(rate=jnp.full(STREAMS, 10.0))
    _, frames = generate(held, voice, hasty, fresh, FRAMES)
    _, free = generate(text, voice, hasty, fresh, FRAMES)
    for row in range(STREAMS):
        pointer = np.asarray(frames.pointer[:, row])[np.asarray(frames.valid[:, row])]
        assert (pointer == 3).sum() == 5
    assert (np.asarray(free.pointer[:8]) == 3).sum() <= STREAMS


def test_a_stretched_unit_is_left_late(generate, text, voice, sampling, fresh):
    stretched = steer(text, stretch=jnp.full_like(text.steer.stretch, 0.4))
    _, slow = generate(stretched, voice, sampling, fresh, 8)
    _, plain = generate(text, voice, sampling, fresh, 8)
    assert int(slow.pointer.sum()) < int(plain.pointer.sum())


def test_the_prosody_token_is_moved_as_stream_and_unit_ask(cfg, text, sampling):
    middle, levels = cfg.pitches // 2, cfg.levels
    moved = steer(
        text,
        lift=text.steer.lift.at[:, 2].set(3.0),
        level=text.steer.level.at[:, 2].set(1),
        least=text.steer.least.at[:, 3].set(FREE + 4.0),
    ).steer
    plain = sample.Sampling.default(STREAMS)
    wide = plain._replace(pitch_range=jnp.full(STREAMS, 2.0), pitch=jnp.full(STREAMS, -1.0))

    def say(pitch, level, unit, how):
        token = jnp.full(STREAMS, pitch * levels + level)
        said = sample.steered(token, cfg, moved, jnp.full(STREAMS, unit), how)
        return tuple(int(x) for x in divmod(np.asarray(said)[0], levels))

    assert say(middle + 2, 5, 1, plain) == (middle + 2, 5)
    assert say(middle + 2, 5, 2, plain) == (middle + 5, 6)
    assert say(middle + 2, 5, 1, wide) == (middle + 3, 5)
    assert say(0, 0, 2, wide) == (0, 0), "silence stays silent and unvoiced"
    assert say(middle + 2, 5, 3, plain) == (middle + 4, 5)
    assert say(middle + 9, 5, 3, plain) == (middle + 9, 5)
    assert say(0, 5, 3, plain) == (middle + 4, 5), "a voiced sound where one was asked for"
    assert say(cfg.pitches - 1, levels - 1, 2, wide) == (cfg.pitches - 1, levels - 1)


def test_what_is_remembered_is_what_was_heard(
    params, merge, generate, text, voice, sampling, fresh
):
    row, length, rows = 2, 20, np.arange(STREAMS) == 2  # the greedy stream
    state, frames = generate(text, voice, sampling, fresh, length)
    said = int(frames.valid[:, row].sum())

    def heard(a):
        own = np.asarray(a)[:said, row]
        return np.concatenate([own, 1 + 0 * own[:3]])[None]  # what comes after counts for nothing

    one = jax.tree.map(lambda a: a[row : row + 1], text)
    remember = jax.jit(lambda p, *a: sample.remember(merge(p), *a))
    memory = remember(
        params, one, voice[row : row + 1], heard(frames.advance), heard(frames.codes),
        heard(frames.prosody), np.array([said]),
    )  # fmt: skip
    blank = {name: getattr(fresh, name) for name in ("backbone", "codes", "prosody")}
    recalled = sample.recall(jnp.asarray(rows), memory, state._replace(**blank))
    assert int(recalled.backbone.pos[row]) == said
    assert [int(p) for p in np.delete(recalled.backbone.pos, row)] == [0] * (STREAMS - 1)
    for a, b in zip(recalled.backbone.rings, state.backbone.rings, strict=True):
        np.testing.assert_allclose(a.keys[row, :, :said], b.keys[row, :, :said], atol=1e-4)
        np.testing.assert_allclose(a.values[row, :, :said], b.values[row, :, :said], atol=1e-4)
    assert (recalled.codes[row] == state.codes[row]).all()
    assert recalled.prosody[row] == state.prosody[row]


def test_codes_are_led_further_where_the_token_was_moved_and_only_there(cfg, params, merge):
    hidden = jax.random.normal(jax.random.key(1), (STREAMS, cfg.width))
    drawn = jnp.arange(STREAMS) + cfg.levels * (cfg.pitches // 2)
    said = drawn.at[2:].add(5 * cfg.levels)

    @jax.jit
    def logits(params):
        model = merge(params)
        ways = (model.with_prosody(hidden, drawn), model.with_prosody(hidden, said))
        return [model.first_logits(x) for x in (*ways, sample.led(model, hidden, drawn, said))]

    natural, plain, led = map(np.asarray, logits(params))
    np.testing.assert_allclose(led[:2], plain[:2], atol=1e-5)
    for row in (2, 3):  # the entries that the moved token favours gain
        assert np.corrcoef(led[row] - plain[row], plain[row] - natural[row])[0, 1] > 0.5


def test_text_in_pieces_gives_the_codes_of_the_whole(
    generate, encode, units, voice, sampling, fresh, whole
):
    """Text arrives three units at a time; the streams wait for it, and nothing else changes."""
    symbol, stress, word, length = units
    state, chunks = fresh, []
    for there in (3, 6, 9, 12):
        part = encode(symbol, stress, word, np.minimum(length, there), complete=False)
        state, frames = generate(part, voice, sampling, state, FRAMES)
        chunks.append(frames)
        assert frames.starved.any()
        assert (np.asarray(state.pointer) <= np.maximum(part.limit, 0)).all()
    chunks.append(generate(encode(*units), voice, sampling, state, FRAMES)[1])
    for row in range(STREAMS):
        kept = [np.asarray(c.codes[:, row])[np.asarray(c.valid[:, row])] for c in chunks]
        expected = np.asarray(whole[1].codes[:, row])[np.asarray(whole[1].valid[:, row])]
        np.testing.assert_array_equal(np.concatenate(kept)[: len(expected)], expected)


def test_greedy_codes_are_the_arg_max_of_the_whole_form(
    cfg, params, merge, units, text, voice, whole
):
    """Uncached, teacher-forced on what was sampled: the greedy stream took the best entries."""
    row, margin = 2, 1e-3
    assert cfg.pitches, "the prosody stream is part of what is compared"
    count = int(whole[1].valid[:, row].sum())
    codes = whole[1].codes[:count, row][None]
    advance = whole[1].advance[:count, row][None]
    prosody = whole[1].prosody[:count, row][None]

    @jax.jit
    def run(params):
        model = merge(params)
        pick = jax.tree.map(lambda a: a[row : row + 1], text)
        pointer, dwell = walk(advance)
        previous = jnp.pad(codes[:, :-1], ((0, 0), (1, 0), (0, 0)), constant_values=-1)
        frames, _ = model.listen(
            previous, pointer, dwell, pick, voice[row : row + 1],
            prosody=jnp.pad(prosody[:, :-1], ((0, 0), (1, 0))),
        )  # fmt: skip
        hidden = model.first_hidden(frames, pick, pointer, advance)
        melody = model.prosody_logits(hidden)[0]
        hidden = model.with_prosody(hidden, prosody)
        depth = model.depth_logits(hidden[0], codes[0, :, :-1])
        return jnp.concatenate([model.first_logits(hidden)[0][:, None], depth], axis=1), melody

    for logits, chosen in zip(run(params), (codes[0], prosody[0]), strict=True):
        best, _ = jax.lax.top_k(logits, 2)
        clear = np.asarray(best[..., 0] - best[..., 1] > margin)
        assert clear.mean() > 0.9
        np.testing.assert_array_equal(np.argmax(logits, -1)[clear], np.asarray(chosen)[clear])


def test_own_past_is_what_the_sampler_says(cfg, params, merge, text, voice, whole):
    """Greedy, at the times and the melody of the greedy stream; true codes count before `begin`."""
    row = slice(2, 3)
    count = int(whole[1].valid[:, 2].sum())
    stream = {n: np.asarray(getattr(whole[1], n))[:count, row].swapaxes(0, 1) for n in FIELDS}
    pick = jax.tree.map(lambda a: a[row], text)
    greedy = sample.Sampling.default(1)._replace(
        temperature=jnp.zeros(1), depth_temperature=jnp.zeros(1), top_k=jnp.ones(1, jnp.int32)
    )

    @jax.jit
    def run(params, batch, begin):
        key = jax.random.key(0)
        return say_again(merge(params), batch, pick, voice[row], begin, greedy, key)

    np.testing.assert_array_equal(run(params, stream, np.array([0])), stream["codes"])
    other = stream | {"codes": (stream["codes"] + 1) % cfg.entries}
    said = np.asarray(run(params, other, np.array([4])))
    np.testing.assert_array_equal(said[:, :4], other["codes"][:, :4])
    assert (said[:, 4:] != other["codes"][:, 4:]).mean() > 0.5
    unread = other | {"codes": other["codes"].copy()}
    unread["codes"][:, 4:] = 0
    np.testing.assert_array_equal(run(params, unread, np.array([4])), said)


FIELDS = "codes", "advance", "prosody"


def test_draw_stays_within_top_k_and_top_p():
    """Against probabilities known by hand: .5, .3, .15, .05."""
    logits = jnp.log(jnp.array([[0.05, 0.5, 0.3, 0.15]])).repeat(4000, 0)
    noise = jax.random.gumbel(jax.random.key(0), logits.shape)
    ones = jnp.ones(4000)

    def shares(temperature=1.0, top_k=4, top_p=1.0):
        sampling = sample.Sampling.default(4000)
        sampling = sampling._replace(top_k=jnp.full(4000, top_k), top_p=ones * top_p)
        ids = sample.draw(logits, noise, ones * temperature, sampling)
        return np.bincount(ids, minlength=4) / 4000

    np.testing.assert_allclose(shares(), [0.05, 0.5, 0.3, 0.15], atol=0.03)
    np.testing.assert_allclose(shares(top_k=2), [0, 0.625, 0.375, 0], atol=0.03)
    np.testing.assert_allclose(shares(top_p=0.79), [0, 0.625, 0.375, 0], atol=0.03)
    np.testing.assert_allclose(shares(top_p=0.0), [0, 1, 0, 0])
    np.testing.assert_allclose(shares(temperature=0.0), [0, 1, 0, 0])
    squared = np.array([0.05, 0.5, 0.3, 0.15]) ** 2
    np.testing.assert_allclose(shares(temperature=0.5), squared / squared.sum(), atol=0.03)
