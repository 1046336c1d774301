"""Variants and quantisers: every one of them a config that trains, each another model or recipe."""

import jax
import jax.numpy as jnp
import pytest

from codec.task import CodecTask
from experiments import codec_quantizers, codec_variants


@pytest.mark.parametrize("name", codec_variants.VARIANTS)
def test_a_variant_is_a_config_that_initialises(name):
    config = codec_variants.get_config(name)
    config.critic.sizes = config.critic.sizes[:1]  # the critics are the same in all
    state = jax.eval_shape(CodecTask(config).init, jax.random.key(0))
    assert state.usage.shape == (config.model.books, 1024)


@pytest.mark.parametrize("name", codec_quantizers.QUANTIZERS)
def test_a_quantiser_is_a_config_that_trains(name):
    config = codec_quantizers.get_config(name)
    config.model.update(encoder_blocks=1, decoder_blocks=1)  # the trunk is the same in all
    config.critic.sizes = config.critic.sizes[:1]
    task = CodecTask(config)
    batch = {"samples": jnp.zeros((2, 4 * 1920)), "bandwidth_hz": jnp.full(2, 12_000.0)}
    state = jax.eval_shape(task.init, jax.random.key(0))
    after, metrics = jax.eval_shape(task.train_step, state, batch)
    assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, state)
    assert after.usage.shape == (len(task.cfg.sizes), max(task.cfg.sizes))
    assert "bits_per_frame" in metrics


def test_the_quantisers_differ_in_the_bottleneck_only():
    base = codec_quantizers.get_config().to_dict()
    for name in codec_quantizers.QUANTIZERS:
        other = codec_quantizers.get_config(name).to_dict()
        model = {"quantizer", "books", "entries", "code_dim", "stages"}
        for config in (other, dict(base, model=dict(base["model"]))):
            for field in model:
                config["model"].pop(field, None)
            config.pop("depths", None)
            if config is not other:
                assert config == other


def test_variants_differ_from_the_default_in_what_they_name_only():
    base = codec_variants.get_config().to_dict()
    for name, changes in codec_variants.VARIANTS.items():
        config = codec_variants.get_config(name)
        for key, value in changes.items():
            *parents, last = key.split(".")
            expected, owner = base, config
            for parent in parents:
                expected, owner = expected[parent], owner[parent]
            assert owner[last] == value != expected.get(last)
            owner[last] = expected.get(last)
        left = config.to_dict()
        left["model"] = {k: v for k, v in left["model"].items() if v is not None}
        assert left == base
