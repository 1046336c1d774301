"""Rows of a batch: each stream as if it were alone, whoever comes and goes beside it."""

import jax
import numpy as np
import pytest
from flax import nnx

from data.said import NOTHING, of_onsets
from data.text import FrontEnd
from voiceloom import weights
from voiceloom.batch import Batch

TEXTS = ("One two three four.", "Blue birds sing!", "Is it far?", "Nine ships left the bay.")
ROWS = 4


@pytest.fixture(scope="module")
def engine(synth):
    return synth.engine


@pytest.fixture(scope="module")
def units():
    front_end = FrontEnd("us")
    return [front_end(text) for text in TEXTS]


def opened(batch, synth, i, units):
    slot = batch.open(synth.voice(("anna", "bert")[i % 2]).vector, seed=i, rate=1.0 + 0.1 * i)
    slot.begin(units[i])
    return slot


def joined(blocks):
    return (
        np.concatenate([b.codes for b in blocks]),
        np.concatenate([b.samples for b in blocks]),
    )


@pytest.fixture(scope="module")
def alone(engine, synth, units):
    """Every stream by itself, in a batch of as many rows: codes and samples."""
    found = []
    for i in range(ROWS):
        slot, blocks = opened(Batch(engine, ROWS), synth, i, units), []
        while not blocks or not blocks[-1].done:
            blocks.append(slot.frames(8))
        found.append(joined(blocks))
    return found


def assert_same(blocks, expected):
    codes, samples = joined(blocks)
    np.testing.assert_array_equal(codes, expected[0])
    np.testing.assert_array_equal(samples, expected[1])


def test_the_decoder_is_told_what_is_said(engine, synth, units, release, monkeypatch):
    """The sound of a stream is that of its codes and its symbols, read off its pointer."""
    monkeypatch.setattr(engine, "level", lambda samples, state: (samples, state))
    slot, blocks = opened(Batch(engine, ROWS), synth, 0, units), []
    while not blocks or not blocks[-1].done:
        blocks.append(slot.frames(3))
    codes, samples = joined(blocks)
    after = np.concatenate([b.pointer for b in blocks])
    onset = np.searchsorted(after, np.arange(len(units[0].symbol) + 1)).astype(float)
    said = of_onsets(np.append(units[0].symbol, NOTHING), onset, len(codes))[None]
    loaded = weights.load_codec(release)
    codec = nnx.merge(loaded.graphdef, loaded.params)
    heard = jax.jit(lambda codes, said: codec.decode(codes, None, said)[0][0])
    late = engine.delay_samples
    np.testing.assert_allclose(samples, heard(codes[None], said)[late:], atol=1e-5)
    assert np.abs(samples - heard(codes[None], np.full_like(said, NOTHING))[late:]).max() > 1e-3


def test_streams_that_come_and_go_do_not_hear_each_other(engine, synth, units, alone):
    """Stream i joins after i dispatches; every dispatch has another length and leaves some out."""
    batch, rng = Batch(engine, ROWS), np.random.default_rng(0)
    slots, blocks = {}, {i: [] for i in range(ROWS)}
    for turn in range(200):
        if turn < ROWS:
            slots[turn] = opened(batch, synth, turn, units)
        going = [i for i, slot in slots.items() if not blocks[i] or not blocks[i][-1].done]
        if not going and turn >= ROWS:
            break
        chosen = [i for i in going if rng.random() < 0.7] or going
        made = batch.frames([slots[i].row for i in chosen], int(rng.integers(1, 9)))
        for i, block in zip(chosen, made, strict=True):
            blocks[i].append(block)
    for i in range(ROWS):
        assert_same(blocks[i], alone[i])


def test_a_row_is_as_new_after_it_was_closed(engine, synth, units, alone):
    batch = Batch(engine, ROWS)
    first = opened(batch, synth, 3, units)
    first.frames(7)
    first.close()
    first.close()
    again, blocks = opened(batch, synth, 1, units), []
    assert again.row == first.row
    while not blocks or not blocks[-1].done:
        blocks.append(again.frames(3))
    assert_same(blocks, alone[1])


def test_a_batch_that_grows_and_shrinks_goes_on(engine, synth, units, alone):
    """Other sizes are other executables: codes agree, sums to the last bits."""
    batch = Batch(engine, ROWS)
    gone, slot = opened(batch, synth, 0, units), opened(batch, synth, 2, units)
    gone.frames(2)
    blocks = [slot.frames(3)]
    gone.close()
    for size in (1, 2, ROWS):
        batch.resize(size)
        assert slot.row == 0 and batch.size == size
        blocks.append(slot.frames(2))
    while not blocks[-1].done:
        blocks.append(slot.frames(8))
    codes, samples = joined(blocks)
    assert (codes == alone[2][0]).mean() > 0.99
    np.testing.assert_allclose(samples, alone[2][1], atol=1e-4)


def test_a_full_batch_and_a_shrink_too_far_are_refused(engine, synth, units):
    batch = Batch(engine, 2)
    slots = [opened(batch, synth, i, units) for i in range(2)]
    with pytest.raises(ValueError, match="all 2 rows are taken"):
        opened(batch, synth, 2, units)
    with pytest.raises(ValueError, match="2 streams are open"):
        batch.resize(1)
    slots[0].close()
    batch.resize(1)
    assert slots[1].row == 0
