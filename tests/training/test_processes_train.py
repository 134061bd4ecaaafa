"""Several real processes train what one trains, end together, and leave a run that resumes.

The processes are started by `launch/local_processes.py`.
"""

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from tests.helpers import ROOT, assert_same_run, finish, last_state, read_metrics
from tests.training.test_devices import parameters
from wae_jax.models.networks import NETWORKS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

FLAGS = (
    *("--config.model.network=tiny", "--config.model.h_dim=1", "--config.model.z_dim=3", "--config.batch_size=4"),
    *("--config.data.num_songs=12", "--config.data.phrases_per_song=2", "--config.log_every_steps=3"),
    *("--config.eval_every_steps=20", "--config.checkpoint_every_steps=4", "--config.eval.num_phrases=4"),
    *("--config.eval.num_train_phrases=0", "--config.eval.num_shown=0", "--config.eval.num_samples=0"),
    *("--config.discriminator.widths=(8,)", "--config.model.dropout_rate=0.2", "--config.ema_decay=0.9"),
)
# So that a run of more steps begins as one of fewer steps.
CONSTANT = ("--config.autoencoder_optimizer.schedule=constant", "--config.discriminator_optimizer.schedule=constant")
IN_DOUBLE = ("--config.dtype=float64",)


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """One in which `tiny_main` is main with the network of the tests."""
    (tmp_path / "tiny_main.py").write_text(
        "from wae_jax.models.networks import NETWORKS, Conv, Network\n"
        f"NETWORKS['tiny'] = {NETWORKS['tiny']!r}\n"
        "from wae_jax import main\nmain.run()\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(ROOT)]))
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "1")
    monkeypatch.setenv("JAX_ENABLE_X64", "1")


def start(workdir, num, *flags, steps=24, config="wae_gan", launcher=()):
    """A run of so many processes; of one process it is main itself."""
    flags = (
        f"--config=configs/{config}.py",
        f"--workdir={workdir}",
        f"--config.num_train_steps={steps}",
        *FLAGS,
        *flags,
    )
    command = [
        sys.executable,
        "launch/local_processes.py",
        f"--num={num}",
        "--trainer=tiny_main",
        *launcher,
        "--",
        *flags,
    ]
    if num == 1:
        command = [sys.executable, "-m", "tiny_main", *flags]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=ROOT, **pipes)


def run(*arguments, **options):
    status, output = finish(start(*arguments, **options))
    assert status == 0, output
    return output


def processes_of(workdir):
    """The processes of a run that are alive, by their number."""
    found = {}
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (folder / "cmdline").read_text().split("\0")
            number = [word.partition("=")[2] for word in words if word.startswith("--process_id=")]
            if number and f"--workdir={workdir}" in words:
                found[int(number[0])] = int(folder.name)
    return found


def wait_for_step(process, workdir, step):
    path, deadline = workdir / "metrics.jsonl", time.monotonic() + 200
    while not (path.exists() and re.search(rf'^{{"step": {step},', path.read_text(), re.MULTILINE)):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def assert_equal_in_double(one, other):
    """As `test_devices` has it for devices of one process."""
    with jax.enable_x64(True):
        leaves, expected = parameters(last_state(one)[0]), parameters(last_state(other)[0])
    assert {leaf.dtype for leaf in expected.values()} == {np.dtype(np.float64)}
    for name, leaf in expected.items():
        np.testing.assert_allclose(leaves[name], leaf, rtol=0, atol=1e-10, err_msg=name)


@pytest.mark.parametrize("config", ["wae_gan", "wae_mmd"])
def test_two_and_four_processes_train_what_one_trains(tmp_path, environment, config):
    said = {num: run(tmp_path / str(num), num, *IN_DOUBLE, config=config) for num in (1, 2, 4)}
    for num in (2, 4):
        assert f"processes {num}, devices 1 local / {num} global, cpu, batch per device {4 // num}, " in said[num]
        assert said[num].count("processes ") == 1
        assert_equal_in_double(tmp_path / str(num), tmp_path / "1")
        for row, expected in zip(read_metrics(tmp_path / str(num)), read_metrics(tmp_path / "1"), strict=True):
            assert row == pytest.approx(expected, rel=1e-10, abs=1e-10)


@pytest.mark.parametrize("killed", [0, 1])
def test_when_one_is_killed_the_others_end_and_the_run_goes_on_exactly(tmp_path, environment, killed):
    whole = start(tmp_path / "whole", 2)
    process = start(tmp_path / "run", 2, launcher=("--grace=110",))
    wait_for_step(process, tmp_path / "run", 9)
    os.kill(processes_of(tmp_path / "run")[killed], signal.SIGKILL)
    at = time.monotonic()
    status, output = finish(process)
    took = time.monotonic() - at
    print(f"process {killed} killed: all had ended after {took:.1f} s\n{output}")
    assert took < 100
    assert status == 128 + signal.SIGKILL
    # The others may have ended before the launcher looks again.
    said = "the others end by themselves or are killed in 110 s", "all have ended"
    assert any(f"process {killed} was ended by SIGKILL; {others}" in output for others in said)
    assert "local_processes: killing" not in output
    # The first one is also the one that the others would hear of it from; without it jax may be the first to tell.
    message = f"error: process {1 - killed} failed in a computation of all processes"
    assert message in output or "JAX distributed service detected fatal errors" in output
    assert not processes_of(tmp_path / "run")
    assert "resuming from step" in run(tmp_path / "run", 2)
    assert finish(whole)[0] == 0
    with jax.enable_x64(True):
        assert_same_run(tmp_path / "whole", tmp_path / "run")


@pytest.mark.parametrize("how", ["one process", "launcher"])
def test_sigterm_to_one_saves_and_ends_all(tmp_path, environment, how):
    stopped = ("--status_when_stopped=75",)
    process = start(tmp_path / "run", 2, *stopped, steps=4000)
    wait_for_step(process, tmp_path / "run", 9)
    target = processes_of(tmp_path / "run")[1] if how == "one process" else process.pid
    os.kill(target, signal.SIGTERM)
    status, output = finish(process)
    assert status == 75, output
    saved = int(re.search(r"SIGTERM: saved step (\d+)", output)[1])
    with jax.enable_x64(True):
        assert int(last_state(tmp_path / "run")[0].step) == saved
    assert not processes_of(tmp_path / "run")
    assert f"resuming from step {saved}" in run(tmp_path / "run", 2, *stopped, steps=saved + 1)


def test_a_run_moves_from_four_processes_to_one_and_back(tmp_path, environment):
    flags = (*IN_DOUBLE, *CONSTANT)
    for num, steps in ((4, 8), (1, 16), (4, 24)):
        output = run(tmp_path / "moved", num, *flags, steps=steps)
        assert ("resuming from step" in output) == (steps > 8)
    run(tmp_path / "stayed", 1, *flags, steps=24)
    assert_equal_in_double(tmp_path / "moved", tmp_path / "stayed")


def test_a_sweep_in_several_processes_is_interrupted_and_goes_on(tmp_path, environment, monkeypatch):
    monkeypatch.delenv("JAX_ENABLE_X64")
    output = tmp_path / "sweep"
    words = [sys.executable, "launch/sweep.py", "--arms", "latent_dim=2", "latent_dim=4", f"--output={output}"]
    words += ["--back-end=processes", "--launcher=--num=2", "--trainer=tiny_main", "--no-evaluate", "--"]
    words += [*FLAGS, "--config.num_train_steps=24"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    sweep = subprocess.Popen(words, cwd=ROOT, **pipes)
    first, second = (output / f"latent_dim={z}" / "seed_0" for z in (2, 4))
    wait_for_step(sweep, second, 9)
    sweep.send_signal(signal.SIGTERM)
    status, said = finish(sweep)
    assert status == 128 + signal.SIGTERM, said
    assert "interrupted\nSIGTERM: the same command resumes from here" in said
    assert not processes_of(second)
    rows, identity = read_metrics(first), (first / "metrics.jsonl").stat().st_mtime_ns
    assert rows[-1]["step"] == 24
    assert 9 <= read_metrics(second)[-1]["step"] < 24
    status, said = finish(subprocess.Popen(words, cwd=ROOT, **pipes))
    assert status == 0, said
    assert said.endswith("1 skipped, 1 finished\n")
    assert (first / "metrics.jsonl").stat().st_mtime_ns == identity
    assert [row["step"] for row in read_metrics(second)] == [row["step"] for row in rows]
    assert "resuming from step" in second.with_name("seed_0.log").read_text()
