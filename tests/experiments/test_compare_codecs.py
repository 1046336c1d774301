"""The codec's variants: every one of them a config that trains, each another model or recipe."""

import jax
import pytest

from codec.task import CodecTask
from experiments import codec_variants


@pytest.mark.parametrize("name", codec_variants.VARIANTS)
def test_a_variant_is_a_config_that_initialises(name):
    config = codec_variants.get_config(name)
    state = jax.eval_shape(CodecTask(config).init, jax.random.key(0))
    assert state.usage.shape == (config.model.books, 1024)


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
