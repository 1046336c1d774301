"""Records with samples in, code records out, by a frozen codec.

    python -m experiments.tokenise runs/records/synthetic runs/codes/synthetic

Labels and text go along unchanged; samples become `codes` uint16 [T, Q], with the pitch `hz` and
the level `level_db` float32 [T] of every frame (`data.prosody`). The hash of the codec's
weights goes with every folder, because codes mean nothing to another codec. The arithmetic is
float32 on the released bfloat16 weights: the very ones that will decode the language model.

`--speed 0.88` plays every clip at that speed first: pitch, formants and rate move together, which
makes a further speaker of each (its labels and name follow). Data binds the language model before
compute does, and this is the cheapest data there is. `--elsewhere 1` draws for every speaker a
speed, a microphone and a room (`experiments.rooms`).
"""

from __future__ import annotations

import argparse
import functools
import pathlib
from collections.abc import Callable

import numpy as np
import soxr
import tqdm

from data import pipeline, prosody, records
from data.audio import SAMPLE_RATE
from experiments import rooms
from voiceloom.speech_codec import SpeechCodec, load_codec

SPEEDS = (0.82, 1.22)  # of those who are elsewhere


def at_speed(record: dict, speed: float) -> dict:
    """The record played `speed` times as fast, as another speaker's."""
    samples = soxr.resample(record["samples"], SAMPLE_RATE * speed, SAMPLE_RATE)
    changed = dict(
        id=f"{record['id']}@{speed:g}",
        speaker=f"{record['speaker']}@{speed:g}",
        samples=samples,
        bandwidth_hz=min(SAMPLE_RATE / 2, float(record["bandwidth_hz"]) * speed),
    )
    if record.get("bounds_s") is not None:
        changed["bounds_s"] = record["bounds_s"] / np.float32(speed)
    return record | changed


def elsewhere(record: dict, seed: int) -> dict:
    """The record as another speaker's in another place, the same for all clips of the speaker."""
    rng = rooms.drawn(record["speaker"], seed)
    moved = at_speed(record, rng.uniform(*SPEEDS))
    return moved | dict(
        id=f"{record['id']}@elsewhere_{seed}",
        speaker=f"{record['speaker']}@elsewhere_{seed}",
        samples=rooms.heard(moved["samples"], rng, SAMPLE_RATE),
    )


def coded(record: dict, codec: SpeechCodec) -> dict:
    """The record with codes, pitch and level in place of its samples."""
    samples = record["samples"]
    codes = codec.encode(samples[None])[0].astype(np.uint16)
    melody = prosody.measure(samples, SAMPLE_RATE, codec.frame_rate, len(codes))
    kept = {name: value for name, value in record.items() if name != "samples"}
    return kept | about(codec) | {"codes": codes} | melody._asdict()


def about(codec: SpeechCodec) -> dict:
    """What codes are worth nothing without."""
    return {"frame_rate": codec.frame_rate, "codec_hash": codec.hash}


def tokenise(
    source: pathlib.Path,
    out: pathlib.Path,
    codec_folder: pathlib.Path,
    changed: Callable[[dict], dict] | None = None,
):
    """Writes every split of `source` to `out` as code records; splits that are there are kept.

    If clips are to be `changed`, only those of the training split: nobody is judged by a made
    speaker.
    """
    codec = load_codec(codec_folder, entropy=False)
    for split in records.read_meta(source)["splits"]:
        if split in records.read_meta(out)["splits"] or (changed and split != "train"):
            continue
        with records.Writer(out, split) as writer:
            writer.facts = about(codec)
            for clip in tqdm.tqdm(pipeline.clips(source, split), split, unit="clip"):
                writer.write(coded(changed(clip) if changed else clip, codec))


def main():
    """Tokenises what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=pathlib.Path, help="folder of records with samples")
    parser.add_argument("out", type=pathlib.Path, help="folder of code records to write")
    parser.add_argument(
        "--codec",
        type=pathlib.Path,
        default=pathlib.Path("voiceloom/weights"),
        help="folder with codec.safetensors and codec.json",
    )
    further = parser.add_mutually_exclusive_group()
    further.add_argument("--speed", type=float, help="0.8-1.25: further speakers")
    further.add_argument("--elsewhere", type=int, metavar="SEED", help="further places")
    args = parser.parse_args()
    changed = None
    if args.speed is not None:
        changed = functools.partial(at_speed, speed=args.speed)
    if args.elsewhere is not None:
        changed = functools.partial(elsewhere, seed=args.elsewhere)
    tokenise(args.source, args.out, args.codec, changed)


if __name__ == "__main__":
    main()
