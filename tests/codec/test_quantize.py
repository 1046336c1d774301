"""The residual quantiser: depth, statistics, re-seeding, straight-through gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from codec.quantize import ResidualQuantizer, perplexity, reseed, unit, usage


@pytest.fixture
def quantizer():
    return ResidualQuantizer(width=12, books=4, entries=16, code_dim=4, rngs=nnx.Rngs(0))


def latents(*shape):
    return jax.random.normal(jax.random.key(3), shape)


def test_training_form_at_depth_d_is_the_first_d_books_decoded(quantizer):
    x = latents(4, 5, 12)
    out = quantizer(x, jnp.arange(1, 5))
    for row, depth in enumerate(range(1, 5)):
        decoded = quantizer.decode(quantizer.encode(x[row : row + 1], books=depth))
        np.testing.assert_allclose(out.latent[row : row + 1], decoded, atol=1e-5)


def test_codes_of_fewer_books_are_a_prefix(quantizer):
    x = latents(2, 5, 12)
    np.testing.assert_array_equal(quantizer.encode(x)[..., :2], quantizer.encode(x, books=2))


def test_gradient_passes_to_the_input(quantizer):
    x = latents(1, 3, 12)
    grad = jax.grad(lambda v: jnp.square(quantizer(v, jnp.array([4])).latent).sum())(x)
    assert float(jnp.abs(grad).max()) > 0


def test_usage_and_perplexity():
    codes = jnp.array([[[0, 3], [1, 3]], [[0, 3], [1, 3]]])
    share = usage(codes, 4)
    np.testing.assert_allclose(share, [[0.5, 0.5, 0, 0], [0, 0, 0, 1.0]])
    np.testing.assert_allclose(perplexity(share), [2.0, 1.0], rtol=1e-4)


def test_only_dead_entries_are_reseeded_and_from_the_batch():
    table = jnp.zeros((1, 3, 2))
    share = jnp.array([[0.6, 0.4, 0.0]])
    projected = unit(latents(2, 4, 1, 2))
    fresh, shares = reseed(table, share, projected, jax.random.key(0), threshold=0.01)
    np.testing.assert_array_equal(fresh[0, :2], 0)
    pool = projected.reshape(-1, 2)
    assert bool((jnp.abs(pool - fresh[0, 2]).sum(-1) < 1e-6).any())
    np.testing.assert_allclose(shares[0], [0.6, 0.4, 1 / 3], rtol=1e-6)
