"""Real runs with a work folder at an address, however they end, are bit for bit what a run in a folder is.

Another machine is another folder for copies; what the two have in common is the address.
"""

import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest

from tests.helpers import ROOT, assert_same_run, finish, read_metrics
from tests.shelf import in_processes
from wae_jax.checkpoint import Checkpointer
from wae_jax.mirror import complete_steps, pull
from wae_jax.networks import NETWORKS
from wae_jax.remote import Store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ADDRESS = "shelf://bucket/runs/x"
FLAGS = (
    *("--config=configs/wae_gan.py", "--config.num_train_steps=24", "--status_when_stopped=75"),
    *("--config.model.network=tiny", "--config.model.h_dim=1", "--config.model.z_dim=3", "--config.batch_size=4"),
    *("--config.data.num_songs=12", "--config.data.phrases_per_song=2", "--config.log_every_steps=3"),
    *("--config.eval_every_steps=20", "--config.checkpoint_every_steps=4", "--config.eval.num_phrases=4"),
    *("--config.eval.num_train_phrases=0", "--config.eval.num_samples=0", "--config.eval.num_draws=0"),
    *("--config.discriminator.widths=(8,)", "--config.ema_decay=0.9", "--config.eval.num_page_draws=0"),
)
# Main with the network of the tests, and locks that are stale soon.
PROGRAM = f"""
from wae_jax.networks import NETWORKS, Conv, Network
NETWORKS["tiny"] = {NETWORKS["tiny"]!r}
from wae_jax import main, mirror, remote_lock
remote_lock.BEAT_SECONDS, remote_lock.STALE_SECONDS, mirror._SECONDS_BETWEEN_LOGS = 0.5, 4.0, 0.0
main.run()
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder in which `tiny_main` is this main, and shelf:// is known."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "tiny_main.py").write_text(PROGRAM)
    in_processes(folder)
    return folder


@pytest.fixture(scope="module")
def start(site):
    """Starts a run of so many processes; `environment` are further variables."""

    def start(workdir, *flags, num=1, **environment):
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)]),
            "JAX_PLATFORMS": "cpu",
            "JAX_NUM_CPU_DEVICES": str(2 // num),
            **environment,
        }
        command = [sys.executable, "-m", "tiny_main"]
        if num > 1:
            command = [sys.executable, "launch/local_processes.py", f"--num={num}", "--trainer=tiny_main", "--"]
        words = [*command, f"--workdir={workdir}", *FLAGS, *flags]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(words, cwd=ROOT, env=environment, **pipes)

    return start


@pytest.fixture(scope="module")
def whole(start, tmp_path_factory):
    """An uninterrupted run of one process in a folder."""
    folder = tmp_path_factory.mktemp("whole") / "x"
    status, output = finish(start(folder))
    assert status == 0, output
    assert [row["step"] for row in read_metrics(folder)] == [3, 6, 9, 12, 15, 18, 20, 21, 24]
    return folder


@pytest.fixture
def elsewhere(shelf, tmp_path):
    """The variables of another machine."""
    return {"WAE_JAX_CACHE": str(tmp_path / "elsewhere")}


def wait_for_step(process, shelf, step):
    path, deadline = shelf / "bucket/runs/x/metrics.jsonl", time.monotonic() + 200
    while not (path.exists() and re.search(rf'^{{"step": {step},', path.read_text(), re.MULTILINE)):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def assert_ends_as(whole, process, shelf, tmp_path, *, said=""):
    status, output = finish(process)
    assert status == 0, output
    assert said in output
    copy = tmp_path / "result"
    pull(Store(ADDRESS), copy)
    assert_same_run(whole, copy)
    names = Store(ADDRESS).sizes()
    kept = [Checkpointer(folder / "checkpoints", read_only=True) for folder in (whole, copy)]
    assert complete_steps(names) == kept[0].all_steps() == kept[1].all_steps() == [20, 24]
    assert kept[0].best_step() == kept[1].best_step() is not None
    # Nothing is left over of checkpoints that broke off or are gone.
    assert {name.split("/")[1] for name in names if name.startswith("checkpoints/")} == {"20", "24"}
    assert {"config.json", "data.json", "curves.png", "metrics.jsonl"} <= names.keys()
    assert any("events.out" in name for name in names)
    assert ".lock" not in names


def test_a_finished_run(whole, start, shelf, tmp_path):
    process = start(ADDRESS)
    assert_ends_as(whole, process, shelf, tmp_path, said=f"listen.html, to hear it, are in {ADDRESS}; more music comes")


def test_a_run_on_data_at_an_address(start, small_data, shelf, tmp_path):
    for file in small_data.iterdir():
        Store("shelf://bucket/data").put(file, file.name)
    here = start(tmp_path / "here", f"--config.data.path={small_data}")
    assert finish(here)[0] == 0
    process = start(ADDRESS, "--config.data.path=shelf://bucket/data")
    assert_ends_as(tmp_path / "here", process, shelf, tmp_path, said="shelf://bucket/data: ")


@pytest.mark.parametrize("moved", [False, True])
def test_a_killed_run(whole, start, shelf, tmp_path, elsewhere, moved):
    process = start(ADDRESS)
    wait_for_step(process, shelf, 9)
    process.send_signal(signal.SIGKILL)
    assert finish(process)[0] == -signal.SIGKILL
    again = start(ADDRESS, **elsewhere if moved else {})
    assert_ends_as(whole, again, shelf, tmp_path, said="its lock is taken over" if moved else "going on from step")


@pytest.mark.parametrize("moved", [False, True])
def test_a_stopped_run(whole, start, shelf, tmp_path, elsewhere, moved):
    process = start(ADDRESS)
    wait_for_step(process, shelf, 9)
    process.send_signal(signal.SIGTERM)
    status, output = finish(process)
    assert status == 75, output
    saved = int(re.search(r"SIGTERM: saved step (\d+)", output)[1])
    assert complete_steps(Store(ADDRESS).sizes())[-1] == saved
    again = start(ADDRESS, **elsewhere if moved else {})
    assert_ends_as(whole, again, shelf, tmp_path, said=f"going on from step {saved}")


def test_a_run_killed_at_one_upload_after_another(whole, start, shelf, tmp_path, elsewhere):
    """On two machines in turns, in the middle of a checkpoint or of its removal."""
    for place, kills_at in enumerate((4, 15, 19, 26, 33)):
        process = start(ADDRESS, SHELF_KILLS_AT=str(kills_at), **elsewhere if place % 2 else {})
        status, output = finish(process)
        print(f"killed at write {kills_at}: {complete_steps(Store(ADDRESS).sizes())}")
        assert status == -signal.SIGKILL, output
    assert_ends_as(whole, start(ADDRESS), shelf, tmp_path)


@pytest.mark.parametrize("moved", [False, True])
def test_a_run_that_loses_its_bucket(whole, start, shelf, tmp_path, elsewhere, moved):
    status, output = finish(start(ADDRESS, SHELF_FAILS_AT="25"))
    assert status == 1
    told = re.search(
        rf"error: {ADDRESS}/\S+ could not be .*no connection\); all of it is kept in (\S+), and the same", output
    )
    assert told, output
    assert os.path.isfile(f"{told[1]}/metrics.jsonl")
    again = start(ADDRESS, **elsewhere if moved else {})
    assert_ends_as(whole, again, shelf, tmp_path, said="going on from step")


def test_two_runs_at_once(start, shelf, elsewhere):
    long = "--config.num_train_steps=100000"
    process = start(ADDRESS, long)
    wait_for_step(process, shelf, 3)
    for others in ({}, elsewhere):
        status, output = finish(start(ADDRESS, long, **others))
        assert status == 1
        assert f"error: {ADDRESS} is in use by another run (process {process.pid} on " in output
    process.send_signal(signal.SIGTERM)
    status, output = finish(process)
    assert status == 75, output


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_two_processes(start, shelf, tmp_path, elsewhere, how):
    here = start(tmp_path / "here", num=2)
    assert finish(here)[0] == 0
    process = start(ADDRESS, num=2)
    wait_for_step(process, shelf, 9)
    if how == "stopped":
        process.send_signal(signal.SIGTERM)
    else:
        first, *_ = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(first), signal.SIGKILL)
    status, output = finish(process)
    assert status == (75 if how == "stopped" else 128 + signal.SIGKILL), output
    again = start(ADDRESS, num=2, **elsewhere)
    assert_ends_as(tmp_path / "here", again, shelf, tmp_path, said="going on from step")
