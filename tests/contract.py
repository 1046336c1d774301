"""The streaming contract: one test for every stateful module.

A module is its streaming form: `module(x, state=None) -> (y, state)` with an explicit state, where
`state=None` is the whole-sequence form used in training. `check_streaming` holds a module to it:

1. whole == stepped, for blocks of several sizes and for a mixed schedule;
2. the future does not change the past;
3. the rows of a batch do not see each other: bit for bit within one executable, to `atol` alone;
4. the state keeps its structure, shapes and dtypes;
5. finite garbage (1e4) in cache slots nobody has written yet changes nothing;
6. gradients of the stepped form equal those of the whole form.

After sequence-layers' `verify_contract` (github.com/google/sequence-layers, jax/test_utils.py). The
garbage is finite because a masked weight of zero times NaN is NaN in a fixed-size product.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import cycle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

GARBAGE = 1e4


def run_blocks(apply: Callable, params: Any, x: Any, state: Any, sizes: Sequence[int]) -> tuple:
    """Output and last state when `x` [B, N, ...] is fed in blocks of `sizes` steps, cycled."""
    steps = jax.tree.leaves(x)[0].shape[1]
    outputs, start = [], 0
    for size in cycle(sizes):
        block = jax.tree.map(lambda a, at=start, n=size: a[:, at : at + n], x)
        y, state = apply(params, block, state)
        outputs.append(y)
        start += size
        if start >= steps:
            break
    return jax.tree.map(lambda *ys: jnp.concatenate(ys, axis=1), *outputs), state


def poison(state: Any, fields: Sequence[str], value: float = GARBAGE) -> Any:
    """`state` with every leaf below a field named in `fields` filled with `value`."""
    hits = []

    def fill(path, leaf):
        if not any(str(getattr(key, "name", getattr(key, "key", ""))) in fields for key in path):
            return leaf
        hits.append(path)
        return jnp.full_like(leaf, value)

    filled = jax.tree_util.tree_map_with_path(fill, state)
    assert hits, f"no leaf of the state lies below a field named {tuple(fields)}"
    return filled


def spec(tree: Any) -> Any:
    """Structure, shapes and dtypes of a tree, comparable with ==."""
    leaves, structure = jax.tree.flatten(tree)
    return structure, [(jnp.shape(leaf), jnp.result_type(leaf)) for leaf in leaves]


def assert_close(
    actual: Any, expected: Any, atol: float, flips: float = 0.0, what: str = ""
) -> None:
    """Floats agree to `atol`; integers agree but for a fraction `flips` of near-ties."""
    assert jax.tree.structure(actual) == jax.tree.structure(expected), what
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert a.shape == b.shape, f"{what}: {a.shape} != {b.shape}"
        if jnp.issubdtype(a.dtype, jnp.inexact):
            np.testing.assert_allclose(a, b, atol=atol, rtol=atol, err_msg=what)
        else:
            unequal = float(np.mean(np.asarray(a) != np.asarray(b)))
            assert unequal <= flips, f"{what}: {unequal:.2%} of the integers differ"


def check_streaming(
    apply: Callable[[Any, Any, Any], tuple[Any, Any]],
    init_state: Callable[[int], Any],
    params: Any,
    x: Any,
    *,
    blocks: Sequence[int] = (1, 2, 4),
    unit: int = 1,
    atol: float = 1e-5,
    flips: float = 0.0,
    unwritten: Sequence[str] = (),
    gradients: bool = True,
) -> None:
    """Raises AssertionError unless the module keeps the streaming contract.

    Args:
      apply: `apply(params, x, state) -> (y, state)`, pure; is jitted here. `state=None` must be the
        whole-sequence form. With nnx: `lambda p, x, s: nnx.merge(graphdef, p)(x, s)`.
      init_state: `init_state(batch) -> state` before the first step.
      params: plain dict of weights.
      x: array (or pytree of arrays) [B, N, ...]; B >= 2, N a multiple of `unit`, at least 4 units.
      blocks: block sizes in units; beside each one, their mixture is tried.
      unit: input steps of the smallest block (samples per frame for a codec's encoder, else 1).
      atol: tolerance for floats, absolute and relative: the block sizes are different executables.
      flips: fraction of integers allowed to differ (near-ties of an arg-max) across executables.
      unwritten: names of state fields that are caches: 1e4 in them at the start changes nothing.
      gradients: also compare gradients in `params` (needs float outputs).
    """
    step = jax.jit(apply)
    batch, steps = jax.tree.leaves(x)[0].shape[:2]
    assert batch >= 2 and steps % unit == 0 and steps >= 4 * unit, "x is too small to test anything"
    whole, _ = step(params, x, None)
    ratio = Fraction(jax.tree.leaves(whole)[0].shape[1], steps)

    schedules = [[size * unit] for size in blocks] + [[size * unit for size in blocks]]
    for sizes in schedules:
        stepped, state = run_blocks(step, params, x, init_state(batch), sizes)
        assert_close(stepped, whole, atol, flips, f"whole != stepped in blocks of {sizes}")
        assert spec(state) == spec(init_state(batch)), f"blocks of {sizes} changed the state's spec"
        if unwritten:
            garbage = poison(init_state(batch), unwritten)
            stepped, _ = run_blocks(step, params, x, garbage, sizes)
            assert_close(stepped, whole, atol, flips, f"unwritten cache is read, blocks of {sizes}")

    half = steps // unit // 2 * unit
    future = jax.tree.map(lambda a: a.at[:, half:].set(jnp.flip(a[:, half:], axis=1)), x)
    changed, _ = step(params, future, None)
    past = int(half * ratio)
    first_half = lambda tree: jax.tree.map(lambda a: a[:, :past], tree)  # noqa: E731
    assert_close(first_half(changed), first_half(whole), atol, flips, "the future changes the past")

    others = jax.tree.map(lambda a: a.at[1:].set(jnp.flip(a[1:], axis=1)), x)
    row = lambda tree: jax.tree.map(lambda a: a[:1], tree)  # noqa: E731
    assert_close(row(step(params, others, None)[0]), row(whole), 0.0, 0.0, "rows see each other")
    assert_close(step(params, row(x), None)[0], row(whole), atol, flips, "a row alone differs")

    if gradients:
        check_gradients(apply, init_state, params, x, blocks[-1] * unit, atol)


def check_gradients(
    apply: Callable, init_state: Callable, params: Any, x: Any, block: int, atol: float
) -> None:
    """Raises AssertionError unless gradients through blocks equal those of the whole form."""

    def loss(params, run):
        y, _ = run(params)
        return sum(
            jnp.mean(jnp.asarray(leaf) * jnp.cos(jnp.arange(leaf.size)).reshape(leaf.shape))
            for leaf in jax.tree.leaves(y)
        )

    batch = jax.tree.leaves(x)[0].shape[0]
    stepped = lambda p: run_blocks(apply, p, x, init_state(batch), [block])  # noqa: E731
    expected = jax.jit(jax.grad(lambda p: loss(p, lambda q: apply(q, x, None))))(params)
    actual = jax.jit(jax.grad(lambda p: loss(p, stepped)))(params)
    scale = max(float(jnp.max(jnp.abs(g))) for g in jax.tree.leaves(expected))
    assert scale > 0, "the loss does not depend on the parameters"
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a / scale, b / scale, atol=10 * atol, err_msg="gradients differ")
