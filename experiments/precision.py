"""Would smaller weights be faster here, and are they still understood?

    python -m experiments.precision --out experiments/results/precision

A frame of the language model is a chain of products with matrices that each wait for the last. The
chain alone is timed with its matrices in float32 (as the engine has them), in bfloat16 (as the
release stores them: the same numbers), in int8 with a scale for every output, and with int8 for
what goes in, too. Beside it stand the word errors of the released model when its matrices have the
numbers that the format can hold: plain sentences in voices it knows.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from tqdm import tqdm

from data.published import flatten
from experiments import readings, report
from experiments.ladder import judged
from experiments.roofline import UNREAD
from experiments.throughput import disturbed, machine
from voiceloom import judges, weights
from voiceloom.engine import MAX_FRAMES
from voiceloom.evaluate import CORPORA, JUDGES
from voiceloom.synthesizer import Synthesizer

ROWS = (1, 16)
TIMES = 40

Matrix = Float[Array, "I O"]


class Format(NamedTuple):
    """How a matrix is held, and what multiplies with it."""

    name: str
    bytes: int  # of a number
    pack: Callable[[Matrix], Any]
    product: Callable[[Float[Array, "B I"], Any], Float[Array, "B O"]]


def to_int8(w: Float[Array, "*S N"]) -> tuple[Array, Array]:
    """Whole numbers, and the scale of each along the last axis."""
    scale = jnp.abs(w).max(axis=tuple(range(w.ndim - 1)), keepdims=True) / 127
    return jnp.round(w / jnp.maximum(scale, 1e-12)).astype(jnp.int8), scale


def int8_both(x: Float[Array, "B I"], packed: tuple[Array, Array]) -> Float[Array, "B O"]:
    """A product in whole numbers: a scale for every row of what goes in, and every output."""
    q, scale = packed
    size = jnp.abs(x).max(axis=1, keepdims=True) / 127 + 1e-12
    whole = jnp.round(x / size).astype(jnp.int8)
    return jnp.matmul(whole, q, preferred_element_type=jnp.int32) * size * scale


FORMATS = (
    Format("float32", 4, lambda w: w, jnp.matmul),
    Format("bfloat16", 2, lambda w: w.astype(jnp.bfloat16), lambda x, w: x @ w),
    Format("int8", 1, to_int8, lambda x, w: (x @ w[0].astype(jnp.float32)) * w[1]),
    Format("int8, what goes in too", 1, to_int8, int8_both),
)


def matrices(params: dict) -> list[Matrix]:
    """Those of the parts that a frame reads."""
    return [
        value
        for name, value in flatten(params)
        if name.endswith(".w") and name.split(".")[0] not in UNREAD["lm"]
    ]


def frame_ms(found: Sequence[Matrix], form: Format, rows: int) -> float:
    """A frame's chain of products, in dispatches of MAX_FRAMES."""
    packed = jax.block_until_ready([form.pack(w) for w in found])
    sizes = [len(w) for w in found]

    @jax.jit
    def dispatch(packed: Any, x: Float[Array, "B 1"]) -> Float[Array, "B 1"]:
        def frame(x, _):
            for w, size in zip(packed, sizes, strict=True):  # each waits for the last
                x = form.product(jnp.broadcast_to(x, (rows, size)), w).mean(axis=1, keepdims=True)
            return jnp.tanh(x), None

        return jax.lax.scan(frame, x, None, MAX_FRAMES)[0]

    x, taken = jnp.ones((rows, 1)), []
    for _ in range(TIMES + 1):
        begun = time.perf_counter()
        dispatch(packed, x).block_until_ready()
        taken.append(time.perf_counter() - begun)
    return 1000 * float(np.median(taken[1:])) / MAX_FRAMES


def rounded(params: dict) -> dict:
    """Parameters whose matrices, also those of text and voice, have what int8 can hold."""

    def back(w: Array) -> Array:
        if w.ndim < 2:
            return w
        q, scale = to_int8(w)
        return q * scale

    return jax.tree.map(back, params)


def errors(release: weights.Weights, count: int, asr: Path) -> dict[str, dict[str, list]]:
    """Word errors of the release as it is, and of its rounded matrices."""
    transcriber = judges.Transcriber(asr, cache=JUDGES / "cache")
    lines = readings.lines(CORPORA / "synthetic", split="val")
    lines = [x for x in lines if x["speaker"] in release.voices][:count]
    lm = release.lm._replace(params=rounded(release.lm.params))
    found = {}
    for name, loaded in (("float32", release), ("int8", release._replace(lm=lm))):
        synth = Synthesizer(loaded)
        sounds = (synth.say(x["text"], x["speaker"], seed=0) for x in tqdm(lines, name))
        found[name] = judged([x["text"] for x in lines], sounds, transcriber)
    return found


def markdown(found: dict[str, Any]) -> str:
    """The table."""
    lines = [
        found["machine"],
        "",
        "| matrices of the language model | MB a frame | "
        + " | ".join(f"ms a frame, {rows} rows" for rows in ROWS)
        + " | word errors, % |",
        "|---|--:|" + "--:|" * len(ROWS) + "--:|",
    ]
    for row in found["formats"]:
        heard = found["errors"].get("float32" if row["bytes"] > 1 else row["name"])
        told = "-"
        if heard:
            told = judges.bootstrap(heard["errors"], heard["words"]).written(1, 100)
        times = " | ".join(f"{ms:.2f}" for ms in row["ms"])
        lines.append(f"| {row['name']} | {row['mb']:.1f} | {times} | {told} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures what the command line says; 2 if others load the cores."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("experiments/results/precision"))
    parser.add_argument("--count", type=int, default=60, help="sentences to speak")
    parser.add_argument("--asr", type=Path, default=JUDGES / "whisper-base")
    parser.add_argument("--anyway", action="store_true", help="also beside other load")
    args = parser.parse_args(arguments)
    if disturbed() and not args.anyway:
        return 2
    release = weights.load()
    chain = matrices(release.lm.params)
    size = sum(w.size for w in chain) / 1e6
    formats = [
        {"name": form.name, "bytes": form.bytes, "mb": size * form.bytes}
        | {"ms": [frame_ms(chain, form, rows) for rows in ROWS]}
        for form in FORMATS
    ]
    found = {"machine": machine(), "formats": formats, "errors": {}}
    report.write(args.out, markdown(found), found)
    found["errors"] = errors(release, args.count, args.asr)
    report.write(args.out, markdown(found), found)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
