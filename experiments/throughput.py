"""How fast this machine trains and speaks, beside what its cores can do at best.

    python -m experiments.throughput

In one run, a few minutes on two idle cores: matrix products (a large one is the peak of the table,
two of the models' own shapes show what they could reach), training steps of both models on made-up
batches of the real size, and one stream of speech with the released weights. FLOPs are those of
XLA's cost analysis of a step, forward, backward and update. Compiled steps are not fetched from a
cache, so compile times are those of a first start; reading data is not in the times.

A figure taken beside other work is worth nothing: the command refuses to run while others use more
than a fifth of a core, and says in the table what others used meanwhile.
"""

import argparse
import datetime
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import psutil

from codec.task import CodecTask
from data.text import FrontEnd
from data.utterances import Row
from experiments import codec_base, lm_base
from lm.task import LMTask
from voiceloom import weights
from voiceloom.batch import Batch
from voiceloom.engine import MAX_FRAMES
from voiceloom.speech_codec import load_codec
from voiceloom.synthesizer import Synthesizer

OTHERS_CORES = 0.2
"""Processor time of others, in cores, from which on nothing is measured."""

REQUESTS = (
    "Your table for six is confirmed for tonight.",
    "I checked both accounts, and neither of them shows a late fee.",
    "Shall I read the whole message, or only the last line?",
    "One moment, please.",
    "The total is $48.50, and it ships on March 3rd.",
)
"""Said by turns to measure the time to the first chunk."""

PAGE = (
    "It was late in the evening when the last ferry left the harbour. The wind had dropped, and "
    "the water lay as smooth as glass. On the upper deck three people stood at the railing: a "
    "woman with a violin case, a boy who could not stop counting the lights on the shore, and an "
    "old man who had made this crossing every Friday for forty years. Nobody spoke. What was "
    "there to say? "
    "Behind them the town grew smaller, and somewhere below an engine hummed its one long note."
)
"""Said once to measure a stream in its stride, about half a minute."""


class Others:
    """Processor time that everybody else on this machine takes from now on."""

    def __init__(self):
        self._begun, self._busy_s, self._each_s = time.monotonic(), *self._now()

    @staticmethod
    def _now() -> tuple[float, dict[tuple[int, str], float]]:
        """Seconds of all cores without our own, and of every other process."""
        machine, own, each = psutil.cpu_times(), psutil.Process(), {}
        parts = ("user", "nice", "system", "irq", "softirq", "steal")
        busy = sum(getattr(machine, part, 0.0) for part in parts) - sum(own.cpu_times()[:2])
        for process in psutil.process_iter(["name", "cpu_times"]):
            if process.pid != own.pid and process.info["cpu_times"]:
                each[process.pid, process.info["name"]] = sum(process.info["cpu_times"][:2])
        return busy, each

    def cores(self) -> float:
        """Cores that others have kept busy since this object was made, on average."""
        return max(0.0, self._now()[0] - self._busy_s) / (time.monotonic() - self._begun)

    def busiest(self) -> str:
        """The process that has used most of it."""
        each = {who: s - self._each_s.get(who, 0.0) for who, s in self._now()[1].items()}
        (pid, name), _ = max(each.items(), key=lambda item: item[1])
        return f"{name}, process {pid}"


class Product(NamedTuple):
    """A float32 matrix product [m, k] @ [k, n]."""

    about: str
    shape: tuple[int, int, int]
    gflops: float  # a second, the best of many


class Training(NamedTuple):
    """A training step in its stride."""

    about: str
    parameters: int  # of the model that is released
    batch_s: float  # audio in a batch
    step_s: float
    flops: float  # of a step
    compile_s: float

    @property
    def speed(self) -> float:
        """Seconds of audio per second."""
        return self.batch_s / self.step_s

    @property
    def gflops(self) -> float:
        """10^9 FLOPs a second."""
        return self.flops / self.step_s / 1e9


class Speaking(NamedTuple):
    """One stream of speech after another; times of many events as [p50, p95]."""

    load_s: float  # weights, compiling and front ends
    compile_s: float
    frame_s: float  # length of a frame
    lm_s: tuple[float, float]  # to write a frame
    decode_s: tuple[float, float]  # to make it sound
    real_time_factor: float  # of `PAGE`
    audio_s: float  # of `PAGE`
    requests: int
    first_chunk_s: tuple[float, float]
    new_voice_s: tuple[float, float]  # likewise, of a voice's first request
    first_audible_s: tuple[float, float]


class Coding(NamedTuple):
    """Streams through encoder and decoder, a frame of each in a dispatch."""

    streams: int
    real_time_factor: float  # seconds for a second of each stream
    encode_s: tuple[float, float]  # a frame of all streams, p50 and p99
    decode_s: tuple[float, float]


class Measured(NamedTuple):
    """All of it."""

    machine: str
    others_cores: float  # meanwhile
    products: list[Product]
    training: list[Training]
    speaking: Speaking
    coding: list[Coding]


def product(about: str, m: int, k: int, n: int, seconds: float) -> Product:
    """The best of at least five calls in `seconds`."""
    a, b = (jax.random.normal(jax.random.key(i), shape) for i, shape in enumerate([(m, k), (k, n)]))
    multiply = jax.jit(jnp.matmul)
    multiply(a, b).block_until_ready()
    times = _repeat(lambda: multiply(a, b).block_until_ready(), seconds, 5)
    return Product(about, (m, k, n), 2 * m * k * n / min(times) / 1e9)


def training(
    task: Any, batch: dict, batch_s: float, phases: dict[str, int], seconds: float
) -> list[Training]:
    """The step of `task` as the training loop runs it, at every phase.

    Args:
        task: Of the training loop.
        batch: Arrays as `task.dataset` gives them.
        batch_s: Audio in it, seconds.
        phases: Steps at which to measure, by name.
        seconds: To measure each for.
    """
    batch = jax.device_put(batch)
    state = jax.jit(task.init)(jax.random.key(0))
    parameters = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    flops = {}
    for name, at in phases.items():
        # A step number that the compiler knows: it drops the branch that is not taken.
        fixed = jax.jit(lambda s, b, at=at: task.train_step(s._replace(step=np.int32(at)), b))
        flops[name] = fixed.lower(state, batch).cost_analysis()["flops"]
    begun = time.perf_counter()
    step = jax.jit(task.train_step, donate_argnums=0).lower(state, batch).compile()
    compile_s = time.perf_counter() - begun

    def once(at: int) -> None:
        nonlocal state
        state, metrics = step(state._replace(step=jnp.int32(at)), batch)
        jax.block_until_ready(metrics)

    found = []
    for name, at in phases.items():
        once(at)
        step_s = float(np.mean(_repeat(lambda at=at: once(at), seconds, 3)))
        found.append(Training(name, parameters, batch_s, step_s, flops[name], compile_s))
    return found


def codec_training(config: Any, seconds: float) -> list[Training]:
    """The codec before and after its critics join, on noise."""
    task, data = CodecTask(config), config.data
    size = round(data.seconds * task.sample_rate)
    batch = {
        "samples": np.random.default_rng(0).normal(0, 0.1, (data.batch, size)).astype(np.float32),
        "bandwidth_hz": np.full(data.batch, 12_000.0, np.float32),
    }
    phases = {
        "codec, before the critics join": 0,
        "codec, with its critics": config.adversarial_from,
    }
    return training(task, batch, data.batch * data.seconds, phases, seconds)


def lm_training(config: Any, seconds: float) -> list[Training]:
    """The language model on full rows: random codes, a unit a frame."""
    task, data, draw = LMTask(config), config.data, np.random.default_rng(0).integers
    cfg, rows = task.cfg, data.batch
    books, voice_frames = max(cfg.books, cfg.voice_books), round(data.voice_s[1] * cfg.frame_rate)
    length = min(data.units, data.frames)
    row = Row(
        codes=draw(cfg.entries, size=(rows, data.frames, books), dtype=np.int32),
        prosody=draw(cfg.pitches * cfg.levels, size=(rows, data.frames), dtype=np.int32),
        mask=np.ones((rows, data.frames), bool),
        advance=np.tile(np.arange(data.frames, dtype=np.int32) < length, (rows, 1)).astype("i4"),
        symbol=draw(1, cfg.symbols, size=(rows, data.units), dtype=np.int32),
        stress=np.zeros((rows, data.units), np.int32),
        word=np.tile(np.arange(data.units, dtype=np.int32) // 4, (rows, 1)),
        length=np.full(rows, length, np.int32),
        voice=draw(cfg.entries, size=(rows, voice_frames, books), dtype=np.int32),
        voice_length=np.full(rows, voice_frames, np.int32),
    )
    batch_s = rows * data.frames / cfg.frame_rate
    return training(task, row._asdict(), batch_s, {"language model": 0}, seconds)


def speaking(folder: str | os.PathLike, requests: int, page: str) -> Speaking:
    """Load, `requests` short ones at once, then a long one, then single steps."""
    begun = time.perf_counter()
    synth = Synthesizer(weights.load(folder))
    synth.warm()
    load_s, engine = time.perf_counter() - begun, synth.engine

    def say(i: int, text: str) -> Any:
        with synth.stream(text, synth.voices[i % len(synth.voices)], seed=i) as speech:
            for _ in speech:
                pass
        return speech.report

    # A voice that speaks for the first time hears its prompt first.
    new, reports = (
        [say(i, REQUESTS[i % len(REQUESTS)]) for i in range(requests)] for _ in range(2)
    )
    long = say(0, page)

    stream, blocks = Batch(engine).open(synth.voice(synth.voices[0]).vector, seed=0), []
    for text in REQUESTS:
        stream.begin(FrontEnd("us")(text))
        blocks.append(stream.frames(MAX_FRAMES))
        while not blocks[-1].done:
            blocks.append(stream.frames(MAX_FRAMES))
    blocks = [block for block in blocks if len(block.codes)]
    frame = lambda name: _percentiles([getattr(b, name) / len(b.codes) for b in blocks])  # noqa: E731
    return Speaking(
        load_s=load_s,
        compile_s=engine.compile_s,
        frame_s=engine.frame_s,
        lm_s=frame("lm_s"),
        decode_s=frame("decode_s"),
        real_time_factor=long.real_time_factor,
        audio_s=long.audio_s,
        requests=requests,
        first_chunk_s=_percentiles([report.first_chunk_s for report in reports]),
        new_voice_s=_percentiles([report.first_chunk_s for report in new]),
        first_audible_s=_percentiles([report.first_audible_s for report in reports]),
    )


def coding(folder: str | os.PathLike, streams: int, frames: int) -> Coding:
    """`frames` frames of noise through `streams` encoders and decoders."""
    codec = load_codec(folder)
    hear, play = codec.encoder(streams), codec.decoder(streams)
    rng = np.random.default_rng(0)
    encode_s, decode_s = [], []
    for _ in range(frames + 1):
        samples = rng.normal(0, 0.1, (streams, codec.frame_samples)).astype(np.float32)
        begun = time.perf_counter()
        codes = hear.push(samples)
        heard = time.perf_counter()
        play.push(codes)
        encode_s.append(heard - begun)
        decode_s.append(time.perf_counter() - heard)
    encode_s, decode_s = encode_s[1:], decode_s[1:]  # the first of each compiles
    total_s = (sum(encode_s) + sum(decode_s)) * codec.frame_rate / frames
    encoded, decoded = (_percentiles(times, 99) for times in (encode_s, decode_s))
    return Coding(streams, total_s / streams, encoded, decoded)


def measure(folder: str | os.PathLike, tiny: bool = False) -> Measured:
    """Everything; `tiny` only shows that it runs."""
    others = Others()
    configs = [base.get_config("tiny" if tiny else None) for base in (codec_base, lm_base)]
    seconds, size = (0.0, 128) if tiny else (20.0, 2048)
    codec_task, lm_cfg = CodecTask(configs[0]), LMTask(configs[1]).cfg
    codec_cfg, data = codec_task.cfg, [config.data for config in configs]
    rows = round(data[0].batch * data[0].seconds * 50)  # of the trunk at 50 Hz
    inner = codec_cfg.expansion * codec_cfg.width
    products = [
        product("large", size, size, size, seconds / 4),
        product("codec's MLP", rows, codec_cfg.width, inner, seconds / 4),
        product(
            "LM's MLP", data[1].batch * data[1].frames, lm_cfg.width, lm_cfg.mlp_width, seconds / 4
        ),
    ]
    spoken = speaking(folder, *((2, REQUESTS[0]) if tiny else (20, PAGE)))
    coded = [coding(folder, streams, 5 if tiny else 500) for streams in (1, 4, 16)]
    trained = codec_training(configs[0], seconds) + lm_training(configs[1], seconds)
    return Measured(machine(), others.cores(), products, trained, spoken, coded)


def markdown(found: Measured) -> str:
    """The tables for people."""
    peak, said = found.products[0].gflops, found.speaking
    quiet = found.others_cores <= OTHERS_CORES
    lines = [
        f"{found.machine}. Others used {found.others_cores:.2f} cores meanwhile"
        + ("." if quiet else ": **disturbed, do not quote**."),
        "",
        "| matrix product, float32 | m, k, n | GFLOP/s |",
        "|---|---|--:|",
        *(
            f"| {p.about} | {', '.join(map(str, p.shape))} | {p.gflops:.0f} |"
            for p in found.products
        ),
        "",
        "| training | M parameters | seconds of audio per second | seconds a step "
        "| GFLOP per second of audio | GFLOP/s | of the large product | compile, s |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
        *(
            f"| {t.about} | {t.parameters / 1e6:.1f} | {t.speed:.1f} | {t.step_s:.3f} "
            f"| {t.flops / t.batch_s / 1e9:.1f} | {t.gflops:.0f} | {t.gflops / peak:.0%} "
            f"| {t.compile_s:.0f} |"
            for t in found.training
        ),
        "",
        "| speaking, one stream | p50 | p95 |",
        "|---|--:|--:|",
    ]
    for name, pair in (
        (f"LM, ms a frame of {1000 * said.frame_s:.0f} ms", said.lm_s),
        ("codec, ms a frame", said.decode_s),
        (f"first chunk, ms after the request, {said.requests} requests", said.first_chunk_s),
        ("the same, in a voice that has not spoken before", said.new_voice_s),
        ("first audible sample, ms after the request", said.first_audible_s),
    ):
        lines.append(f"| {name} | {1000 * pair[0]:.1f} | {1000 * pair[1]:.1f} |")
    lines += [
        f"| real-time factor over {said.audio_s:.0f} s | {said.real_time_factor:.3f} | |",
        f"| load, s: everything before the first request | {said.load_s:.1f} | |",
        f"| compiling, s, of that; a later start fetches it | {said.compile_s:.1f} | |",
    ]
    lines += [
        "",
        "| codec, streams in one dispatch | real-time factor of each "
        "| encode a frame, ms, p50 | p99 | decode a frame, ms, p50 | p99 |",
        "|--:|--:|--:|--:|--:|--:|",
    ]
    for c in found.coding:
        times = " | ".join(f"{1000 * t:.2f}" for t in (*c.encode_s, *c.decode_s))
        lines.append(f"| {c.streams} | {c.real_time_factor:.4f} | {times} |")
    return "\n".join(lines) + "\n"


def save(out: Path, found: Measured) -> str:
    """Writes `out`.json and `out`.md; returns the tables."""
    out.parent.mkdir(parents=True, exist_ok=True)
    record = found._asdict() | {
        "products": [p._asdict() for p in found.products],
        "training": [t._asdict() | {"speed": t.speed, "gflops": t.gflops} for t in found.training],
        "speaking": found.speaking._asdict(),
        "coding": [c._asdict() for c in found.coding],
    }
    out.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    out.with_suffix(".md").write_text(table := markdown(found), encoding="utf-8")
    return table


def disturbed() -> bool:
    """Whether others load the cores now; says who, and what to do."""
    others = Others()
    time.sleep(2)
    cores = others.cores()
    if cores > OTHERS_CORES:
        print(
            f"others use {cores:.2f} cores (most of it {others.busiest()}), and a measurement "
            "beside them is worth nothing: stop them or wait; --anyway measures it all the same",
            file=sys.stderr,
        )
    return cores > OTHERS_CORES


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status: 2 if others load the cores."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("experiments/results/throughput"))
    parser.add_argument("--weights", type=Path, default=weights.DEFAULT)
    parser.add_argument("--anyway", action="store_true", help="also beside other load")
    parser.add_argument("--tiny", action="store_true", help="tiny models: to try the command")
    args = parser.parse_args(arguments)

    if disturbed() and not args.anyway:
        return 2
    print(save(args.out, measure(args.weights, args.tiny)))
    return 0


def _repeat(call: Callable[[], Any], seconds: float, least: int) -> list[float]:
    """Times of calls, at least so many and for so long."""
    times: list[float] = []
    while len(times) < least or sum(times) < seconds:
        begun = time.perf_counter()
        call()
        times.append(time.perf_counter() - begun)
    return times


def _percentiles(values: Sequence[float], high: int = 95) -> tuple[float, float]:
    middle, end = np.percentile(values, [50, high])
    return float(middle), float(end)


def machine() -> str:
    """Processor, cores, version of JAX, date."""
    lines = (
        Path("/proc/cpuinfo").read_text().splitlines() if os.path.exists("/proc/cpuinfo") else []
    )
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    today = datetime.date.today().isoformat()
    return f"{name}, {os.cpu_count()} cores, jax {jax.__version__}, {today}"


if __name__ == "__main__":
    sys.exit(main())
