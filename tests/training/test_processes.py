"""Several real processes on this host: how they find each other, agree, and end together.

What they compute together is tested in `test_processes_train.py`.
"""

import http.server
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from tests.helpers import ROOT, finish, start_run

JOIN = """
import os, sys
import jax
if "GCE_METADATA_IP" in os.environ:
    os.environ.pop("TPU_SKIP_MDS_QUERY")  # jax sets it where it finds no TPU
from wae_jax.training import processes
processes.start(*eval(sys.argv[1]), join_seconds=30)
processes.check_agreement({"a": 1})
print(jax.process_index(), processes.describe(6))
"""
STEP = (
    JOIN
    + """
import jax.numpy as jnp
mean = jax.pmap(lambda x: jax.lax.pmean(x, "batch"), "batch", out_axes=None)
print("mean", mean(jnp.full((1,), 1.0 + 4 * jax.process_index())))
"""
)


def free_port():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def start(program, *arguments, **environment):
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": "1", "JAX_PLATFORMS": "cpu", **environment}
    command = [sys.executable, "-c", program, *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=ROOT, env=environment, **pipes)


def run_together(program, arguments, environments=None):
    """Status and output of each of the processes, started at once."""
    processes = [
        start(program, *given, **environment)
        for given, environment in zip(arguments, environments or [{}] * len(arguments), strict=True)
    ]
    try:
        return [finish(process) for process in processes]
    finally:
        for process in processes:
            process.kill()


def given_by_slurm(i, port):
    names = {"SLURM_JOB_ID": "77", "SLURM_STEP_NODELIST": "localhost,other[01-03]", "SLURM_NTASKS": "2"}
    return names | {"SLURM_PROCID": str(i), "SLURM_LOCALID": str(i), "JAX_COORDINATOR_PORT": str(port)}


def given_by_open_mpi(i, port):
    names = {"OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://127.0.0.1:34911", "OMPI_COMM_WORLD_SIZE": "2"}
    ranks = {"OMPI_COMM_WORLD_RANK": str(i), "OMPI_COMM_WORLD_LOCAL_RANK": str(i)}
    return names | ranks | {"JAX_COORDINATOR_PORT": str(port)}


def given_by_a_jobset_of_tpus(i, port):
    names = {"TPU_WORKER_HOSTNAMES": "localhost,other", "TPU_WORKER_ID": str(i), "JAX_FORCE_TPU_INIT": "1"}
    slices = {"MEGASCALE_COORDINATOR_ADDRESS": "localhost", "MEGASCALE_NUM_SLICES": "1", "MEGASCALE_SLICE_ID": "0"}
    return names | slices | {"JAX_COORDINATOR_PORT": str(port)}


def test_two_processes_join_agree_and_compute_together():
    address = f"localhost:{free_port()}"
    for i, (status, output) in enumerate(run_together(STEP, [((address, 2, i),) for i in range(2)])):
        assert status == 0, output
        assert f"{i} processes 2, devices 1 local / 2 global, cpu, batch per device 3, jax " in output
        assert "mean 3.0" in output


@pytest.mark.slow
@pytest.mark.parametrize("given", [given_by_slurm, given_by_open_mpi, given_by_a_jobset_of_tpus])
def test_the_scheduler_is_detected(given):
    port = free_port()
    for i, (status, output) in enumerate(run_together(JOIN, [("()",)] * 2, [given(i, port) for i in range(2)])):
        assert status == 0, output
        assert f"{i} processes 2, devices 1 local / 2 global, cpu, batch per device 3, jax " in output


class Metadata(http.server.BaseHTTPRequestHandler):
    """Answers like the metadata server of a Cloud TPU, to worker `i` at the path /i/..."""

    def do_GET(self):
        worker, _, key = self.path.strip("/").partition("/computeMetadata/v1/instance/attributes/")
        answers = {
            "agent-worker-number": worker,
            "worker-network-endpoints": "a:b:127.0.0.1,c:d:127.0.0.2",
            "tpu-env": "ACCELERATOR_TYPE: 'v4-16'",
        }
        self.send_response(200 if key in answers else 404)
        self.end_headers()
        self.wfile.write(answers.get(key, "").encode())

    def log_message(self, *_):
        pass


@pytest.mark.slow
def test_the_workers_of_a_tpu_slice_are_found():
    pytest.importorskip("requests", reason="jax asks a TPU's metadata server by requests, which comes with jax[tpu]")
    server = http.server.ThreadingHTTPServer(("localhost", 0), Metadata)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = free_port()
    environments = [
        {
            "JAX_FORCE_TPU_INIT": "1",
            "JAX_COORDINATOR_PORT": str(port),
            "GCE_METADATA_IP": f"localhost:{server.server_port}/{i}",
        }
        for i in range(2)
    ]
    try:
        results = run_together(JOIN, [("()",)] * 2, environments)
    finally:
        server.shutdown()
        server.server_close()
    for i, (status, output) in enumerate(results):
        assert status == 0, output
        assert f"{i} processes 2, devices 1 local / 2 global" in output


@pytest.mark.slow
@pytest.mark.parametrize("coordinator", ["none", "localhost"])
def test_a_coordinator_flag_overrides_the_scheduler(coordinator):
    """Also the scheduler's choice of GPUs: it may have started a launcher that divides them itself."""
    port = free_port()
    given = (coordinator,) if coordinator == "none" else (f"{coordinator}:{port}", 1, 0)
    program = f"{JOIN}\nprint('GPUs', jax.config.read('jax_cuda_visible_devices'))"
    [(status, output)] = run_together(program, [(given,)], [given_by_slurm(1, port)])
    assert status == 0, output
    assert "0 processes 1, devices 1 local / 1 global" in output
    assert "GPUs all" in output


LATE = """
import sys
from wae_jax.training import processes
processes.start(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), join_seconds=4)
"""


@pytest.mark.slow
def test_a_missing_process_ends_the_others_in_time():
    # Of the first three the third is missing; of the others, the first.
    one, other = (f"localhost:{free_port()}" for _ in range(2))
    started = time.monotonic()
    results = run_together(LATE, [(one, 3, 0), (one, 3, 1), (other, 2, 1)])
    assert time.monotonic() - started < 60
    for (status, output), who in zip(results, (f"0 of 3|{one}", f"1 of 3|{one}", f"1 of 2|{other}"), strict=True):
        assert status == 1
        process, _, address = who.partition("|")
        assert f"error: process {process} waited 4 s for the others at {address};" in output


AGREE = """
import sys
from wae_jax.errors import DeviceError
from wae_jax.training import processes
i = int(sys.argv[2])
processes.start(sys.argv[1], 3, i, join_seconds=30)
with processes.leaving_at_once():
    processes.check_agreement({"a": 1, "text": "ä" * 1000})
    with processes.failing_together():
        pass
    try:
        processes.check_agreement({"a": 1, "b.c": 2 if i != 1 else 2.5} | ({"d": None} if i else {}))
    except DeviceError as error:
        print(error)
    try:
        with processes.failing_together():
            if i == 2:
                raise OSError("no room")
    except OSError as error:
        print("mine:", error)
    except DeviceError as error:
        print(error)
    processes.check_agreement({"a": i})
"""


@pytest.mark.slow
def test_disagreements_are_named_in_all_processes():
    port = free_port()
    for i, (status, output) in enumerate(run_together(AGREE, [(f"localhost:{port}", i) for i in range(3)])):
        assert (
            "the processes of the run do not agree:\n"
            "  b.c: 2 in process 0, 2; 2.5 in process 1\n"
            "  d: absent in process 0; null in process 1, 2\n"
        ) in output
        failed = "mine: no room" if i == 2 else "another process of the run has failed; process 2: no room"
        assert failed + "\n" in output
        # If the first one has ended before the others print it, they report that instead.
        assert status in ((1,) if i == 0 else (1, -6)), output
        if status == 1:
            assert "error: the processes of the run do not agree:\n  a: 0 in process 0; 1 in process 1" in output


UNEQUAL = """
import sys
from wae_jax.errors import DeviceError
from wae_jax.training import checks, processes
processes.start(sys.argv[1], 2, int(sys.argv[2]), join_seconds=30)
try:
    checks.check_devices()
except DeviceError as error:
    print(error)
"""


@pytest.mark.slow
def test_processes_need_equally_many_devices():
    port = free_port()
    environments = [{"JAX_NUM_CPU_DEVICES": count} for count in ("1", "3")]
    for _, output in run_together(UNEQUAL, [(f"localhost:{port}", i) for i in range(2)], environments):
        assert "the processes of a run need equally many devices; process 0 has 1, process 1 has 3\n" in output


def train_together(folders, *flags_of_each):
    together = (f"--coordinator=localhost:{free_port()}", "--num_processes=2")
    processes = [
        start_run(folder, *together, f"--process_id={i}", *flags, num_devices=1)
        for i, (folder, flags) in enumerate(zip(folders, flags_of_each, strict=True))
    ]
    return [finish(process) for process in processes]


@pytest.mark.slow
def test_processes_with_different_configurations_do_not_start(tmp_path):
    results = train_together([tmp_path / "run"] * 2, (), ("--config.objective.penalty_weight=2.5", "--config.seed=3"))
    assert any("  objective.penalty_weight: " in output for _, output in results)
    for status, output in results:
        assert status in (1, -6)
        if "penalty_weight" in output:
            assert "; 2.5 in process 1\n" in output
            assert "  seed: 0 in process 0; 3 in process 1" in output
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]


@pytest.mark.slow
def test_an_error_of_the_first_process_ends_all(tmp_path):
    """Only the first process checks the workdir; the others hear of its error."""
    (tmp_path / "run" / "checkpoints" / "1").mkdir(parents=True)
    results = train_together([tmp_path / "run"] * 2, (), ())
    assert "checkpoints but no config.json" in results[0][1]
    assert [status in (1, -6) for status, _ in results] == [True, True]


@pytest.mark.slow
def test_a_workdir_that_is_not_shared_is_refused(tmp_path):
    results = train_together([tmp_path / "one", tmp_path / "other"], (), ())
    assert any("the workdir is held by: " in output and "null in process 1" in output for _, output in results)
    assert [status in (1, -6) for status, _ in results] == [True, True]
    assert not (tmp_path / "other").exists()
