"""Low-rank updates of a published model's matrices, kept as one small file beside its weights.

A matrix W [I, O] becomes W + A B, with A [I, r] and B [r, O] (Hu et al. 2021, arXiv:2106.09685).
`lora.safetensors` names the weights that it belongs to by their hash; what loads the folder then
gets the sum, so a tuned model runs as fast as the original.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from data.published import ImportFailed, flatten

FILE = "lora.safetensors"

Updates = dict[str, dict[str, Any]]
"""By a matrix' dotted name: its `a` [I, r] and `b` [r, O]."""


def matrices(params: Mapping, prefix: str) -> dict[str, tuple[int, int]]:
    """Names, from `prefix` on, and shapes of all matrices of nested parameters."""
    return {
        name: value.shape
        for name, value in flatten(params)
        if name.startswith(prefix) and value.ndim == 2
    }


def merged(params: Mapping, updates: Updates, path: str = "") -> dict:
    """Nested parameters with the updates added; of numpy's arrays or of JAX's."""
    found = {}
    for key, value in params.items():
        if isinstance(value, Mapping):
            found[key] = merged(value, updates, f"{path}{key}.")
        else:
            update = updates.get(f"{path}{key}")
            found[key] = value if update is None else value + update["a"] @ update["b"]
    return found


def save(folder: Path, updates: Updates, base_hash: str) -> None:
    """Writes the updates of the weights with this hash beside them."""
    tensors = {
        f"{name}.{part}": np.asarray(value, np.float32)
        for name, update in updates.items()
        for part, value in update.items()
    }
    save_file(tensors, folder / FILE, {"base_sha256": base_hash})


def stacked(first: Updates, second: Updates) -> Updates:
    """Both updates as one, whose rank is the sum of theirs."""
    both = dict(first)
    for name, update in second.items():
        before = first.get(name)
        both[name] = update if before is None else {
            "a": np.concatenate([before["a"], update["a"]], axis=1),
            "b": np.concatenate([before["b"], update["b"]], axis=0),
        }  # fmt: skip
    return both


def read(folder: Path) -> tuple[Updates, str | None]:
    """The updates of a folder, none if it has none, and the hash of the weights they are for.

    Raises:
        ImportFailed: They are damaged.
    """
    path, base, updates = folder / FILE, None, {}
    if not path.exists():
        return updates, base
    try:
        with safe_open(path, "np") as file:
            base = (file.metadata() or {}).get("base_sha256")
            for key in file.keys():  # noqa: SIM118  (not a dict)
                name, _, part = key.rpartition(".")
                updates.setdefault(name, {})[part] = file.get_tensor(key)
    except (SafetensorError, OSError) as error:
        raise ImportFailed(f"{path}: damaged ({error}); get it again") from error
    return updates, base


def load(folder: Path, params: Mapping, base_hash: str) -> tuple[dict, str]:
    """`params` as they are, or with the updates of the folder if it has some; and their hash.

    Raises:
        ImportFailed: They are damaged, or of other weights.
    """
    updates, base = read(folder)
    path = folder / FILE
    if not updates:
        return dict(params), base_hash
    if base != base_hash:
        raise ImportFailed(f"{path}: made for other weights than those beside it; tune them again")
    shapes = matrices(params, "")
    for name, update in updates.items():
        fits = update.keys() == {"a", "b"} and name in shapes
        if not fits or (len(update["a"]), update["b"].shape[1]) != shapes[name]:
            raise ImportFailed(f"{path}: {name} is not a matrix of this model, or of another shape")
    return merged(params, updates), hashlib.sha256(path.read_bytes()).hexdigest()
