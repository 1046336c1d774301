"""Voices recognised: the GE2E speaker embedding of Resemblyzer, in numpy."""

import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import NamedTuple

import librosa
import numpy as np
from jaxtyping import Float
from scipy import special

from voiceloom.judges.needs import RATE, at_16k, require_files


class SpeakerEncoder:
    """A voice as a unit vector; the dot product of two says how alike they are.

    On 182 clips of the corpora two clips of one voice score 0.89 (5 % below 0.81), of two voices
    0.57 (5 % above 0.72); the errors are equal, 1.9 %, at 0.79.

    Args:
        path: Resemblyzer's `pretrained.pt`.
    """

    WINDOW = 160
    """Mel frames (10 ms) the LSTM was trained on."""

    def __init__(self, path: str | Path):
        path = Path(path)
        require_files(path.parent, (path.name,), "speaker encoder")
        self._weights = read_torch(path)["model_state"]

    def embed(self, samples: Float[np.ndarray, " S"], sample_rate: int) -> Float[np.ndarray, "256"]:
        """Returns the unit vector of the voice: the mean over 1.6 s windows, 0.8 s apart."""
        mel = _loud_mel(at_16k(samples, sample_rate))
        if len(mel) < self.WINDOW:  # repeated, not padded: 0.85 to its own voice, not 0.83
            mel = np.resize(mel, (self.WINDOW, 40))
        last = len(mel) - self.WINDOW
        starts = [*range(0, last, self.WINDOW // 2), last]
        vectors = self._lstm(np.stack([mel[i : i + self.WINDOW] for i in starts]))
        mean = vectors.mean(0)
        return mean / np.linalg.norm(mean)

    def _lstm(self, x: Float[np.ndarray, "N T 40"]) -> Float[np.ndarray, "N 256"]:
        w = self._weights
        for layer in range(3):
            bias = w[f"lstm.bias_ih_l{layer}"] + w[f"lstm.bias_hh_l{layer}"]
            recurrent = w[f"lstm.weight_hh_l{layer}"].T
            gates = x @ w[f"lstm.weight_ih_l{layer}"].T + bias  # [N, T, 4 * 256]
            hidden = cell = np.zeros((len(x), 256), np.float32)
            outputs = []
            for t in range(x.shape[1]):
                gate = gates[:, t] + hidden @ recurrent
                write, keep, show = (special.expit(gate[:, k * 256 :][:, :256]) for k in (0, 1, 3))
                cell = keep * cell + write * np.tanh(gate[:, 512:768])
                hidden = show * np.tanh(cell)
                outputs.append(hidden)
            x = np.stack(outputs, 1)
        vectors = np.maximum(hidden @ w["linear.weight"].T + w["linear.bias"], 0)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _loud_mel(samples: Float[np.ndarray, " S16"]) -> Float[np.ndarray, "T 40"]:
    """Returns Resemblyzer's mel powers at -30 dBFS, without pauses of more than 0.2 s."""
    samples = samples * 10 ** (-30 / 20) / max(np.sqrt(np.mean(samples**2)), 1e-9)
    mel = librosa.feature.melspectrogram(
        y=samples, sr=RATE, n_fft=400, hop_length=160, n_mels=40
    ).T.astype(np.float32)
    power = mel.sum(1)
    near = np.convolve(power > 1e-4 * power.max(), np.ones(21), "same") > 0
    return mel[near]


def read_torch(path: str | Path) -> dict:
    """Returns the nested dict of a PyTorch file of the old (pre-1.6) format, tensors as arrays.

    Only tensors and plain containers are built: a name that would run other code is an error.
    """
    with Path(path).open("rb") as stream:

        class Unpickler(pickle.Unpickler):
            def find_class(self, module, name):
                if (module, name) == ("collections", "OrderedDict"):
                    return OrderedDict
                if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
                    return lambda storage, offset, size, *_: _Tensor(storage, offset, size)
                if module == "torch" and name.endswith("Storage"):
                    return name
                raise pickle.UnpicklingError(f"{path} asks for {module}.{name}")

            def persistent_load(self, pid):
                _, kind, key, *_ = pid
                return kind, key

        for _ in range(3):  # magic number, protocol, machine
            Unpickler(stream).load()
        tree, keys = Unpickler(stream).load(), Unpickler(stream).load()
        kinds = {leaf.storage[1]: leaf.storage[0] for leaf in _leaves(tree)}
        storages = {}
        for key in keys:
            (count,) = struct.unpack("<q", stream.read(8))
            dtype = np.dtype({"FloatStorage": "<f4", "LongStorage": "<i8"}[kinds[key]])
            storages[key] = np.frombuffer(stream.read(count * dtype.itemsize), dtype)

    def build(node):
        if isinstance(node, _Tensor):
            flat = storages[node.storage[1]][node.offset :]
            return flat[: int(np.prod(node.size))].reshape(node.size)
        return {k: build(v) for k, v in node.items()} if isinstance(node, dict) else node

    return build(tree)


class _Tensor(NamedTuple):
    storage: tuple[str, str]  # kind, key
    offset: int
    size: tuple[int, ...]


def _leaves(tree: dict) -> list[_Tensor]:
    nested = [_leaves(v) if isinstance(v, dict) else [v] for v in tree.values()]
    return [leaf for leaves in nested for leaf in leaves if isinstance(leaf, _Tensor)]
