"""What all tests share: shapes are checked, compiled steps are kept, and a tiny release."""

import atexit
import os
import shutil
import tempfile

# Before jax is imported. Every worker and every process that a test starts inherits it: what one
# has compiled none compiles again (most of the suite's time is compiling).
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="voiceloom-tests-")
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"
# A training step of the tiny LM compiles in 8 s with these for 33, and then takes .29 s for .13.
_QUICK = (
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
    "--xla_cpu_use_fusion_emitters=false"
)
if _QUICK not in (flags := os.environ.get("XLA_FLAGS", "")):  # a worker inherits them
    os.environ["XLA_FLAGS"] = f"{flags} {_QUICK}"

from jaxtyping import install_import_hook  # noqa: E402

install_import_hook(["codec", "lm", "data", "voiceloom"], "beartype.beartype")

import pytest  # noqa: E402

import voiceloom  # noqa: E402
from tests.voiceloom.tiny import write_release  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def library(tmp_path_factory):
    """Nobody's own voices are listed or touched."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VOICELOOM_VOICES", str(tmp_path_factory.mktemp("voices")))
        yield


@pytest.fixture(scope="module")
def in_earnest():
    """Processes that are started compile as a user's do: a server admits those it has time for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XLA_FLAGS", os.environ["XLA_FLAGS"].replace(_QUICK, "").strip())
        yield


@pytest.fixture(scope="session")
def release(tmp_path_factory):
    """Folder of a release of two tiny random models, written and loaded as a real one."""
    return write_release(tmp_path_factory.mktemp("release"))


@pytest.fixture(scope="session")
def synth(release):
    """A synthesizer of the tiny release."""
    return voiceloom.load(release, warm=False)
