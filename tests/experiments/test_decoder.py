"""The decoder's task: alone in learning."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments import codec_decoder
from experiments.decoder import DecoderTask
from tests.voiceloom.tiny import speechlike


def test_only_the_decoder_learns():
    config = codec_decoder.get_config("tiny")
    config.adversarial_from = 1_000  # the critics have nothing to do with it
    task = DecoderTask(config)
    state = jax.jit(task.init)(jax.random.key(0))
    batch = {
        "samples": jnp.asarray(np.stack([speechlike(0.64)] * 2)),
        "bandwidth_hz": jnp.full(2, 12_000.0),
    }
    step = jax.jit(task.train_step)
    new, _ = step(state, batch)  # the first one warms up from a rate of nothing
    new, _ = step(new, batch)
    same = jax.tree.map(lambda a, b: bool(jnp.array_equal(a, b)), state.params, new.params)
    assert all(jax.tree.leaves([same[name] for name in ("encoder", "quantizer")]))
    assert not all(jax.tree.leaves(same["decoder"]))
