"""The server under load, beside its peers and its simulator, in one run on an idle machine.

    python -m experiments.peers --set-up runs/peers
    python -m experiments.serving                  # about half an hour; --minutes 1 for a look

A server process is started as a user would start it; clients in this process talk to it over
sockets, listen in real time and note when playback stood still. What the clients' process takes of
the cores is told apart: it sits on the same machine.

    one        a process until its first audio, with a warm compilation cache; a stream alone: all
               text at once; word by word, two words behind the writer
    many       sixteen streams without a pause, for minutes; then more, to the limit
    overload   three times as many clients as there is room for
    interrupt  at random: is what was said what was heard? asked of an independent aligner too
    simulator  two loads with pauses and interruptions: the server's figures beside the simulator's
    peers      seconds of speech in a second: ours in batches, Piper, Kokoro, Pocket TTS
"""

import argparse
import asyncio
import json
import math
import re
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import numpy as np
import psutil
from matplotlib import pyplot as plt
from tqdm import tqdm

import voiceloom
from data.phones import SYMBOLS
from experiments import load, replay, report, serving_sim
from experiments.load import Ask
from experiments.server_process import Server, above_bound, serving
from experiments.throughput import PAGE, REQUESTS, disturbed, machine
from lm import aligner
from lm.aligner_task import pauses
from voiceloom import spoken
from voiceloom.aligner import Phones
from voiceloom.batch import Batch
from voiceloom.conductor import SIZES
from voiceloom.engine import MAX_FRAMES
from voiceloom.waveform import Chunk, Onset

VOICES = ("af_heart", "am_michael", "bf_emma", "bm_george")
SENTENCES = (*REQUESTS, *re.findall(r"[^.?]+[.?]", PAGE))
STREAMS = SIZES[-1]
BATCHES = (1, 4, 16, 32)
PEERS = {
    "piper": "Piper",
    "kokoro": "Kokoro",
    "pocket": "Pocket TTS, random weights: speed alone",
}
FIRST = Ask(REQUESTS[3], VOICES[0], enough_s=0.08)
"""Said to every server before it is measured."""


def asks(rng: np.random.Generator, count: int, **how) -> list[Ask]:
    """Turns of one to three sentences, each client's in a voice."""
    voice = str(rng.choice(VOICES))
    return [
        Ask(" ".join(s.strip() for s in rng.choice(SENTENCES, rng.integers(1, 4))), voice, **how)
        for _ in range(count)
    ]


def together(server: Server, count: int, seconds: float) -> dict[str, Any]:
    """So many streams without a pause: figures of the clients, and who used the cores."""
    clients = [asks(np.random.default_rng([0, i]), 40) for i in range(count)]
    ours, theirs, begun = psutil.Process(), server.busy_s(), time.perf_counter()
    own = sum(ours.cpu_times()[:2])
    heard = asyncio.run(load.at_once(server.url, clients, seconds, [[0.0]] * count))
    took = time.perf_counter() - begun
    return load.told([turn for turns in heard for turn in turns]) | {
        "streams": count,
        "took_s": took,
        "above_bound": above_bound(server.metrics()),
        "server_cores": (server.busy_s() - theirs) / took,
        "clients_cores": (sum(ours.cpu_times()[:2]) - own) / took,
    }


# ---- parts --------------------------------------------------------------------------------------


def one() -> dict[str, Any]:
    """A stream alone, and how long a process takes to its first audio."""
    rng = np.random.default_rng(0)
    with serving(STREAMS, FIRST):
        pass  # the compilation cache is warm from here on
    with serving(STREAMS, FIRST) as server:
        heard = asyncio.run(load.in_turn(server.url, asks(rng, 5)))
        begun = asks(rng, 60, lookahead=None, enough_s=0.5)
        whole = asyncio.run(load.in_turn(server.url, begun))
        begun = asks(rng, 60, word_s=0.15, enough_s=0.5)
        words = asyncio.run(load.in_turn(server.url, begun))
    factor = sum(t.report["busy_s"] for t in heard) / sum(t.audio_s for t in heard)
    return {
        "start_s": server.start_s,
        "whole": load.told(whole),
        "words": load.told(words),
        "real_time_factor": factor,
    }


def many(minutes: float) -> list[dict[str, Any]]:
    """Streams without a pause: `STREAMS` for so long, then more, to the limit, a minute each."""
    found = []
    with serving(STREAMS, FIRST) as server:
        found.append(together(server, STREAMS, 60 * minutes))
    for streams in (24, 32, 40, 48):
        with serving(streams, FIRST) as server:
            found.append(together(server, streams, min(60.0, 60 * minutes)))
        if found[-1]["refused"] or found[-1]["dry_turns"]:
            break
    return found


def overload(minutes: float) -> dict[str, Any]:
    """Three times as many clients as rows."""
    with serving(STREAMS, FIRST) as server:
        return together(server, 3 * STREAMS, min(120.0, 60 * minutes))


def interrupt(count: int = 40) -> dict[str, Any]:
    """Interruptions at random, and what three witnesses say was heard.

    The server's answer stands beside the words of the same speech made once more without an
    interruption, by its own pointer and by the aligner, which has only the sound.
    """
    rng = np.random.default_rng(1)
    wanted = [
        ask._replace(enough_s=float(rng.uniform(0.3, 5.0)))
        for ask in (asks(rng, 1)[0] for _ in range(count))
    ]
    with serving(1, FIRST) as server:
        heard = asyncio.run(load.in_turn(server.url, wanted))
    synth, phones = voiceloom.load(warm=False), Phones()
    cut = [(a, h) for a, h in zip(wanted, heard, strict=True) if h.spoken is not None]
    right, wrong = {"pointer": 0, "aligner": 0}, []
    for ask, turn in tqdm(cut, "interruptions"):
        said = synth.say(ask.text, ask.voice, lookahead=ask.lookahead)
        witnesses = {"pointer": said.onsets, "aligner": aligned(said, phones)}
        for name, onsets in witnesses.items():
            expected = spoken.at(ask.text, onsets, said.duration_s, ask.enough_s)
            if expected.text_spoken == turn.spoken:
                right[name] += 1
            else:
                wrong.append((name, ask.enough_s, turn.spoken, expected.text_spoken))
    return {
        "interruptions": len(cut),
        "right": right,
        "wrong": wrong,
        "wasted_s": [turn.audio_s - turn.heard_s for _, turn in cut],
        "after_s": max(turn.stopped_s for _, turn in cut),
    }


def aligned(said: Chunk, phones: Phones) -> list[Onset]:
    """The onsets of a speech, their times by its sound alone."""
    symbol = np.array([SYMBOLS.index(onset.symbol) for onset in said.onsets])
    word = np.array([onset.word for onset in said.onsets])
    found = aligner.align(phones(said.samples), symbol, word, pauses(symbol))
    return [
        onset._replace(time_s=float(s))
        for onset, s in zip(said.onsets, found.bounds_s[:-1], strict=True)
    ]


def simulator(seconds: float = 300.0) -> list[dict[str, Any]]:
    """Two loads with pauses and interruptions, as measured and as simulated."""
    found = []
    for agents in (6, 16):
        rng = np.random.default_rng(agents)
        clients, thinks = [], []
        for i in range(agents):
            own = asks(np.random.default_rng([2, i]), 30)
            part = np.where(
                rng.random(len(own)) < serving_sim.INTERRUPTED,
                rng.uniform(0.1, 0.9, len(own)), math.inf,
            )  # fmt: skip
            clients.append(
                [a._replace(enough_s=p * replay.about_s(a)) for a, p in zip(own, part, strict=True)]
            )
            thinks.append(rng.exponential(serving_sim.THINK_S, len(own)).tolist())
        with serving(STREAMS, FIRST) as server:
            turns = asyncio.run(load.at_once(server.url, clients, seconds, thinks))
            metrics = server.metrics()
        flat = [turn for own in turns for turn in own]
        measured = load.told(flat)
        bounds, world = replay.of_server(turns, metrics)
        simulated = replay.simulate(clients, thinks, turns, bounds, world, seconds)
        found.append({
            "agents": agents, "measured": measured, "simulated": simulated._asdict(),
            "costs": bounds._asdict(), "world": world._asdict(),
        })  # fmt: skip
    return found


def peers(folder: Path) -> list[dict[str, Any]]:
    """Seconds of speech in a second, and the wait for the first of it, sentence by sentence."""
    synth, found = voiceloom.load(warm=False), []
    for rows in BATCHES:
        found.append({"who": f"Voiceloom, {rows} streams"} | batched(synth, rows))
    text = "\n".join(s.strip() for s in SENTENCES)
    for peer, who in PEERS.items():
        python = folder / "bin" / "python"
        if not python.exists():
            print(f"no peers in {folder}: python -m experiments.peers --set-up {folder}")
            break
        command = [python, Path(__file__).with_name("peers.py"), peer]
        # One process with both cores, and one process a core: the better of the two counts.
        alone = run_peers([command], text)
        apart = run_peers([["taskset", "-c", str(core), *command] for core in range(2)], text)
        best = max(alone, apart, key=lambda told: told["speed"])
        found.append({"who": who} | best | {"first_ms": alone["first_ms"]})
    return found


def run_peers(commands: Sequence[Sequence[Any]], text: str) -> dict[str, Any]:
    """Processes side by side, each saying all of the text."""
    running = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for command in commands
    ]
    for process in running:
        process.stdin.write(text)
        process.stdin.close()
    told = [json.loads(process.stdout.read()) for process in running]
    speed = sum(sum(t["audio_s"] for t in own) / sum(t["took_s"] for t in own) for own in told)
    first = [1000 * t["first_s"] for own in told for t in own]
    return {"speed": speed, "first_ms": np.percentile(first, [50, 95]).tolist()}


def batched(synth: Any, rows: int, seconds: float = 10.0) -> dict[str, Any]:
    """Our engine with all rows speaking, as fast as it can."""
    batch, engine = Batch(synth.engine, rows), synth.engine
    voice = synth.voice(VOICES[0])
    read = synth.front_end(voice.accent)
    slots = [batch.open(voice.vector, seed=i) for i in range(rows)]
    texts = [read(s.strip()) for s in SENTENCES]

    def more(row: int) -> None:
        slots[row].begin(texts[(row + spoken_by[row]) % len(texts)])
        spoken_by[row] += 1

    spoken_by = [0] * rows
    for row in range(rows):
        more(row)
    batch.frames(range(rows), MAX_FRAMES)  # compiles
    audio, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        blocks = batch.frames([slot.row for slot in slots], MAX_FRAMES)
        for row, block in enumerate(blocks):
            audio += len(block.samples)
            if block.done:
                more(row)
    took = time.perf_counter() - begun
    return {"speed": audio / engine.sample_rate / took}


# ---- the report -------------------------------------------------------------------------------


def markdown(found: dict[str, Any]) -> str:
    """The tables."""
    lines = [found["machine"], ""]
    pair = lambda values: f"{values[0]:.0f} / {values[1]:.0f}"  # noqa: E731
    if one := found.get("one"):
        lines += [
            "| one stream | first chunk p50 / p95, ms | first audible sample, ms | turns |",
            "|---|--:|--:|--:|",
        ]
        for name, key in (("all text at once", "whole"), ("word by word, two behind", "words")):
            t = one[key]
            lines.append(
                f"| {name} | {pair(t['first_ms'])} | {pair(t['audible_ms'])} | {t['turns']} |"
            )
        lines += [
            "",
            f"Real-time factor {one['real_time_factor']:.3f}; from the start of the process to "
            f"the first audio {one['start_s']:.1f} s.",
            "",
        ]
    crowded = [*found.get("many", ())]
    crowded += [found["overload"]] if "overload" in found else []
    if crowded:
        lines += [
            "| clients | minutes | turns | stood still, ms a minute | turns that did | told to "
            "come again | first chunk p50 / p95, ms | dispatches above their bound, % "
            "| cores: server | clients |",
            "|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
        ]
        for t in crowded:
            lines.append(
                f"| {t['streams']} | {t['took_s'] / 60:.1f} | {t['turns']} "
                f"| {t['dry_ms_per_min']:.1f} | {t['dry_turns']} | {t['refused']} "
                f"| {pair(t['first_ms'])} | {100 * t['above_bound']:.1f} "
                f"| {t['server_cores']:.2f} | {t['clients_cores']:.2f} |"
            )
        lines.append("")
    if cut := found.get("interrupt"):
        count, right, wasted = cut["interruptions"], cut["right"], cut["wasted_s"]
        lines += [
            f"{count} interruptions: what was said is right to the word in {right['pointer']} by "
            f"the pointer, in {right['aligner']} by the aligner. Made and not heard: "
            f"{np.mean(wasted):.2f} s on average, {max(wasted):.2f} at most; after the "
            f"interruption {1000 * cut['after_s']:.0f} ms of audio still came, at most.",
            "",
        ]
    if rows := found.get("simulator"):
        lines += [
            "| agents | | first audio p50 / p95, ms | stood still, ms a minute | not heard, % |",
            "|--:|---|--:|--:|--:|",
        ]
        for row in rows:
            m, s = row["measured"], row["simulated"]
            first = [value + 1000 * load.BUFFER_S for value in m["first_ms"]]
            lines.append(
                f"| {row['agents']} | measured | {pair(first)} | {m['dry_ms_per_min']:.1f} "
                f"| {100 * m['wasted']:.0f} |"
            )
            first = [1000 * value for value in s["first_audio_s"]]
            lines.append(
                f"| | simulated | {pair(first)} | {s['underrun_ms_per_min']:.1f} "
                f"| {100 * s['wasted']:.0f} |"
            )
        lines.append("")
    if rows := found.get("peers"):
        lines += [
            "| who, both cores | seconds of speech in a second | first samples p50 / p95, ms |",
            "|---|--:|--:|",
        ]
        for row in rows:
            first = pair(row["first_ms"]) if "first_ms" in row else "-"
            lines.append(f"| {row['who']} | {row['speed']:.1f} | {first} |")
    return "\n".join(lines) + "\n"


def picture(found: dict[str, Any]) -> plt.Figure:
    """First chunk against streams, and speed beside the peers."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained")
    crowded = found.get("many", ())
    for i, name in enumerate(("p50", "p95")):
        left.plot([t["streams"] for t in crowded], [t["first_ms"][i] for t in crowded], "o-",
                  label=name)  # fmt: skip
    left.set(xlabel="streams", ylabel="first chunk, ms", ylim=(0, None))
    left.legend(frameon=False)
    rows = found.get("peers", ())
    names = [textwrap.fill(row["who"], 24) for row in rows]
    right.barh(names, [row["speed"] for row in rows], color="#2b6f8f")
    right.set(xlabel="seconds of speech in a second, two cores")
    right.invert_yaxis()
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
    return figure


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures what the command line says; 2 if others load the cores."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("experiments/results/serving"))
    parser.add_argument("--minutes", type=float, default=10.0, help="of the sixteen streams")
    parser.add_argument("--peers", type=Path, default=Path("runs/peers"))
    parser.add_argument("--parts", help="some of them, with commas; the others stay as they were")
    parser.add_argument("--anyway", action="store_true", help="also beside other load")
    args = parser.parse_args(arguments)
    if disturbed() and not args.anyway:
        return 2
    parts: dict[str, Callable[[], Any]] = {
        "one": one,
        "many": lambda: many(args.minutes),
        "overload": lambda: overload(args.minutes),
        "interrupt": interrupt,
        "simulator": simulator,
        "peers": lambda: peers(args.peers),
    }
    wanted = args.parts.split(",") if args.parts else list(parts)
    found = report.kept(args.out) if args.parts else {}
    found["machine"] = machine()
    for name in wanted:
        print(f"{name} ...", file=sys.stderr)
        found[name] = parts[name]()
        report.write(args.out, markdown(found), found, picture(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
