"""Heads as sure as those that sampling was tuned on: temperature scaling on held-out speech.

A long run makes a head surer than held-out speech bears out (Guo et al. 2017, arXiv 1706.04599).
Which class is likeliest stays; but `lm.sample` draws at temperatures, and steers by constants, that
are in units of the logits. They were tuned on a model whose heads knew most when scaled by `SURE`.
A model that has been trained for longer has its heads scaled until the same is true of it: then
what was tuned holds.
"""

import math
from collections.abc import Callable, Mapping

import jax
import numpy as np

HEADS = {
    "advance": ("advance",),
    "prosody": ("prosody", "head"),
    "first": ("first",),
    "depth": ("depth", "heads"),
}
"""Where in the parameters each head is."""

SURE = {"advance": 0.761, "prosody": 0.792, "first": 0.964, "depth": 0.989}
"""Factors of least held-out loss of what `Sampling.default` was tuned on (lm_voices_2)."""

FACTORS = (0.6, 0.75, 0.9, 1.05)


def scaled(params: dict, factors: Mapping[str, float]) -> dict:
    """The parameters with the logits of each head times its factor."""

    def at(tree: dict, path: tuple[str, ...], factor: float) -> dict:
        first, *rest = path
        if rest:
            return tree | {first: at(tree[first], tuple(rest), factor)}
        return tree | {first: jax.tree.map(lambda w: w * factor, tree[first])}

    for head, factor in factors.items():
        params = at(params, HEADS[head], factor)
    return params


def calibrated(
    params: dict, losses: Callable[[dict], Mapping[str, float]]
) -> tuple[dict, dict[str, float]]:
    """The parameters with heads as sure as `SURE`, and the factors that made them so.

    Args:
        params: Of an `LM`.
        losses: Held-out nats by head of such parameters; no head's loss depends on another's
            factor, so all are tried at once.
    """
    heads = [head for head, path in HEADS.items() if path[0] in params]  # prosody may be missing
    found = [losses(scaled(params, dict.fromkeys(heads, factor))) for factor in FACTORS]
    factors = {}
    for head in heads:
        # Near its least value a loss is a parabola in the logarithm of the factor.
        a, b, _ = np.polyfit(np.log(FACTORS), [nats[head] for nats in found], 2)
        factors[head] = math.exp(-b / (2 * a)) / SURE[head]
    return scaled(params, factors), factors
