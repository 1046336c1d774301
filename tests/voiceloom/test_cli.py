"""The command line, mostly in this process; one real pipe, and a quick --help."""

import subprocess
import sys

import numpy as np
import pytest
import soundfile

from voiceloom import cli, demo, synthesizer
from voiceloom.waveform import Waveform


@pytest.fixture
def run(synth, monkeypatch, tmp_path):
    """Runs a command in an empty folder with the tiny release; returns its exit status."""
    monkeypatch.setattr(synthesizer, "load", lambda *args, **kwargs: synth)
    monkeypatch.chdir(tmp_path)
    return lambda *argv: cli.main(list(argv))


def test_say_writes_what_the_synthesizer_says(run, synth, capsys):
    assert run("say", "Hello there.", "--voice", "bert", "-o", "a.wav", "--seed", "5") == 0
    said = synth.say("Hello there.", "bert", seed=5)
    np.testing.assert_allclose(Waveform.load("a.wav").samples, said.samples, atol=1e-4)
    told = capsys.readouterr()
    assert not told.out
    for word in ("first chunk", "prefill", "real-time factor", "tokens/s", "compiling", "audible"):
        assert word in told.err


def test_lines_become_numbered_files(run, tmp_path):
    (tmp_path / "texts.txt").write_text("One line.\n\nAnother line!\n")
    assert run("say", "-f", "texts.txt", "--lines", "-o", "out.flac") == 0
    assert sorted(p.name for p in tmp_path.glob("*.flac")) == ["out_001.flac", "out_002.flac"]


def test_voices_are_listed(run, capsys):
    assert run("voices") == 0
    assert capsys.readouterr().out == "anna\tus\nbert\tgb\n"


@pytest.mark.parametrize(
    ("argv", "cause"),
    [
        (["say"], "give a text"),
        (["say", "🎉"], "spoken"),
        (["say", "Hello.", "-v", "nobody"], "anna, bert"),
        (["say", "Hello.", "-o", "a.txt"], "a.txt"),
        (["say", "-f", "nowhere.txt"], "nowhere.txt"),
    ],
)
def test_refusals_say_why(run, capsys, argv, cause):
    assert run(*argv) == 2
    told = capsys.readouterr().err
    assert told.startswith("voiceloom: ") and cause in told


def test_play_without_sounddevice_says_what_to_install(run, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert run("say", "Hello.", "--play") == 2
    assert "pip install sounddevice" in capsys.readouterr().err


def test_demo_leaves_sound_and_picture(run, capsys, tmp_path):
    assert run("demo", "--text", "Hello there, world.") == 0
    assert soundfile.info(tmp_path / "demo.wav").duration > 0.3
    assert (tmp_path / "demo.png").stat().st_size > 20_000
    assert demo.TEXT not in capsys.readouterr().out


def test_a_real_pipe_from_stdin_to_stdout(release, synth):
    spoken = subprocess.run(
        [sys.executable, "-m", "voiceloom.cli", "say", "-", "-o", "-", "--format", "raw"]
        + ["--weights", str(release)],
        input=b"Hello\nthere. You\n",
        capture_output=True,
        check=False,
    )
    assert spoken.returncode == 0, spoken.stderr.decode()
    assert spoken.stdout == synth.say("Hello\nthere. You\n", "anna").pcm16()


def test_help_does_not_wait_for_jax():
    code = (
        "import sys, voiceloom.cli as cli\n"
        "try: cli.main(['say', '--help'])\n"
        "except SystemExit: pass\n"
        "assert 'jax' not in sys.modules and 'librosa' not in sys.modules\n"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert told.returncode == 0, told.stderr.decode()
    assert b"--voice" in told.stdout
