"""Release weights out of training runs.

    python -m voiceloom.export codec runs/codec
    python -m experiments.tokenise runs/records/synthetic runs/codes/synthetic
    python -m experiments.train --config=experiments/entropy_base.py --workdir=runs/entropy
    python -m experiments.entropy runs/entropy
    python -m experiments.train --config=experiments/lm_base.py --workdir=runs/lm
    python -m voiceloom.export lm runs/lm --codes runs/codes/synthetic
    python -m voiceloom.export lm runs/lm_people --calibrate --codes runs/codes/synthetic
    python -m voiceloom.export voices --codes runs/codes/synthetic   # those alone

The order matters: the codec is rounded to bfloat16 first, and codes are made by those very weights,
so that the language model learns what the released codec will decode. Exporting a language model
binds it to the codec that is already in the folder, makes its named voices from the training clips,
measures on them how long a phone can last, and writes the model card. A run that is longer than the
one that sampling was tuned on is calibrated (`lm.calibration`).
"""

import argparse
import dataclasses
import itertools
import json
import math
import pathlib
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence

import jax
import ml_collections
import numpy as np
from orbax.checkpoint import v1 as ocp

import lm
from codec.task import CodecTask
from data import prosody, records, utterances
from lm.calibration import calibrated
from lm.task import LMTask
from voiceloom import weights
from voiceloom.engine import Engine, mean_voice
from voiceloom.prompt import from_record
from voiceloom.voice import Voice

CLIPS = 12  # per named voice, the longest ones: the mean moves little beyond that
UNNAMED = ("mix_", "crowd_")  # speakers that are nobody in particular

MIXED = {"xm_robin": {"af_kore": 0.5, "am_puck": 0.5}}
"""A voice between two readers, for who wants neither a woman's nor a man's."""


def export_codec(run: pathlib.Path, folder: pathlib.Path) -> str:
    """Writes the codec of a run to a folder; returns its hash."""
    config = run_config(run)
    task = CodecTask(config)
    step, params = load_ema(run, task)
    codes_hash = ""
    if config.get("init_from"):
        before = weights.load_codec(config.init_from)
        # By the weights, not by the config: another codec may lie in that folder by now.
        of = lambda tree: jax.tree.leaves([tree["encoder"], tree["quantizer"]])  # noqa: E731
        # What a decoder is told changes no code.
        told = {name: getattr(task.cfg, name) for name in ("symbols", "slots")}
        same = dataclasses.replace(before.config, **told) == task.cfg
        if same and all(map(np.array_equal, of(params), of(before.params))):
            codes_hash = before.codes_hash
    return weights.save_codec(folder, task.cfg, params, {"run": run.name, "step": step}, codes_hash)


def codec_of(codes: Sequence[pathlib.Path], folder: pathlib.Path) -> str:
    """The hash of the codec in a folder; raises WeightsError unless it made all these codes."""
    codec_hash = weights.load_codec(folder).codes_hash
    for source in codes:
        for split, facts in records.read_meta(source)["splits"].items():
            if facts.get("codec_hash") != codec_hash:
                raise weights.WeightsError(
                    f"{source}, {split}: codes of another codec than the one in {folder}; "
                    "tokenise again with that one, or put back the codec that made the codes"
                )
    return codec_hash


def export_lm(
    run: pathlib.Path, codes: Sequence[pathlib.Path], folder: pathlib.Path, calibrate: bool = False
) -> str:
    """Writes the LM of a run and its voices beside the codec in a folder; returns its hash.

    Without `codes`, a run whose voice encoder stood still keeps the voices of where it began.
    """
    codec_hash, config = codec_of(codes, folder), run_config(run)
    task = LMTask(config)
    step, params = load_ema(run, task)
    before = weights.load(config.init_from) if config.get("init_from") and not codes else None
    about = {"run": run.name, "step": step}
    if calibrate:
        params, factors = calibrated(params, held_out_losses(task))
        about["heads"] = ", ".join(f"{head} {factor:.2f}" for head, factor in factors.items())
    leaves = lambda model: jax.tree.leaves(model["voice"])  # noqa: E731
    if before and all(map(np.array_equal, leaves(params), leaves(before.lm.params))):
        lm_hash = weights.save_lm(folder, before.lm.config, params, codec_hash, about)
        weights.save_voices(folder, list(before.voices.values()), lm_hash)
        return lm_hash
    cfg = with_dwells(task.cfg, codes) if codes else task.cfg
    lm_hash = weights.save_lm(folder, cfg, params, codec_hash, about)
    export_voices(codes, folder)
    return lm_hash


def export_voices(codes: Sequence[pathlib.Path], folder: pathlib.Path) -> list[str]:
    """Writes the named voices of the LM in a folder; returns their names."""
    lm_hash = weights.load_lm(folder).hash
    weights.save_voices(folder, [], lm_hash)
    voices = [voice for source in codes for voice in name_voices(folder, source)]
    read = {voice.name: voice for voice in voices}
    for name, parts in MIXED.items():
        if parts.keys() <= read.keys():
            voices.append(Voice.mix(name, {read[part]: share for part, share in parts.items()}))
    weights.save_voices(folder, voices, lm_hash)
    return [voice.name for voice in voices]


def held_out_losses(task: LMTask, rows: int = 96) -> Callable[[dict], dict[str, float]]:
    """What `calibrated` asks of parameters, on the first held-out rows of a task."""
    count = max(1, rows // task.config.data.batch)
    batches = list(itertools.islice(task.dataset("val"), count))
    step = jax.jit(task.eval_step)

    def losses(params: dict) -> dict[str, float]:
        found = [step(params, batch) for batch in batches]
        mean = lambda name: float(np.mean([np.mean(one[name]) for one in found]))  # noqa: E731
        books = [mean(f"book_{q + 1}") for q in range(task.cfg.books)]
        prosody = {"prosody": mean("prosody")} if task.cfg.pitches else {}
        return {"advance": mean("advance"), "first": books[0], "depth": sum(books[1:])} | prosody

    return losses


def with_dwells(cfg: lm.Config, codes: Sequence[pathlib.Path]) -> lm.Config:
    """The config with the longest dwells of these code records; only sampling looks at them."""
    clips, rate = utterances.from_folders(codes, "train", longest=sys.maxsize)
    return dataclasses.replace(cfg, max_dwell_s=utterances.longest_dwells(clips, rate))


def name_voices(folder: pathlib.Path, codes: pathlib.Path, split: str = "train") -> list[Voice]:
    """A voice for every named speaker of a folder of code records.

    Its vector is the mean over its clips, its prompt the longest of them that it can remember.
    """
    loaded = weights.load(folder)
    engine, reader = Engine(loaded), records.Reader(codes, split)
    clips = defaultdict(list)
    for i, line in enumerate(reader.index):
        if not line["speaker"].startswith(UNNAMED):
            clips[line["speaker"]].append((-line["seconds"], i))
    voices = []
    for speaker, found in sorted(clips.items()):
        longest = [reader[i] for _, i in sorted(found)]
        chosen = longest[:CLIPS]
        vector = mean_voice([engine.encode_voice(record["codes"]) for record in chosen])
        accent = chosen[0].get("accent") or chosen[0]["language"]
        hz = prosody.median_hz([record["hz"] for record in longest])
        prompts = (from_record(r, engine.books, engine.advance, hz) for r in longest)
        heard = next((prompt for prompt in prompts if prompt is not None), None)
        accent = _ACCENTS.get(accent, accent)
        voices.append(Voice(speaker, vector, accent, loaded.lm.hash, heard))
    return voices


def load_ema(run: pathlib.Path, task: object) -> tuple[int, dict]:
    """Step and averaged parameters of a run's newest checkpoint; `task` is what trained it."""
    abstract = jax.eval_shape(task.init, jax.random.key(0))
    with ocp.training.Checkpointer((run / "checkpoints").absolute()) as checkpointer:
        latest = checkpointer.latest
        if latest is None:
            raise weights.WeightsError(
                f"{run}: no checkpoint; train it first (python -m experiments.train)"
            )
        state = checkpointer.load_checkpointables(latest, {"state": abstract})["state"]
    return int(state.step), state.ema


def write_card(folder: pathlib.Path, figures: str = "") -> None:
    """Writes the model card of a release, with a Markdown table of `figures` if there is one."""
    loaded = weights.load(folder)
    facts = {}
    for name in ("codec", "lm"):
        about = json.loads((folder / f"{name}.json").read_text())["about"]
        shapes = [leaf.shape for leaf in jax.tree.leaves(getattr(loaded, name).params)]
        size = (folder / f"{name}.safetensors").stat().st_size
        facts[name] = (
            f"{sum(map(math.prod, shapes)) / 1e6:.1f} M parameters, {size / 1e6:.1f} MB, "
            + ", ".join(f"{key} {value}" for key, value in about.items())
        )
    rate = loaded.lm.config.frame_rate
    tokens = rate * loaded.lm.config.books
    bits = tokens * np.log2(loaded.lm.config.entries)
    (folder / "README.md").write_text(
        _CARD.format(
            codec=facts["codec"],
            lm=facts["lm"],
            rate=f"{rate:g}",
            books=loaded.lm.config.books,
            tokens=f"{tokens:g}",
            bits=f"{bits / 1000:.2f}",
            voices=", ".join(loaded.voices) or "none",
            figures=figures.strip() or "See the table in the repository's README.md.",
        )
    )


def run_config(run: pathlib.Path) -> ml_collections.ConfigDict:
    """The config that a run was trained with."""
    path = run / "config.json"
    if not path.is_file():
        raise weights.WeightsError(f"{run}: no config.json; is it the workdir of a training run?")
    tuples = lambda d: {k: tuple(v) if isinstance(v, list) else v for k, v in d.items()}  # noqa: E731
    return ml_collections.ConfigDict(json.loads(path.read_text(), object_hook=tuples))


_ACCENTS = {"en": "us", "fr": "fr-fr"}

_CARD = """# Voiceloom weights

A codec and a token language model that belong together (`lm.json` holds the SHA-256 of the codec
whose codes it writes; `codec.json` says whose codes the codec speaks, if not its own).

- `codec.safetensors`: {codec}.
- `lm.safetensors`: {lm}.
- `voices.safetensors`: {voices}.

The codec writes {rate} frames a second at 24 kHz; the language model writes {books} codes a frame,
{tokens} tokens or {bits} kbit a second. bfloat16 on disk, float32 in use.

## Data and licences

- Synthetic English in 600 voices and mixtures of voices (the codec: 143), made with Kokoro-82M
  (Apache-2.0) from LJSpeech's transcripts (public domain) and our own sentences.
- speechocean762: 234 people who read English as a second language, half of them children; free for
  any purpose, Apache-2.0. These people, and those of the next two: the language model and the
  codec's decoder, not its codes.
- LibriSpeech (CC-BY 4.0, Panayotov et al. 2015): 291 readers, a clip or seven of each, more of 28.
- VCTK and the voice conversion challenge of 2016 (both CC-BY 4.0, University of Edinburgh): 32
  speakers. Sakshee5/alphanumeric-audio-dataset (MIT): 70 students who spell.
- Asterisk's core prompts, English, Spanish, French (CC-BY-SA 3.0), Italian and Russian (CC-BY 3.0).
  Weights trained on them carry these attributions: Allison Smith, June Wallack, Carlo.
- dataset-voice-kerstin, German (CC0). Picovoice's speech-to-intent benchmark (Apache-2.0).

The weights are Apache-2.0, with the attributions above.

## Use and limits

English, read aloud. A cloned voice is the sound of a person: clone nobody without their consent,
and say that speech is synthetic where a listener could be misled. There is no watermark.

## Figures

{figures}
"""


def main() -> None:
    """Exports what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("codec", "lm", "voices", "card"))
    parser.add_argument("run", type=pathlib.Path, nargs="?", help="workdir of the training run")
    parser.add_argument(
        "--codes",
        type=pathlib.Path,
        nargs="*",
        default=[],
        help="code records to name voices from and to measure the longest dwells on",
    )
    parser.add_argument(
        "--calibrate", action="store_true", help="scale the heads on the run's held-out speech"
    )
    parser.add_argument("--figures", type=pathlib.Path, help="Markdown table for the model card")
    parser.add_argument("--out", type=pathlib.Path, default=weights.DEFAULT)
    args = parser.parse_args()
    if args.what in ("codec", "lm") and args.run is None:
        parser.error(f"{args.what} needs the workdir of its training run")
    if args.what == "codec":
        print(f"codec {export_codec(args.run, args.out)[:12]} in {args.out}")
    if args.what == "lm":
        lm_hash = export_lm(args.run, args.codes, args.out, args.calibrate)
        print(f"LM {lm_hash[:12]} in {args.out}")
    if args.what == "voices":
        print(f"{len(export_voices(args.codes, args.out))} voices in {args.out}")
    if args.what != "codec":
        write_card(args.out, args.figures.read_text() if args.figures else "")


if __name__ == "__main__":
    main()
