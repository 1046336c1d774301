r"""Times for the phones of records that have only text: records in, aligned records out.

    python -m experiments.align --records runs/records/asterisk --language en \
        --out runs/records/asterisk_en_aligned

Each clip's text becomes units (`data.text`, in the clip's language), the units a lattice, and the
best path of the clip's posteriors through it their times. A clip whose score is low does not say
its text, or the aligner does not know the language; it goes, with its reason, to `report.jsonl`
beside the records instead of into them. Where the records carry times already, nothing is written
without `--out` and the table says how far the alignment is from them.

    python -m experiments.align --export runs/aligner

makes the weights of a run (`experiments.train --config=experiments/aligner_base.py`) those in use.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from jaxtyping import Float
from ml_collections import ConfigDict
from tqdm import tqdm

from data.records import Reader, Record, Writer, read_meta, to_float
from data.text import TextError
from experiments.train import make_task
from lm import aligner
from lm.aligner_task import pauses, read_units
from voiceloom.aligner import MIN_SCORE, WEIGHTS, Phones, save_weights
from voiceloom.export import load_ema


def export(run: Path, path: Path) -> None:
    """Writes the averaged weights of a run's newest checkpoint to `path`."""
    config = ConfigDict(json.loads((run / "config.json").read_text()))
    task = make_task(config)
    step, params = load_ema(run, task)
    save_weights(params, task.cfg, path, f"{run.name}, step {step}")


def align_record(record: Record, phones: Phones) -> tuple[Record, aligner.Alignment]:
    """The record with `symbol`, `stress`, `word`, `bounds_s` and `align_score`, and its alignment.

    Raises:
        TextError: The text cannot be read.
        aligner.AlignmentError: It is too long for the clip.
    """
    units = read_units(record)
    log_probs = phones(to_float(record["samples"]))
    found = aligner.align(log_probs, units.symbol, units.word, pauses(units.symbol))
    timed = {"symbol": units.symbol, "stress": units.stress, "word": units.word}
    timed |= {"bounds_s": found.bounds_s, "align_score": found.score}
    return record | timed, found


def boundary_errors(record: Record, found: aligner.Alignment) -> Float[np.ndarray, " N"]:
    """Seconds between the onsets of the phones as aligned and as the record has them."""
    errors = np.abs(found.bounds_s - record["bounds_s"])[:-1]
    return errors[~pauses(record["symbol"])]


def align_split(
    reader: Reader, numbers: list[int], phones: Phones, out: str | None, min_score: float
) -> str:
    """Aligns clips of a split, writes those that fit to `out`, and says in a few lines how it went.

    Args:
        reader: Records with text.
        numbers: Which of them.
        phones: The aligner.
        out: Folder for aligned records and `report.jsonl`; None writes nothing.
        min_score: A clip below it is dropped.
    """
    scores, errors, dropped = [], [], []
    writer = Writer(out, reader.split) if out else None
    for number in tqdm(numbers, desc=f"align {reader.split}", unit="clip", mininterval=2):
        record = reader[number]
        try:
            aligned, found = align_record(record, phones)
        except (TextError, aligner.AlignmentError) as error:
            dropped.append({"id": record["id"], "split": reader.split, "reason": str(error)})
            continue
        scores.append(found.score)
        if "bounds_s" in record:
            errors.append(boundary_errors(record, found))
        if found.score < min_score:
            reason = f"score {found.score:.2f} is below {min_score}: the text is not what is said"
            dropped.append({"id": record["id"], "split": reader.split, "reason": reason})
        elif writer:
            writer.write(aligned)
    if writer:
        writer.facts = {"aligned_from": str(reader.folder), "dropped": len(dropped)}
        writer.close()
        with open(Path(out) / "report.jsonl", "a") as file:
            file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in dropped)
    return _table(reader, len(numbers), scores, np.concatenate(errors or [[]]) * 1e3, len(dropped))


def _table(reader, count, scores, errors_ms, dropped) -> str:
    lines = [f"{reader.folder} {reader.split}: {count} clips, {dropped} dropped"]
    if scores:
        low, median, high = np.percentile(scores, [5, 50, 95])
        lines.append(f"  score: median {median:.2f}, 5 % {low:.2f}, 95 % {high:.2f}")
    if len(errors_ms):
        within = [100 * np.mean(errors_ms <= ms) for ms in (25, 50)]
        lines.append(
            f"  phone onsets against the timings at hand: median {np.median(errors_ms):.1f} ms, "
            f"mean {errors_ms.mean():.1f}, 90 % {np.percentile(errors_ms, 90):.1f}, "
            f"within 25 ms {within[0]:.1f} %, within 50 ms {within[1]:.1f} % (N {len(errors_ms)})"
        )
    return "\n".join(lines)


def main() -> None:
    """Aligns the splits of a folder of records."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", help="folder of records with text")
    parser.add_argument("--export", type=Path, help="run whose weights to put into --weights")
    parser.add_argument("--out", help="folder for the aligned ones; without it, only the table")
    parser.add_argument("--split", nargs="*", help="which splits; default: all")
    parser.add_argument("--language", help="only clips of this language")
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--min-score", type=float, default=MIN_SCORE, help="below it: dropped")
    args = parser.parse_args()
    if args.export:
        export(args.export, args.weights)
    if not args.records:
        return
    phones = Phones(args.weights)
    if args.out:
        (Path(args.out) / "report.jsonl").unlink(missing_ok=True)
    for split in args.split or read_meta(args.records)["splits"]:
        reader = Reader(args.records, split)
        languages = [line["language"] for line in reader.index]
        numbers = [i for i, x in enumerate(languages) if args.language in (None, x)]
        print(align_split(reader, numbers, phones, args.out, args.min_score))


if __name__ == "__main__":
    main()
