"""What every test stands on: four fake devices, the real data where they are at hand."""

import os
import pathlib

import jax
import pytest

# Before the first use of a device: four of them on this CPU, so that sharding is tested everywhere.
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 4)


@pytest.fixture(scope="session")
def shared_data() -> pathlib.Path:
    """The folder of real music described in the README's section on tests; skips where it is absent."""
    default = pathlib.Path(__file__).parents[2] / "shared" / "data"
    path = pathlib.Path(os.environ.get("WAE_JAX_SHARED_DATA", default))
    if not (path / "lpd5" / "free_train.npz").is_file():
        pytest.skip(f"no real music at {path} (set WAE_JAX_SHARED_DATA to a folder that holds lpd5/free_train.npz)")
    return path
