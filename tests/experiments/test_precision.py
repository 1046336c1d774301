"""Smaller weights: what each format holds, and that its product is the product."""

import jax.numpy as jnp
import numpy as np
import pytest

from experiments import precision
from experiments.precision import FORMATS
from tests.voiceloom.tiny import write_release
from voiceloom import weights

RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.normal(size=(3, 64)), jnp.float32)
W = jnp.asarray(RNG.normal(size=(64, 48)) * np.linspace(0.1, 4, 48), jnp.float32)


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_every_format_gives_the_product_to_its_precision(form):
    off = np.abs(form.product(X, form.pack(W)) - X @ W)
    size = np.linalg.norm(X, axis=1)[:, None] * np.linalg.norm(W, axis=0)
    assert (off / size).max() < {4: 1e-6, 2: 0.002, 1: 0.01}[form.bytes]


def test_rounding_keeps_vectors_and_no_more_than_eight_bits():
    made = precision.rounded({"a": {"w": W}, "gain": W[0]})
    np.testing.assert_array_equal(made["gain"], W[0])
    assert all(len(np.unique(column)) <= 255 for column in np.asarray(made["a"]["w"]).T)
    step = np.abs(W).max(axis=0) / 127
    assert 0.4 < (np.abs(made["a"]["w"] - W) / step).max() <= 0.501


def test_the_chain_is_timed_and_the_table_says_it(tmp_path):
    chain = precision.matrices(weights.load(write_release(tmp_path)).lm.params)
    assert len(chain) > 8 and all(w.ndim == 2 for w in chain)
    formats = [
        {"name": f.name, "bytes": f.bytes, "mb": 2.0 * f.bytes}
        | {"ms": [0.5, precision.frame_ms(chain, f, 2)]}
        for f in FORMATS
    ]
    heard = {
        "float32": {"errors": [1, 0], "words": [5, 5]},
        "int8": {"errors": [1, 1], "words": [5, 5]},
    }
    table = precision.markdown({"machine": "here", "formats": formats, "errors": heard})
    assert "| float32 | 8.0 | 0.50 |" in table and "| 10.0 [0.0, 20.0] |" in table
    assert "| int8 | 2.0 | 0.50 |" in table and "| 20.0 [20.0, 20.0] |" in table
    assert table.rstrip().endswith("| - |")
