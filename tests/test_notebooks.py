"""The notebooks run from top to bottom, on tiny random weights."""

from pathlib import Path

import nbclient
import nbformat
import pytest

from tests.voiceloom.tiny import write_release

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PRINTED = {
    "01_hear_it": ("first chunk after", "frame by frame: True", "while typing:   True"),
    "02_codec": (
        "same as in the frame before",
        "on disk",
        "frame by frame: True",
        "frames missing",
    ),
    "03_lm": ("word by word as at once: True", "between voices", "is like anna", "likeness"),
    "04_stream": ("first chunk after", "company: True", "not said:", "machine seconds"),
}
"""What the reader of each must get to see, beside pictures and players."""


def kinds(notebook):
    """MIME types of all that a notebook shows."""
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    return [kind for out in outputs for kind in out.get("data", {})]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run(path, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(path, 4)
    parameters = next(c for c in notebook.cells if "parameters" in c.metadata.get("tags", []))
    release = write_release(tmp_path / "release")
    parameters.source += f"\nWEIGHTS, VOICE = {str(release)!r}, 'anna'"
    where = {"metadata": {"path": str(path.parent)}}
    nbclient.NotebookClient(notebook, timeout=900, resources=where).execute()

    shown = kinds(notebook)
    assert shown.count("image/png") >= 4
    assert shown.count("text/html") >= 4  # players
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    printed = "".join(out.text for out in outputs if out.output_type == "stream")
    assert all(text in printed for text in PRINTED[path.stem]), printed
    assert "False" not in printed  # streamed equals whole


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_complete(path):
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    assert all(len(cell.source.splitlines()) <= 22 for cell in notebook.cells), "keep cells short"
    assert "error" not in {out.output_type for c in notebook.cells for out in c.get("outputs", [])}
