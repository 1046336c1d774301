"""What clients heard of a server, said once more by the simulator.

The same agents with the same turns and pauses; dispatches, rows and texts take what they took the
server, by its own metrics and by the reports that came with the turns.
"""

import re
from collections.abc import Sequence

import numpy as np

from experiments import load, serving_sim
from experiments.load import Ask, Heard
from experiments.server_process import costs, spread
from voiceloom.conductor import SIZES, Costs


def about_s(ask: Ask) -> float:
    """Seconds that a text takes, about: fifteen characters a second."""
    return len(ask.text) / 15


def simulate(
    clients: Sequence[Sequence[Ask]],
    thinks: Sequence[Sequence[float]],
    turns: Sequence[Sequence[Heard]],
    bounds: Costs,
    world: serving_sim.World,
    seconds: float,
) -> serving_sim.Outcome:
    """The same turns in the simulator, with the bounds and the times of the server."""
    says = []
    for asked, pauses_s, heard in zip(clients, thinks, turns, strict=True):
        says.append([])
        for i, turn in enumerate(heard):
            ask = asked[i % len(asked)]
            whole_s = turn.audio_s if turn.spoken is None else max(about_s(ask), turn.audio_s)
            pause_s = pauses_s[i % len(pauses_s)]
            frames = sentences(ask.text, whole_s)
            says[-1].append(serving_sim.Turn(frames, ask.enough_s, pause_s))
    return serving_sim.simulate("ours", says, bounds, seconds, world)


def of_server(
    turns: Sequence[Sequence[Heard]], metrics: dict[str, float]
) -> tuple[Costs, serving_sim.World]:
    """What a server counts on and how long it took, for clients on its own machine."""
    bounds, heard = costs(metrics), [turn for own in turns for turn in own]
    at = np.arange(1, 100, 2)
    fifty = lambda seconds: np.percentile(list(seconds), at).tolist()  # noqa: E731
    world = serving_sim.World(
        spread=spread(metrics),
        network_s=0.001,
        buffer_s=load.BUFFER_S,
        enter_s=fifty(turn.report["voice_s"] for turn in heard),
        write_s=fifty(turn.write_s for turn in heard),
        begin_s=fifty(turn.report["text_s"] + turn.report["prefill_s"] for turn in heard),
        most_s=bounds.begin_s,
        sizes=SIZES,
    )
    return bounds, world


def sentences(text: str, seconds: float) -> tuple[int, ...]:
    """Frames of the sentences of a text that takes so long, by their letters."""
    ends = np.array([found.end() for found in re.finditer(r"[.?!]+\s*|$", text)])
    frames = max(1, round(seconds / serving_sim.FRAME_S))
    each = np.diff(np.round(ends / len(text) * frames).astype(int), prepend=0)
    return tuple(each[each > 0].tolist())
