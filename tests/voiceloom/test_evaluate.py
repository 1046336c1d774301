"""The table: which clip is said in which voice, what is compared with what, what is written."""

import json

import numpy as np
import pytest
import soundfile

from voiceloom import evaluate, judges
from voiceloom.waveform import Waveform

RATE = 24_000


def buzz(f0_hz: float, seconds: float) -> np.ndarray:
    """Returns a voiced sound [S] at 24 kHz."""
    time = np.arange(int(seconds * RATE)) / RATE
    return (sum(np.sin(2 * np.pi * f0_hz * k * time) for k in range(1, 20)) / 40).astype(np.float32)


@pytest.fixture
def corpora(tmp_path):
    """Three corpora of a few seconds: a seen voice, an unseen one, a human, a nameless crowd."""

    def write(corpus, rows):
        folder = tmp_path / "corpora" / corpus
        folder.mkdir(parents=True)
        lines = []
        for i, (clip, speaker, split, f0_hz, text) in enumerate(rows):
            soundfile.write(folder / f"{clip}.flac", buzz(f0_hz, 0.6 + 0.01 * i), RATE)
            accent = "gb" if speaker == "bob" else "us"
            line = {
                "audio": f"{clip}.flac",
                "id": clip,
                "speaker": speaker,
                "language": "en",
                "accent": accent,
            }
            lines.append(json.dumps(line | {"text": text, "split": split, "seconds": 3.2}))
        (folder / "manifest.jsonl").write_text("\n".join(lines))

    write(
        "synthetic",
        [
            ("v0", "ann", "val", 200, "one two three four"),
            ("v1", "ann", "val", 210, "five six seven eight"),
            ("a0", "ann", "train", 205, "never judged"),
            ("a1", "ann", "train", 206, "never judged either"),
            ("t0", "bob", "test", 100, "nine ten"),
            ("t1", "bob", "test", 101, "eleven twelve"),
            ("t2", "bob", "test", 102, "thirteen"),
        ],
    )
    write("human/crowd", [("c0", "x", "test", 150, None), ("c1", "x", "test", 151, None)])
    return tmp_path / "corpora"


class FakeSynth:
    """Says everything at the pitch of its voice; the codec only makes it softer."""

    voices = ("ann",)

    def __init__(self):
        self.said, self.cloned = [], []

    def voice(self, source, accent="us"):
        self.cloned.append(source.stem)
        return f"{accent} clone of {source.stem}"

    def say(self, text, voice, seed=0):
        self.said.append((text, voice))
        return Waveform(buzz(100 if "clone" in voice else 200, 0.5), RATE)

    def codec_roundtrip(self, samples):
        return Waveform(0.5 * samples, RATE)


class FakeTranscriber:
    """Knows a recording by its length, mishears one word if it is soft, and of us but one."""

    name, fingerprint = "fake", "0"

    def __init__(self, clips):
        self.texts = {len(evaluate.recording(clip).samples): clip.text for clip in clips}

    def transcribe(self, samples, sample_rate):
        text = self.texts.get(len(samples), "one")
        return text if np.abs(samples).max() > 0.3 else text.replace("two", "too")


class FakeSpeakers:
    """A voice is its loudness."""

    def embed(self, samples, sample_rate):
        return np.array([np.abs(samples).max() > 0.3, np.abs(samples).max() <= 0.3], float)


@pytest.fixture
def clips(corpora):
    return [
        clip for group in ("val", "test", "crowd") for clip in evaluate.read_clips(corpora, group)
    ]


@pytest.fixture
def panel(clips):
    return evaluate.Panel(FakeTranscriber([c for c in clips if c.text]), FakeSpeakers())


def test_a_voice_is_compared_with_another_clip_of_it_than_the_one_cloned(clips):
    for clip in clips:
        assert clip.audio not in clip.others
    val, test, crowd = (next(c for c in clips if c.group == g) for g in ("val", "test", "crowd"))
    assert [val.clone_from.stem, val.compare_with.stem] == ["a0", "a1"]  # training clips first
    assert [test.clone_from.stem, test.compare_with.stem] == ["t1", "t2"]
    assert crowd.clone_from.stem == crowd.compare_with.stem == "c1"  # there is no third


def test_limit_and_missing_corpus(corpora, tmp_path):
    assert [clip.id for clip in evaluate.read_clips(corpora, "test", limit=2)] == ["t0", "t1"]
    with pytest.raises(FileNotFoundError, match="--corpora"):
        evaluate.read_clips(tmp_path / "nowhere", "val")


def test_our_speech_uses_the_released_voice_or_clones_once(clips, panel):
    synth = FakeSynth()
    rows = evaluate.judge(clips, "voiceloom", evaluate.speech(synth), panel, {})
    assert {row.group for row in rows} == {"val", "test"}  # the crowd has no text to say
    assert synth.said[0] == ("one two three four", "ann")
    assert synth.said[2] == ("nine ten", "gb clone of t1")
    assert synth.cloned == ["t1", "t0"]  # t1 and t2 share a reference
    assert [row.heard for row in rows] == ["one"] * 5
    assert [row.errors for row in rows][:2] == [3, 4]


def test_summary_pairs_with_the_recording(clips, panel, monkeypatch):
    # Their packages are in an extra.
    monkeypatch.setattr(judges, "pesq_wb", lambda *_: 3.0)
    monkeypatch.setattr(judges, "estoi", lambda *_: 0.75)
    synth, known = FakeSynth(), {}
    rows = evaluate.judge(clips, "recording", evaluate.recording, panel, known)
    rows += evaluate.judge(clips, "resynthesis", evaluate.resynthesis(synth), panel, known)
    rows += evaluate.judge(clips, "voiceloom", evaluate.speech(synth), panel, known)
    table = {(s.group, s.system): s for s in evaluate.summarise(rows)}
    assert table["val", "recording"].wer == (0, 0, 0)
    assert table["val", "recording"].wer_over_recording is None
    assert table["val", "resynthesis"].wer.mean == pytest.approx(1 / 8)
    assert table["val", "resynthesis"].wer_over_recording.mean == pytest.approx(1 / 8)
    assert table["val", "voiceloom"].wer.mean == pytest.approx(7 / 8)
    assert table["val", "voiceloom"].f0_off_st.mean == pytest.approx(
        6 * np.log2(210 / 200), abs=0.1
    )  # one sentence at the same pitch, one 10 Hz below
    assert table["val", "recording"].similarity.mean == 1
    assert table["val", "resynthesis"].similarity.mean == 0
    assert table["crowd", "recording"].wer is None and table["crowd", "recording"].words == 0
    assert ("crowd", "voiceloom") not in table
    assert table["val", "voiceloom"].estoi is None
    assert table["crowd", "resynthesis"].estoi == (0.75, 0.75, 0.75)
    assert table["val", "resynthesis"].pesq.mean == 3.0 and table["val", "recording"].pesq is None


def test_files_hold_every_clip_and_the_table(clips, panel, tmp_path):
    rows = evaluate.judge(clips[:2], "recording", evaluate.recording, panel, {})
    table = evaluate.save(tmp_path / "results" / "speech", rows, panel)
    assert "| val | recording | 2 | 8 | 0.0 [0.0, 0.0] |  |  | 1.00 [1.00, 1.00] |" in table
    assert (tmp_path / "results" / "speech.md").read_text() == table
    written = json.loads((tmp_path / "results" / "speech.json").read_text())
    assert [clip["heard"] for clip in written["clips"]] == [clip.text for clip in clips[:2]]
    assert written["summary"][0]["wer"] == {"mean": 0, "low": 0, "high": 0}


def test_unknown_names_are_refused_before_any_work(capsys):
    with pytest.raises(SystemExit):
        evaluate.main(["--systems", "recording,whisper"])
    assert "unknown ['whisper']" in capsys.readouterr().err
