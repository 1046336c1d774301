"""Clients of a server, as many as one likes: they talk, listen in real time, and interrupt.

A client keeps one socket, plays what comes in its mind's ear (`experiments.serving_sim.Playback`)
and notes when it stood still. It decodes nothing, so that thousands fit into a process; what that
process uses is told apart from what the server uses.
"""

import asyncio
import json
import math
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import websockets

from experiments.serving_sim import Playback
from voiceloom.loudness import TARGET_DB
from voiceloom.speaker import AUDIBLE_DB

BUFFER_S = 0.02  # a sound card's


class Ask(NamedTuple):
    """What a client wants said."""

    text: str
    voice: str
    enough_s: float = math.inf  # of playback, then it interrupts
    word_s: float = 0.0  # between words; 0: all text at once
    lookahead: int | None = 2


class Heard(NamedTuple):
    """A turn as its client met it; seconds."""

    text: str
    first_s: float  # from the last text that was sent before it, to the first chunk
    audible_s: float  # to the first audible sample
    audio_s: float
    heard_s: float
    dry_s: float  # that playback stood still
    refused: int  # times it was told to come again
    write_s: float  # from its asking, when there was room, to its first text
    spoken: str | None  # of the text, where it interrupted
    stopped_s: float  # of audio that came after the interruption was sent
    report: dict[str, float]  # the server's own


class Client:
    """One socket and one ear."""

    def __init__(self, url: str):
        self._address = url.replace("http", "ws") + "/v1/audio/stream"

    async def __aenter__(self) -> "Client":
        self._socket = await websockets.connect(self._address, max_size=None)
        return self

    async def __aexit__(self, *error) -> None:
        await self._socket.close()

    async def _send(self, kind: str, **fields) -> None:
        await self._socket.send(json.dumps({"type": kind} | fields))

    async def _start(self, ask: Ask) -> int:
        """Begins an utterance; how often there was no room."""
        refused = 0
        while True:
            self._asked = time.perf_counter()
            await self._send("start", voice=ask.voice, lookahead=ask.lookahead)
            told = json.loads(await self._socket.recv())
            if told["type"] == "started":
                return refused
            if told["code"] != "busy":
                raise RuntimeError(told["message"])
            refused += 1
            await asyncio.sleep(told["retry_after_s"])

    async def turn(self, ask: Ask) -> Heard:
        """Says something and listens to the end, or to where it is enough."""
        refused = await self._start(ask)
        playback = Playback(BUFFER_S)
        writer = asyncio.create_task(self._write(ask))
        first = audible = spoken = None
        answered = False  # its interruption, which may come after the end
        late_s, due, report = 0.0, math.inf, {}
        while True:
            try:
                wait_s = None if math.isinf(due) else max(0.0, due - time.perf_counter())
                message = await asyncio.wait_for(self._socket.recv(), wait_s)
            except TimeoutError:
                due = math.inf
                writer.cancel()  # a word after the interruption would begin a new utterance
                await self._send("interrupt", playback_offset=ask.enough_s)
                spoken = ""
                continue
            now = time.perf_counter()
            if isinstance(message, bytes):
                if first is None:
                    sent = self._sent
                    first = now - sent
                seconds = len(message) / 2 / 24_000
                if audible is None and (at := first_audible(message)) is not None:
                    audible = max(now, playback.until or now) - sent + at
                if spoken is None:
                    playback.receive(now, seconds)
                    due = playback.at(ask.enough_s)
                else:
                    late_s += seconds
                continue
            told = json.loads(message)
            if told["type"] == "interrupted":
                spoken, answered = told["text_spoken"], True
            elif told["type"] == "done":
                report = told["report"]
            elif told["type"] == "error":
                raise RuntimeError(told["message"])
            if report and (spoken is None or answered):
                break
        await asyncio.wait([writer])
        end = playback.at(ask.enough_s) if spoken is not None else playback.until
        await asyncio.sleep(max(0.0, (end or 0.0) - time.perf_counter()))
        return Heard(
            ask.text, first or math.nan, audible or math.nan, playback.came_s + late_s,
            min(ask.enough_s, playback.came_s), playback.dry_s, refused,
            self._wrote - self._asked, spoken, late_s, report,
        )  # fmt: skip

    async def _write(self, ask: Ask) -> None:
        words = [word + " " for word in ask.text.split(" ")] if ask.word_s else [ask.text]
        self._wrote = time.perf_counter()
        for word in words:
            await self._send("text", text=word)
            self._sent = time.perf_counter()
            await asyncio.sleep(ask.word_s)
        await self._send("end")


def first_audible(pcm: bytes) -> float | None:
    """Seconds to the first 10 ms that can be heard, if any can."""
    samples = np.frombuffer(pcm, "<i2").astype(np.float32) / 32767
    blocks = samples[: len(samples) // 240 * 240].reshape(-1, 240)
    loud = np.mean(blocks**2, axis=1) > 10 ** ((TARGET_DB + AUDIBLE_DB) / 10)
    return 0.01 * float(np.argmax(loud)) if loud.any() else None


async def in_turn(url: str, asks: Sequence[Ask]) -> list[Heard]:
    """One client after the other's end."""
    async with Client(url) as client:
        return [await client.turn(ask) for ask in asks]


async def at_once(
    url: str, clients: Sequence[Sequence[Ask]], seconds: float, think_s: Sequence[Sequence[float]]
) -> list[list[Heard]]:
    """All clients together, each with its asks and pauses over and over, for so long."""
    until = time.perf_counter() + seconds

    async def talk(asks: Sequence[Ask], pauses: Sequence[float]) -> list[Heard]:
        heard: list[Heard] = []
        async with Client(url) as client:
            while time.perf_counter() < until:
                await asyncio.sleep(pauses[len(heard) % len(pauses)])
                heard.append(await client.turn(asks[len(heard) % len(asks)]))
        return heard

    return await asyncio.gather(*map(talk, clients, think_s))


def told(turns: Sequence[Heard]) -> dict[str, Any]:
    """Figures of many turns."""
    first = np.array([1000 * turn.first_s for turn in turns])
    audible = np.array([1000 * turn.audible_s for turn in turns])
    heard_s = sum(turn.heard_s for turn in turns)
    return {
        "turns": len(turns),
        "audio_s": sum(turn.audio_s for turn in turns),
        "first_ms": np.nanpercentile(first, [50, 95]).tolist(),
        "audible_ms": np.nanpercentile(audible, [50, 95]).tolist(),
        "dry_ms_per_min": 60e3 * sum(turn.dry_s for turn in turns) / heard_s,
        "dry_turns": sum(turn.dry_s > 0 for turn in turns),
        "refused": sum(turn.refused for turn in turns),
        "wasted": 1 - heard_s / sum(turn.audio_s for turn in turns),
    }
