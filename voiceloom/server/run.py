"""The server process: loads, measures, serves, and goes without cutting anybody off."""

import contextlib
import os
import signal
import sys
import threading

import uvicorn

from voiceloom import synthesizer
from voiceloom.conductor import SIZES, Conductor
from voiceloom.scheduler import Policy
from voiceloom.server.app import Settings, make_app

DRAIN_S = 30.0


class _Server(uvicorn.Server):
    """uvicorn, which on a signal first lets the streams come to their end."""

    def __init__(self, config: uvicorn.Config, conductor: Conductor):
        super().__init__(config)
        self._conductor, self._drained = conductor, False

    def handle_exit(self, sig: int, frame) -> None:
        if self._drained or sig == signal.SIGINT:
            super().handle_exit(sig, frame)
            return
        self._drained = True  # a second signal does not wait

        def drain() -> None:
            self._conductor.drain(DRAIN_S)
            self.should_exit = True

        threading.Thread(target=drain, daemon=True).start()


def serve(
    weights: str | os.PathLike | None,
    codec: str | os.PathLike | None,
    host: str,
    port: int,
    settings: Settings,
    streams: int,
    policy: Policy,
) -> None:
    """Serves until it is told to stop."""
    synth = synthesizer.load(weights, warm=False, codec=codec)
    sizes = tuple(size for size in SIZES if size < streams) + (streams,)
    print("measuring dispatches ...", file=sys.stderr)
    conductor = Conductor(synth, policy, sizes)
    for voice in {synth.voice(name).accent for name in synth.voices}:
        synth.front_end(voice)("Hello.")
    config = uvicorn.Config(
        make_app(synth, conductor, settings), host, port, log_level="info",
        timeout_graceful_shutdown=int(DRAIN_S), ws_max_size=1_000_000,
    )  # fmt: skip
    with contextlib.suppress(KeyboardInterrupt):
        _Server(config, conductor).run()
    conductor.close()
