"""Twisters for the teacher: of every kind, and none of what is tested."""

import json

from experiments import twisters


def test_nothing_that_is_tested_is_made(tmp_path, monkeypatch):
    tested = "Three three three, two two two, seven seven seven."
    lines = [{"source": "hard", "text": tested}, {"source": "agent", "text": "Peter Piper picked."}]
    (tmp_path / "manifest.jsonl").write_text("\n".join(map(json.dumps, lines)))
    monkeypatch.setattr(twisters, "CORPUS", tmp_path)
    made = twisters.sentences(600, seed=1)
    assert made == twisters.sentences(600, seed=1) != twisters.sentences(600, seed=2)
    assert {source for source, _ in made} == {f"twister_{k}" for k in
                                              ("folk", "chain", "repeats", "letters")}  # fmt: skip
    forbidden = twisters.threes(tested)
    assert not any(twisters.threes(text) & forbidden for _, text in made)
    assert any(text.startswith("Peter Piper") for _, text in made)
    assert all(text[0].isupper() and text[-1] in ".!?" for _, text in made)
