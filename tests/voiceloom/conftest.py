"""A release of two tiny random models, written and loaded as a real one."""

import jax
import pytest

import voiceloom
from tests.voiceloom.tiny import write_release


@pytest.fixture(scope="session", autouse=True)
def compilation_cache(tmp_path_factory):
    """Compiled steps are shared with the processes that tests start, and leave nothing behind."""
    folder = str(tmp_path_factory.mktemp("cache"))
    jax.config.update("jax_compilation_cache_dir", folder)
    return folder


@pytest.fixture(scope="session", autouse=True)
def library(tmp_path_factory):
    """Nobody's own voices are listed or touched."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VOICELOOM_VOICES", str(tmp_path_factory.mktemp("voices")))
        yield


@pytest.fixture(scope="session")
def release(tmp_path_factory):
    """Folder of a tiny release."""
    return write_release(tmp_path_factory.mktemp("release"))


@pytest.fixture(scope="session")
def synth(release):
    """A synthesizer of the tiny release."""
    return voiceloom.load(release, warm=False)
