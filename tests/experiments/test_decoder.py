"""The decoder's task: heard by the aligner, and alone in learning."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import codec_decoder
from experiments.decoder import DecoderTask, log_mel
from lm import aligner
from tests.voiceloom.tiny import speechlike


@pytest.fixture(scope="module")
def task():
    config = codec_decoder.get_config("tiny")
    config.adversarial_from = 1_000  # the critics have nothing to do with it
    return DecoderTask(config)


def test_the_spectrogram_is_that_of_the_aligner():
    samples = speechlike(1.1)
    alone = aligner.log_mel(samples)
    together = log_mel(jnp.asarray(np.stack([samples, 0.1 * samples])))
    assert together.shape == (2, 110, aligner.BANDS)
    np.testing.assert_allclose(together[0], alone[:110], atol=1e-3)
    np.testing.assert_allclose(together[1], alone[:110], atol=5e-3)  # the level is nobody's phone


def test_what_sounds_like_the_recording_costs_nothing_and_noise_does(task):
    speech = jnp.asarray(speechlike(1.0))[None]
    noise = jax.random.normal(jax.random.key(0), speech.shape) * 0.1
    cost = lambda x: task.further_losses(x, speech)["phones"]  # noqa: E731
    assert abs(float(cost(speech))) < 1e-6 < 0.1 < float(cost(noise))
    slope = jax.grad(cost)(noise)
    assert bool(jnp.isfinite(slope).all())
    step = 0.01 * slope / jnp.linalg.norm(slope)
    assert float(cost(noise - step)) < float(cost(noise))


def test_only_the_decoder_learns_and_the_phones_count(task):
    state = jax.jit(task.init)(jax.random.key(0))
    batch = {
        "samples": jnp.asarray(np.stack([speechlike(0.64)] * 2)),
        "bandwidth_hz": jnp.full(2, 12_000.0),
    }
    step = jax.jit(task.train_step)
    new, _ = step(state, batch)  # the first one warms up from a rate of nothing
    new, metrics = step(new, batch)
    assert float(metrics["phones"]) > 0
    same = jax.tree.map(lambda a, b: bool(jnp.array_equal(a, b)), state.params, new.params)
    assert all(jax.tree.leaves([same[name] for name in ("encoder", "quantizer")]))
    assert not all(jax.tree.leaves(same["decoder"]))
