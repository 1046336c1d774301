"""Steps compiled ahead of time: nothing compiles while somebody listens."""

import os
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from flax import nnx

from voiceloom.weights import Model


def use_compilation_cache() -> Path | None:
    """Keeps compiled steps in ~/.cache/voiceloom, or where JAX_COMPILATION_CACHE_DIR says."""
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)  # a dozen of .1 s each
    if jax.config.jax_compilation_cache_dir:
        return Path(jax.config.jax_compilation_cache_dir)
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(home) / "voiceloom" / "jax"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:  # a read-only home: every start compiles
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    return folder


_KERNEL = re.compile(r"  (ROOT )?%\S+ = .* (fusion|dot|custom-call|copy|convolution)\(")


class Step:
    """A pure function of models and arrays, compiled ahead for every shape of its first argument.

    A call with arrays of any other shape or type is an error, never a silent compilation.
    """

    def __init__(self, function: Callable, *models: Model, donate: int | None = None):
        graphs = [model.graphdef for model in models]

        def run(params, *args):
            return function(*map(nnx.merge, graphs, params), *args)

        self.compile_s = 0.0
        self._jitted = jax.jit(run, donate_argnums=() if donate is None else donate + 1)
        self._params = tuple(model.params for model in models)
        self._compiled: dict[tuple[int, ...], Callable] = {}
        self._lock = threading.Lock()

    def __call__(self, *args: Any) -> Any:
        shape = getattr(args[0], "shape", ()) if args else ()
        compiled = self._compiled.get(shape)
        if compiled is None:
            with self._lock:
                if shape not in self._compiled:
                    begun = time.perf_counter()
                    self._compiled[shape] = self._jitted.lower(self._params, *args).compile()
                    self.compile_s += time.perf_counter() - begun
                compiled = self._compiled[shape]
        return compiled(self._params, *args)

    def analysis(self, rows: int) -> dict[str, float]:
        """XLA's cost analysis of the step for so many rows: "flops" and more, a loop counted once.

        Raises:
            StopIteration: It has not been compiled for them.
        """
        return self._of(rows).cost_analysis()

    def kernels(self, rows: int) -> int:
        """Operations that wait for each other in the step's longest loop body; see `analysis`."""
        bodies: list[int] = [0]
        for line in self._of(rows).as_text().splitlines():
            if line and not line.startswith(" "):
                bodies.append(0)
            elif _KERNEL.match(line):
                bodies[-1] += 1
        return max(bodies)

    def _of(self, rows: int) -> Any:
        return next(c for shape, c in self._compiled.items() if shape[:1] == (rows,))
