"""`voiceloom serve` as a process of its own, started as a user would start it; what it tells."""

import asyncio
import contextlib
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import psutil

from experiments import load
from experiments.load import Ask
from voiceloom.conductor import Costs
from voiceloom.engine import MAX_FRAMES


class Server(NamedTuple):
    """A server process."""

    url: str
    process: psutil.Process
    start_s: float  # until its first request was heard

    def metrics(self) -> dict[str, float]:
        """Every sample that /metrics gives."""
        text = urllib.request.urlopen(f"{self.url}/metrics").read().decode()
        lines = (line.rsplit(" ", 1) for line in text.splitlines() if line and line[0] != "#")
        return {name.strip(): float(value) for name, value in lines}

    def busy_s(self) -> float:
        """Processor time it has used."""
        return sum(self.process.cpu_times()[:2])


@contextlib.contextmanager
def started(*options: str, limit_s: float = 300.0) -> Iterator[tuple[str, subprocess.Popen]]:
    """The URL and the process of a server that answers; killed in the end.

    Args:
        *options: Of `voiceloom serve`; the port is a free one.
        limit_s: Until it answers.

    Raises:
        RuntimeError: It has ended, or does not answer in time.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "voiceloom.cli", "serve", "--port", str(port), *options]
    url, until = f"http://127.0.0.1:{port}", time.perf_counter() + limit_s
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{url}/health")
                break
            if process.poll() is not None or time.perf_counter() > until:
                raise RuntimeError(f"no server: {' '.join(command)}")
            time.sleep(0.02)
        yield url, process
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def serving(streams: int, first: Ask) -> Iterator[Server]:
    """A server for so many streams that has been asked `first`."""
    begun = time.perf_counter()
    with started("--streams", str(streams)) as (url, process):
        asyncio.run(load.in_turn(url, [first]))
        yield Server(url, psutil.Process(process.pid), time.perf_counter() - begun)


def costs(metrics: dict[str, float]) -> Costs:
    """The bounds that a server counts on."""
    bounds: dict[int, dict[int, float]] = {}
    for name, value in metrics.items():
        if found := re.match(r'voiceloom_bound_seconds\{frames="(\d+)",streams="(\d+)"\}', name):
            bounds.setdefault(int(found[2]), {})[int(found[1])] = value
    frame_s = {n: (b[MAX_FRAMES] - b[1]) / (MAX_FRAMES - 1) for n, b in bounds.items()}
    fixed_s = {n: b[1] - frame_s[n] for n, b in bounds.items()}
    return Costs(fixed_s, frame_s, metrics["voiceloom_begin_bound_seconds"])


def spread(metrics: dict[str, float]) -> dict[int, list[float]]:
    """A hundred dispatches of every number of frames as parts of their bounds.

    A short one takes less of its bound than a long one, so both together would make short ones
    slow and long ones fast.
    """
    parts = {}
    for frames, counts in _histograms(metrics).items():
        edges = sorted(edge for edge in counts if edge < float("inf"))  # what is beyond is the last
        below = np.array([0.0, *(counts[edge] for edge in edges)]) / counts[float("inf")]
        at = (np.arange(100) + 0.5) / 100
        parts[frames] = np.interp(at, below, [0.0, *edges]).tolist()
    return parts


def above_bound(metrics: dict[str, float]) -> float:
    """Share of the dispatches that took longer than the scheduler counts on."""
    found = _histograms(metrics).values()
    return 1 - sum(c[1.0] for c in found) / sum(c[float("inf")] for c in found)


def _histograms(metrics: dict[str, float]) -> dict[int, dict[float, float]]:
    """How many dispatches of so many frames were within each part of their bounds."""
    found: dict[int, dict[float, float]] = {}
    pattern = r'voiceloom_dispatch_of_bound_bucket\{frames="(\d+)",le="([\d.+Inf]+)"\}'
    for name, value in metrics.items():
        if match := re.match(pattern, name):
            found.setdefault(int(match[1]), {})[float(match[2])] = value
    return found
