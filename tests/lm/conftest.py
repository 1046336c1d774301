"""A tiny LM, and made speech whose codes are a function of what is said."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from data.phones import SYMBOLS, boundary_class
from data.utterances import Utterance
from experiments import lm_base
from lm import Config, init_params, structure

FULL_STOP = SYMBOLS.index(".")
PHONES = [i for i in range(1, len(SYMBOLS)) if not boundary_class(i)][:12]


def made_utterances(count, books=4, entries=1024, speakers=3, noise=0.05, seed=0, units=(6, 20)):
    """Clips of random words; book 0 is a function of unit and dwell, the rest of it and speaker."""
    rng = np.random.default_rng(seed)
    clips = []
    for clip in range(count):
        size = int(rng.integers(*units))
        symbol = np.array([*rng.choice(PHONES, size), FULL_STOP], np.int32)
        frames = np.where(symbol == FULL_STOP, 4, 1 + symbol % 3)
        onset = np.cumsum([1, *frames])
        total = int(onset[-1]) + 3
        spoken = np.repeat([0, *symbol, 0], [1, *frames, 3])
        dwell = np.arange(total) - np.repeat([0, *onset], [1, *frames, 3])
        first = (7 * spoken + 3 * dwell) % entries
        first = np.where(rng.random(total) < noise, rng.integers(0, entries, total), first)
        speaker = clip % speakers
        codes = (
            first[:, None] * np.arange(1, books + 1) + 11 * speaker * (np.arange(books) > 0)
        ) % entries
        word = np.sort(rng.integers(0, 1 + size // 3, size))
        word = np.unique(word, return_inverse=True)[1]
        clips.append(
            Utterance(
                codes=codes.astype(np.uint16),
                prosody=(spoken * 5 + dwell) % 208,
                symbol=symbol,
                stress=rng.integers(0, 3, size + 1).astype(np.int32),
                word=np.append(word, word[-1]).astype(np.int32),
                onset=onset,
                speaker=f"speaker_{speaker}",
                clip=clip,
            )
        )
    return clips


@pytest.fixture(scope="session")
def config():
    return lm_base.get_config("tiny")


@pytest.fixture(scope="session")
def cfg(config):
    return Config(**config.model)


@pytest.fixture(scope="session")
def graph(cfg):
    return structure(cfg)


@pytest.fixture(scope="session")
def params(cfg):
    """Random parameters, gains too, and none so small that it is drowned out; by numpy, since
    compiling the initialisation takes seconds."""
    rng = np.random.default_rng(0)

    def fill(path, leaf):
        if leaf.ndim == 1:
            return jnp.asarray(1 + 0.2 * rng.normal(size=leaf.shape), jnp.float32)
        scale = 1.5 * leaf.shape[-2] ** -0.5 if path[-1].key in ("w", "heads") else 0.7
        return jnp.asarray(scale * rng.normal(size=leaf.shape), jnp.float32)

    shapes = jax.eval_shape(lambda: init_params(cfg, jax.random.key(0)))
    return jax.tree_util.tree_map_with_path(fill, shapes)


@pytest.fixture(scope="session")
def merge(graph):
    """`merge(params)` is the model."""
    return lambda params: nnx.merge(graph, params)


@pytest.fixture(scope="session")
def utterances(cfg):
    return made_utterances(24, books=cfg.books)
