"""The distances: zero for equals, blind above the source's bandwidth, worse for worse."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from codec.discriminator import Discriminator
from codec.losses import adversarial, band_limited, feature_matching, hinge, mel_distance

RATE = 24_000
TIME = jnp.arange(RATE // 2) / RATE


def tone(hz):
    return 0.2 * jnp.sin(2 * jnp.pi * hz * TIME)[None]


def test_equal_audio_has_no_distance():
    assert float(mel_distance(tone(440), tone(440), jnp.array([12000.0]), RATE)[0]) == 0


def test_above_the_bandwidth_nothing_counts():
    noise = 0.02 * jax.random.normal(jax.random.key(0), TIME.shape)
    spectrum = jnp.fft.rfft(noise)
    hz = jnp.fft.rfftfreq(len(TIME), 1 / RATE)
    high = jnp.fft.irfft(jnp.where(hz > 9500, spectrum, 0))[None]  # a window's leakage below 8 kHz
    x, y = tone(440), tone(440) + high
    narrow = mel_distance(x, y, jnp.array([8000.0]), RATE)[0]
    wide = mel_distance(x, y, jnp.array([12000.0]), RATE)[0]
    assert float(wide) > 20 * float(narrow)


def test_a_row_keeps_what_lies_below_its_bandwidth():
    x = jnp.concatenate([tone(440) + tone(9500)] * 2)
    narrow, wide = band_limited(x, jnp.array([8000.0, 12000.0]), RATE)
    np.testing.assert_allclose(narrow, tone(440)[0], atol=2e-3)  # phases are float32
    np.testing.assert_allclose(wide, x[1], atol=1e-4)


def test_more_noise_is_further_away():
    noise = jax.random.normal(jax.random.key(0), TIME.shape)[None]
    band = jnp.array([12000.0])
    near, far = (mel_distance(tone(440), tone(440) + a * noise, band, RATE)[0] for a in (0.01, 0.1))
    assert float(far) > float(near) > 0


def test_critics_can_be_told_apart_and_improved():
    """A step down the hinge loss lowers it; matching is zero only for equal audio."""
    critic = Discriminator((336,), 2, 16, rngs=nnx.Rngs(0))
    graph, params = nnx.graphdef(critic), nnx.to_pure_dict(nnx.state(critic, nnx.Param))
    real, fake = tone(440), 0.2 * jax.random.normal(jax.random.key(1), (1, len(TIME)))
    judge = lambda p, x: nnx.merge(graph, p)(x)  # noqa: E731
    loss = lambda p: hinge(judge(p, real), judge(p, fake))  # noqa: E731
    value, grads = jax.jit(jax.value_and_grad(loss))(params)
    better = jax.tree.map(lambda p, g: p - 0.01 * g, params, grads)
    assert float(loss(better)) < float(value)
    assert float(feature_matching(judge(params, real), judge(params, real))) == 0
    assert float(feature_matching(judge(params, real), judge(params, fake))) > 0.1
    assert np.isfinite(float(adversarial(judge(params, fake))))
