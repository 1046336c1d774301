"""What the judges need: the packages of the extra, fetched models, sound at their rate."""

import importlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import soxr
from jaxtyping import Float

RATE = 16_000
"""Every judge here listens at 16 kHz."""


def require(package: str) -> ModuleType:
    """Returns a package of the `evaluate` extra.

    Raises:
        ImportError: It is not installed; the message says how to.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ImportError(
            f"Judging speech needs `{package}`: pip install -e '.[evaluate]'"
        ) from error


def require_files(folder: Path, names: Sequence[str], what: str) -> None:
    """Raises FileNotFoundError unless all of `names` are in `folder`."""
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"No {what} at {folder} ({', '.join(missing)} not found). "
            "`python -m experiments.get_judges` fetches it into runs/judges/."
        )


def at_16k(samples: Float[np.ndarray, " S"], sample_rate: int) -> Float[np.ndarray, " S16"]:
    """Returns samples at `RATE`."""
    return soxr.resample(np.asarray(samples, np.float32), sample_rate, RATE)
