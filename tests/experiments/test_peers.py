"""What the peers print, and what the report makes of it; none of them is installed here."""

import io
import json
import sys

import pytest

from experiments import peers, serving

TEXT = "The boat left early. Did anyone wave, or call?"


def test_every_line_is_told(monkeypatch, capsys):
    monkeypatch.setitem(peers.PEERS, "piper", lambda: lambda text: iter([0.5] * len(text.split())))
    monkeypatch.setattr(sys, "argv", ["peers.py", "piper"])
    monkeypatch.setattr(sys, "stdin", io.StringIO("One two.\n\nThree four five.\n"))
    peers.main()
    told = json.loads(capsys.readouterr().out)
    assert [line["audio_s"] for line in told] == [1.0, 1.5]
    assert all(0 < line["first_s"] <= line["took_s"] for line in told)


def test_pieces_are_four_characters_and_marks_stand_alone():
    pieces = peers.Pieces()
    tokens = pieces.encode(TEXT)
    assert pieces.decode(tokens) == TEXT and pieces.encode(TEXT) == tokens
    assert len(tokens) == pytest.approx(len(TEXT) / peers.PIECE, rel=0.4)
    (stop, question) = (pieces.encode(mark)[0] for mark in ".?")
    assert tokens.count(stop) == 1 and tokens[-1] == question


def test_the_report_says_that_weights_are_random(monkeypatch, tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").touch()
    monkeypatch.setattr(serving.voiceloom, "load", lambda **_: None)
    monkeypatch.setattr(serving, "batched", lambda synth, rows: {"speed": 50.0})
    # One process for both cores is faster than two here.
    told = lambda commands, _: {"speed": 4.0 / len(commands), "first_ms": [60.0, 70.0]}  # noqa: E731
    monkeypatch.setattr(serving, "run_peers", told)
    found = {"machine": "here", "peers": serving.peers(tmp_path)}
    assert len(found["peers"]) == len(serving.BATCHES) + len(peers.PEERS)
    assert serving.PEERS.keys() == peers.PEERS.keys()
    row = "| Pocket TTS, random weights: speed alone | 4.0 | 60 / 70 |"
    assert row in serving.markdown(found) and "| Piper | 4.0 |" in serving.markdown(found)
