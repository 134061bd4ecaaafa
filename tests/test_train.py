"""The loop: what a run leaves behind, and that stopping and going on changes nothing."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from tests.helpers import ROOT, tiny_config
from wae_jax.checkpoint import Checkpointer
from wae_jax.schema import ConfigError
from wae_jax.train import MetricWindow, NonFiniteLossError, num_train_steps, train_and_evaluate
from wae_jax.train_state import create_train_state
from wae_jax.workdir import WorkdirError

DENSITIES = (0.5,) * 5


def read_metrics(workdir):
    return [json.loads(line) for line in (pathlib.Path(workdir) / "metrics.jsonl").read_text().splitlines()]


def last_state(workdir, config):
    target = create_train_state(config, track_densities=DENSITIES, num_train_steps=1)
    with Checkpointer(pathlib.Path(workdir) / "checkpoints", read_only=True) as checkpoints:
        return checkpoints.restore_latest(target)


def assert_same_run(one, other, config):
    assert read_metrics(one) == read_metrics(other)
    (a, meta_a), (b, meta_b) = last_state(one, config), last_state(other, config)
    assert meta_a["step"] == meta_b["step"]
    for leaf_a, leaf_b in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(leaf_a, leaf_b)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One uninterrupted run of six steps."""
    workdir = tmp_path_factory.mktemp("finished")
    config = tiny_config(eval__num_samples=1, eval__num_train_phrases=8, ema_decay=0.9)
    figures = train_and_evaluate(config, str(workdir))
    return workdir, config, figures


def test_a_run_leaves_its_metrics_samples_and_checkpoints(finished):
    workdir, config, figures = finished
    rows = read_metrics(workdir)
    assert [row["step"] for row in rows] == [2, 3, 4, 6]
    assert all("train/reconstruction" in rows[i] and "train/penalty" in rows[i] for i in (0, 2, 3))
    assert {"eval/reconstruction", "eval/f1", "eval/precision", "eval/recall", "eval/penalty"} <= rows[1].keys()
    assert {"eval/jensen_shannon", "eval_train/f1", "eval/code_covariance_gap"} <= rows[3].keys()
    assert figures == {name: value for name, value in rows[3].items() if name.startswith("eval")}
    assert json.loads((workdir / "config.json").read_text())["model"]["z_dim"] == config.model.z_dim
    assert list(workdir.glob("events.out.tfevents.*"))
    assert (workdir / "curves.png").stat().st_size > 10_000
    folder = workdir / "samples" / "step_00000006"
    for kind in ("draws", "reconstructions"):
        names = {path.name for path in (folder / kind).iterdir()}
        assert {"phrases.npz", "phrase_0000.mid", "phrase_0000.png", "grid.png", "all_phrases.mid"} <= names
    state, meta = last_state(workdir, config)
    assert int(state.step) == meta["step"] == 6
    assert meta["metrics"]["eval/reconstruction"] == rows[3]["eval/reconstruction"]


def test_the_same_seed_gives_the_same_run(finished, tmp_path):
    workdir, config, _ = finished
    train_and_evaluate(config, str(tmp_path))
    assert_same_run(workdir, tmp_path, config)


def test_more_steps_may_be_asked_for_later(tmp_path, finished):
    _, config, _ = finished
    shorter = config.copy_and_resolve_references()
    shorter.num_train_steps = 3
    shorter.autoencoder_optimizer.schedule = "constant"
    train_and_evaluate(shorter, str(tmp_path))
    longer = shorter.copy_and_resolve_references()
    longer.num_train_steps = 6
    train_and_evaluate(longer, str(tmp_path))
    assert [row["step"] for row in read_metrics(tmp_path)][-1] == 6


def test_another_configuration_is_refused_with_the_field(finished):
    workdir, config, _ = finished
    other = config.copy_and_resolve_references()
    other.penalty_weight = 11.0
    with pytest.raises(WorkdirError, match=r"penalty_weight: 10.0 .* 11.0"):
        train_and_evaluate(other, str(workdir))


def test_a_finished_run_is_only_evaluated_again(finished):
    workdir, config, figures = finished
    before = read_metrics(workdir)
    assert train_and_evaluate(config, str(workdir)) == pytest.approx(figures)
    assert read_metrics(workdir) == before


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_step(tmp_path):
    config = tiny_config("mmd", num_train_steps=9)
    config.autoencoder_optimizer.update({"learning_rate": 1e30, "warmup_steps": 4, "schedule": "constant"})
    config.update({"checkpoint_every_steps": 1, "log_every_steps": 1})
    with pytest.raises(NonFiniteLossError, match=r"not finite at step \d"):
        train_and_evaluate(config, str(tmp_path))
    state, meta = last_state(tmp_path, config)
    assert meta["step"] >= 1
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))


def test_data_that_cannot_be_used_is_refused_before_anything_is_written(tmp_path):
    config = tiny_config(data__path=str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="nowhere"):
        train_and_evaluate(config, str(tmp_path / "run"))
    config = tiny_config(batch_size=6)
    with pytest.raises(ValueError, match="batch_size 6 does not divide over 4 devices"):
        train_and_evaluate(config, str(tmp_path / "run"))
    config = tiny_config(model__z_dim=0)
    with pytest.raises(ConfigError, match=r"model\.z_dim"):
        train_and_evaluate(config, str(tmp_path / "run"))
    assert not (tmp_path / "run" / "config.json").exists()


def test_number_of_steps():
    config = tiny_config(num_train_steps=0, num_epochs=3, batch_size=8, pretrain_steps=5)
    assert num_train_steps(config, 100) == 5 + 38
    assert num_train_steps(tiny_config(num_train_steps=7), 100) == 7


def test_metric_window_averages_all_steps_since_the_last_average():
    window = MetricWindow([{"loss": 1.0}])
    for step, value in ((2, 2.0), (3, 6.0)):
        window.add(step, {"loss": jax.numpy.float32(value)})
    assert window.fetch() == [{"loss": 1.0}, {"loss": 2.0}, {"loss": 6.0}]
    assert window.average() == {"loss": 3.0}
    window.add(4, {"loss": jax.numpy.float32(np.inf)})
    with pytest.raises(NonFiniteLossError, match="loss not finite at step 4"):
        window.average()


def start(workdir, *flags, num_steps=40, num_devices=2):
    """The command as a user gives it, on two devices unless told otherwise."""
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": str(num_devices), "JAX_PLATFORMS": "cpu"}
    command = [
        sys.executable,
        *("-m", "wae_jax.main", "--config=configs/wae_mmd.py", f"--workdir={workdir}"),
        *("--config.model.network=meter", "--config.model.h_dim=1", "--config.model.z_dim=3"),
        *("--config.batch_size=4", "--config.data.num_songs=12", "--config.data.phrases_per_song=2"),
        *(f"--config.num_train_steps={num_steps}", "--config.log_every_steps=3", "--config.eval_every_steps=10"),
        *("--config.checkpoint_every_steps=5", "--config.eval.num_phrases=4", "--config.eval.num_train_phrases=0"),
        *("--config.eval.num_samples=0", *flags),
    ]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(process):
    output, _ = process.communicate(timeout=200)
    return process.returncode, output


def wait_for_steps(workdir, process, step):
    deadline = time.monotonic() + 200
    path = pathlib.Path(workdir) / "metrics.jsonl"
    while time.monotonic() < deadline and process.poll() is None:
        if path.exists() and any(f'"step": {n},' in path.read_text() for n in range(step, step + 10)):
            return
        time.sleep(0.02)
    raise AssertionError(f"no step {step}: {finish(process)}")


def test_killed_and_terminated_and_started_again_it_ends_as_if_nothing_had_been(tmp_path):
    """kill -9, then SIGTERM, then to the end: bit for bit the uninterrupted run."""
    whole = start(tmp_path / "whole")
    status, output = finish(whole)
    assert status == 0, output
    assert "processes 1, devices 2 local / 2 global" in output

    workdir = tmp_path / "broken"
    killed = start(workdir)
    wait_for_steps(workdir, killed, 12)
    killed.kill()
    finish(killed)
    terminated = start(workdir)
    wait_for_steps(workdir, terminated, 21)
    terminated.send_signal(signal.SIGTERM)
    status, output = finish(terminated)
    assert status == 0, output
    assert "going on from step" in output
    status, output = finish(start(workdir))
    assert status == 0, output
    config = tiny_config("mmd", model__network="meter", model__h_dim=1, model__z_dim=3, model__kernel_size=(6, 6))
    assert_same_run(tmp_path / "whole", workdir, config)


def test_two_processes_train_what_one_process_trains(tmp_path):
    """Real processes with one device each, joined by jax.distributed, against one process with two devices."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    flags = (f"--coordinator=localhost:{port}", "--num_processes=2")
    pair = [start(tmp_path / "two", *flags, f"--process_id={i}", num_steps=12, num_devices=1) for i in (0, 1)]
    for process in pair:
        status, output = finish(process)
        assert status == 0, output
        assert "processes 2, devices 1 local / 2 global" in output
    status, output = finish(start(tmp_path / "one", num_steps=12))
    assert status == 0, output
    for two, one in zip(read_metrics(tmp_path / "two"), read_metrics(tmp_path / "one"), strict=True):
        assert two == pytest.approx(one, rel=1e-4, abs=1e-5)


def test_a_misspelt_field_is_refused_by_name_without_a_traceback(tmp_path):
    status, output = finish(start(tmp_path, "--config.penalty_wieght=3"))
    assert status != 0
    assert "penalty_wieght" in output
    status, output = finish(start(tmp_path, "--config.penalty=wgan"))
    assert status != 0
    assert "error: the configuration cannot be run" in output
    assert "penalty is 'wgan'" in output
    assert "Traceback" not in output
    status, output = finish(start(tmp_path, "--config.batch_size=3"))
    assert status != 0
    assert "error: batch_size 3 does not divide over 2 devices" in output
    assert "Traceback" not in output
