"""What speech costs on this machine: the time it takes, and at a price an hour the money.

The two questions of somebody who builds on it are how much computing an interaction takes and how
long its listener waits. Both depend on how many streams share a dispatch, and on how many tokens a
second of speech is made of; both are measured here, with every row of a batch speaking.
"""

import dataclasses
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx

import lm
from voiceloom.batch import talking
from voiceloom.engine import MAX_FRAMES, Engine
from voiceloom.scheduler import DEFAULT
from voiceloom.weights import Model, Weights

STREAMS = (1, 4, 16)
CHARACTERS_PER_S = 14.7
"""Of English, read aloud: 8,117 characters in the 551 s of the 100 val sentences."""

HEADROOM = DEFAULT.headroom
"""Part of a machine that stays free, as the scheduler wants it; it is paid for all the same."""


class Turns(NamedTuple):
    """An interaction: an agent and a person by turns."""

    count: int = 10
    mean_s: float = 6.0  # of the agent's turns
    interrupted: float = 0.2  # of them, on average half-way

    def made_s(self, unheard_s: float = DEFAULT.high_s) -> float:
        """Speech made in an interaction, with what nobody heard: up to the high-water mark."""
        half = self.mean_s / 2
        cut = half + min(unheard_s, half)
        return self.count * ((1 - self.interrupted) * self.mean_s + self.interrupted * cut)


class Load(NamedTuple):
    """So many streams speaking without a pause."""

    streams: int
    tokens_per_s: float  # of each stream's audio
    first_s: float  # a dispatch of one frame of all: what a new stream waits for
    work_s: float  # machine seconds (all cores) for a second of one stream's audio

    def price(self, per_hour: float, audio_s: float) -> float:
        """Of so much audio, on a machine that is kept as busy as it may be."""
        return per_hour / 3600 * self.work_s * audio_s / (1 - HEADROOM)


def measure(engine: Engine, streams: int, seconds: float = 1.5) -> Load:
    """Times dispatches of one frame and of MAX_FRAMES with all rows speaking; compiles first."""
    batch = talking(engine, streams)
    batch.frames(range(streams), 1)
    typical = {}
    for frames in (1, MAX_FRAMES):
        times: list[float] = []
        while len(times) < 5 or sum(times) < seconds:
            begun = time.perf_counter()
            batch.frames(range(streams), frames)
            times.append(time.perf_counter() - begun)
        typical[frames] = float(np.median(times))
    work_s = typical[MAX_FRAMES] / (MAX_FRAMES * engine.frame_s * streams)
    return Load(streams, engine.books / engine.frame_s, typical[1], work_s)


def with_books(weights: Weights, books: int) -> Weights:
    """A release that writes so many books: as fast as a trained one, and talks nonsense."""
    if books == weights.lm.config.books:
        return weights
    config = dataclasses.replace(weights.lm.config, books=books)
    params = lm.init_params(config, jax.random.key(0))
    graphdef = nnx.graphdef(nnx.eval_shape(lambda: lm.LM(config, rngs=nnx.Rngs(0))))
    return weights._replace(lm=Model(config, graphdef, params, ""))


def table(loads: Sequence[Load], per_hour: float, turns: Turns = Turns()) -> str:  # noqa: B008
    """For people: work, delay and price by streams and tokens."""
    lines = [
        f"At {per_hour:g} an hour of this machine, {HEADROOM:.0%} of it kept free; an interaction "
        f"is {turns.count} turns of {turns.mean_s:g} s, {turns.interrupted:.0%} interrupted: "
        f"{turns.made_s():.0f} s of speech are made.",
        "",
        "| tokens a second | streams | machine seconds a minute of speech | a new stream waits, ms "
        "| price of 1M characters | of an interaction |",
        "|--:|--:|--:|--:|--:|--:|",
    ]
    for load in loads:
        million = load.price(per_hour, 1e6 / CHARACTERS_PER_S)
        interaction = load.price(per_hour, turns.made_s())
        lines.append(
            f"| {load.tokens_per_s:g} | {load.streams} | {60 * load.work_s:.2f} "
            f"| {1000 * load.first_s:.1f} | {million:.3f} | {interaction:.6f} |"
        )
    return "\n".join(lines) + "\n"


def picture(axes: Any, loads: Sequence[Load]) -> None:
    """On two axes: work a minute of speech, and delay, over the streams; a line a token rate."""
    left, right = axes
    for rate in sorted({load.tokens_per_s for load in loads}):
        own = [load for load in loads if load.tokens_per_s == rate]
        streams, name = [load.streams for load in own], f"{rate:g} tokens a second"
        left.plot(streams, [60 * load.work_s for load in own], "o-", label=name)
        right.plot(streams, [1000 * load.first_s for load in own], "o-", label=name)
    for axis, title in zip(axes, ("machine seconds a minute of speech", "ms that a new stream "
                                  "waits"), strict=True):  # fmt: skip
        axis.set_xscale("log", base=2)
        axis.set(xlabel="streams", title=title, ylim=(0, None))
        axis.set_xticks(STREAMS, [str(streams) for streams in STREAMS])
    left.legend(frameon=False)
