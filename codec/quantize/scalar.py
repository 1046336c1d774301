"""Finite scalar quantisation: a grid instead of learned tables (FSQ, arXiv 2309.15505).

A book is a handful of numbers between -1 and 1, each cut into equal cells. A grid is not ordered by
importance as residual books are; two things make it so. Training with a random number of books
teaches the model to put first things first and to live without the last. And with `stages` above
one the cells nest: the books of a later stage say in which part of its cell each number lies, so
that the same numbers come at two or more resolutions.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int, Num

from codec.quantize.interface import Quantized, Quantizer


class ScalarQuantizer(Quantizer):
    """`books` of `scalars` numbers, each with the whole root of `entries` as number of levels.

    Args:
        width: Of the vectors.
        books: All of them, `books / stages` in each stage.
        entries: Per book; levels ** scalars.
        scalars: Numbers in a book.
        stages: 1, or how often the cells are cut again.
        dither: Train on half of the examples with noise of a cell's width or with nothing instead
            of rounding (TAAE, arXiv 2411.19842; Voxtral, arXiv 2603.25551): for fine grids.

    Raises:
        ValueError: If the books do not fit the stages or the entries are not such a power.
    """

    def __init__(
        self,
        width: int,
        books: int,
        entries: int,
        scalars: int,
        *,
        stages: int = 1,
        dither: bool = False,
        rngs: nnx.Rngs,
    ):
        self.levels = round(entries ** (1 / scalars))
        if self.levels**scalars != entries or books % stages:
            raise ValueError(
                f"{books} books of {entries} entries: the books must be a multiple of {stages} "
                f"stages and the entries a whole number of levels to the power {scalars}"
            )
        self.sizes = (entries,) * books
        self.stages, self.groups, self.dither = stages, books // stages, dither
        self.place = tuple(self.levels**i for i in range(scalars))
        stack = nnx.initializers.lecun_normal(batch_axis=(0,))
        self.project_in = nnx.Param(stack(rngs.params(), (self.groups, width, scalars)))
        self.project_out = nnx.Param(stack(rngs.params(), (self.groups, scalars, width)))

    def numbers(self, x: Float[Array, "B T D"]) -> Float[Array, "B T G E"]:
        """What is quantised, between -1 and 1."""
        return jnp.tanh(jnp.einsum("btd,gde->btge", x, self.project_in[...]))

    def cells(self, z: Float[Array, "B T G E"]) -> Int[Array, "B T Q E"]:
        """Per book and number the cell it lies in, coarse stages first."""
        digits = []
        for _ in range(self.stages):
            digit = jnp.clip(jnp.floor((z + 1) / 2 * self.levels), 0, self.levels - 1)
            digits.append(digit)
            z = (z - self._centre(digit)) * self.levels  # where in its cell, again -1 to 1
        return jnp.concatenate(digits, axis=2).astype(jnp.int32)

    def _centre(self, digit: Num[Array, "*B"]) -> Float[Array, "*B"]:
        return (2 * digit + 1) / self.levels - 1

    def values(
        self, cells: Int[Array, "B T Q E"], used: Float[Array, "B Q"]
    ) -> Float[Array, "B T G E"]:
        """Middles of the cells as far as books are in use; 0 where nothing is known."""
        scale = np.repeat(float(self.levels) ** -np.arange(self.stages), self.groups)
        terms = self._centre(cells) * (used * scale)[:, None, :, None]
        return terms.reshape(*cells.shape[:2], self.stages, self.groups, -1).sum(axis=2)

    def encode(self, x: Float[Array, "B T D"], books: int | None = None) -> Int[Array, "B T Q"]:
        """Codes of the first `books` books (default: all)."""
        codes = (self.cells(self.numbers(x)) * np.array(self.place)).sum(axis=-1)
        return codes[..., :books].astype(jnp.int32)

    def decode(self, codes: Int[Array, "B T Q"]) -> Float[Array, "B T D"]:
        """What the middles of all given cells stand for."""
        batch, _, given = codes.shape
        books = len(self.sizes)
        codes = jnp.pad(codes, ((0, 0), (0, 0), (0, books - given)))
        cells = codes[..., None] // np.array(self.place) % self.levels
        used = jnp.broadcast_to((jnp.arange(books) < given).astype(jnp.float32), (batch, books))
        return self._out(self.values(cells, used))

    def _out(self, numbers: Float[Array, "B T G E"]) -> Float[Array, "B T D"]:
        return jnp.einsum("btge,ged->btd", numbers, self.project_out[...])

    def vectors(self) -> Float[Array, "Q K E"]:
        """Middles of the cells, a later stage's as if it were the only one."""
        cells = jnp.arange(self.sizes[0])[:, None] // np.array(self.place) % self.levels
        points = self._centre(cells) / len(self.place) ** 0.5
        return jnp.broadcast_to(points, (len(self.sizes), *points.shape))

    def __call__(self, x: Float[Array, "B T D"], depth: Int[Array, " B"], key: Array) -> Quantized:
        """Training form: straight-through rounding of the first `depth` books per example."""
        z = self.numbers(x)
        cells = self.cells(z)
        used = (jnp.arange(len(self.sizes)) < depth[:, None]).astype(x.dtype)
        known = used[:, None, : self.groups, None]  # a group is known once its first stage is
        value = known * z + jax.lax.stop_gradient(self.values(cells, used) - known * z)
        if self.dither:
            which, noise = jax.random.split(key)
            which = jax.random.uniform(which, (x.shape[0], 1, 1, 1))
            noise = jax.random.uniform(noise, z.shape, minval=-1.0, maxval=1.0) / self.levels
            value = jnp.where(which < 0.5, value, known * (z + jnp.where(which < 0.75, noise, 0)))
        return Quantized(
            latent=self._out(value),
            codes=(cells * np.array(self.place)).sum(axis=-1),
            loss=jnp.zeros(x.shape[0]),
            queries=None,
        )
