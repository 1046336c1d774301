"""The quantisers: one contract for all, and what is particular to each."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from codec import Config
from codec.quantize import make_quantizer
from codec.quantize.residual import reseed, unit
from codec.quantize.scalar import ScalarQuantizer
from codec.quantize.usage import entropy, perplexity, uniform, usage

KINDS = {
    "residual": dict(books=4, entries=16, code_dim=4),
    "scalar": dict(quantizer="scalar", books=4, entries=16, code_dim=2),
    "nested": dict(quantizer="scalar", books=6, entries=9, code_dim=2, stages=3),
    "split": dict(quantizer="split", books=6, entries=7, first_entries=16, code_dim=4),
}
KEY = jax.random.key(0)


@pytest.fixture(params=KINDS)
def kind(request):
    cfg = Config(frame_width=12, **KINDS[request.param])
    return cfg, make_quantizer(cfg, rngs=nnx.Rngs(0))


def latents(*shape):
    return 2 * jax.random.normal(jax.random.key(3), shape)


def test_codes_fit_their_books_and_use_them(kind):
    cfg, quantizer = kind
    codes = np.asarray(quantizer.encode(latents(8, 40, 12)))
    assert codes.dtype == np.int32 and codes.shape == (8, 40, cfg.books)
    assert cfg.sizes == quantizer.sizes
    assert (codes >= 0).all() and (codes < np.array(cfg.sizes)).all()
    assert all(len(np.unique(codes[..., book])) > 4 for book in range(cfg.books))


def test_codes_of_fewer_books_are_a_prefix(kind):
    _, quantizer = kind
    x = latents(2, 5, 12)
    np.testing.assert_array_equal(quantizer.encode(x)[..., :2], quantizer.encode(x, books=2))


def test_training_form_at_depth_d_is_the_first_d_books_decoded(kind):
    cfg, quantizer = kind
    x = jnp.repeat(latents(1, 5, 12), 32, axis=0)  # some of the rows are dithered
    for depth in range(1, cfg.books + 1):
        out = quantizer(x, jnp.full(32, depth), KEY)
        decoded = quantizer.decode(quantizer.encode(x[:1], books=depth))[0]
        off = np.abs(np.asarray(out.latent) - decoded).max(axis=(1, 2))
        assert (off < 1e-5).mean() >= (1.0 if cfg.quantizer != "split" else 0.3)
        np.testing.assert_array_equal(out.codes, quantizer.encode(x))


def test_vectors_tell_the_entries_of_a_book_apart(kind):
    cfg, quantizer = kind
    vectors = np.asarray(quantizer.vectors())
    assert vectors.shape[:2] == (cfg.books, max(cfg.sizes))
    for book, size in enumerate(cfg.sizes):
        assert len(np.unique(vectors[book, :size], axis=0)) == size
        assert np.linalg.norm(vectors[book], axis=-1).max() < 1.001
        assert not vectors[book, size:].any()


def test_gradient_passes_to_the_input_from_the_books_in_use(kind):
    cfg, quantizer = kind
    x = latents(1, 3, 12)
    for depth in (1, cfg.books):
        depths = jnp.array([depth])
        grad = jax.grad(lambda v, d=depths: jnp.square(quantizer(v, d, KEY).latent).sum())(x)
        assert float(jnp.abs(grad).max()) > 0 and bool(jnp.isfinite(grad).all())


def test_revived_entries_come_from_the_batch_and_the_rest_stays(kind):
    cfg, quantizer = kind
    params = nnx.to_pure_dict(nnx.state(quantizer, nnx.Param))
    out = quantizer(latents(8, 40, 12), jnp.full(8, cfg.books), KEY)
    share = uniform(cfg.sizes).at[0, 3].set(0.0)
    fresh, shares = quantizer.revive(params, share, out, KEY)
    changed = jax.tree.map(lambda a, b: int((a != b).any(axis=-1).sum()), params, fresh)
    learned = cfg.quantizer != "scalar"
    assert sum(jax.tree.leaves(changed)) == learned
    assert (float(shares[0, 3]) > 0) == learned


def test_cells_of_a_later_stage_halve_the_error_of_a_scalar():
    quantizer = ScalarQuantizer(4, 3, 2, 1, stages=3, rngs=nnx.Rngs(0))
    z = jnp.linspace(-0.999, 0.999, 401)[None, :, None, None]
    cells = quantizer.cells(z)
    for books in (1, 2, 3):
        values = quantizer.values(cells, jnp.array([[1.0] * books + [0.0] * (3 - books)]))
        assert float(jnp.abs(values - z).max()) == pytest.approx(0.5**books, rel=0.02)


def test_all_codes_of_a_scalar_book_are_distinct_points():
    quantizer = ScalarQuantizer(8, 1, 27, 3, rngs=nnx.Rngs(0))
    points = np.asarray(quantizer.decode(jnp.arange(27)[None, :, None]))[0]
    pairs = itertools.combinations(range(27), 2)
    assert min(np.abs(points[a] - points[b]).max() for a, b in pairs) > 1e-3


@pytest.mark.parametrize(
    "kind",
    [dict(quantizer="scalar", entries=1000, code_dim=5), dict(quantizer="scalar", stages=3)],
)
def test_a_grid_that_does_not_fit_is_refused(kind):
    with pytest.raises(ValueError, match="books of 10"):
        make_quantizer(Config(**{"code_dim": 5} | kind), rngs=nnx.Rngs(0))


def test_unknown_quantizer_is_refused():
    with pytest.raises(ValueError, match="one of residual, scalar, split"):
        make_quantizer(Config(quantizer="lattice"), rngs=nnx.Rngs(0))


def test_usage_entropy_and_perplexity():
    codes = jnp.array([[[0, 3], [1, 3]], [[0, 3], [1, 3]]])
    share = usage(codes, 4)
    np.testing.assert_allclose(share, [[0.5, 0.5, 0, 0], [0, 0, 0, 1.0]])
    np.testing.assert_allclose(entropy(share), [1.0, 0.0], atol=1e-6)
    np.testing.assert_allclose(perplexity(share), [2.0, 1.0], rtol=1e-4)
    np.testing.assert_allclose(perplexity(uniform((4, 2))), [4.0, 2.0], rtol=1e-4)


def test_only_dead_entries_are_reseeded_and_from_the_batch():
    table = jnp.zeros((1, 3, 2))
    share = jnp.array([[0.6, 0.4, 0.0]])
    queries = unit(latents(2, 4, 1, 2))
    fresh, shares = reseed(table, share, queries, KEY, threshold=0.01)
    np.testing.assert_array_equal(fresh[0, :2], 0)
    pool = queries.reshape(-1, 2)
    assert bool((jnp.abs(pool - fresh[0, 2]).sum(-1) < 1e-6).any())
    np.testing.assert_allclose(shares[0], [0.6, 0.4, 1 / 3], rtol=1e-6)
