"""The cores of a host as devices."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from tests.helpers import ROOT
from wae_jax.data.pipeline import BATCH_AXIS
from wae_jax.training.calls import parallel_step
from wae_jax.training.host_devices import num_devices


@pytest.mark.parametrize(
    ("batch_size", "num_cores", "expected"),
    [(32, 1, 1), (32, 2, 2), (32, 3, 2), (32, 64, 4), (24, 6, 3), (30, 3, 3), (31, 2, 1), (2, 2, 1), (4096, 96, 64)],
)
def test_shares_are_equal_and_of_eight_phrases_or_more(batch_size, num_cores, expected):
    assert num_devices(batch_size, num_cores) == expected


def devices_seen(**environment):
    code = (
        "import jax, joblib; joblib.cpu_count = lambda: 2; from wae_jax.training.host_devices import use_all_cores; "
        "use_all_cores(32); print(jax.device_count())"
    )
    names = ("JAX_NUM_CPU_DEVICES", "XLA_FLAGS")
    inherited = {name: value for name, value in os.environ.items() if name not in names}
    environment = {**inherited, "JAX_PLATFORMS": "cpu", **environment}
    finished = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    return int(finished.stdout)


def test_each_core_is_a_device_unless_a_number_is_given():
    assert devices_seen() == 2
    assert devices_seen(JAX_NUM_CPU_DEVICES="1") == 1
    assert devices_seen(XLA_FLAGS="--xla_force_host_platform_device_count=3") == 3


def test_a_call_ends_before_the_next_begins():
    """Else collectives of several calls can take all threads of the CPU devices, and wait for each other for ever."""

    def step(state, batch):
        product = lax.fori_loop(0, 40, lambda _, x: x @ x / 1000.0, jnp.ones((500, 500)) * state)
        return lax.psum(product[0, 0] + batch.sum(), BATCH_AXIS)

    batch = np.zeros((jax.local_device_count(), 1), np.float32)
    assert all(parallel_step(step)(jnp.ones(()), batch).is_ready() for _ in range(3))
