"""Checkpoints of a process that is killed, and of two processes."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import warnings

import numpy as np
import pytest

import wae_jax
from tests.training.checkpoints import (
    assert_same,
)
from wae_jax.training.checkpoint import Checkpointer


def start(script: str, *arguments: object) -> subprocess.Popen:
    """Runs a script in another process, with one device."""
    root = pathlib.Path(wae_jax.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": str(root), "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "1"}
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", script, *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


KILLED = """
import os, pathlib, signal, sys, threading
import numpy as np
from wae_jax.training.checkpoint import Checkpointer

directory = pathlib.Path(sys.argv[1])

def kill_in_the_middle():
    while not list(directory.glob("2.*/**/ocdbt.process_0")):
        pass
    os.kill(os.getpid(), signal.SIGKILL)

checkpointer = Checkpointer(directory)
checkpointer.save(1, {"w": np.arange(10.0)})
checkpointer.wait()
threading.Thread(target=kill_in_the_middle).start()
checkpointer.save(2, {"w": np.random.default_rng(0).normal(size=8_000_000)})
checkpointer.wait()
"""


def test_kill_in_the_middle_of_a_save_leaves_the_earlier_step(tmp_path):
    process = start(KILLED, tmp_path)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, errors
    assert [path.name.split("-")[0] for path in sorted(tmp_path.iterdir())] == ["1", "2.orbax"]
    state = {"w": np.arange(10.0)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        restored, meta = Checkpointer(tmp_path, read_only=True).restore_latest(state)
    assert meta["step"] == 1
    assert_same(restored, state)
    with Checkpointer(tmp_path) as checkpointer:
        checkpointer.save(2, state)
    assert sorted(os.listdir(tmp_path)) == ["1", "2"]


TOGETHER = """
import json, pathlib, sys, warnings
import jax
import numpy as np
from jax.experimental import multihost_utils
index, port, directory = int(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3])
jax.distributed.initialize(f"localhost:{port}", num_processes=2, process_id=index)
from wae_jax.errors import DeviceError
from wae_jax.training.checkpoint import Checkpointer

def state(step):
    return {"w": jax.numpy.full(3, step, jax.numpy.float32), "empty": {}}

def save(step, value):
    checkpointer.save(step, state(value))
    checkpointer.wait()
    multihost_utils.sync_global_devices("saved")

found = []
with Checkpointer(directory) as checkpointer:
    found.append(checkpointer.restore_latest(state(0)))
    save(1, 1)
    save(2, 2)
    found.append(checkpointer.all_steps())
    multihost_utils.sync_global_devices("listed")
    if index == 0:
        (directory / "2" / "meta" / "metadata").write_text("{")
    multihost_utils.sync_global_devices("damaged")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        restored, meta = checkpointer.restore_latest(state(0))
    found += [restored["w"].tolist(), meta["step"]]
    save(2, 5)
    found.append(checkpointer.restore(2, state(0))[0]["w"].tolist())
try:
    Checkpointer(directory if index == 0 else directory / "elsewhere").restore_latest(state(0))
except DeviceError as error:
    found.append(str(error))
print(json.dumps(found))
"""


@pytest.mark.slow
def test_two_processes_save_skip_and_restore_together(tmp_path):
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    processes = [start(TOGETHER, index, port, tmp_path) for index in range(2)]
    try:
        results = [process.communicate(timeout=60) for process in processes]
    finally:
        for process in processes:
            process.kill()
    for output, errors in results:
        assert output.endswith("]\n"), errors
        found = json.loads(output.splitlines()[-1])
        assert found[:-1] == [None, [1, 2], [1.0, 1.0, 1.0], 1, [5.0, 5.0, 5.0]]
        assert "newest good checkpoint: 2 in process 0; null in process 1" in found[-1]
    assert sorted(os.listdir(tmp_path)) == ["1", "2", "2.damaged"]
