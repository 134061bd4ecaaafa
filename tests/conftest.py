"""What every test stands on: four fake devices, programs compiled once, the real data where they are at hand."""

import os
import pathlib
import shutil
import signal
import tempfile
import threading

import jax
import pytest

from tests import checking, compiling, sparing

checking.check_annotations()
compiling.compile_quickly()

from wae_jax.models import networks  # noqa: E402

# Background jobs of a shell without job control ignore SIGINT, and so would the processes that tests interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN and threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Two layers each way where the real networks have four or five: a third of the time to compile. Before `schema` is
# imported, which takes the names of the networks from here.
networks.NETWORKS["tiny"] = networks.Network(
    encoder=(networks.Conv(1, (6, 6)), networks.Conv(2, (8, 7))),
    start=(4, 2, 2),
    decoder=(networks.Conv(1, (8, 7)), networks.Conv(networks.TRACKS, (6, 6), use_bias=True)),
    dropout=True,
)

# Before the first use of a device: four of them on this CPU, so that sharding is tested everywhere.
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 4)

sparing.spare_work()

_IS_FIRST = "PYTEST_XDIST_WORKER" not in os.environ
_CACHE = tempfile.mkdtemp(prefix="wae_jax_tests_") if _IS_FIRST else os.environ["JAX_COMPILATION_CACHE_DIR"]
compiling.share(_CACHE)


def pytest_unconfigure() -> None:
    """Removes the cache, which the processes of pytest-xdist have from the one that starts them."""
    if _IS_FIRST:
        shutil.rmtree(_CACHE, ignore_errors=True)


# Up to half a minute each: begun last, one of them would keep a single process busy while the other has nothing to do.
_FIRST = ("test_resume", "test_loop", "test_generate", "test_step", "test_evaluate", "test_devices")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the files that take longest first; the order within each stays."""
    places = {name: place for place, name in enumerate(_FIRST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


@pytest.fixture(scope="session")
def shared_data() -> pathlib.Path:
    """The folder of real music that CONTRIBUTING.md describes; skips where it is absent."""
    default = pathlib.Path(__file__).parents[2] / "shared" / "data"
    path = pathlib.Path(os.environ.get("WAE_JAX_SHARED_DATA", default))
    if not (path / "lpd5" / "free_train.npz").is_file():
        pytest.skip(f"no real music at {path} (set WAE_JAX_SHARED_DATA to a folder that holds lpd5/free_train.npz)")
    return path


@pytest.fixture(scope="session")
def corpus_model():
    """A trained model whose data are the built-in corpus, opened once."""
    from tests.helpers import CORPUS_MODEL
    from wae_jax.generation.load import load

    return load(CORPUS_MODEL)


@pytest.fixture(scope="module")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A data set of 40 phrases, 12 or so of them for validation."""
    # Not above: most files need none of it.
    from tests.helpers import build_small_dataset

    return build_small_dataset(tmp_path_factory.mktemp("data"), [0] * 40, "--valid-fraction=0.3")
