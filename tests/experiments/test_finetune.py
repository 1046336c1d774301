"""Fine-tuning: recordings in, a voice out; the other voices stay, and the model learns."""

import numpy as np
import pytest
import soundfile

import voiceloom
from data.phones import SYMBOLS
from data.records import Reader, RecordError, Writer
from experiments import finetune
from tests.voiceloom.tiny import speechlike, write_release
from voiceloom import weights
from voiceloom.library import Library


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    return write_release(tmp_path_factory.mktemp("release"))


@pytest.fixture
def recordings(tmp_path):
    """Twelve clips without a text."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    for i in range(12):
        soundfile.write(folder / f"{i}.wav", speechlike(1.5 + 0.1 * i), 24_000)
    return folder


@pytest.fixture
def run(tmp_path, release, monkeypatch):
    monkeypatch.setenv("VOICELOOM_VOICES", str(tmp_path / "voices"))
    return lambda *argv: finetune.main(
        [*map(str, argv), "--release", str(release), "--runs", str(tmp_path / "runs"),
         "--judges", str(tmp_path / "none")]
    )  # fmt: skip


def test_recordings_without_texts_become_a_voice(run, recordings, release, capsys):
    run(recordings, "--name", "mum")
    assert "12 clips, 0 left out" in capsys.readouterr().out
    voice = voiceloom.load(release, warm=False).voice(Library()["mum"])
    assert voice.name == "mum" and np.mean(voice.vector**2) == pytest.approx(1, abs=1e-3)
    run(recordings, "--name", "mum")
    assert "left out" not in capsys.readouterr().out, "tokenised a second time"


def test_texts_that_nobody_says_are_left_out_and_refused(run, recordings, tmp_path, capsys):
    for path in recordings.glob("*.wav"):
        path.with_suffix(".txt").write_text("Nobody in this buzz says any of these long words.")
    with pytest.raises(RecordError, match="0 clips whose text"):
        run(recordings, "--name", "dad")
    assert "12 left out" in capsys.readouterr().out


def test_the_model_learns_and_keeps_the_other_voices(release, tmp_path):
    """Codes that repeat: what there is to learn is learned in thirty steps."""
    loaded, rng = weights.load(release), np.random.default_rng(0)
    for split, count in (("train", 12), ("val", 4)):
        with Writer(tmp_path / "codes", split) as writer:
            for i in range(count):
                codes = np.tile(np.arange(40)[:, None] % 7, (1, loaded.codec.config.books))
                symbol = rng.integers(10, 60, 12)
                symbol[-1] = SYMBOLS.index(".")
                writer.write(
                    dict(
                        id=f"{split}{i}", speaker="new", language="en", text="Ah.",
                        frame_rate=12.5, codec_hash=loaded.codec.hash,
                        codes=codes.astype(np.uint16),
                        hz=np.full(40, 120, np.float32), level_db=np.full(40, -20, np.float32),
                        symbol=symbol.astype(np.int32), stress=np.zeros(12, np.int32),
                        word=np.arange(12, dtype=np.int32) // 3,
                        bounds_s=np.linspace(0.1, 3.0, 13).astype(np.float32),
                    )
                )  # fmt: skip
    voice = finetune.voice_of(release, tmp_path / "codes", "new", "us")
    tuned = finetune.learn(release, tmp_path / "codes", [], 30, tmp_path, voice)
    before, after = loaded, weights.load(tuned)
    assert list(after.voices) == ["anna", "bert", "new"]
    for name in ("anna", "bert"):
        np.testing.assert_array_equal(after.voices[name].vector, before.voices[name].vector)
    moved = {
        name: max(
            float(np.abs(np.asarray(a) - np.asarray(b)).max())
            for (_, a), (_, b) in zip(
                weights.flatten(before.lm.params[name]), weights.flatten(after.lm.params[name]),
                strict=True,
            )
        )
        for name in ("voice", "backbone")
    }  # fmt: skip
    assert moved["voice"] == 0.0 and moved["backbone"] > 1e-4
    assert voiceloom.load(tuned, warm=False).say("Hello.", "new").duration_s > 0
    assert len(Reader(tmp_path / "codes", "val")) == 4


def test_the_table_has_a_line_for_every_candidate():
    values = {"errors": [1, 0], "words": [10, 10], "likeness": [0.8, 0.9]}
    table = finetune.markdown({"cloned from one clip": values, "fine-tuned": values})
    assert "| fine-tuned | 2 | 5.0 [0.0, 10.0] | 0.85 [0.80, 0.90] |" in table
