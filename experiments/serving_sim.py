"""Thousands of conversations against one machine, in seconds: what each way of chunking costs.

    python -m experiments.serving_sim                # of the machine that `serving` measured
    python -m experiments.serving_sim --made-up --agents 1000 3000 --out runs/serving_sim

Agents hold conversations: think, have a turn spoken, are interrupted now and then. The server is
one batch; a dispatch of K frames for S streams takes a part of its bound, drawn from what was
measured. Chunks reach their listener after a random delay, are played a little after the first, and
a buffer that runs empty is an underrun. The same turns are given to every policy:

* ours: `voiceloom.scheduler`, the very functions that the server uses;
* fixed: 8 frames in every dispatch, whoever waits;
* doubling: 1, 2, 4, 8 frames for a stream, the shortest of all decides;
* 2 then 25: a first chunk of 2 frames, then 25 (the defaults of vLLM-Omni).

The rivals let in as many streams as they can keep up with on average, and none of them rests.
"""

import argparse
import heapq
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib import pyplot as plt
from tqdm import tqdm

from experiments import report
from voiceloom import scheduler
from voiceloom.scheduler import DEFAULT, MAX_FRAMES, Cost

FRAME_S = 0.08
PARTS = tuple(np.linspace(0.55, 1.0, 10))  # of a bound, where nothing was measured
THINK_S, TURN_S, INTERRUPTED = 3.0, 6.0, 0.2
SENTENCE_S = 3.0
HEADROOM = DEFAULT.headroom
POLICIES = ("ours", "fixed", "doubling", "2 then 25")


class Turn(NamedTuple):
    """What an agent is going to say, and when its listener has had enough."""

    sentences: tuple[int, ...]  # frames of each
    enough_s: float  # of playback; infinite if it is heard to the end
    think_s: float  # before it


class Outcome(NamedTuple):
    """A run, as a builder would ask for it."""

    policy: str
    agents: int
    turns: int
    refused: int  # requests that had to come again
    first_audio_s: tuple[float, float]  # p50, p95, from the text to the listener
    underrun_ms_per_min: float
    dry_turns: float  # share of the turns that ran dry at least once
    wasted: float  # share of the audio that nobody heard
    busy: float  # share of the time that the machine worked


class World(NamedTuple):
    """What is not the scheduler's: the machine, the net, the players."""

    spread: Mapping[int, Sequence[float]] = {}  # parts of its bound that a dispatch of so many
    # frames takes, all equally often; `PARTS` if it says nothing of so many
    network_s: float = 0.02  # mean of the exponential delay to a listener
    buffer_s: float = 0.06  # that a player waits after its first chunk, as browsers do
    enter_s: Sequence[float] = (0.0,)  # letting a stream in, in which nothing else is made; all
    # equally often
    write_s: Sequence[float] = (0.0,)  # from asking to the first text, likewise
    begin_s: Sequence[float] = (0.0,)  # taking up a sentence, in which nothing else is made
    most_s: float = 0.0  # that the scheduler counts on for both
    sizes: tuple[int, ...] = ()  # of the batch, all rows of which are computed; () is any


class Playback:
    """A listener's buffer: what has come, what was heard of it, and when it stood still."""

    def __init__(self, buffer_s: float):
        self._buffer_s = buffer_s
        self.until: float | None = None  # when all that has come is heard
        self.first: float | None = None  # when it began to sound
        self.came_s = self.dry_s = 0.0

    def receive(self, now: float, seconds: float) -> None:
        """A chunk reaches the listener."""
        if self.until is None:
            self.first = self.until = now + self._buffer_s
        elif now > self.until:
            self.dry_s += now - self.until
            self.until = now
        self.until += seconds
        self.came_s += seconds

    def at(self, heard_s: float) -> float:
        """When so much was heard; infinite if so much has not come."""
        if self.first is None or heard_s >= self.came_s:
            return float("inf")
        return self.first + self.dry_s + heard_s


class Stream:
    """A turn being spoken."""

    def __init__(self, agent: int, turn: Turn, text_at: float, buffer_s: float):
        self.agent, self.turn, self.text_at = agent, turn, text_at
        self.within = False  # has a row
        self.made = self.chunks = 0
        self.ahead = list(turn.sentences)  # that have not been taken up
        self.left = 0  # frames of the one that has
        self.until: float | None = None  # what was sent is heard, as the server sees it
        self.playback = Playback(buffer_s)

    def enough_at(self) -> float:
        """When the listener interrupts; infinite if never, or not with what has come."""
        return self.playback.at(self.turn.enough_s)


def conversations(agents: int, seed: int = 0, count: int = 400) -> list[list[Turn]]:
    """The turns of so many agents."""
    return [_turns(np.random.default_rng([seed, agent]), count) for agent in range(agents)]


def _turns(rng: np.random.Generator, count: int) -> list[Turn]:
    made = []
    for _ in range(count):
        seconds = float(np.clip(rng.lognormal(np.log(TURN_S), 0.6), 0.5, 60.0))
        cut = rng.uniform(0.1, 0.9) * seconds if rng.random() < INTERRUPTED else float("inf")
        made.append(Turn(sentences(seconds), cut, float(rng.exponential(THINK_S))))
    return made


def sentences(seconds: float) -> tuple[int, ...]:
    """Frames of the sentences of a turn that is so long."""
    frames = max(1, round(seconds / FRAME_S))
    count = max(1, round(seconds / SENTENCE_S))
    return tuple(np.diff(np.linspace(0, frames, count + 1).round().astype(int)).tolist())


def frames_of(policy: str, streams: Sequence[Stream]) -> int:
    """Frames of the next dispatch by a policy that knows no leads."""
    if policy == "fixed":
        return MAX_FRAMES
    if policy == "doubling":
        return min(min(2**stream.chunks, MAX_FRAMES) for stream in streams)
    return 2 if any(stream.chunks == 0 for stream in streams) else 25


def admits(policy: str, streams: int, cost: Cost, begin_s: float) -> bool:
    """Whether one more is let in."""
    if policy == "ours":
        return scheduler.admits(streams, cost, begin_s, FRAME_S)
    frames = {"2 then 25": 25}.get(policy, MAX_FRAMES)
    return cost(streams + 1, frames) <= (1 - HEADROOM) * frames * FRAME_S


def leads(streams: Sequence[Stream], now: float) -> list[float | None]:
    """What the server takes their listeners to have left to hear."""
    return [None if s.until is None else s.until - now for s in streams]


def simulate(
    policy: str,
    agents: Sequence[Sequence[Turn]],
    cost: Cost,
    seconds: float,
    world: World = World(),  # noqa: B008
    seed: int = 0,
) -> Outcome:
    """One machine for so long, and agents who begin again when their turns are over."""
    rng = np.random.default_rng(seed)
    says = [itertools.cycle(turns) for turns in agents]
    asks: list[tuple[float, int, int, Turn]] = []  # time, order, agent, turn
    order = 0

    def think(agent: int, now: float) -> None:
        nonlocal order
        turn = next(says[agent])
        order += 1
        heapq.heappush(asks, (now + turn.think_s, order, agent, turn))

    for agent in range(len(agents)):
        think(agent, 0.0)
    now = busy = 0.0
    live: list[Stream] = []
    done: list[Stream] = []
    rows = 0  # of the batch as it is

    def bound(streams: int, frames: int) -> float:
        return cost(max(streams, rows), frames)

    refused = 0
    while now < seconds:
        while asks and asks[0][0] <= now:
            asked, _, agent, turn = heapq.heappop(asks)
            if admits(policy, len(live), bound, world.most_s):
                text_at = asked + rng.choice(world.write_s)
                live.append(Stream(agent, turn, text_at, world.buffer_s))
                if world.sizes:
                    rows = scheduler.fitting(world.sizes, rows, len(live))
            else:
                refused += 1
                order += 1
                heapq.heappush(asks, (now + 1.0, order, agent, turn._replace(think_s=0.0)))
        for stream in [s for s in live if not (s.left or s.ahead) or now >= s.enough_at()]:
            live.remove(stream)
            done.append(stream)
            heard_at = min(stream.enough_at(), stream.playback.until or now)
            think(stream.agent, max(now, heard_at))
        told = now  # what comes later is looked at after the next dispatch
        until = min([asks[0][0] if asks else seconds, *(s.enough_at() for s in live)])
        until = min([until, *(s.text_at for s in live if s.text_at > told)])
        while waiting := [s for s in live if not s.within or (not s.left and s.text_at <= told)]:
            chosen = 0
            if policy == "ours":
                speaking = leads([s for s in live if s.left], now)
                chosen = scheduler.next_text(speaking, leads(waiting, now), bound, world.most_s)
                if chosen is None:
                    break
            stream, took = waiting[chosen], 0.0
            if not stream.within:
                stream.within, took = True, rng.choice(world.enter_s)
            if stream.text_at <= told:
                stream.left = stream.ahead.pop(0)
                took += rng.choice(world.begin_s)
            now, busy = now + took, busy + took
        ready = [s for s in live if s.left]
        if not ready:
            now = max(now, until)
            continue
        if policy == "ours":
            chosen = scheduler.plan(leads(ready, now), [0.0] * len(ready), bound, FRAME_S)
            if not chosen.frames:
                now = min(now + chosen.wait_s + 1e-6, max(until, now + 1e-6))
                continue
            frames, speaking = chosen.frames, [ready[i] for i in chosen.rows]
        else:
            frames, speaking = frames_of(policy, ready), ready
        parts = world.spread.get(frames, PARTS)
        took = rng.choice(parts) * bound(len(speaking), frames)
        now, busy = now + took, busy + took
        for stream in speaking:
            made = min(frames, stream.left)
            stream.left -= made
            stream.made += made
            stream.chunks += 1
            stream.until = max(now, stream.until or now) + made * FRAME_S
            stream.playback.receive(now + rng.exponential(world.network_s), made * FRAME_S)
    heard = [min(s.made * FRAME_S, s.turn.enough_s) for s in done]
    made = sum(s.made for s in done) * FRAME_S
    played = [s.playback for s in done]
    first = np.array([p.first - s.text_at for p, s in zip(played, done, strict=True)])
    return Outcome(
        policy, len(agents), len(done), refused,
        tuple(float(x) for x in np.percentile(first, [50, 95])),
        1000 * sum(p.dry_s for p in played) / (sum(heard) / 60),
        float(np.mean([p.dry_s > 0 for p in played])),
        1 - sum(heard) / made,
        busy / now,
    )  # fmt: skip


def made_up(streams: int, frames: int) -> float:
    """The bounds of an accelerator that nobody has measured: 3 ms, and 1.5 + S / 100 ms a frame."""
    return 0.003 + frames * (0.0015 + 0.00001 * streams)


def measured(path: Path) -> tuple[Cost, World]:
    """Bounds and times that `experiments.serving` has measured, for listeners behind a network."""
    from voiceloom.conductor import Costs

    told = json.loads(path.read_text())["simulator"][-1]
    whole = lambda by: {int(n): value for n, value in by.items()}  # noqa: E731
    costs, world = told["costs"], told["world"]
    costs |= {name: whole(costs[name]) for name in ("fixed_s", "frame_s")}
    world |= {"spread": whole(world["spread"]), "sizes": tuple(world["sizes"])}
    elsewhere = {name: World._field_defaults[name] for name in ("network_s", "buffer_s")}
    return Costs(**costs), World(**world | elsewhere)


def markdown(found: Sequence[Outcome]) -> str:
    """The table."""
    rows = [
        "| policy | agents | turns | first audio p50 / p95, ms | underrun, ms a minute "
        "| turns that ran dry, % | audio nobody heard, % | refused | busy, % |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for o in found:
        first = " / ".join(f"{1000 * s:.0f}" for s in o.first_audio_s)
        rows.append(
            f"| {o.policy} | {o.agents} | {o.turns} | {first} | {o.underrun_ms_per_min:.1f} | "
            f"{100 * o.dry_turns:.1f} | {100 * o.wasted:.1f} | {o.refused} | {100 * o.busy:.0f} |"
        )
    return "\n".join(rows) + "\n"


def picture(found: Sequence[Outcome]) -> plt.Figure:
    """Three panels over the load."""
    panels: dict[str, Callable[[Outcome], float]] = {
        "first audio, p95, ms": lambda o: 1000 * o.first_audio_s[1],
        "underrun, ms a minute": lambda o: o.underrun_ms_per_min,
        "audio nobody heard, %": lambda o: 100 * o.wasted,
    }
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.4), layout="constrained")
    for axis, (name, value) in zip(axes, panels.items(), strict=True):
        for policy in dict.fromkeys(o.policy for o in found):
            own = [o for o in found if o.policy == policy]
            axis.plot([o.agents for o in own], [value(o) for o in own], "o-", label=policy)
        axis.set(xlabel="agents", ylabel=name)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False, fontsize=8)
    return figure


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulates what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("experiments/results/serving_sim"))
    parser.add_argument("--serving", type=Path, default=Path("experiments/results/serving.json"))
    parser.add_argument("--made-up", action="store_true", help="an accelerator, not that machine")
    parser.add_argument("--agents", type=int, nargs="+", default=[2, 4, 8, 12, 16, 24, 32])
    parser.add_argument("--seconds", type=float, default=600.0)
    args = parser.parse_args(arguments)
    cost, world = (made_up, World()) if args.made_up else measured(args.serving)
    jobs = [(policy, agents) for policy in POLICIES for agents in args.agents]
    found = [
        simulate(policy, conversations(agents), cost, args.seconds, world)
        for policy, agents in tqdm(jobs)
    ]
    report.write(
        args.out, markdown(found), [outcome._asdict() for outcome in found], picture(found)
    )


if __name__ == "__main__":
    main()
