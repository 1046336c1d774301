"""The layouts in which speech corpora come, each as a list of clips.

    manifest  manifest.jsonl, one object a line: audio, id, speaker, language, text, split, ...
    ljspeech  metadata.csv (id|text|normalised text) beside wavs/
    libritts  SUBSET/SPEAKER/CHAPTER/*.wav with *.normalized.txt; also LibriTTS-R
    librispeech  SPEAKER-CHAPTER-NUMBER.flac in any folders, without texts
    vctk      wav48_silence_trimmed/pNNN/*_mic1.flac with txt/pNNN/*.txt
    kaldi     wav.scp, text and utt2spk, as those of `speechocean762`: all, or one set a folder
    folder    any audio files, each with or without a .txt of the same name; a sub-folder, a speaker

A lister only looks at names and texts; audio is opened by `data.prepare`. What cannot be a clip is
yielded as a `Skip` with its reason, so that one bad line does not end a run.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


class CorpusError(ValueError):
    """A folder that does not have the layout it is said to have."""


class Skip(NamedTuple):
    name: str  # file, or file and line
    reason: str


@dataclass(frozen=True)
class Clip:
    """A clip as its corpus describes it."""

    path: Path
    id: str  # unique in the corpus
    speaker: str
    language: str = ""
    text: str | None = None
    split: str | None = None  # None: the corpus does not divide itself
    accent: str = ""  # "us", "gb" or unknown
    phones: str | None = None  # one character a symbol, with its durations: see `data.phones`
    durations: tuple[int, ...] | None = None


Listing = Iterator[Clip | Skip]


def manifest(root: Path) -> Listing:
    """Clips of a `manifest.jsonl`. Needs `audio`; the other fields may be missing."""
    path = _require(root, "manifest.jsonl")
    with open(path, encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                entry = json.loads(line)
                audio = root / entry["audio"]
                durations = entry.get("durations")
                yield Clip(
                    path=audio,
                    id=str(entry.get("id", audio.relative_to(root).with_suffix(""))),
                    speaker=str(entry.get("speaker") or "unknown"),
                    language=entry.get("language") or "",
                    text=entry.get("text"),
                    split=entry.get("split"),
                    accent=entry.get("accent") or "",
                    phones=entry.get("phones"),
                    durations=None if durations is None else tuple(durations),
                )
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                yield Skip(f"{path}:{number}", f"malformed line ({error!r})")


def ljspeech(root: Path) -> Listing:
    """Clips of LJSpeech: one reader, American English."""
    path = _require(root, "metadata.csv")
    with open(path, encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            fields = line.rstrip("\n").split("|")
            if len(fields) < 2:
                yield Skip(f"{path}:{number}", "malformed line (id|text|normalised text is needed)")
                continue
            name, text = fields[0], fields[-1] or fields[1]
            audio = root / "wavs" / f"{name}.wav"
            yield Clip(audio, name, root.name, "en", text, accent="us")


def libritts(root: Path) -> Listing:
    """Clips of LibriTTS or LibriTTS-R: subsets by their names train-*, dev-*, test-*, or one."""
    subsets = [folder for folder in _folders(root) if folder.name.startswith(tuple(_SUBSETS))]
    if not subsets and root.name.startswith(tuple(_SUBSETS)):
        subsets = [root]
    if not subsets:
        raise CorpusError(f"{root}: no train-*, dev-* or test-* folder; give LibriTTS' own folder")
    for subset in subsets:
        split = _SUBSETS[subset.name.split("-")[0]]
        for audio in sorted(subset.glob("*/*/*.wav")):
            speaker = audio.parent.parent.name
            text = _text_of(audio.with_suffix(".normalized.txt"))
            yield Clip(audio, audio.stem, speaker, "en", text, split, accent="us")


def librispeech(root: Path) -> Listing:
    """Clips of LibriSpeech or a part of it; split by its folders train-*, dev-*, test-*, if any.

    Its transcripts have capitals only and no punctuation, from which nobody learns where to pause:
    a recogniser writes better ones (`data.prepare --transcribe`), so none are given here.
    """
    found = False
    for audio in sorted(root.rglob("*-*-*.flac")):
        speaker, *rest = audio.stem.split("-")
        if not (speaker.isdigit() and len(rest) == 2):
            continue
        found = True
        subset = [_SUBSETS.get(name.partition("-")[0]) for name in audio.relative_to(root).parts]
        split = next(filter(None, subset), None)
        yield Clip(audio, audio.stem, speaker, "en", split=split, accent="us")
    if not found:
        raise CorpusError(f"{root}: no SPEAKER-CHAPTER-NUMBER.flac in it; give its folder")


def vctk(root: Path) -> Listing:
    """Clips of VCTK 0.92 by its first microphone; mostly British English."""
    for speaker in _folders(_require(root, "wav48_silence_trimmed")):
        for audio in sorted(speaker.glob("*_mic1.flac")):
            name = audio.stem.removesuffix("_mic1")
            text = _text_of(root / "txt" / speaker.name / f"{name}.txt")
            yield Clip(audio, name, speaker.name, "en", text, accent="gb")


def kaldi(root: Path) -> Listing:
    """English clips of a Kaldi data folder, or of its sub-folders train, dev and test.

    Paths in `wav.scp` begin at `root`. Such texts have capitals only and no punctuation: they
    become a sentence with a full stop, since few of such prompts are questions.
    """
    sets = {root.name: root} if (root / "wav.scp").exists() else {}
    sets |= {f.name: f for f in _folders(root) if (f / "wav.scp").exists()}
    if not sets:
        raise CorpusError(f"{root}: no wav.scp in it or in a folder of it; give the data folder")
    for name, data in sets.items():
        text, speaker = _table(data / "text"), _table(data / "utt2spk")
        for clip, place in _table(data / "wav.scp").items():
            if place.endswith("|"):
                yield Skip(f"{data / 'wav.scp'}: {clip}", f"a command, not a file: {place}")
                continue
            words = text.get(clip)
            if words and words.isupper():
                words = words.capitalize() + "."
            who = speaker.get(clip, "unknown")
            yield Clip(root / place, clip, who, "en", words, _SUBSETS.get(name))


def folder(root: Path) -> Listing:
    """Clips of any folder: every audio file under it, the speaker named by the file's folder."""
    if not root.is_dir():
        raise CorpusError(f"{root}: no such folder")
    for audio in sorted(root.rglob("*")):
        if audio.suffix.lower() in _AUDIO:
            name = str(audio.relative_to(root).with_suffix(""))
            yield Clip(audio, name, audio.parent.name, text=_text_of(audio.with_suffix(".txt")))


_SUBSETS = {"train": "train", "dev": "val", "test": "test"}
_AUDIO = set(".wav .flac .ogg .opus .oga .mp3 .m4a .aac .aif .aiff .au .wma .webm".split())


def _require(root: Path, name: str) -> Path:
    path = root / name
    if not path.exists():
        raise CorpusError(f"{root}: no {name} in it; give the corpus' own folder, or its --format")
    return path


def _table(path: Path) -> dict[str, str]:
    """Lines of a name and the rest."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    fields = (line.split(maxsplit=1) for line in lines)
    return {pair[0]: pair[1].strip() for pair in fields if len(pair) == 2}


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.glob("*") if path.is_dir())


def _text_of(path: Path) -> str | None:
    """Text of a file beside its audio; None where there is none that can be read."""
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


FORMATS: dict[str, Callable[[Path], Listing]] = {
    "manifest": manifest,
    "ljspeech": ljspeech,
    "libritts": libritts,
    "librispeech": librispeech,
    "vctk": vctk,
    "kaldi": kaldi,
    "folder": folder,
}
