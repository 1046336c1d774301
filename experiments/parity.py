"""Published models here and where they come from: the same codes, the same sound, and the time.

    python -m experiments.parity --set-up runs/torch  # a venv of its own, with transformers
    python -m experiments.parity                      # on an idle machine, twenty minutes

The references make models of true size with random weights, save them as transformers does, and
answer for a noise (`tests/codec/pretrained/reference.py`, `tests/lm/pretrained/reference.py`, run
in their venv); the files are read here and asked the same. Then both are timed by turns on the same
two cores, the reference in `torch.inference_mode`, ours as `voiceloom.load_codec` gives it.

Where the two nearest entries are nearly equally near (`TIE`) a code may be either, and then what
follows from it in its frame differs, too: these are counted apart, and any other is a fault. The
command fails if a bar is missed.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Bool, Float, Int
from tqdm import tqdm

import voiceloom
from codec import pretrained as codecs
from codec.pretrained import snac
from experiments import peers, report
from experiments.throughput import OTHERS_CORES, Others, disturbed, machine
from lm import pretrained as lms
from lm.pretrained.orpheus import COLUMN
from tests.codec.pretrained.reference import breath, noise

ROOT = Path(__file__).parents[1]
PACKAGES = ("torch==2.13.0", "transformers==5.24.0")
ALONE = ("snac==1.2.1", "einops==0.8.2")
"""Without what they ask for: the rest of SNAC's wants is for its training."""

CODECS = ("mimi", "encodec", "dac_16khz", "dac_24khz", "dac_44khz", "snac_24khz")
LMS = ("csm", "orpheus")

TIE = 1e-4  # of the squared distance: the margin up to which a code may differ
NEAR = 1e-4  # of the largest sample or logit: by how much the others may
RATIO = 1.5  # of the reference's time
TIMES = 5  # of each, by turns
STEPS = 300  # of a stream, at least, so that a 99th percentile is one


class Reference:
    """A model in the references' venv: it has written itself and its answers to `folder`."""

    def __init__(self, process: subprocess.Popen, folder: Path):
        self._process, self.folder = process, folder
        self.facts = json.loads(process.stdout.readline())
        self.answers = dict(np.load(folder / "answers.npz"))

    def took_s(self, call: str) -> float:
        """Seconds of one call."""
        print(call, file=self._process.stdin, flush=True)
        return float(self._process.stdout.readline())


@contextmanager
def reference(python: Path, script: str, name: str, folder: Path) -> Iterator[Reference]:
    """It, until the end of the block."""
    folder.mkdir(parents=True, exist_ok=True)
    pipe = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
    with subprocess.Popen([python, "-m", script, folder, name], **pipe) as process:
        yield Reference(process, folder)


# ---- comparing ----------------------------------------------------------------------------------


class Codes(NamedTuple):
    """How far codes are those that they should be."""

    count: int
    differ: int
    faults: int  # of these, not by a tie, nor after one in their frame
    ties: float  # part of all codes whose margin is one

    def __add__(self, other: "Codes") -> "Codes":
        count = self.count + other.count
        ties = (self.ties * self.count + other.ties * other.count) / count
        return Codes(count, self.differ + other.differ, self.faults + other.faults, ties)


def rest_of(cfg: Any) -> Bool[np.ndarray, "Q Q"]:
    """[q, p]: column q of a frame's codes describes what column p has left."""
    strides = getattr(cfg, "strides", (1,) * len(cfg.sizes))
    spans = [
        (level, begin, begin + stride)
        for level, stride in enumerate(strides)
        for begin in range(0, strides[0], stride)
    ]
    level, begin, end = np.array(spans).T
    follows = (level[:, None] > level) & (begin[:, None] < end) & (begin < end[:, None])
    apart = getattr(cfg, "semantic", 0)  # Mimi's first books and the others hear the same
    follows[apart:, :apart] = False
    return follows


def differing(
    codes: Int[np.ndarray, "B T Q"],
    wanted: Int[np.ndarray, "B T Q"],
    rivals: Int[np.ndarray, "B T Q"],
    margins: Float[np.ndarray, "B T Q"],
    follows: Bool[np.ndarray, "Q Q"],
) -> Codes:
    """Counts what differs: a code that follows another that differs is no fault of its own.

    Args:
        codes: Ours.
        wanted: The reference's.
        rivals: The other of the two entries that are nearest.
        margins: Of the two, by what part the farther square is the larger.
        follows: See `rest_of`.
    """
    differ, ties = codes != wanted, margins < TIE
    excused = (ties & (codes == rivals)) | (differ[:, :, None] & follows).any(axis=-1)
    return Codes(differ.size, int(differ.sum()), int((differ & ~excused).sum()), float(ties.mean()))


def apart(found: Float[np.ndarray, "*s"], wanted: Float[np.ndarray, "*s"]) -> float:
    """The largest difference, as a part of the largest of what is wanted."""
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


# ---- codecs -------------------------------------------------------------------------------------


def codec(name: str, there: Reference) -> dict[str, Any]:
    """A codec beside its reference."""
    model = codecs.load(there.folder)
    whole = lambda: [jax.jit(partial(_called, model, side)) for side in ("encode", "decode")]  # noqa: E731
    found, worst, follows = Codes(0, 0, 0, 0.0), 0.0, rest_of(model.config)
    lengths = [int(key.split("_")[1]) for key in there.answers if key.startswith("codes")]
    with mock.patch.object(snac, "gaussian", lambda level, at: breath(at).astype(jnp.float32)):
        encode, decode = whole()
        for length in lengths:
            wanted, rivals, margins, sound = (
                there.answers[f"{kind}_{length}"]
                for kind in ("codes", "rivals", "margins", "decoded")
            )
            codes = np.asarray(encode(model.params, noise(length)))
            found += differing(codes, wanted, rivals, margins, follows)
            samples = np.asarray(decode(model.params, wanted.astype(np.int32)))
            worst = max(worst, apart(samples[:, : sound.shape[1]], sound))
    encode, decode = whole()  # with the noise that SNAC has here
    clip = noise(lengths[0])
    codes = np.asarray(encode(model.params, clip))
    samples = np.asarray(decode(model.params, codes))
    return {
        "codes": found._asdict(),
        "samples": worst,
        "variety": float(np.mean([len(np.unique(column)) for column in codes[0].T])),
        "loudest": float(np.abs(samples).max()),
        "clip_s": clip.shape[1] / model.config.sample_rate,
        "frame_ms": 1000 / model.config.frame_rate,
    } | timed(there, model.config, clip, codes, samples)


def _called(model: codecs.Pretrained, side: str, params: dict, x: jax.Array) -> jax.Array:
    return getattr(nnx.merge(model.graphdef, params), side)(x)[0]


def timed(
    there: Reference,
    cfg: Any,
    clip: Float[np.ndarray, "1 S"],
    codes: Int[np.ndarray, "1 T Q"],
    samples: Float[np.ndarray, "1 N"],
) -> dict[str, Any]:
    """The product's times, whole and frame by frame; and whether a stream is the whole."""
    ours = voiceloom.load_codec(there.folder)
    size, lag, flush = ours.frame_samples, ours.lag_frames, ours.flush_frames
    rest = codes.shape[1] * size - clip.shape[1]  # silence; where it looks ahead, then nothing
    hear = np.pad(np.pad(clip, ((0, 0), (0, rest))), ((0, 0), (0, lag * size)),
                  constant_values=np.nan)  # fmt: skip
    say = np.pad(codes, ((0, 0), (0, flush), (0, 0)), constant_values=-1)
    heard, encode_s = streamed(ours.encoder().push, hear, size, cfg.first_frames)
    said, decode_s = streamed(ours.decoder().push, say, 1, cfg.first_frames)
    heard, late = heard[:, lag : lag + codes.shape[1]], ours.delay_samples
    kinds = (f"{kind}_{clip.shape[1]}" for kind in ("codes", "rivals", "margins"))
    told = differing(heard, *(there.answers[kind] for kind in kinds), rest_of(cfg))
    return {
        "stream": {
            "codes": int((heard != codes).sum()),
            "faults": told.faults,
            "samples": apart(said[:, late : late + samples.shape[1]], samples),
        },
        "step_ms": {"encode": _percentiles(encode_s), "decode": _percentiles(decode_s)},
        "encode": by_turns(partial(there.took_s, "encode"), lambda: ours.encode(clip)),
        "decode": by_turns(partial(there.took_s, "decode"), lambda: ours.decode(codes)),
    }


def streamed(
    push: Callable[[np.ndarray], np.ndarray], x: np.ndarray, unit: int, first: int
) -> tuple[np.ndarray, list[float]]:
    """What a stream gives for `x`, frame by frame, and the seconds of at least STEPS frames.

    Args:
        push: Of the stream.
        x: What goes in.
        unit: Of it to a frame.
        first: Frames that it begins with; they, and the next, are not timed, since they compile.
    """
    begin, *blocks = np.split(x, np.arange(first * unit, x.shape[1], unit), axis=1)
    parts, took = [push(begin)], []
    for i in range(max(len(blocks), STEPS + 1)):
        begun = time.perf_counter()
        part = push(blocks[i % len(blocks)])
        took.append(time.perf_counter() - begun)
        if i < len(blocks):
            parts.append(part)
    return np.concatenate(parts, axis=1), took[1:]


def by_turns(theirs: Callable[[], float], ours: Callable[[], Any]) -> dict[str, float]:
    """Median milliseconds of both, after a call of each that warms it."""
    took = []
    for _ in range(TIMES + 1):
        there_s, begun = theirs(), time.perf_counter()
        ours()
        took.append((there_s, time.perf_counter() - begun))
    theirs_ms, ours_ms = (1000 * np.median(took[1:], axis=0)).tolist()
    return {"theirs_ms": theirs_ms, "ours_ms": ours_ms, "ratio": ours_ms / theirs_ms}


def _percentiles(took: Sequence[float]) -> list[float]:
    return (1000 * np.percentile(took, [50, 99])).tolist()


# ---- language models ----------------------------------------------------------------------------


def lm(name: str, there: Reference) -> dict[str, Any]:
    """A speech LM beside its reference: logits of three prompts, frames after them."""
    model, answers = lms.load(there.folder), there.answers
    module = nnx.merge(model.graphdef, model.params)
    lengths, wanted = answers["lengths"].astype(np.int32), answers["said"]
    tokens = answers["tokens"].astype(np.int32)
    if name == "orpheus":
        wanted = orpheus_codes(wanted, module.cfg.tokens)
    frames = wanted.shape[1]
    capacity = tokens.shape[1] + frames * module.places

    @jax.jit
    def score(params, tokens):
        lm = nnx.merge(model.graphdef, params)
        return lm.score(lm.backbone(lm.embed(tokens))[0])

    @jax.jit
    def say(params, tokens, lengths):
        lm, rows = nnx.merge(model.graphdef, params), len(tokens)
        greedy = lm.sampling(rows)._replace(temperature=jnp.zeros(rows), repetition=jnp.ones(rows))
        state = lm.prefill(tokens, lengths, lm.init_state(rows, jnp.arange(rows), capacity))
        return lm.generate(greedy, state, frames, frames)[1:]

    logits = np.asarray(score(model.params, tokens))
    there_are = np.arange(tokens.shape[1]) < lengths[:, None]
    codes, valid = (np.asarray(a).swapaxes(0, 1) for a in say(model.params, tokens, lengths))
    differ = (codes != wanted) | ~valid[..., None]
    one = slice(1, 2)
    alone = partial(say, model.params, tokens[one, : lengths[1]], lengths[one])
    return {
        "logits": apart(logits[there_are], answers["logits"][there_are]),
        "codes": {"count": differ.size, "differ": int(differ.sum())},
        "frames": frames,
        "say": by_turns(partial(there.took_s, "say"), lambda: jax.block_until_ready(alone())),
    }


def orpheus_codes(
    tokens: Int[np.ndarray, "B N"], known: lms.orpheus.Tokens
) -> Int[np.ndarray, "B F Q"]:
    """The frames in tokens that go on to the end, in the order of SNAC's columns."""
    levels = known.first_code + known.codes * np.arange(len(COLUMN))
    codes = np.zeros((len(tokens), tokens.shape[1] // len(COLUMN), len(COLUMN)), int)
    codes[..., list(COLUMN)] = tokens.reshape(codes.shape) - levels
    return codes


# ---- the report -------------------------------------------------------------------------------


def failures(found: dict[str, Any]) -> list[str]:
    """The bars that are missed, in words."""
    missed = []
    for name, one in found["models"].items():
        says = {
            "codes differ without a tie": one["codes"].get("faults", one["codes"]["differ"]) > 0,
            "samples differ": one.get("samples", 0.0) > NEAR,
            "logits differ": one.get("logits", 0.0) > NEAR,
            "a stream's codes differ without a tie": one.get("stream", {}).get("faults", 0) > 0,
            "a stream sounds otherwise": one.get("stream", {}).get("samples", 0.0) > NEAR,
        }
        for call in ("encode", "decode", "say"):
            says[f"{call} takes too long"] = one.get(call, {}).get("ratio", 0.0) > RATIO
        missed += [f"{name}: {what}" for what, so in says.items() if so]
    return missed


def markdown(found: dict[str, Any]) -> str:
    """The tables."""
    codecs = {name: one for name, one in found["models"].items() if name in CODECS}
    spoken = {name: one for name, one in found["models"].items() if name in LMS}
    missed = failures(found)
    lines = [
        f"{found['machine']}, torch {found['torch']}, transformers {found['transformers']}. "
        + ("Missed: " + "; ".join(missed) if missed else "All bars are met")
        + ".",
        "",
        "| codec | parameters, M | codes | differ | of these without a tie | ties, of all "
        "| samples differ by, of the largest | stream: codes differ | without a tie | samples |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, one in codecs.items():
        codes, stream = one["codes"], one["stream"]
        lines.append(
            f"| {name} | {one['parameters_m']:.1f} | {codes['count']:,} | {codes['differ']} "
            f"| {codes['faults']} | {codes['ties']:.2%} | {one['samples']:.1e} "
            f"| {stream['codes']} | {stream['faults']} | {stream['samples']:.1e} |"
        )
    lines += [
        "",
        "| a clip of 10 s, one row | encode, ms: torch | ours | ratio | decode, ms: torch | ours "
        "| ratio | a frame, ms | step p50 / p99, ms: encode | decode |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, one in codecs.items():
        steps = [f"{p50:.1f} / {p99:.1f}" for p50, p99 in one["step_ms"].values()]
        lines.append(
            f"| {_marked(name, one)} | {_times(one['encode'])} | {_times(one['decode'])} "
            f"| {one['frame_ms']:.1f} | {' | '.join(steps)} |"
        )
    lines += [
        "",
        "| language model | parameters, M | logits differ by, of the largest | codes | differ "
        "| a prompt and its frames, ms: torch | ours | ratio | frames |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, one in spoken.items():
        lines.append(
            f"| {_marked(name, one)} | {one['parameters_m']:.0f} | {one['logits']:.1e} "
            f"| {one['codes']['count']} | {one['codes']['differ']} | {_times(one['say'])} "
            f"| {one['frames']} |"
        )
    return "\n".join(lines) + "\n"


def _marked(name: str, one: dict[str, Any]) -> str:
    quiet = one["others_cores"] <= OTHERS_CORES
    return name if quiet else f"{name}, **disturbed, do not quote**"


def _times(one: dict[str, float]) -> str:
    return f"{one['theirs_ms']:.0f} | {one['ours_ms']:.0f} | {one['ratio']:.2f}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Compares what the command line says; 1 if a bar is missed, 2 if others load the cores."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--set-up", type=Path, metavar="FOLDER", help="makes the venv, and no more")
    parser.add_argument("--torch", type=Path, default=Path("runs/torch"), help="that venv")
    parser.add_argument("--out", type=Path, default=Path("experiments/results/parity"))
    parser.add_argument("--work", type=Path, default=Path("runs/parity"), help="for the weights")
    parser.add_argument("--models", help="some of them, with commas; the others stay as they were")
    parser.add_argument("--anyway", action="store_true", help="also beside other load")
    args = parser.parse_args(arguments)
    if args.set_up:
        peers.install(args.set_up, PACKAGES, ALONE)
        return 0
    if disturbed() and not args.anyway:
        return 2
    found = {"models": {}} | (report.kept(args.out) if args.models else {})
    found["machine"] = machine()
    for name in tqdm(args.models.split(",") if args.models else (*CODECS, *LMS)):
        kind, compare = ("codec", codec) if name in CODECS else ("lm", lm)
        script, python = f"tests.{kind}.pretrained.reference", args.torch / "bin" / "python"
        with reference(python.absolute(), script, name, (args.work / name).absolute()) as there:
            cores, facts = others(), dict(there.facts)
            found |= {key: facts.pop(key) for key in ("torch", "transformers")}
            found["models"][name] = facts | compare(name, there) | {"others_cores": cores}
        report.write(args.out, markdown(found), found)
    return 1 if failures(found) else 0


def others() -> float:
    """Cores that others use now."""
    found = Others()
    time.sleep(2)
    return found.cores()


if __name__ == "__main__":
    sys.exit(main())
