"""Tensors of a published checkpoint, each to be taken exactly once, by name and shape.

A weight that stays at its initial value, or one that goes unused, is plausible noise that nobody
notices. So an import fails, and names the tensor, if one is missing, of another shape, not finite,
all zero, or left over in the end.
"""

import difflib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from safetensors import SafetensorError, safe_open


class ImportFailed(ValueError):
    """A checkpoint that is not what it is taken for; says which tensor, and what to do."""


class Filter(NamedTuple):
    """Of a convolution, as torch lays it out."""

    weight: Float[np.ndarray, "O I K"]  # of a transposed one [I, O, K]
    bias: Float[np.ndarray, " O"] | None


class Tensors:
    """The tensors of one or several safetensors files, under their names."""

    def __init__(
        self,
        folder: Path,
        renames: Mapping[str, str | None] = {},  # noqa: B006
        within: str = "",
    ):
        """Opens them; reads none yet.

        Args:
            folder: With `model.safetensors`, or its parts and their `.index.json`.
            renames: Beginnings of names, and what stands for them here; None for those that are
                another model's.
            within: Beginning of the names of the model's own, if there are several in the file.

        Raises:
            ImportFailed: No safetensors there, or one that cannot be read.
        """
        self.folder, self._files, self._where, self._taken = folder, [], {}, set()
        for path in _files(folder):
            try:
                file = safe_open(path, "np")
            except (SafetensorError, OSError) as error:
                raise ImportFailed(f"{path}: damaged ({error}); get it again") from error
            self._files.append(path)
            for key in file.keys():  # noqa: SIM118  (not a dict)
                if key.startswith(within):
                    name = _renamed(key.removeprefix(within), renames)
                    if name is not None:
                        self._where[name] = file, key

    @property
    def hash(self) -> str:
        """SHA-256 of the files."""
        digest = hashlib.sha256()
        for path in self._files:
            with open(path, "rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()

    def __contains__(self, name: str) -> bool:
        return name in self._where

    def take(
        self, name: str, shape: tuple[int, ...], zero: bool = False
    ) -> Float[np.ndarray, "*s"]:
        """A tensor as float32; `zero` allows one that is nothing but zeros.

        Raises:
            ImportFailed: Missing, of another shape, not finite, or all zero.
        """
        if name not in self._where:
            free = [other for other in self._where if other not in self._taken]
            near = difflib.get_close_matches(name, free, 1)
            hint = f"; the nearest is {near[0]}" if near else ""
            raise ImportFailed(
                f"{self.folder}: no tensor {name} {list(shape)}{hint}: config and weights are of "
                "different models, or of another version"
            )
        file, key = self._where[name]
        try:
            found = file.get_tensor(key).astype(np.float32)
        except (SafetensorError, TypeError) as error:
            raise ImportFailed(f"{self.folder}: {name} cannot be read ({error})") from error
        if found.shape != tuple(shape):
            raise ImportFailed(
                f"{self.folder}: {name} is {list(found.shape)} and should be {list(shape)}: the "
                "config is another model's"
            )
        if not np.isfinite(found).all():
            raise ImportFailed(f"{self.folder}: {name} is not finite; get the file again")
        if not zero and not found.any():
            raise ImportFailed(f"{self.folder}: {name} is all zeros: it was saved without it")
        self._taken.add(name)
        return found

    def filter(self, name: str, shape: tuple[int, int, int], channels: int | None) -> Filter:
        """A convolution's weight and bias; weight norm, in either of torch's spellings, is undone.

        Args:
            name: Before `.weight` and `.bias`.
            shape: Of the weight as torch has it.
            channels: Length of the bias; None if there is none.
        """
        for gain, direction in (
            ("weight_g", "weight_v"),
            ("parametrizations.weight.original0", "parametrizations.weight.original1"),
        ):
            if f"{name}.{gain}" in self:
                g = self.take(f"{name}.{gain}", (shape[0], 1, 1))
                v = self.take(f"{name}.{direction}", shape)
                weight = g * v / np.sqrt(np.sum(v * v, axis=(1, 2), keepdims=True))
                break
        else:
            weight = self.take(f"{name}.weight", shape)
        bias = None if channels is None else self.take(f"{name}.bias", (channels,), zero=True)
        return Filter(weight, bias)

    def finish(self, ignored: Iterable[str] = ()) -> None:
        """Raises ImportFailed if a tensor is left that nobody took and that is not `ignored`."""
        endings = tuple(ignored)
        left = [n for n in self._where if n not in self._taken and not n.endswith(endings or "\0")]
        if left:
            more = f" and {len(left) - 3} more" if len(left) > 3 else ""
            raise ImportFailed(
                f"{self.folder}: nobody has a use for {', '.join(sorted(left)[:3])}{more}: the "
                "weights are another model's, or of a version that this importer does not know"
            )


def _renamed(name: str, renames: Mapping[str, str | None]) -> str | None:
    for old, new in renames.items():
        if name.startswith(old):
            return None if new is None else new + name.removeprefix(old)
    return name


def read_config(folder: Path) -> dict[str, Any]:
    """The folder's `config.json`; raises ImportFailed without one."""
    path = folder / "config.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ImportFailed(
            f"{path}: no readable config ({error}); give a folder as save_pretrained writes it"
        ) from error
    if not isinstance(found, dict):
        raise ImportFailed(f"{path}: not a config")
    return found


def _files(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if index.exists():
        try:
            names = sorted(
                set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
            )
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise ImportFailed(f"{index}: damaged ({error}); get it again") from error
        if any(Path(name).name != name for name in names):
            raise ImportFailed(f"{index}: names files outside of its folder")
        return [folder / name for name in names]
    path = folder / "model.safetensors"
    if not path.exists():
        pickles = [p.name for p in folder.glob("*") if p.suffix in (".bin", ".pt", ".pth", ".ckpt")]
        hint = (
            f"; {pickles[0]} is a pickle, which can run anything: have it converted to safetensors "
            "by somebody you trust"
            if pickles
            else ""
        )
        raise ImportFailed(f"{folder}: no model.safetensors{hint}")
    return [path]


def flatten(params: Mapping, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names and leaves of a nested dict, in order."""
    for key, value in params.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from flatten(value, f"{name}.")
        else:
            yield name, value
