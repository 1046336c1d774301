"""Checks the shapes in the packages' signatures while the tests run, and only then."""

from jaxtyping import install_import_hook

install_import_hook(["codec", "lm", "data", "voiceloom"], "beartype.beartype")
