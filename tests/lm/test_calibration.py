"""Temperature scaling of the heads."""

import jax.numpy as jnp
import numpy as np
import pytest

from lm import calibration


def test_a_head_that_is_too_sure_is_made_as_sure_as_the_others():
    params = {
        "advance": {"w": jnp.ones((2, 3))},
        "prosody": {"head": {"w": 2 * jnp.ones((2, 2))}, "norm": {"gain": jnp.ones(2)}},
        "first": {"w": jnp.ones((2, 4))},
        "depth": {"heads": jnp.ones((2, 2, 4)), "frame": {"w": jnp.ones((2, 2))}},
        "text": {"w": jnp.ones(5)},
    }
    # Each head knows most at its own size; prosody's weights are twice as large as the others.
    best = {"advance": 0.6, "prosody": 2 * 0.9, "first": 0.8, "depth": 0.989}
    size = lambda p: {  # noqa: E731
        "advance": p["advance"]["w"], "prosody": p["prosody"]["head"]["w"],
        "first": p["first"]["w"], "depth": p["depth"]["heads"],
    }  # fmt: skip

    def losses(p):
        at = {head: float(w.mean()) for head, w in size(p).items()}
        return {head: 3 + np.log(at[head] / best[head]) ** 2 for head in at}

    made, factors = calibration.calibrated(params, losses)
    expected = {"advance": 0.6, "prosody": 0.9, "first": 0.8, "depth": 0.989}
    for head, factor in expected.items():
        assert factors[head] == pytest.approx(factor / calibration.SURE[head], rel=1e-3)
        before, after = float(size(params)[head].mean()), float(size(made)[head].mean())
        assert after == pytest.approx(before * factors[head], rel=1e-5)
    for untouched in ("norm",):
        np.testing.assert_array_equal(made["prosody"][untouched]["gain"], 1)
    np.testing.assert_array_equal(made["depth"]["frame"]["w"], 1)
    np.testing.assert_array_equal(made["text"]["w"], 1)


def test_a_model_without_a_prosody_stream_has_no_such_head():
    params = {"advance": {"w": jnp.ones(2)}, "first": {"w": jnp.ones(2)}}
    params |= {"depth": {"heads": jnp.ones(2)}}
    square = lambda w: float(np.log(w.mean() / 0.9) ** 2)  # noqa: E731
    made, factors = calibration.calibrated(
        params,
        lambda p: {
            "advance": square(p["advance"]["w"]),
            "first": square(p["first"]["w"]),
            "depth": square(p["depth"]["heads"]),
        },  # fmt: skip
    )
    assert set(factors) == {"advance", "first", "depth"} and set(made) == set(params)
