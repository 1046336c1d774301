import json
import sys

import numpy as np
import pytest
import soundfile

from data import corpora, prepare, records
from data.phones import SYMBOLS
from data.recognizer import Recognizer
from data.records import Reader, RecordError

RATE = 24_000


def sound(lead_s: float = 0.5, seconds: float = 0.5, tail_s: float = 0.5) -> np.ndarray:
    tone = 0.3 * np.sin(2 * np.pi * 300 * np.arange(round(seconds * RATE)) / RATE)
    return np.pad(tone, [round(lead_s * RATE), round(tail_s * RATE)]).astype("f4")


def save(path, samples=None, text: str | None = None):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sound() if samples is None else samples, RATE)
    if text is not None:
        path.with_suffix(".txt").write_text(text)


def save_manifest(root, entries):
    lines = [json.dumps(entry) + "\n" for entry in entries]
    (root / "manifest.jsonl").write_text("".join(lines))


@pytest.fixture
def corpus(tmp_path):
    """A manifest corpus: three clips to train, one to val."""
    root = tmp_path / "corpus"
    entries = []
    for i, split in enumerate(["train", "train", "train", "val"]):
        save(root / f"{i}.wav")
        entries.append({"audio": f"{i}.wav", "speaker": f"s{i}", "language": "en", "split": split})
    save_manifest(root, entries)
    return root


def test_records_are_trimmed_and_told(corpus, tmp_path):
    meta = prepare.prepare(corpus, "manifest", tmp_path / "out", accent="us", shards=2)
    assert {name: entry["count"] for name, entry in meta["splits"].items()} == {
        "train": 3,
        "val": 1,
    }
    record = Reader(tmp_path / "out", "val")[0]
    assert len(record["samples"]) / RATE == pytest.approx(0.73, abs=0.011)
    assert np.abs(record["samples"]).max() == pytest.approx(0.3 * 32_767, rel=0.01)
    assert {key: record[key] for key in ("id", "speaker", "language", "accent", "text")} == {
        "id": "3", "speaker": "s3", "language": "en", "accent": "us", "text": None,
    }  # fmt: skip
    assert not (tmp_path / "out.partial").exists()


@pytest.mark.filterwarnings("ignore")  # librosa says that audioread is old
def test_bad_files_are_reported_and_the_rest_prepared(corpus, tmp_path):
    nan = sound()
    nan[9_000] = np.nan
    soundfile.write(corpus / "nan.wav", nan, RATE, subtype="FLOAT")
    save(corpus / "silent.wav", np.zeros(RATE))
    save(corpus / "none.wav", np.zeros(0))
    save(corpus / "long.wav", np.tile(sound(), 41))
    (corpus / "noise.flac").write_bytes(b"fLaC" + bytes(500))
    bad = ["nan.wav", "silent.wav", "none.wav", "long.wav", "noise.flac", "absent.wav"]
    entries = [{"audio": name, "split": "train"} for name in [*bad, "0.wav", "1.wav"]]
    entries += [{"audio": "0.wav", "split": "train"}]
    save_manifest(corpus, entries)
    with open(corpus / "manifest.jsonl", "a") as file:
        file.write("{\n")
    prepare.prepare(corpus, "manifest", tmp_path / "out")
    lines = (tmp_path / "out/report.jsonl").read_text().splitlines()
    reasons = {}
    for skip in map(json.loads, lines):
        reasons[skip["name"].rsplit("/")[-1]] = skip["reason"]
    words = {
        "nan.wav": "NaN", "silent.wav": "silent", "none.wav": "no samples", "long.wav": "too long",
        "noise.flac": "unreadable", "absent.wav": "no such file", "0.wav": "second clip",
        "manifest.jsonl:10": "malformed",
    }  # fmt: skip
    assert reasons.keys() == words.keys()
    for name, word in words.items():
        assert word in reasons[name]
        assert str(corpus) not in reasons[name]  # the name stands beside the reason
    assert [line["id"] for line in Reader(tmp_path / "out", "train").index] == ["0", "1"]


def test_labels_follow_the_cut_and_pauses_the_silence(tmp_path):
    # "ha, ha": the label gives 300 ms of the silence between to the first a, the way models do.
    save(tmp_path / "a.wav", np.concatenate([sound(0.5, 0.3, 0.5), sound(0.0, 0.3, 0.5)]))
    steps = {"lead": 40, "h": 8, "a": 40, ",": 16, " ": 0, "h2": 8, "a2": 40, ".": 8, "tail": 8}
    durations = list(steps.values())
    assert sum(durations) * 300 == 2.1 * RATE
    entry = {"audio": "a.wav", "split": "train", "phones": "ha, ha.", "durations": durations}
    save_manifest(tmp_path, [entry])
    prepare.prepare(tmp_path, "manifest", tmp_path / "out")
    record = Reader(tmp_path / "out", "train")[0]
    assert "".join(SYMBOLS[i] for i in record["symbol"]) == "ha,ha."
    assert record["word"].tolist() == [0, 0, 0, 1, 1, 1]
    want = [0.03, 0.13, 0.33, 0.83, 0.93, 1.13, 1.33]  # heard: 0.03-0.33 and 0.83-1.13 of 1.33 s
    np.testing.assert_allclose(record["bounds_s"], want, atol=0.011)
    assert record["bounds_s"].dtype == np.float32


def test_labels_that_do_not_fit_skip_the_clip(corpus, tmp_path):
    entries = [json.loads(line) for line in (corpus / "manifest.jsonl").read_text().splitlines()]
    entries[0] |= {"phones": "ha.", "durations": [1, 2]}
    save_manifest(corpus, entries)
    meta = prepare.prepare(corpus, "manifest", tmp_path / "out")
    assert meta["splits"]["train"]["count"] == 2
    assert "durations" in (tmp_path / "out/report.jsonl").read_text()


def test_public_layouts_from_audio_to_records(tmp_path):
    lj = tmp_path / "lj"
    save(lj / "wavs/LJ1.wav")
    (lj / "metadata.csv").write_text("LJ1|1|One.\nLJ2|2|Two.\n")
    libri = tmp_path / "libri/train-clean-100/84/1"
    save(libri / "84_1.wav")
    (libri / "84_1.normalized.txt").write_text("One.")
    save(libri / "84_2.wav")
    vctk = tmp_path / "vctk"
    save(vctk / "wav48_silence_trimmed/p225/p225_1_mic1.flac")
    save(vctk / "txt/p225/p225_1.wav", text="One.")
    save(tmp_path / "folder/me/1.wav", text="One.")
    kaldi = tmp_path / "kaldi"
    save(kaldi / "WAVE/1.wav")
    (kaldi / "test").mkdir()
    (kaldi / "test/wav.scp").write_text("1\tWAVE/1.wav\n2 flac -dc 2.flac |\n3 WAVE/3.wav\n")
    (kaldi / "test/text").write_text("1\tONE\n3 THREE\n")
    (kaldi / "test/utt2spk").write_text("1\tme\n3 me\n")
    skipped = {"ljspeech": "no such file", "libritts": "no text", "vctk": "", "folder": ""}
    skipped["kaldi"] = "a command, not a file"
    sources = {"ljspeech": lj, "libritts": tmp_path / "libri", "vctk": vctk}
    for layout, reason in skipped.items():
        out = tmp_path / "out" / layout
        source = sources.get(layout, tmp_path / layout)
        prepare.prepare(source, layout, out, split="train", language="en", accent="us")
        record = Reader(out, "train")[0]
        assert len(Reader(out, "train")) == 1
        assert (record["text"], record["language"]) == ("One.", "en")
        assert record["accent"] == ("gb" if layout == "vctk" else "us")
        report = (out / "report.jsonl").read_text()
        assert reason in report if reason else report == ""


def test_a_corpus_without_splits_is_divided_by_id(tmp_path):
    names = [f"clip{i}" for i in range(2_000)]
    splits = [prepare._split_of(name) for name in names]
    assert 10 < splits.count("val") < 35 and 10 < splits.count("test") < 35
    assert splits == [prepare._split_of(name) for name in names]


def test_held_out_speakers_are_whole(corpus, tmp_path):
    entries = [
        {"audio": f"{i % 4}.wav", "id": f"{i}", "speaker": f"s{i % 20}", "split": "train"}
        for i in range(40)
    ]
    save_manifest(corpus, entries)
    prepare.prepare(corpus, "manifest", tmp_path / "out", hold_out=5)
    found = {split: Reader(tmp_path / "out", split).index for split in ("train", "test")}
    speakers = {split: {line["speaker"] for line in index} for split, index in found.items()}
    assert 1 <= len(speakers["test"]) <= 8 and not speakers["train"] & speakers["test"]
    assert len(found["train"]) + len(found["test"]) == 40


def test_a_finished_folder_is_left_alone(corpus, tmp_path):
    out = tmp_path / "out"
    first = prepare.prepare(corpus, "manifest", out)
    times = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    assert prepare.prepare(corpus, "manifest", out) == first
    assert times == {path: path.stat().st_mtime_ns for path in out.iterdir()}
    with pytest.raises(RecordError, match="holds something else"):
        prepare.prepare(corpus, "manifest", out, split="test")


def test_a_stopped_run_looks_unfinished_and_goes_on(corpus, tmp_path, monkeypatch):
    out, real, decoded = tmp_path / "out", prepare.record, []

    def stop_in_val(clip, sound, split, *rest):
        decoded.append(clip.id)
        if split == "val" and len(decoded) == 4:
            raise KeyboardInterrupt
        return real(clip, sound, split, *rest)

    monkeypatch.setattr(prepare, "record", stop_in_val)
    with pytest.raises(KeyboardInterrupt):
        prepare.prepare(corpus, "manifest", out)
    with pytest.raises(RecordError, match="no split 'train'"):
        Reader(out, "train")
    # What kill -9 would leave besides: a file that was being written.
    (tmp_path / "out.partial/val-00000-of-00001.array_record.partial").write_bytes(b"half")
    meta = prepare.prepare(corpus, "manifest", out)
    assert decoded[4:] == ["3"]  # train was not done again
    assert {name: entry["count"] for name, entry in meta["splits"].items()} == {
        "train": 3,
        "val": 1,
    }
    assert not list(out.glob("*.partial"))


def test_other_arguments_begin_anew(corpus, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(prepare, "record", stop)
        prepare.prepare(corpus, "manifest", tmp_path / "out")
    meta = prepare.prepare(corpus, "manifest", tmp_path / "out", split="test")
    assert list(meta["splits"]) == ["test"]


def test_nothing_usable_is_an_error(tmp_path):
    save(tmp_path / "a/silent.wav", np.zeros(RATE))
    with pytest.raises(corpora.CorpusError, match="no usable clip.*report.jsonl"):
        prepare.prepare(tmp_path / "a", "folder", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_long_recordings_without_text_come_in_pieces(tmp_path, monkeypatch):
    recording = np.tile(sound(lead_s=0.3, seconds=2.0, tail_s=0.0), 30)  # 69 s
    save(tmp_path / "in/me/talk.wav", recording)
    save(tmp_path / "in/me/read.wav", recording[: 20 * RATE], text="What I have read.")
    monkeypatch.setattr(Recognizer, "__init__", lambda self: None)
    monkeypatch.setattr(Recognizer, "__call__", lambda self, heard: f"{len(heard)} samples.")
    meta = prepare.prepare(
        tmp_path / "in", "folder", tmp_path / "out", split="train", transcribe=True
    )
    reader = Reader(tmp_path / "out", "train")
    clips = {record["id"]: record for record in (reader[i] for i in range(len(reader)))}
    assert clips.pop("me/read")["text"] == "What I have read."
    assert list(clips) == [f"me/talk_{i}" for i in range(8)]  # halved thrice
    for clip in clips.values():
        assert clip["text"] == f"{len(clip['samples'])} samples."
        assert len(clip["samples"]) <= prepare.PIECE_S * RATE
    assert meta["splits"]["train"]["speakers"] == 1


def test_command_line(corpus, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    command = ["prepare", str(corpus), "--format", "manifest", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", command)
    prepare.main()
    printed = capsys.readouterr().out
    assert "train: 3 clips" in printed and "0 files skipped" in printed
    assert records.read_meta(out)["splits"]["val"]["count"] == 1
    monkeypatch.setattr(sys, "argv", [*command, "--split", "test"])
    with pytest.raises(SystemExit):
        prepare.main()
    assert "holds something else" in capsys.readouterr().err
