"""The baselines: the cached form is the whole form, text is a prefix and nothing else."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from data.utterances import Rows, batches
from lm import baseline
from lm.baseline_task import BaselineTask
from lm.sample import Sampling
from tests.lm.conftest import made_utterances

FRAMES, UNITS, ROWS = 10, 14, 3


@pytest.fixture(scope="module", params=baseline.DESIGNS)
def model(request, cfg):
    """A small model of each design, its gains and tables random."""
    cfg = dataclasses.replace(cfg, design=request.param, pitches=0)
    params = jax.jit(lambda key: baseline.init_params(cfg, key))(jax.random.key(0))
    graph = baseline.structure(cfg)
    return cfg, params, lambda p: nnx.merge(graph, p)


@pytest.fixture(scope="module")
def text():
    """Three texts of 14, 9 and 5 units, the rest anything."""
    rng = np.random.default_rng(0)
    symbol = rng.integers(9, 60, (ROWS, UNITS)).astype(np.int32)
    word = np.arange(UNITS)[None].repeat(ROWS, 0).astype(np.int32) // 3
    stress = rng.integers(0, 3, symbol.shape).astype(np.int32)
    return tuple(map(jnp.asarray, (symbol, stress, word, np.array([14, 9, 5], np.int32))))


@pytest.fixture(scope="module")
def voice(cfg):
    return jax.random.normal(jax.random.key(5), (ROWS, cfg.voice_width))


def test_sampled_codes_are_the_best_of_the_whole_form(model, text, voice):
    """Greedy streams, then teacher-forced without a cache on what they said."""
    cfg, params, merge = model
    greedy = Sampling.default(ROWS)._replace(
        temperature=jnp.zeros(ROWS), depth_temperature=jnp.zeros(ROWS)
    )

    @jax.jit
    def say(params):
        model = merge(params)
        memory = model.read(*text, voice)
        return baseline.generate(model, memory, greedy, jnp.arange(ROWS), FRAMES)

    @jax.jit
    def logits(params, codes):
        model = merge(params)
        before = jnp.pad(codes[:, :-1], ((0, 0), (1, 0), (0, 0)), constant_values=-1)
        hidden = model.listen(
            model.enter(codes if model.flat else before), model.read(*text, voice)
        )
        if model.flat:
            return model.flat_logits(hidden), model.stop_logits(hidden)
        flat = hidden.reshape(-1, cfg.width)
        depth = model.depth(flat, model.codes(codes.reshape(-1, cfg.books)[:, :-1]))
        depth = depth.reshape(ROWS, FRAMES, cfg.books - 1, -1)
        first = model.first(hidden)[:, :, None]
        return jnp.concatenate([first, depth], axis=2), model.stop_logits(hidden)

    codes, valid = say(params)
    scores, stop = logits(params, codes)
    best, _ = jax.lax.top_k(scores, 2)
    clear = np.asarray(best[..., 0] - best[..., 1] > 1e-3)
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(np.argmax(scores, -1)[clear], np.asarray(codes)[clear])
    ended = np.cumsum(np.asarray(stop) > 0, axis=1) - (np.asarray(stop) > 0) > 0
    np.testing.assert_array_equal(np.asarray(valid), ~ended)


def test_padding_of_the_text_is_not_heard(model, text, voice):
    _, params, merge = model
    symbol, stress, word, length = text
    run = jax.jit(lambda p, s, w: merge(p).listen(
        merge(p).enter(jnp.full((ROWS, FRAMES, merge(p).cfg.books), 7)),
        merge(p).read(s, stress, w, length, voice),
    ))  # fmt: skip
    there = np.arange(UNITS) < length[:, None]
    expected = run(params, symbol, word)
    actual = run(params, jnp.where(there, symbol, 5), jnp.where(there, word, 1))
    np.testing.assert_allclose(actual, expected, atol=1e-5)
    changed = run(params, jnp.where(jnp.arange(UNITS) == 2, 5, symbol), word)
    assert (np.abs(changed - expected).max(axis=(1, 2)) > 1e-3).all(), "text has to be heard"


def test_the_task_learns_what_follows_from_text_and_past(model, config):
    cfg, _, _ = model
    config = config.copy_and_resolve_references()
    config.model.design, config.model.pitches = cfg.design, 0
    config.steps, config.optimizer.learning_rate = 60, 3e-3
    task = BaselineTask(config)
    rows = Rows(
        made_utterances(60, books=task.cfg.books),
        frames=64, units=96, limit=3, voice_frames=(8, 16),
    )  # fmt: skip
    stream = iter(batches(rows, 4))
    state, step = jax.jit(task.init)(jax.random.key(0)), jax.jit(task.train_step)
    lost = []
    for _ in range(config.steps):
        state, metrics = step(state, next(stream))
        lost.append((float(metrics["first"]), float(metrics["advance"])))
    assert lost[-1][0] < lost[0][0] - 1.0 and np.isfinite(lost).all()
    codes, valid = jax.jit(task.speak)(state.ema, next(stream))
    assert codes.shape == (4, 64, task.cfg.books) and valid[:, 0].all()


def test_an_unknown_design_is_refused(cfg):
    with pytest.raises(ValueError, match="pointer, flat"):
        baseline.Baseline(dataclasses.replace(cfg, design="ctc"), rngs=nnx.Rngs(0))
