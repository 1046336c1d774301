r"""Further people from public repositories, laid out as `data.prepare --format folder` reads them.

    python -m experiments.get_people runs/people
    python -m data.prepare runs/people --format folder --language en --accent us --split train \
      --transcribe --out runs/records/people

A clone is as good as the people who were heard in training are many. Whole corpora of many are
seldom at hand, but student projects and demonstrations carry parts of them: here forty readers of
LibriSpeech's test-clean, ten of the voice conversion challenge of 2016, twelve of VCTK (all three
CC-BY 4.0), and seventy students who spell names, numbers and addresses at microphones of their own
(MIT, with their consent).
"""

import argparse
import re
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm


class Source(NamedTuple):
    """A repository on GitHub, and whose speech is where in it."""

    repository: str
    prefix: str  # of the speakers' names
    clips: str  # a pattern with a group `speaker`, from the repository's root
    most: int  # clips of a speaker, spread over all there are


SOURCES = (
    Source("rachelganem/voice_conversion_kNN", "ls", r".*/test-clean/(?P<speaker>\d+)/.*\.flac", 7),
    Source("jillnano/CCGAN-VC", "vcc", r"data/vcc2016_training/(?P<speaker>\w+)/.*\.wav", 10),
    Source(
        "Sakshee5/alphanumeric-audio-dataset",
        "al",
        r"audio_data/\w+/R_(?P<speaker>\w+)\.wav",
        3,
    ),
    Source(
        "jjery2243542/one-shot-vc-demo",
        "vctk",
        r"res/demo/.*/(?P<speaker>p\d+)_\d+_p\d+_\d+_src\.wav",
        10,
    ),
    Source(
        "jjery2243542/one-shot-vc-demo",
        "vctk",
        r"res/demo/.*/p\d+_\d+_(?P<speaker>p\d+)_\d+_tar\.wav",
        10,
    ),
    Source("KimythAnly/AGAIN-VC", "vctk", r"data/wav48/(?P<speaker>p\d+)/.*\.wav", 6),
)


def chosen(paths: list[str], source: Source) -> dict[str, list[str]]:
    """Of each speaker the clips to take, by the speaker's name among all."""
    found = defaultdict(list)
    for path in sorted(paths):
        if match := re.fullmatch(source.clips, path):
            found[f"{source.prefix}_{match['speaker']}"].append(path)
    return {
        speaker: clips[:: max(1, len(clips) // source.most)][: source.most]
        for speaker, clips in found.items()
    }


def main() -> None:
    """Fetches what is not there yet and links it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder to make, a folder in it for each speaker")
    args = parser.parse_args()
    for source in tqdm(SOURCES, unit="repository"):
        clone = args.out.with_name(args.out.name + "_sources") / source.repository.replace("/", "+")
        if not clone.exists():
            url = f"https://github.com/{source.repository}"
            subprocess.run(["git", "clone", "-q", "--depth", "1", url, clone], check=True)
        paths = [p.relative_to(clone).as_posix() for p in clone.rglob("*") if p.is_file()]
        for speaker, clips in chosen(paths, source).items():
            (args.out / speaker).mkdir(parents=True, exist_ok=True)
            for clip in clips:
                # By its whole path: the students' three clips have one name in three folders.
                link = args.out / speaker / clip.replace("/", "_")
                if not link.exists():
                    link.symlink_to((clone / clip).absolute())


if __name__ == "__main__":
    main()
