"""The aligner: its lattice and path searches against enumeration, and timings learnt from tones."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from data.phones import SYMBOL_IDS, Units
from data.records import Reader, Writer, to_float, to_int16
from experiments import aligner_base
from lm import aligner
from lm.aligner_task import AlignerTask, frame_labels, pauses, read_units
from voiceloom.aligner import Phones

STEPS, STATES, CLASSES = 6, 5, 4


def every_path(lattice, steps):
    """All paths, as tuples of states, by trying all non-decreasing sequences."""
    needed = set(np.flatnonzero(~lattice.optional))
    for path in itertools.combinations_with_replacement(range(len(lattice.label)), steps):
        if needed <= set(path):
            yield path


@st.composite
def cases(draw):
    """A lattice of a random text and log posteriors of a clip long enough for it."""
    pause = [*draw(st.lists(st.booleans(), min_size=1, max_size=2)), True]
    word = np.cumsum([0, *draw(st.lists(st.booleans(), min_size=2, max_size=2))])[: len(pause)]
    symbol = np.array(draw(st.lists(st.integers(1, CLASSES - 1), min_size=3, max_size=3)))
    lattice = aligner.lattice(symbol[: len(pause)], word, np.array(pause))
    steps = draw(st.integers(int(np.sum(~lattice.optional)), STEPS))
    logits = np.random.default_rng(draw(st.integers(0, 2**32))).normal(0, 3, (steps, CLASSES))
    return lattice, logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)


@settings(max_examples=100, deadline=None)
@given(cases())
def test_best_path_is_the_best_of_all_paths(case):
    lattice, log_probs = case
    frames = np.arange(len(log_probs))
    scores = {
        path: log_probs[frames, lattice.label[list(path)]].sum()
        for path in every_path(lattice, len(log_probs))
    }
    found = tuple(int(state) for state in aligner.best_path(log_probs, lattice))
    assert scores[found] == pytest.approx(max(scores.values()))


_likelihood = jax.jit(aligner.path_likelihood)


@settings(max_examples=100, deadline=None)
@given(cases())
def test_path_likelihood_is_the_sum_over_all_paths_whatever_the_padding(case):
    lattice, log_probs = case
    frames, states = np.arange(len(log_probs)), len(lattice.label)
    paths = [list(path) for path in every_path(lattice, len(log_probs))]
    total = np.logaddexp.reduce([log_probs[frames, lattice.label[path]].sum() for path in paths])
    padded = np.full((1, STEPS, CLASSES), 50.0, np.float32)
    padded[0, : len(log_probs)] = log_probs
    label, optional = np.full((1, STATES), 2), np.ones((1, STATES), bool)
    label[0, :states], optional[0, :states] = lattice.label, lattice.optional
    got = _likelihood(padded, jnp.array([len(log_probs)]), label, optional, jnp.array([states]))
    assert float(got[0]) == pytest.approx(total, abs=1e-3)


def test_silence_may_stand_between_words_and_at_marks_but_not_inside_a_word():
    symbol, word = np.array([5, 6, 7, 1, 8, 1]), np.array([0, 0, 1, 1, 2, 2])
    lattice = aligner.lattice(symbol, word, symbol == 1)
    assert lattice.label.tolist() == [0, 5, 6, 0, 7, 0, 8, 0]
    assert lattice.optional.tolist() == [True, False, False, True, False, True, False, False]
    assert lattice.unit.tolist() == [-1, 0, 1, -1, 2, 3, 4, 5]


def posteriors(labels, classes=10):
    """Nearly certain log posteriors of these classes, frame by frame."""
    return np.log(np.eye(classes)[labels] * 0.99 + 1e-3)


def test_align_finds_the_changes_and_shares_out_the_pauses():
    labels = [0] * 3 + [5] * 4 + [6] * 2 + [0] * 20 + [7] * 5 + [8] * 4 + [0] * 60
    symbol, word = np.array([5, 6, 7, 1, 8, 1]), np.array([0, 0, 1, 1, 2, 2])
    found = aligner.align(posteriors(labels), symbol, word, symbol == 1)
    # 30 ms of the unwritten pause go to the word after it; the comma is not spoken and has no
    # time; the closing mark ends after 250 ms though the silence lasts 600.
    np.testing.assert_allclose(
        found.bounds_s, [0.03, 0.07, 0.26, 0.34, 0.34, 0.38, 0.63], atol=1e-6
    )
    assert found.unit_score[3] == 0 and found.score == pytest.approx(np.log(0.991), abs=1e-6)


def test_phones_are_read_off_where_no_text_is_known():
    spoken = [0] * 8 + [3] * 4 + [5] * 6 + [0] * 9 + [4] * 5 + [7] + [5] * 3 + [0] * 2 + [6] * 4
    said = aligner.transcribe(posteriors(spoken))
    assert said.symbol.tolist() == [3, 5, 4, 5, 6]  # 7 is a seam, not a phone
    assert said.word.tolist() == [0, 0, 1, 1, 1]
    np.testing.assert_allclose(said.bounds_s, [0.08, 0.12, 0.27, 0.33, 0.38, 0.42], atol=1e-6)
    nothing = aligner.transcribe(posteriors([0] * 20))
    assert len(nothing.symbol) == len(nothing.word) == len(nothing.bounds_s) == 0


def test_the_score_tells_a_wrong_text():
    labels, symbol = [5] * 5 + [6] * 5 + [7] * 5 + [0] * 5, np.array([5, 9, 7, 1])
    found = aligner.align(posteriors(labels), symbol, np.zeros(4, int), symbol == 1)
    assert found.score < -1 and found.unit_score.argmin() == 1


def test_a_text_too_long_for_the_clip_is_an_error_that_says_so():
    symbol = np.array([5] * 30 + [1])
    with pytest.raises(aligner.AlignmentError, match=r"needs 0.31 s.*has 0.10 s"):
        aligner.align(posteriors([5] * 10), symbol, np.zeros(31, int), symbol == 1)


def test_log_mel_is_centred_on_the_sound_and_knows_no_gain():
    rng = np.random.default_rng(0)
    samples = rng.normal(0, 1e-3, 24_000).astype(np.float32)
    samples[12_000:12_240] += rng.normal(0, 0.3, 240).astype(np.float32)  # frame 50 and no other
    mel = aligner.log_mel(samples)
    assert mel.shape == (100, aligner.BANDS) and mel.mean(axis=1).argmax() == 50
    np.testing.assert_allclose(mel[49].mean(), mel[51].mean(), atol=0.3)
    np.testing.assert_allclose(aligner.log_mel(0.1 * samples), mel, atol=1e-3)
    assert aligner.log_mel(np.zeros(100, np.float32)).shape == (1, aligner.BANDS)


def test_a_batch_is_heard_as_clip_by_clip_and_with_a_gradient():
    rng = np.random.default_rng(0)
    samples = rng.normal(0, 0.1, (2, 30_300)).astype(np.float32)
    samples[1, 9_000:] = 0.0
    each = np.stack([aligner.log_mel(clip) for clip in samples])
    np.testing.assert_allclose(aligner.log_mels(jnp.asarray(samples)), each, atol=2e-3)
    assert np.isfinite(jax.grad(lambda x: aligner.log_mels(x).std())(jnp.asarray(samples))).all()
    phones = Phones()
    heard = jax.jit(phones.heard)(samples[:, :30_000])  # an odd number of frames
    each = np.stack([phones(clip) for clip in samples[:, :30_000]])
    np.testing.assert_allclose(np.exp(heard), np.exp(each), atol=5e-3)


def test_padding_changes_nothing():
    cfg = aligner.Config(symbols=7, width=16, hidden=16, dilations=(1, 2))
    graphdef, params = nnx.split(aligner.Aligner(cfg, rngs=nnx.Rngs(0)))
    model = jax.jit(lambda mel, length: nnx.merge(graphdef, params)(mel, length))
    mel = np.random.default_rng(0).normal(size=(1, 41, aligner.BANDS)).astype(np.float32)
    length = jnp.array([41])
    near, far = (np.pad(mel, ((0, 0), (0, n), (0, 0)), constant_values=9.0) for n in (1, 23))
    np.testing.assert_allclose(model(near, length)[:, :41], model(far, length)[:, :41], atol=1e-5)


def test_frames_are_labelled_by_their_centres_and_marks_are_silence():
    a, s, stop = (SYMBOL_IDS[symbol] for symbol in "as.")
    units = Units(*(np.array(x) for x in ([a, s, stop], [1, 0, 0], [0] * 3, [[-1, -1]] * 3)))
    label = frame_labels(units, np.array([0.02, 0.044, 0.0751, 0.09], np.float32), 11)
    assert label.tolist() == [0, 0, a, a, s, s, s, s, 0, 0, 0]


# A ratio of 1.6 between neighbours: the augmentation plays clips at 0.85 to 1.2 times the speed.
TONES = {SYMBOL_IDS[symbol]: 300 * 1.6**k for k, symbol in enumerate("aiumns")}


def tone_record(number: int, tones: list[int], timed: bool):
    """A made clip of two words of tones, each symbol a pitch of its own, and the marks silent."""
    rng = np.random.default_rng(number)
    first, second = (rng.permutation(tones)[:n] for n in (4, 3))
    symbol = np.array([*first, SYMBOL_IDS[","], *second, SYMBOL_IDS["."]], np.int32)
    seconds = rng.uniform(0.05, 0.2, len(symbol))
    bounds_s = np.cumsum([0.05, *seconds])
    samples = rng.normal(0, 1e-3, round((bounds_s[-1] + 0.1) * 24_000))
    for u, s in enumerate(symbol):
        if s in TONES:
            at = np.arange(round(bounds_s[u] * 24_000), round(bounds_s[u + 1] * 24_000))
            samples[at] += 0.3 * np.sin(2 * np.pi * TONES[s] * at / 24_000)
    record = {"id": str(number), "speaker": "tones", "language": "en", "text": None}
    record |= {"samples": to_int16(samples), "symbol": symbol, "stress": np.zeros_like(symbol)}
    record["word"] = np.repeat(np.int32([0, 1]), [5, 4])
    return record | ({"bounds_s": bounds_s.astype(np.float32)} if timed else {})


def test_timings_are_learnt_and_carried_over_to_a_symbol_without(tmp_path):
    every = list(TONES)
    with Writer(tmp_path, "train") as writer:  # the last symbol is never timed
        for number in range(24):
            writer.write(tone_record(number, every[: 5 if number % 2 else 6], bool(number % 2)))
    with Writer(tmp_path, "val") as writer:
        for number in range(24, 32):
            writer.write(tone_record(number, every, True))
    config = aligner_base.get_config("tiny")
    config.data.update(sources=((str(tmp_path), 1.0),), held_out=((str(tmp_path), 1.0),))
    config.data.update(row_s=4.0, clip_s=3.0)
    config.steps, config.opt.lr = 120, 1e-2
    task = AlignerTask(config)
    train_state = task.init(jax.random.key(0))
    step = jax.jit(task.train_step, donate_argnums=0)
    for batch, _ in zip(task.dataset("train"), range(config.steps), strict=False):
        train_state, metrics = step(train_state, batch)
    eval_step = jax.jit(task.eval_step)
    held_out = [eval_step(train_state.ema, batch) for batch in task.dataset("val")]
    assert held_out and all(np.isfinite(x).all() for rows in held_out for x in rows.values())

    apply = jax.jit(lambda mel, length: nnx.merge(task.graphdef, train_state.ema)(mel, length))
    reader, errors, untimed = Reader(tmp_path, "val"), [], []
    for number in range(len(reader)):
        record = reader[number]
        mel = aligner.log_mel(to_float(record["samples"]))
        padded = np.pad(mel, ((0, 400 - len(mel)), (0, 0)))[None]
        log_probs = np.asarray(apply(padded, jnp.array([len(mel)])))[0, : len(mel)]
        units = read_units(record)
        found = aligner.align(log_probs, units.symbol, units.word, pauses(units.symbol))
        errors.append(np.abs(found.bounds_s - record["bounds_s"])[:-1])
        untimed.append(errors[-1][units.symbol == every[-1]])
    assert np.median(np.concatenate(errors)) < 0.010
    assert np.median(np.concatenate(untimed)) < 0.025
