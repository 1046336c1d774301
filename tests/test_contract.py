"""The contract must catch what it says it catches: a good module passes, broken ones do not."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import pytest

from tests.contract import check_streaming

WINDOW = 3


class State(NamedTuple):
    cache: jax.Array  # last inputs, float [B, WINDOW]
    pos: jax.Array  # steps seen, int [B]


def init_state(batch):
    return State(jnp.zeros((batch, WINDOW)), jnp.zeros((batch,), jnp.int32))


def running_mean(params, x, state, fault=None):
    """Weighted mean of the last WINDOW inputs that exist: x [B, N] -> y [B, N]."""
    state = init_state(x.shape[0]) if state is None else state
    seen = jnp.concatenate([state.cache, x], axis=1)
    count = x.shape[1]
    index = jnp.arange(count)[:, None] + jnp.arange(1, WINDOW + 1)  # [N, WINDOW]
    exists = index[None] - WINDOW + state.pos[:, None, None] >= 0
    if fault == "garbage":
        exists = jnp.ones_like(exists)
    weights = jax.nn.softmax(jnp.where(exists, params["w"], -1e30))
    y = jnp.sum(weights * seen[:, index], axis=-1)
    if fault == "future":
        y = y + jnp.flip(x, axis=1)
    if fault == "rows":
        y = y + x.mean(axis=0)
    cache = seen[:, -WINDOW:] if fault != "position" else seen[:, -WINDOW - 1 : -1]
    pos = state.pos + count
    return y, State(cache, pos.astype(jnp.float32) if fault == "dtype" else pos)


PARAMS = {"w": jnp.array([0.3, -0.2, 0.5])}
X = jax.random.normal(jax.random.key(0), (3, 12))


def test_a_good_module_passes():
    check_streaming(running_mean, init_state, PARAMS, X, unwritten=("cache",))


@pytest.mark.parametrize("fault", ["garbage", "future", "rows", "position", "dtype"])
def test_a_broken_module_is_caught(fault):
    with pytest.raises(AssertionError):
        check_streaming(
            lambda p, x, s: running_mean(p, x, s, fault),
            init_state,
            PARAMS,
            X,
            unwritten=("cache",),
        )
