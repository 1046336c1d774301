import json

import pytest

from data import corpora
from data.corpora import Clip, Skip


def touch(path, text: str = ""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_manifest_reads_all_its_fields_and_fills_in_missing_ones(tmp_path):
    full = {"audio": "a/1.opus", "id": "one", "speaker": "s", "language": "en", "text": "Hi.",
            "split": "val", "accent": "gb", "phones": "hI.", "durations": [1, 2, 3, 4, 5],
            "seconds": 1.0}  # fmt: skip
    touch(tmp_path / "manifest.jsonl", f'{json.dumps(full)}\n\n{{"audio": "a/2.opus"}}\n')
    assert list(corpora.manifest(tmp_path)) == [
        Clip(
            tmp_path / "a/1.opus", "one", "s", "en", "Hi.", "val", "gb", "hI.", (1, 2, 3, 4, 5)
        ),
        Clip(tmp_path / "a/2.opus", "a/2", "unknown"),
    ]  # fmt: skip


def test_manifest_skips_a_malformed_line_by_its_number(tmp_path):
    touch(tmp_path / "manifest.jsonl", '{"audio": "a.wav"}\n{"audio":\n{"id": "x"}\n[]\n')
    items = list(corpora.manifest(tmp_path))
    assert [type(item) for item in items] == [Clip, Skip, Skip, Skip]
    assert [item.name.rsplit(":")[-1] for item in items[1:]] == ["2", "3", "4"]
    assert "audio" in items[2].reason


def test_ljspeech_takes_the_normalised_text(tmp_path):
    root = tmp_path / "LJSpeech-1.1"
    touch(root / "metadata.csv", 'LJ1|In 1, "he"|In one, "he"\nLJ2|Only this|\nbroken\n')
    one, two, three = corpora.ljspeech(root)
    assert one == Clip(
        root / "wavs/LJ1.wav", "LJ1", "LJSpeech-1.1", "en", 'In one, "he"', accent="us"
    )
    assert two.text == "Only this"
    assert three.name.endswith("metadata.csv:3")


def test_libritts_takes_splits_and_speakers_from_its_folders(tmp_path):
    for subset in ("train-clean-100", "train-other-500", "dev-clean", "test-clean"):
        stem = tmp_path / subset / "84" / "121123" / f"84_{subset}_000"
        touch(stem.with_suffix(".wav"))
        touch(stem.with_suffix(".normalized.txt"), "Go on.\n")
        touch(stem.with_suffix(".original.txt"), "Go on!")
    touch(tmp_path / "dev-clean/84/121123/untold.wav")
    clips = list(corpora.libritts(tmp_path))
    assert sorted(clip.split for clip in clips) == ["test", "train", "train", "val", "val"]
    assert {clip.speaker for clip in clips} == {"84"}
    assert {clip.id: clip.text for clip in clips}["untold"] is None
    assert [clip.text for clip in corpora.libritts(tmp_path / "test-clean")] == ["Go on."]


def test_vctk_takes_the_first_microphone(tmp_path):
    for name in ("p225/p225_001_mic1.flac", "p225/p225_001_mic2.flac", "p315/p315_002_mic1.flac"):
        touch(tmp_path / "wav48_silence_trimmed" / name)
    touch(tmp_path / "txt/p225/p225_001.txt", "Please call Stella.\n")
    assert [(clip.id, clip.speaker, clip.text) for clip in corpora.vctk(tmp_path)] == [
        ("p225_001", "p225", "Please call Stella."),
        ("p315_002", "p315", None),
    ]


def test_folder_takes_audio_with_and_without_text(tmp_path):
    for name in ("a/1.wav", "a/2.MP3", "b/deep/3.flac", "b/notes.md"):
        touch(tmp_path / name)
    touch(tmp_path / "a/1.txt", "One.")
    (tmp_path / "a/2.txt").write_bytes(b"\xff\xfe\xff")
    assert [(clip.id, clip.speaker, clip.text) for clip in corpora.folder(tmp_path)] == [
        ("a/1", "a", "One."),
        ("a/2", "a", None),
        ("b/deep/3", "deep", None),
    ]


@pytest.mark.parametrize("layout", corpora.FORMATS)
def test_a_wrong_folder_is_an_error_that_names_it(tmp_path, layout):
    with pytest.raises(corpora.CorpusError, match="absent"):
        list(corpora.FORMATS[layout](tmp_path / "absent"))


def test_librispeech_tells_reader_and_split_by_names(tmp_path):
    one = touch(tmp_path / "dev-clean/84/121123/84-121123-0000.flac")
    two = touch(tmp_path / "some/1034-121119-0000.flac")
    touch(tmp_path / "some/a-b-c.flac")
    assert list(corpora.librispeech(tmp_path)) == [
        Clip(one, one.stem, "84", "en", split="val", accent="us"),
        Clip(two, two.stem, "1034", "en", accent="us"),
    ]
    with pytest.raises(corpora.CorpusError, match=r"no SPEAKER-CHAPTER-NUMBER\.flac"):
        list(corpora.librispeech(tmp_path / "dev-clean/84/empty"))
