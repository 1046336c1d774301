"""More speech of the teacher, in voices further apart than those of the corpus.

    runs/teacher/venv/bin/python experiments/teacher_voices.py --work runs/teacher \
      --out runs/synthetic_3 --seed 3 --count 1800

The corpus and what `make.py` beside it adds are 23 English voices and convex mixtures of them; a
voice outside their hull was cloned half way (the four held-out ones: .77 where the mixtures of the
test set have .88). The teacher has 24 voices of other languages, which read English with one wrong
word in a hundred, and a little beyond a voice, away from another one, there is a further one.

Runs in the environment of the teacher (see `make speech`), as `make.py` does; goes on where it was.
"""

import argparse
import multiprocessing
import random
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "shared/tools/synthesize"))
import make  # noqa: E402

MIXTURES, BEYOND = 100, 60
FURTHEST = 0.4  # at .8 two of six cannot be understood
NOT_BEYOND = "z"  # these come apart at .3 already


def voices(work: Path, seed: int, _: int) -> tuple[dict[str, np.ndarray], dict[str, bool], list]:
    """Style matrices by name, who is read as British, and the voices that are not mixed."""
    files = sorted(p for p in (work / "voices").glob("*.bin") if "santa" not in p.stem)
    load = {
        p.stem: np.fromfile(p, np.float32).reshape(510, 1, 256)
        for p in files
        if p.stem not in make.HELD
    }
    names = sorted(load)
    near = [name for name in names if name[0] not in NOT_BEYOND]
    foreign = [name for name in load if name[0] not in "ab"]
    styles, draw = {name: load[name] for name in foreign}, random.Random(seed)
    british = dict.fromkeys(foreign, False)
    for i in range(MIXTURES):
        parts = draw.sample(names, draw.choice((2, 2, 3)))
        weights = np.random.default_rng([seed, i]).dirichlet([2] * len(parts)).astype(np.float32)
        name = f"mix_{seed}_{i:03d}"
        styles[name] = sum(load[part] * w for part, w in zip(parts, weights, strict=True))
        british[name] = sum(w for p, w in zip(parts, weights, strict=True) if p[0] == "b") > 0.5
    for i in range(BEYOND):
        away, voice = draw.sample(near, 2)
        name = f"mix_{seed}_{MIXTURES + i:03d}"
        far = np.float32(draw.uniform(0.1, FURTHEST))
        styles[name] = load[voice] + far * (load[voice] - load[away])
        british[name] = voice[0] == "b"
    return styles, british, foreign


def arguments(about: str, count: int) -> argparse.Namespace:
    """What `make.py`'s workers have to be told besides the mixtures, from the command line."""
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="the teacher's folder")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--count", type=int, default=count, help="sentences")
    parser.add_argument("--workers", type=int, default=2)
    return parser.parse_args()


def main() -> None:
    """Makes what the command line says, and one manifest of it."""
    args = arguments(__doc__, count=1800)
    args.mixtures, make.voices = MIXTURES + BEYOND, voices
    run(args)


def run(args: argparse.Namespace) -> None:
    """Lets `make.py`'s workers make what `args` say, and writes one manifest of it."""
    args.out.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("fork")  # or the workers would have make's own voices
    workers = [context.Process(target=make.worker, args=(k, args)) for k in range(args.workers)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    parts = sorted(args.out.glob("manifest_*_*.jsonl"))
    manifest = "".join(part.read_text(encoding="utf-8") for part in parts)
    (args.out / "manifest.jsonl").write_text(manifest, encoding="utf-8")


if __name__ == "__main__":
    main()
