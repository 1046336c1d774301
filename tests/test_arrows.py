"""The packages import each other only along the arrows of the house."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PACKAGES = {"codec", "lm", "data", "voiceloom", "experiments"}
# `codec` and `lm` may use `data` in their task files, and its reader of published tensors; they
# never meet each other.
ALLOWED = {
    "data": set(),
    "codec": set(),
    "lm": set(),
    "voiceloom": {"codec", "lm", "data"},
    "experiments": PACKAGES,
}
FILES = sorted(p for name in PACKAGES for p in (ROOT / name).rglob("*.py"))


def imported(path: pathlib.Path) -> set[str]:
    """Top-level names that a file imports, at any depth of its code."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_follow_the_arrows(path):
    package = path.relative_to(ROOT).parts[0]
    allowed = ALLOWED[package] | {package}
    if package in ("codec", "lm") and (
        path.stem.endswith("task") or path.parent.stem == "pretrained"
    ):
        allowed = allowed | {"data"}
    assert imported(path) & PACKAGES <= allowed


def test_data_knows_no_model_library():
    for path in (ROOT / "data").rglob("*.py"):
        assert not imported(path) & {"jax", "flax", "optax", "orbax"}, path


def test_no_drawers():
    assert not [p for p in FILES if p.stem in ("utils", "helpers", "misc", "common")]
