"""Records with samples in, code records out, by a frozen codec.

    python -m experiments.tokenise runs/records/synthetic runs/codes/synthetic

Labels and text go along unchanged; samples become `codes` uint16 [T, Q], with the pitch `hz` and
the level `level_db` float32 [T] of every frame (`data.prosody`). The hash of the codec's
weights goes with every folder, because codes mean nothing to another codec. The arithmetic is
float32 on the released bfloat16 weights: the very ones that will decode the language model.

`--speed 0.88` plays every clip at that speed first: pitch, formants and rate move together, which
makes a further speaker of each (its labels and name follow). Data binds the language model before
compute does, and this is the cheapest data there is.
"""

from __future__ import annotations

import argparse
import pathlib

import numpy as np
import soxr
import tqdm

from data import pipeline, prosody, records
from data.audio import SAMPLE_RATE
from voiceloom.speech_codec import SpeechCodec, load_codec


def at_speed(record: dict, speed: float) -> dict:
    """The record played `speed` times as fast, as another speaker's."""
    if speed == 1.0:
        return record
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
    source: pathlib.Path, out: pathlib.Path, codec_folder: pathlib.Path, speed: float = 1.0
):
    """Writes every split of `source` to `out` as code records; splits that are there are kept.

    At another speed only the training split is written: nobody is judged by a made speaker.
    """
    codec = load_codec(codec_folder, entropy=False)
    for split in records.read_meta(source)["splits"]:
        if split in records.read_meta(out)["splits"] or (speed != 1.0 and split != "train"):
            continue
        with records.Writer(out, split) as writer:
            writer.facts = about(codec)
            for clip in tqdm.tqdm(pipeline.clips(source, split), split, unit="clip"):
                writer.write(coded(at_speed(clip, speed), codec))


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
    parser.add_argument("--speed", type=float, default=1.0, help="0.8-1.25: further speakers")
    args = parser.parse_args()
    tokenise(args.source, args.out, args.codec, args.speed)


if __name__ == "__main__":
    main()
