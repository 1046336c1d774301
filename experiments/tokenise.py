"""Records with samples in, code records out, by a frozen codec.

    python -m experiments.tokenise runs/records/synthetic runs/codes/synthetic

Labels and text go along unchanged; samples become `codes` uint16 [T, Q], with the pitch `hz` and
the level `level_db` float32 [T] of every frame (`data.prosody`). The hash of the codec's
weights goes with every folder, because codes mean nothing to another codec. The arithmetic is
float32 on the released bfloat16 weights: the very ones that will decode the language model.

`--speed 0.88` plays every clip at that speed first: pitch, formants and rate move together, which
makes a further speaker of each (its labels and name follow). Data binds the language model before
compute does, and this is the cheapest data there is. `--tempo 1.3` keeps pitch and formants: those
who speak fast. `--elsewhere 1` draws for every speaker another vocal tract and pitch
(`experiments.people`), a microphone and a room (`experiments.rooms`).
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
from experiments import people, rooms
from voiceloom.speech_codec import SpeechCodec, load_codec


def at_speed(record: dict, speed: float) -> dict:
    """The record played `speed` times as fast, as another speaker's."""
    samples = soxr.resample(record["samples"], SAMPLE_RATE * speed, SAMPLE_RATE)
    return _another(record, f"{speed:g}", samples, 1 / speed, speed)


def at_tempo(record: dict, tempo: float) -> dict:
    """The record spoken `tempo` times as fast, as another speaker's: one who always does."""
    fast = people.Person(formants=1.0, pitch=1.0, liveliness=1.0, length=1 / tempo)
    samples = people.heard(record["samples"], fast, SAMPLE_RATE)
    return _another(record, f"tempo_{tempo:g}", samples, fast.length, 1.0)


def elsewhere(record: dict, seed: int) -> dict:
    """The record as another speaker's in another place, the same for all clips of the speaker."""
    rng = rooms.drawn(record["speaker"], seed)
    person = people.drawn(rng)
    samples = people.heard(record["samples"], person, SAMPLE_RATE)
    samples = rooms.heard(samples, rng, SAMPLE_RATE)
    return _another(record, f"elsewhere_{seed}", samples, person.length, person.formants)


def _another(record: dict, name: str, samples: np.ndarray, length: float, formants: float) -> dict:
    """The record of changed samples, `length` times as long, its sounds `formants` as high."""
    changed = dict(
        id=f"{record['id']}@{name}",
        speaker=f"{record['speaker']}@{name}",
        samples=samples,
        bandwidth_hz=min(SAMPLE_RATE / 2, float(record["bandwidth_hz"]) * formants),
    )
    if record.get("bounds_s") is not None:
        changed["bounds_s"] = record["bounds_s"] * np.float32(length)
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
    return {"frame_rate": codec.frame_rate, "codec_hash": codec.codes_hash}


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
    further.add_argument("--tempo", type=float, help="0.7-1.4: who speaks so much faster")
    further.add_argument("--elsewhere", type=int, metavar="SEED", help="further places")
    args = parser.parse_args()
    changed = None
    if args.speed is not None:
        changed = functools.partial(at_speed, speed=args.speed)
    if args.tempo is not None:
        changed = functools.partial(at_tempo, tempo=args.tempo)
    if args.elsewhere is not None:
        changed = functools.partial(elsewhere, seed=args.elsewhere)
    tokenise(args.source, args.out, args.codec, changed)


if __name__ == "__main__":
    main()
