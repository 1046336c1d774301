"""Weights on disk: what a release consists of, and every way in which one can be wrong.

A folder with six files and a card:

    codec.safetensors  codec.json      the codec and its config
    entropy.safetensors                whole numbers that token files are coded with; may be absent
    lm.safetensors     lm.json         the language model, its config, and the hash of *its* codec
    voices.safetensors                 the named voices, bound to the language model
    README.md                          the model card

Parameters are bfloat16 under flat dotted names and are cast up at load: arithmetic is float32. A
language model speaks the codes of the codec that its training data was tokenised with and of no
other, so the pair is bound by the SHA-256 of the codec's file; a codec whose decoder alone was
tuned speaks the codes that it did before, and says whose. Anything that does not fit raises
`WeightsError` with what is wrong and what to do, before a single sample is made.
"""

import dataclasses
import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import ml_dtypes
import numpy as np
from flax import nnx
from safetensors import SafetensorError, safe_open
from safetensors import numpy as safetensors

import codec
import lm
from codec.bitstream.entropy import EntropyModel, Tables
from data.published import flatten
from voiceloom.voice import Voice

FORMAT = 1
DEFAULT = Path(__file__).parent / "weights"
AGAIN = "export it again (python -m voiceloom.export) or restore the folder (git checkout)"


class WeightsError(ValueError):
    """Weights that cannot be used, with the cause and the cure."""


class Model(NamedTuple):
    """A module in the house's dialect: `nnx.merge(graphdef, params)` inside `jax.jit`."""

    config: Any  # codec.Config or lm.Config
    graphdef: Any  # static
    params: dict  # float32
    hash: str  # SHA-256 of the file
    codes_hash: str = ""  # of a codec, that of the one whose codes these are: mostly itself


class Weights(NamedTuple):
    """A release in memory."""

    codec: Model
    lm: Model
    voices: dict[str, Voice]


def load(folder: str | os.PathLike = DEFAULT) -> Weights:
    """The release in a folder; raises WeightsError unless all of it fits together."""
    folder = Path(folder)
    codec_model, (lm_model, about) = load_codec(folder), _load_lm(folder)
    if about.get("codec_sha256") != codec_model.codes_hash:
        raise WeightsError(
            f"{folder}: lm.safetensors was trained on the codes of another codec "
            f"({str(about.get('codec_sha256'))[:12]}, here is {codec_model.codes_hash[:12]}); "
            "take both from one release, or tokenise with this codec and train again"
        )
    _check_pair(folder, codec_model.config, lm_model.config)
    voices = _load_voices(folder, lm_model.hash, lm_model.config.voice_width)
    return Weights(codec_model, lm_model, voices)


def load_codec(folder: str | os.PathLike = DEFAULT) -> Model:
    """The codec in a folder, alone; raises WeightsError."""
    return _load_model(Path(folder), "codec", codec.Config, codec.Codec)[0]


def load_lm(folder: str | os.PathLike = DEFAULT) -> Model:
    """The language model in a folder, alone; raises WeightsError."""
    return _load_lm(Path(folder))[0]


def load_entropy(folder: str | os.PathLike, model: Model) -> EntropyModel | None:
    """The entropy model of a codec, or None where there is none; raises WeightsError."""
    path = Path(folder) / "entropy.safetensors"
    if not path.is_file():
        return None
    try:
        with safe_open(path, "numpy") as file:
            codec_hash = file.metadata()["codec_sha256"]
            tables = Tables(**{name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, TypeError) as error:
        raise WeightsError(f"{path}: damaged ({error}); {AGAIN}") from error
    if codec_hash != model.codes_hash:
        raise WeightsError(f"{path}: learned from the codes of another codec; {AGAIN}")
    return EntropyModel(tables, model.config.sizes)


def save_entropy(folder: str | os.PathLike, tables: Tables, codec_hash: str) -> None:
    """Writes entropy.safetensors, bound to the codec of that hash."""
    tensors = {name: np.ascontiguousarray(table) for name, table in tables._asdict().items()}
    safetensors.save_file(
        tensors, Path(folder) / "entropy.safetensors", {"codec_sha256": codec_hash}
    )


def save_codec(
    folder: str | os.PathLike, cfg: codec.Config, params: dict, about: Mapping, codes_hash: str = ""
) -> str:
    """Writes codec.safetensors and codec.json; returns the hash that binds language models to it.

    Args:
        folder: Made if it does not exist.
        cfg: Shape of the codec.
        params: EMA parameters, nested dict.
        about: JSON-able facts for the reader: run, step, seconds of audio seen, figures.
        codes_hash: Of the codec whose codes it speaks, if those are not its own.
    """
    facts = {"codes_sha256": codes_hash} if codes_hash else {}
    own_hash = _save_model(Path(folder), "codec", cfg, params, facts | {"about": dict(about)})
    return codes_hash or own_hash


def save_lm(
    folder: str | os.PathLike, cfg: lm.Config, params: dict, codec_hash: str, about: Mapping
) -> str:
    """Writes lm.safetensors and lm.json, bound to the codec of that hash; returns its own hash."""
    facts = {"codec_sha256": codec_hash, "about": dict(about)}
    return _save_model(Path(folder), "lm", cfg, params, facts)


def save_voices(folder: str | os.PathLike, voices: Sequence[Voice], lm_hash: str) -> None:
    """Writes voices.safetensors: the named voices of the language model of that hash."""
    tensors = {f"{v.name}/{part}": a for v in voices for part, a in v.tensors().items()}
    about = {"lm_sha256": lm_hash, "accents": json.dumps({v.name: v.accent for v in voices})}
    safetensors.save_file(tensors, Path(folder) / "voices.safetensors", about)


def save_tuned(
    release: str | os.PathLike, folder: str | os.PathLike, tuned: Weights, voice: Voice, about: str
) -> Voice:
    """Writes a release with another language model, all of its voices, and one voice more.

    Args:
        release: Folder of the release whose language model was tuned.
        folder: To write.
        tuned: That release in memory, with the tuned parameters.
        voice: Of the speaker that it was tuned for.
        about: How, for the reader.

    Returns:
        The voice, bound to the new language model.
    """
    folder = Path(folder)
    shutil.copytree(release, folder, dirs_exist_ok=True)
    model, codes_hash = tuned.lm, tuned.codec.codes_hash
    lm_hash = save_lm(folder, model.config, model.params, codes_hash, {"run": about})
    kept = [v for v in tuned.voices.values() if v.name != voice.name]
    voices = [dataclasses.replace(v, lm_hash=lm_hash) for v in (*kept, voice)]
    save_voices(folder, voices, lm_hash)
    return voices[-1]


def file_hash(path: str | os.PathLike) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _save_model(folder: Path, name: str, cfg: Any, params: dict, facts: dict) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {k: np.asarray(v, ml_dtypes.bfloat16) for k, v in flatten(params)}
    path = folder / f"{name}.safetensors"
    safetensors.save_file(tensors, path)
    sha256 = file_hash(path)
    card = {"format": FORMAT, "sha256": sha256, "config": dataclasses.asdict(cfg), **facts}
    (folder / f"{name}.json").write_text(json.dumps(card, indent=1) + "\n")
    return sha256


def _load_lm(folder: Path) -> tuple[Model, dict]:
    return _load_model(folder, "lm", lm.Config, lm.LM)


def _load_model(folder: Path, name: str, config_type: type, module: Callable) -> tuple[Model, dict]:
    """The model and its JSON."""
    path = folder / f"{name}.safetensors"
    absent = [file.name for file in (path, path.with_suffix(".json")) if not file.is_file()]
    if absent:
        raise WeightsError(
            f"{folder}: no {' and no '.join(absent)}. Trained weights come with the repository in "
            "voiceloom/weights; to train your own see README.md (experiments.train), then "
            "python -m voiceloom.export"
        )
    try:
        about = json.loads(path.with_suffix(".json").read_text())
        fields = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in about["config"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{folder}/{name}.json: damaged ({error}); {AGAIN}") from error
    if about.get("format") != FORMAT:
        raise WeightsError(
            f"{folder}/{name}.json: format {about.get('format')}, this version reads {FORMAT}; "
            "take weights and code from one release"
        )
    sha256 = file_hash(path)
    if about.get("sha256") != sha256:
        raise WeightsError(
            f"{path}: not the file that {name}.json describes: truncated, changed, or from another "
            f"release; {AGAIN}"
        )
    try:
        cfg = config_type(**fields)
    except (TypeError, ValueError) as error:
        raise WeightsError(
            f"{folder}/{name}.json: this version's {name}.Config does not take that config "
            f"({error}); take weights and code from one release"
        ) from error
    fitted = _fit(path, lambda: module(cfg, rngs=nnx.Rngs(0)))
    return Model(cfg, *fitted, sha256, about.get("codes_sha256", sha256)), about


def _fit(path: Path, make: Callable) -> tuple[Any, dict]:
    """Graph and float32 parameters of a module, from a file that must hold exactly these."""
    shapes = nnx.eval_shape(make)
    expected = nnx.to_pure_dict(nnx.state(shapes, nnx.Param))
    try:
        tensors = safetensors.load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: unreadable ({error}); {AGAIN}") from error
    names = dict(flatten(expected))
    missing, unused = sorted(names.keys() - tensors.keys()), sorted(tensors.keys() - names.keys())
    wrong = [
        f"{name} {tensors[name].shape} instead of {names[name].shape}"
        for name in sorted(names.keys() & tensors.keys())
        if tensors[name].shape != names[name].shape
    ]
    for what, found in (("missing", missing), ("unused", unused), ("of another shape", wrong)):
        if found:
            raise WeightsError(
                f"{path}: {len(found)} tensors {what} ({', '.join(found[:3])}...): file and config "
                f"are not of one model; {AGAIN}"
            )

    def fill(tree: Mapping, prefix: str = "") -> dict:
        return {
            key: fill(value, f"{prefix}{key}.")
            if isinstance(value, Mapping)
            else jnp.asarray(tensors[f"{prefix}{key}"], jnp.float32)
            for key, value in tree.items()
        }

    return nnx.graphdef(shapes), fill(expected)


def _check_pair(folder: Path, codec_cfg: codec.Config, lm_cfg: lm.Config) -> None:
    at_least = lambda a, b: a >= b  # noqa: E731
    slots = codec_cfg.slots if codec_cfg.symbols else math.inf  # who listens to none has room
    unlike = [
        f"{what}: codec {ours}, LM {theirs}"
        for what, ours, theirs, fits in (
            ("frame rate", codec_cfg.frame_rate, lm_cfg.frame_rate, lambda a, b: a == b),
            ("entries", codec_cfg.sizes, lm_cfg.entries, lambda a, b: set(a) == {b}),
            ("books", codec_cfg.books, lm_cfg.books, at_least),
            ("books of the voice", codec_cfg.books, lm_cfg.voice_books, at_least),
            ("symbols", codec_cfg.symbols, lm_cfg.symbols, lambda a, b: a in (0, b)),
            ("symbols of a frame", slots, lm_cfg.advance + 1, at_least),
        )
        if not fits(ours, theirs)
    ]
    if unlike:
        raise WeightsError(f"{folder}: codec and LM do not fit ({'; '.join(unlike)}); {AGAIN}")


def _load_voices(folder: Path, lm_hash: str, width: int) -> dict[str, Voice]:
    path = folder / "voices.safetensors"
    if not path.is_file():
        return {}
    try:
        with safe_open(path, "numpy") as file:
            about = file.metadata()
            accents, lm_sha256 = json.loads(about["accents"]), about["lm_sha256"]
            parts: dict[str, dict] = {name: {} for name in sorted(accents)}
            for key in file.keys():  # noqa: SIM118
                name, _, part = key.partition("/")
                parts[name][part] = file.get_tensor(key)
        voices = {
            name: Voice.of_tensors(name, own, accents[name], lm_sha256)
            for name, own in parts.items()
        }
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path}: damaged ({error}); {AGAIN}") from error
    if lm_sha256 != lm_hash or any(v.vector.shape != (width,) for v in voices.values()):
        raise WeightsError(f"{path}: voices of another language model; {AGAIN}")
    return voices
