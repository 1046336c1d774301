"""How far a step is from what the machine allows, and what another machine would allow.

    python -m experiments.roofline --out experiments/results/roofline

A frame of a stream needs its arithmetic (XLA's count of the compiled step), every weight once for
all streams together, and each stream's own state. The larger of arithmetic over peak and bytes over
bandwidth is the least time it can take; beside it stands the time it takes here. The same three
numbers carry to an accelerator (`docs/pod.md`), where a third bound counts: a frame is a chain of
kernels that wait for each other.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import psutil

from experiments import report
from experiments.throughput import machine
from voiceloom import weights
from voiceloom.batch import talking
from voiceloom.engine import MAX_FRAMES, Engine
from voiceloom.weights import Model

STREAMS = (1, 4, 16)
FULL = 0.8  # part of the time that a machine may be busy
UNREAD = {"lm": ("text", "voice", "codes"), "codec": ("encoder", "quantizer")}
"""Parameters that a frame does not read whole: encoders of text and voice, tables."""


class Work(NamedTuple):
    """What a frame of 80 ms needs, of language model and decoder."""

    flops: float  # of each stream
    weight_bytes: float  # float32, once for all streams
    state_bytes: float  # of each stream: read and written

    def bytes(self, streams: int) -> float:
        """That move in a frame of so many streams."""
        return self.weight_bytes + streams * self.state_bytes


class Accelerator(NamedTuple):
    """A machine as its maker describes it, and what an hour of it is worth."""

    name: str
    flops: float  # a second, dense bfloat16
    bandwidth: float  # bytes a second
    memory: float  # bytes
    kernel_s: float  # from one kernel of a chain to the next, at best
    price: float  # an hour


POD = (
    Accelerator("NVIDIA L4", 121e12, 300e9, 24e9, 2.5e-6, 0.70),
    Accelerator("NVIDIA H100 SXM", 989e12, 3350e9, 80e9, 2.5e-6, 3.00),
    Accelerator("TPU v5e, a chip", 197e12, 819e9, 16e9, 1e-6, 1.20),
)
"""Peak, bandwidth and memory from the makers' data sheets; the step between kernels (a captured
graph, a compiled TPU program) and the prices are assumptions: put yours in their place."""


class Measured(NamedTuple):
    """A frame of so many streams on this machine."""

    streams: int
    lm_s: float
    decode_s: float


def work(engine: Engine, loaded: weights.Weights) -> Work:
    """Of the compiled steps of an engine that has spoken with one row."""
    steps = (engine.generate, engine.decode_frames)
    flops = sum(step.analysis(1)["flops"] for step in steps)
    read = _read(loaded.lm, UNREAD["lm"]) + _read(loaded.codec, UNREAD["codec"])
    states = jax.eval_shape(lambda: engine.init(np.zeros(1, np.int32)))
    held = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(states))
    return Work(flops, read, held)


def _read(model: Model, unread: Sequence[str]) -> float:
    return sum(
        x.size * 4
        for name, part in model.params.items()
        if name not in unread
        for x in jax.tree.leaves(part)
    )


def measure(engine: Engine, streams: int, seconds: float = 2.0) -> Measured:
    """Median times of a frame in dispatches of MAX_FRAMES."""
    batch = talking(engine, streams)
    blocks, begun = [], time.perf_counter()
    batch.frames(range(streams), MAX_FRAMES)
    while len(blocks) < 5 or time.perf_counter() - begun < seconds:
        blocks.append(batch.frames(range(streams), MAX_FRAMES)[0])
    times = np.median([(block.lm_s, block.decode_s) for block in blocks], axis=0) / MAX_FRAMES
    return Measured(streams, *times.tolist())


def peaks() -> tuple[float, float]:
    """FLOPs and bytes a second of this machine: a large product, and a sum over 256 MB."""
    product = jax.jit(lambda a: a @ a)
    a = jnp.ones((1536, 1536))
    total, b = jax.jit(jnp.sum), jnp.ones(64 * 2**20)
    flops = 2 * 1536**3 / _fastest(lambda: product(a).block_until_ready())
    return flops, b.nbytes / _fastest(lambda: total(b).block_until_ready())


def _fastest(call: Any, times: int = 12) -> float:
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        call()
        taken.append(time.perf_counter() - begun)
    return min(taken[1:])


def streams_on(there: Accelerator, need: Work, chain: int, frame_s: float) -> tuple[int, str]:
    """Streams that an accelerator keeps up with in bfloat16, and what binds it."""
    budget = FULL * frame_s - chain * there.kernel_s
    if budget <= 0:
        return 0, "the chain of kernels"
    by_flops = budget * there.flops / need.flops
    by_bytes = (budget * there.bandwidth - need.weight_bytes / 2) / (need.state_bytes / 2)
    by_memory = (0.8 * there.memory - need.weight_bytes / 2) / (need.state_bytes / 2)
    bounds = {"arithmetic": by_flops, "bandwidth": by_bytes, "memory": by_memory}
    name = min(bounds, key=bounds.get)
    return int(bounds[name]), name


def markdown(
    need: Work, chain: int, here: tuple[float, float], found: Sequence[Measured], frame_s: float
) -> str:
    """The tables."""
    flops, bandwidth = here
    lines = [
        machine(),
        "",
        f"Peak here {flops / 1e9:.0f} GFLOP/s, {bandwidth / 1e9:.1f} GB/s, float32. A frame of "
        f"{1000 * frame_s:.0f} ms needs {need.flops / 1e6:.0f} MFLOP and "
        f"{need.state_bytes / 1e6:.1f} MB of state for each stream, and "
        f"{need.weight_bytes / 1e6:.0f} MB of weights for all; it is a chain of {chain} kernels.",
        "",
        "| streams | by arithmetic, ms | by bytes, ms | measured, ms | of it the codec | the bound "
        "is | real-time factor of each |",
        "|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for m in found:
        least = m.streams * need.flops / flops, need.bytes(m.streams) / bandwidth
        took = m.lm_s + m.decode_s
        factor = took / frame_s / m.streams
        lines.append(
            f"| {m.streams} | {1000 * least[0]:.2f} | {1000 * least[1]:.2f} | {1000 * took:.2f} "
            f"| {1000 * m.decode_s:.2f} | {max(least) / took:.0%} | {factor:.4f} |"
        )
    lines += [
        "",
        "| accelerator, bfloat16 | streams | what binds | price an hour | of a stream-hour |",
        "|---|--:|---|--:|--:|",
    ]
    for there in POD:
        streams, bound = streams_on(there, need, chain, frame_s)
        price = f"{there.price / streams:.6f}" if streams else "-"
        lines.append(f"| {there.name} | {streams:,} | {bound} | {there.price:.2f} | {price} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures this machine, reckons others."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("experiments/results/roofline"))
    parser.add_argument("--weights", type=Path, default=weights.DEFAULT)
    args = parser.parse_args(arguments)
    loaded = weights.load(args.weights)
    engine, here = Engine(loaded), peaks()
    found = [measure(engine, streams) for streams in STREAMS]
    need = work(engine, loaded)
    chain = sum(step.kernels(1) for step in (engine.generate, engine.decode_frames))
    numbers = {"work": need._asdict(), "chain": chain, "peaks": here, "load": psutil.getloadavg()}
    numbers["measured"] = [m._asdict() for m in found]
    report.write(args.out, markdown(need, chain, here, found, engine.frame_s), numbers)


if __name__ == "__main__":
    main()
