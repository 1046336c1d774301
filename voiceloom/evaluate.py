"""The table beside every claim: how well is our speech understood, and in whose voice?

`python -m voiceloom.evaluate --out experiments/results/speech`

Each system is a function from a clip of a held-out set to sound, so that all are judged alike:

* recording: the clip itself (of the synthetic corpus: the teacher's reading), the ceiling.
* resynthesis: the clip through the codec, at the books that the LM writes: the LM's ceiling.
* voiceloom: the clip's text spoken by us in the clip's voice; a speaker that is not among the
  released voices is cloned from another clip.

Word errors are Whisper's, similarity is the cosine with a second clip of the speaker, PESQ and
ESTOI compare a resynthesis with its recording. Means stand with 95 % intervals over clips; the
column over the recording is paired; a failure is a clip with three or more words in a row wrong
(a repeat, a skip, babble) that the recording has right. Transcripts are cached, so a second run is
quick.
"""

import argparse
import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from tqdm import tqdm

import voiceloom
from voiceloom import judges
from voiceloom.waveform import Waveform

CORPORA = Path(__file__).resolve().parents[2] / "shared" / "corpora"
JUDGES = Path("runs/judges")


class Group(NamedTuple):
    """A held-out set: its corpus, and which lines of the manifest belong to it."""

    corpus: str
    fields: dict[str, str]
    about: str


GROUPS = {
    "val": Group("synthetic", {"split": "val"}, "unseen sentences, seen voices"),
    "agent": Group("synthetic", {"split": "eval", "source": "agent"}, "what voice agents say"),
    "test": Group("synthetic", {"split": "test"}, "unseen sentences, unseen voices"),
    "human": Group(
        "human/asterisk", {"split": "test", "language": "en"}, "human prompts, a seen reader"
    ),
    "crowd": Group("human/crowd", {"split": "test"}, "unseen humans, no text"),
    "german": Group("human/kerstin", {"split": "test"}, "a seen reader of German"),
    "spanish": Group("human/asterisk", {"split": "test", "language": "es"}, "prompts in Spanish"),
    "french": Group("human/asterisk", {"split": "test", "language": "fr"}, "prompts in French"),
    "italian": Group("human/asterisk", {"split": "test", "language": "it"}, "prompts in Italian"),
    "russian": Group("human/asterisk", {"split": "test", "language": "ru"}, "prompts in Russian"),
    "hard": Group("synthetic", {"split": "eval", "source": "hard"}, "repeats, letters, twisters"),
    "statement": Group("synthetic", {"split": "eval", "source": "statement"}, "short statements"),
    "question": Group("synthetic", {"split": "eval", "source": "question"}, "the same, asked"),
}
DEFAULT_GROUPS = ("val", "agent", "test", "human", "crowd")
COPIES = ("resynthesis",)
"""Systems whose sound follows the recording sample by sample, which PESQ and ESTOI need."""


@dataclasses.dataclass(frozen=True)
class Clip:
    """A held-out clip.

    Attributes:
        group: name of its set, a key of `GROUPS`.
        id: unique in its corpus.
        audio: the recording.
        text: what it says, or None.
        speaker: who says it.
        accent: "us" or "gb".
        others: further recordings of the speaker, best first: the first is for cloning, the second
            for the judge.
    """

    group: str
    id: str
    audio: Path
    text: str | None
    speaker: str
    accent: str
    others: tuple[Path, ...]

    @property
    def clone_from(self) -> Path:
        """The clip a system may hear to learn the voice."""
        return self.others[0]

    @property
    def compare_with(self) -> Path:
        """The clip that a system has not heard, for the judge of voices."""
        return self.others[min(1, len(self.others) - 1)]


@runtime_checkable
class Synthesizer(Protocol):
    """What evaluation needs of `voiceloom.load()`."""

    voices: Sequence[str]

    def voice(self, source: str | Path, accent: str = "us") -> object:
        """Returns a voice cloned from a recording, with the accent to read text in."""

    def say(self, text: str, voice: object, seed: int = 0) -> Waveform:
        """Returns the spoken text."""

    def codec_roundtrip(self, samples: np.ndarray) -> Waveform:
        """Returns samples (24 kHz) through the codec at the books that the LM writes."""


System = Callable[[Clip], Waveform]


@dataclasses.dataclass(frozen=True)
class Row:
    """One clip by one system, judged; None where a judge had nothing to go by."""

    group: str
    id: str
    system: str
    speaker: str
    text: str | None
    heard: str | None
    errors: int | None
    words: int | None
    similarity: float | None
    f0_hz: float | None  # median
    f0_range_st: float | None  # standard deviation, semitones
    seconds: float
    pesq: float | None
    estoi: float | None


class Panel(NamedTuple):
    """The judges that sit."""

    transcriber: judges.Transcriber
    speakers: judges.SpeakerEncoder


# ---- clips and systems ------------------------------------------------------------------------


def read_clips(corpora: Path, group: str, limit: int | None = None) -> list[Clip]:
    """Returns the clips of a group, in the order of the manifest, at most `limit`."""
    corpus, fields, _ = GROUPS[group]
    manifest = corpora / corpus / "manifest.jsonl"
    if not manifest.exists():
        raise FileNotFoundError(f"No corpus at {manifest}: name its folder with --corpora.")
    lines = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    speakers: dict[str, list[dict]] = {}
    # Speech of 3 s or more tells a voice; training clips first, for they are in no group.
    for line in sorted(lines, key=lambda x: (x["seconds"] < 3, x["split"] != "train")):
        speakers.setdefault(line["speaker"], []).append(line)
    chosen = [x for x in lines if all(x.get(key) == value for key, value in fields.items())]
    clips = []
    for line in chosen[:limit]:
        others = [x for x in speakers[line["speaker"]] if x["id"] != line["id"]][:2]
        clips.append(
            Clip(
                group,
                line["id"],
                manifest.parent / line["audio"],
                line["text"],
                line["speaker"],
                line.get("accent") or "us",
                tuple(manifest.parent / other["audio"] for other in others),
            )
        )
    return clips


def recording(clip: Clip) -> Waveform:
    """Returns the clip as it is."""
    return Waveform.load(clip.audio)


def resynthesis(synth: Synthesizer) -> System:
    """Returns the system that sends the recording through the codec."""
    return lambda clip: synth.codec_roundtrip(recording(clip).samples)


def speech(synth: Synthesizer) -> System:
    """Returns the system that says the clip's text in its voice, released or cloned."""
    cloned: dict[Path, object] = {}

    def say(clip: Clip) -> Waveform:
        if clip.speaker in synth.voices:
            return synth.say(clip.text, voice=clip.speaker, seed=0)
        if clip.clone_from not in cloned:
            cloned[clip.clone_from] = synth.voice(clip.clone_from, accent=clip.accent)
        return synth.say(clip.text, voice=cloned[clip.clone_from], seed=0)

    return say


# ---- judging ----------------------------------------------------------------------------------


def judge(
    clips: Iterable[Clip], name: str, system: System, panel: Panel, known: dict[Path, np.ndarray]
) -> list[Row]:
    """Returns a row for each clip that the system can be asked for.

    Args:
        clips: of any groups.
        name: of the system, for the table.
        system: clip -> sound.
        panel: the judges.
        known: embeddings of reference clips, filled on the way.
    """
    rows = []
    for clip in tqdm(clips, desc=name):
        if clip.text is None and name not in ("recording", *COPIES):
            continue
        sound = system(clip)
        heard = errors = words = None
        if clip.text is not None:
            heard = panel.transcriber.transcribe(*pair(sound))
            errors, words = judges.word_errors(clip.text, heard)
        if clip.others and clip.compare_with not in known:
            reference = Waveform.load(clip.compare_with)
            known[clip.compare_with] = panel.speakers.embed(*pair(reference))
        similarity = None
        if clip.others:
            similarity = float(panel.speakers.embed(*pair(sound)) @ known[clip.compare_with])
        pesq = estoi = None
        if name in COPIES:
            aligned = judges.align(recording(clip).samples, *pair(sound))
            pesq, estoi = judges.pesq_wb(aligned), judges.estoi(aligned)
        track = judges.pitch(*pair(sound))
        semitones = 12 * np.log2(track.hz[track.voiced])
        voiced = len(semitones) >= 10  # a tenth of a second: less is no melody
        rows.append(
            Row(
                group=clip.group,
                id=clip.id,
                system=name,
                speaker=clip.speaker,
                text=clip.text,
                heard=heard,
                errors=errors,
                words=words,
                similarity=similarity,
                f0_hz=float(2 ** (np.median(semitones) / 12)) if voiced else None,
                f0_range_st=float(np.std(semitones)) if voiced else None,
                seconds=len(sound.samples) / sound.sample_rate,
                pesq=pesq,
                estoi=estoi,
            )
        )
    return rows


def pair(sound: Waveform) -> tuple[np.ndarray, int]:
    """Returns samples and rate, as the judges take them."""
    return sound.samples, sound.sample_rate


# ---- summary ----------------------------------------------------------------------------------


class Summary(NamedTuple):
    """A group by a system: counts, and means with their intervals (None: not measured)."""

    group: str
    system: str
    clips: int
    words: int
    wer: judges.Interval | None
    wer_over_recording: judges.Interval | None
    failures: int | None  # clips with three wrong words in a row that the recording has right
    similarity: judges.Interval | None
    f0_off_st: judges.Interval | None  # distance of the medians from the recording's, semitones
    f0_range_st: judges.Interval | None
    pesq: judges.Interval | None
    estoi: judges.Interval | None


def summarise(rows: Sequence[Row]) -> list[Summary]:
    """Returns one line a group and system, in the order of their first rows."""
    recordings = {(row.group, row.id): row for row in rows if row.system == "recording"}
    summaries = []
    for group, system in dict.fromkeys((row.group, row.system) for row in rows):
        own = [row for row in rows if (row.group, row.system) == (group, system)]
        spoken = [row for row in own if row.words]
        pairs = [
            (row, recordings[group, row.id])
            for row in own
            if system != "recording" and (group, row.id) in recordings
        ]
        worded = [(row, other) for row, other in pairs if row.words]
        summaries.append(
            Summary(
                group=group,
                system=system,
                clips=len(own),
                words=sum(row.words for row in spoken),
                wer=_interval([r.errors for r in spoken], [r.words for r in spoken]),
                wer_over_recording=_interval(
                    [r.errors - other.errors for r, other in worded], [r.words for r, _ in worded]
                ),
                failures=sum(judges.failed(r.text, r.heard, other.heard) for r, other in worded)
                if worded
                else None,
                similarity=_interval([r.similarity for r in own]),
                f0_off_st=_interval(
                    [
                        abs(12 * math.log2(r.f0_hz / other.f0_hz))
                        for r, other in pairs
                        if r.f0_hz and other.f0_hz
                    ]
                ),
                f0_range_st=_interval([r.f0_range_st for r in own]),
                pesq=_interval([r.pesq for r in own]),
                estoi=_interval([r.estoi for r in own]),
            )
        )
    return summaries


def _interval(
    values: Sequence[float | int | None], weights: Sequence[float | int] | None = None
) -> judges.Interval | None:
    values = [value for value in values if value is not None]
    return judges.bootstrap(values, weights) if values else None


def markdown(summaries: Sequence[Summary]) -> str:
    """Returns the table for people."""
    lines = [
        "| set | system | clips | words | word errors, % | over the recording | failures | voice "
        "| F0 off, st | F0 range, st | PESQ-wb | ESTOI |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for s in summaries:
        cells = [
            s.group,
            s.system,
            str(s.clips),
            str(s.words or ""),
            _cell(s.wer, 1, 100),
            _cell(s.wer_over_recording, 1, 100),
            "" if s.failures is None else str(s.failures),
            _cell(s.similarity, 2),
            _cell(s.f0_off_st, 1),
            _cell(s.f0_range_st, 1),
            _cell(s.pesq, 2),
            _cell(s.estoi, 3),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    groups = dict.fromkeys(s.group for s in summaries)
    lines += ["", *(f"- {group}: {GROUPS[group].about}" for group in groups)]
    return "\n".join(lines) + "\n"


def _cell(interval: judges.Interval | None, digits: int, scale: int = 1) -> str:
    return "" if interval is None else interval.written(digits, scale)


def save(out: Path, rows: Sequence[Row], panel: Panel) -> str:
    """Writes `out`.json and `out`.md; returns the table."""
    summaries = summarise(rows)
    table = markdown(summaries)
    out.parent.mkdir(parents=True, exist_ok=True)
    record = {
        "judges": {"asr": panel.transcriber.name, "asr_sha256": panel.transcriber.fingerprint},
        "summary": [
            {
                key: value._asdict() if isinstance(value, judges.Interval) else value
                for key, value in summary._asdict().items()
            }
            for summary in summaries
        ],
        "clips": [dataclasses.asdict(row) for row in rows],
    }
    text = json.dumps(record, indent=1, ensure_ascii=False)
    out.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
    out.with_suffix(".md").write_text(table, encoding="utf-8")
    return table


def main(arguments: Sequence[str] | None = None, synth: Synthesizer | None = None) -> None:
    """Command line; `synth` is loaded only if a system needs it and none is handed in."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("experiments/results/speech"))
    parser.add_argument("--systems", default="recording,resynthesis,voiceloom")
    parser.add_argument("--groups", default=",".join(DEFAULT_GROUPS), help=f"of {list(GROUPS)}")
    parser.add_argument("--limit", type=int, help="clips a group, for a quick look")
    parser.add_argument("--corpora", type=Path, default=CORPORA)
    parser.add_argument("--asr", type=Path, default=JUDGES / "whisper-base")
    parser.add_argument("--speakers", type=Path, default=JUDGES / "resemblyzer" / "pretrained.pt")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args(arguments)

    names = args.systems.split(",")
    makers = {
        "recording": lambda _: recording,
        "resynthesis": resynthesis,
        "voiceloom": speech,
    }
    for name, known_names in ((names, makers), (args.groups.split(","), GROUPS)):
        if unknown := set(name) - set(known_names):
            parser.error(f"unknown {sorted(unknown)}; there are {list(known_names)}")
    panel = Panel(
        judges.Transcriber(args.asr, args.threads, cache=JUDGES / "cache"),
        judges.SpeakerEncoder(args.speakers),
    )
    clips = [
        clip
        for group in args.groups.split(",")
        for clip in read_clips(args.corpora, group, args.limit)
    ]
    if synth is None and set(names) != {"recording"}:
        synth = voiceloom.load()
    rows, known = [], {}
    for name in names:
        rows += judge(clips, name, makers[name](synth), panel, known)
    order = {clip.group: i for i, clip in enumerate(clips)}
    rows.sort(key=lambda row: order[row.group])  # stable: systems stay in the order asked for
    print(save(args.out, rows, panel))


if __name__ == "__main__":
    main()
