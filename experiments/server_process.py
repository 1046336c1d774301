"""`voiceloom serve` as a process of its own, started as a user would start it."""

import asyncio
import contextlib
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from typing import NamedTuple

import psutil

from experiments import load
from experiments.load import Ask


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
