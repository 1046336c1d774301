"""The aligner of the release: which phone sounds when, in any clip."""

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from flax import nnx
from jaxtyping import Array, Float
from safetensors.numpy import load_file, save_file

from data.phones import SYMBOLS
from lm import aligner

WEIGHTS = Path(__file__).with_name("weights") / "aligner.safetensors"
MIN_SCORE = -3.2
"""Of an English clip that says its text; below, it says something else."""
_BUCKET = 256  # frames: clips are padded to a multiple, so that few shapes are compiled


class Phones:
    """An aligner with its weights: clips in, log posteriors out."""

    def __init__(self, weights: Path = WEIGHTS):
        """Reads `weights` (safetensors) and the `.json` beside it.

        Raises:
            ValueError: The files are missing, damaged, or of another alphabet.
        """
        facts = Path(weights).with_suffix(".json")
        if not (Path(weights).exists() and facts.exists()):
            raise ValueError(f"{weights}: no aligner there, or no {facts.name} beside it")
        made = json.loads(facts.read_text())
        if made["symbols"] != "".join(SYMBOLS[1:])[: len(made["symbols"])]:
            raise ValueError(
                f"{weights}: made for another alphabet than data/phones.py has now; train it anew: "
                "python -m experiments.train --config=experiments/aligner_base.py"
            )
        config = made["config"]
        self.cfg = aligner.Config(**config | {"dilations": tuple(config["dilations"])})
        graphdef, abstract = nnx.split(
            nnx.eval_shape(lambda: aligner.Aligner(self.cfg, rngs=nnx.Rngs(0)))
        )
        flat, tree = jax.tree_util.tree_flatten_with_path(nnx.to_pure_dict(abstract))
        try:
            stored = load_file(weights)
            leaves = [stored[_name(path)].reshape(x.shape).astype(np.float32) for path, x in flat]
        except Exception as error:  # safetensors raises a type of its own for a short file
            raise ValueError(f"{weights}: damaged ({error}); get it again") from error
        self._params = jax.tree_util.tree_unflatten(tree, leaves)
        self._apply = jax.jit(lambda p, mel, length: nnx.merge(graphdef, p)(mel, length))

    def __call__(self, samples: Float[np.ndarray, " S"]) -> Float[np.ndarray, "T V"]:
        """Log posteriors of a clip at 24 kHz, 100 frames a second."""
        mel = aligner.log_mel(samples)
        # Powers of two: a handful of executables serves clips of every length.
        bucket = max(_BUCKET, 1 << (len(mel) - 1).bit_length())
        padded = np.pad(mel, ((0, bucket - len(mel)), (0, 0)))[None]
        return np.asarray(self._apply(self._params, padded, np.array([len(mel)])))[0, : len(mel)]

    def heard(self, samples: Float[Array, "B S"]) -> Float[Array, "B T V"]:
        """Log posteriors of speech, inside jax and with a gradient; T = S / 240 frames."""
        mel = aligner.log_mels(samples)
        count = mel.shape[1]
        even = jnp.pad(mel, ((0, 0), (0, count % 2), (0, 0)))
        length = jnp.full(len(mel), count)
        return self._apply(self._params, even, length)[:, :count]


def save_weights(params: dict, cfg: aligner.Config, path: Path, about: str = "") -> None:
    """Writes params as bfloat16 safetensors, and config and alphabet to the `.json` beside."""
    flat, _ = jax.tree_util.tree_flatten_with_path(params)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({_name(key): np.asarray(x, ml_dtypes.bfloat16) for key, x in flat}, path)
    facts = {"config": dataclasses.asdict(cfg), "symbols": "".join(SYMBOLS[1:]), "about": about}
    path.with_suffix(".json").write_text(json.dumps(facts, ensure_ascii=False, indent=1) + "\n")


def _name(path) -> str:
    return ".".join(str(key.key) for key in path)
