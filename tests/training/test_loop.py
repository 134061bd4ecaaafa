"""The loop: what a run leaves behind, what it goes on from, and what it refuses."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import time

import jax
import numpy as np
import pytest

from tests.helpers import CONSTANT, assert_same_run, changed, finish, last_state, read_metrics, start_run, tiny_config
from wae_jax import build_dataset
from wae_jax.data.load import open_data
from wae_jax.errors import CheckpointError, ConfigError, NonFiniteLossError, WorkdirError
from wae_jax.generation.load import load
from wae_jax.hooks import HOOKS
from wae_jax.pianoroll import NUM_PITCHES, NUM_STEPS
from wae_jax.training.evaluation_step import metric_names
from wae_jax.training.loop import train_and_evaluate
from wae_jax.training.metric_window import MetricWindow
from wae_jax.training.run import Hooks
from wae_jax.training.workdir import lock_workdir


def contents(folder):
    """Every file's bytes, but for the lock's, which names the process that held it last."""
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".lock"}


def flip_bit_in(checkpoint):
    """Damages the largest file of numbers of a checkpoint; those beside it hold names and shapes."""
    path = max(checkpoint.rglob("ocdbt.process_0/d/*"), key=lambda path: path.stat().st_size)
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    path.write_bytes(damaged)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One uninterrupted run of six steps."""
    workdir = tmp_path_factory.mktemp("finished")
    config = tiny_config(
        eval__num_shown=1,
        eval__num_samples=8,
        eval__num_page_samples=2,
        eval__num_train_phrases=8,
        ema_decay=0.9,
        binarization__thresholds="fit",
    )
    metrics = train_and_evaluate(config, str(workdir), hooks=HOOKS)
    return workdir, config, metrics


@pytest.mark.parametrize(("options", "tonality"), [([], "c"), (["--tonality=keep"], "all")])
def test_a_run_keeps_the_tonality_of_its_dataset_when_that_is_gone(small_data, tmp_path, options, tonality):
    inputs = small_data.parent / "phrases.npy"
    data = tmp_path / "data"
    assert build_dataset.main([f"--input={inputs}", f"--output={data}", "--valid-fraction=0.3", *options]) == 0
    config = tiny_config(data__path=str(data), num_train_steps=1, eval__num_phrases=2)
    for _ in range(2):  # The second time it resumes, with the same command.
        train_and_evaluate(config, str(tmp_path / "run"))
    shutil.rmtree(data)
    assert load(tmp_path / "run").config.data.tonality == tonality


def test_the_names_of_its_metrics_are_known_before_the_run(finished):
    """Exactly those of the network; those of samples that are undefined here are left out."""
    _, config, metrics = finished
    data = open_data(config.data)
    names = metric_names(config, num_train=len(data.split("train")), num_valid=len(data.split("valid")))
    assert names == [name for name in metrics if name.startswith("eval")]
    of_samples = HOOKS.metric_names(config, data)
    assert {name for name in metrics if not name.startswith("eval")} <= set(of_samples)
    few = changed(config, eval__num_samples=0, eval__num_train_phrases=0, eval__num_phrases=1)
    assert HOOKS.metric_names(few, data) == []
    assert metric_names(few, num_train=9, num_valid=9)[-1] == "eval/code_covariance_gap"


@pytest.mark.parametrize("penalty", ["mmd", "kl"])
def test_the_penalty_is_a_metric(penalty):
    encoder = "gaussian" if penalty == "kl" else "deterministic"
    names = metric_names(tiny_config(penalty, model__encoder=encoder), num_train=1, num_valid=9)
    assert names[-1] == "eval/penalty"


@pytest.mark.parametrize(
    ("metric", "hint"),
    [
        ("eval/F1", "did you mean 'eval/f1'? Expected one of eval/reconstruction, eval/precision"),
        ("eval_train/f1", "did you mean 'eval/f1'? Expected one of eval/reconstruction"),  # no training phrases
        ("samples/coverage", "; expected one of eval/reconstruction"),  # no samples
    ],
)
def test_a_metric_that_no_evaluation_has_is_refused_before_anything_is_written(metric, hint, tmp_path):
    with pytest.raises(ConfigError) as raised:
        train_and_evaluate(tiny_config(best_metric=metric, best_mode="max"), str(tmp_path / "run"), hooks=HOOKS)
    assert f"best_metric is {metric!r}, which the evaluations of this run do not have; " in str(raised.value)
    assert hint in str(raised.value)
    assert not (tmp_path / "run" / "config.json").exists()


def test_a_run_leaves_its_metrics_samples_and_checkpoints(finished):
    workdir, config, metrics = finished
    rows = read_metrics(workdir)
    assert [row["step"] for row in rows] == [2, 3, 4, 6]
    assert all("train/reconstruction" in rows[i] and "train/penalty" in rows[i] for i in (0, 2, 3))
    assert {"eval/reconstruction", "eval/f1", "eval/precision", "eval/recall", "eval/penalty"} <= rows[1].keys()
    assert {"eval/jensen_shannon", "eval_train/f1", "eval/code_covariance_gap"} <= rows[3].keys()
    assert {"samples/cells", "held_out/cells", "samples_distance/cells"} <= rows[3].keys()
    assert metrics == {name: value for name, value in rows[3].items() if not name.startswith(("train/", "step"))}
    assert json.loads((workdir / "config.json").read_text())["model"]["z_dim"] == config.model.z_dim
    assert list(workdir.glob("events.out.tfevents.*"))
    assert (workdir / "curves.png").stat().st_size > 10_000
    page = (workdir / "listen.html").read_text(encoding="utf-8")
    model = load(str(workdir), "latest")
    assert model.digest in page
    # An untrained decoder has no probability above one half.
    cells = sum(model.statistics().densities) * NUM_STEPS * NUM_PITCHES
    assert 0.3 * cells < metrics["samples/cells"] < 3 * cells
    assert re.search(r"(Draw|Sample) 2", page)
    assert not re.search(r"(Draw|Sample) 3", page)
    folder = workdir / "samples" / "step_00000006"
    for kind in ("generated", "reconstructions"):
        names = {path.name for path in (folder / kind).iterdir()}
        assert {"phrases.npz", "phrase_0000.mid", "grid.png", "all_phrases.mid"} <= names
    state, meta = last_state(workdir)
    assert int(state.step) == meta["step"] == 6
    assert meta["metrics"]["eval/reconstruction"] == rows[3]["eval/reconstruction"]


@pytest.mark.slow  # `test_resume` compares two runs of one seed as well, one of them interrupted
def test_the_same_seed_gives_the_same_run(finished, tmp_path):
    workdir, config, _ = finished
    train_and_evaluate(config, str(tmp_path), hooks=HOOKS)
    assert_same_run(workdir, tmp_path)


@pytest.mark.slow
def test_more_steps_may_be_asked_for_later(tmp_path, finished):
    whole, config, _ = finished
    shutil.copytree(whole, tmp_path / "run")
    train_and_evaluate(changed(config, num_train_steps=8), str(tmp_path / "run"))
    assert [row["step"] for row in read_metrics(tmp_path / "run")] == [2, 3, 4, 6, 8]
    assert last_state(tmp_path / "run")[1]["step"] == 8


def test_a_page_that_cannot_be_written_does_not_spoil_the_run(finished, tmp_path, caplog):
    whole, config, _ = finished
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    (tmp_path / "listen.html").unlink()
    (tmp_path / "listen.html").mkdir()
    metrics = train_and_evaluate(config, str(tmp_path), hooks=Hooks(finish=HOOKS.finish))
    assert np.isfinite(metrics["eval/reconstruction"])
    assert "listen.html has not been written" in caplog.text
    assert "is a folder" in caplog.text


def test_another_configuration_is_refused_with_the_field(finished):
    workdir, config, _ = finished
    other = changed(config, penalty_weight=11.0)
    with pytest.raises(WorkdirError, match=r"penalty_weight: 2.0 .* 11.0"):
        train_and_evaluate(other, str(workdir))


def test_a_finished_run_is_only_evaluated_again(finished):
    workdir, config, metrics = finished
    before = read_metrics(workdir)
    assert train_and_evaluate(config, str(workdir), hooks=HOOKS) == pytest.approx(metrics)
    assert read_metrics(workdir) == before


def test_a_damaged_checkpoint_is_passed_over_and_the_run_ends_the_same(finished, tmp_path):
    whole, config, metrics = finished
    shutil.copytree(whole, tmp_path / "run")
    flip_bit_in(tmp_path / "run" / "checkpoints" / "6")
    # Leaves may be damaged, or the index that finds them; test_checkpoint_damage.py holds that a leaf is named.
    damage = r"(leaf \S+ is damaged|its item state cannot be read)"
    with pytest.warns(UserWarning, match=rf"skipped the checkpoint of step 6 .*6\.damaged.*: .*6: {damage}"):
        assert train_and_evaluate(config, str(tmp_path / "run"), hooks=HOOKS) == metrics
    assert_same_run(whole, tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir()) == ["3", "6", "6.damaged"]


def test_without_a_good_checkpoint_the_run_is_refused_and_nothing_is_touched(finished, tmp_path):
    whole, config, _ = finished
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    for step in (3, 6):
        flip_bit_in(run / "checkpoints" / str(step))
    before = contents(run)
    with pytest.raises(CheckpointError, match=r"(?s)no checkpoint in .* is good.*/6: .*/3: "):
        train_and_evaluate(config, str(run))
    assert contents(run) == before


def test_checkpoints_of_another_state_are_refused_and_not_touched(finished, tmp_path):
    """As after an update of this project that changed a network, or by hand."""
    whole, config, _ = finished
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    other = changed(config, model__z_dim=5)
    stored = json.loads((run / "config.json").read_text())
    stored["model"]["z_dim"] = 5
    (run / "config.json").write_text(json.dumps(stored))
    before = contents(run)
    with pytest.raises(CheckpointError, match=r"/6 holds another state .* is float32\[\d+, 4\] where .*, 5\]"):
        train_and_evaluate(other, str(run))
    after = contents(run)
    assert after.pop(run / "config.json")
    before.pop(run / "config.json")
    assert after == before


@pytest.mark.slow
def test_the_lines_are_the_same_however_the_steps_are_called(finished, tmp_path):
    whole, config, _ = finished
    config = changed(config, steps_per_call=2, data__placement="device")
    train_and_evaluate(config, str(tmp_path), hooks=HOOKS)
    for row, expected in zip(read_metrics(tmp_path), read_metrics(whole), strict=True):
        assert row == pytest.approx(expected, rel=1e-3, abs=1e-4)


def test_a_run_whose_phrases_begin_later_sees_others(finished, tmp_path, caplog):
    workdir, config, _ = finished
    later = changed(config, data__shift_bars=True)
    with caplog.at_level("INFO"):
        train_and_evaluate(later, str(tmp_path / "run"))
    data = open_data(config.data)
    num_following = (data.following("train") >= 0).sum()
    assert 0 < num_following < len(data.split("train"))
    assert f"{num_following} phrases of them begin up to three bars later" in caplog.text
    losses = [
        [line["train/loss"] for line in read_metrics(folder) if "train/loss" in line]
        for folder in (workdir, tmp_path / "run")
    ]
    assert len(losses[0]) == len(losses[1])
    assert losses[0][0] != losses[1][0]


def test_a_second_run_on_the_same_folder_is_refused(finished, tmp_path):
    whole, config, _ = finished
    shutil.copytree(whole, tmp_path / "run")
    before = contents(tmp_path / "run")
    with (
        lock_workdir(tmp_path / "run"),
        pytest.raises(WorkdirError, match=r"is in use by another run \(process \d+ on "),
    ):
        train_and_evaluate(config, str(tmp_path / "run"))
    assert contents(tmp_path / "run") == before
    # What the lock has left behind is in nobody's way.
    assert (tmp_path / "run" / ".lock").exists()
    train_and_evaluate(config, str(tmp_path / "run"))


# On a disk of its own, which is full as soon as there is a checkpoint; then room is made and the command given again.
FULL_DISK = """
mount -t tmpfs -o size=32m tmpfs "$0" || exit 99
(
  until [ -d "$0/run/checkpoints/4" ]; do sleep .01; done
  while :; do cat /dev/zero >> "$0/filler"; sleep .01; done
) 2> /dev/null &
"$@"
echo "status $?"
kill $!
wait
rm "$0/filler"
"$@"
echo "status $?"
"""


@pytest.mark.slow
def test_a_full_disk_is_told_and_leaves_the_last_good_checkpoint(tmp_path):
    name_space = ["unshare", "--map-root-user", "--mount"]
    if shutil.which("unshare") is None or subprocess.run([*name_space, "true"], capture_output=True).returncode:
        pytest.skip("no mounting of a small disk here: unshare --map-root-user --mount fails")
    (tmp_path / "disk").mkdir()
    before = (*name_space, "sh", "-c", FULL_DISK, tmp_path / "disk")
    status, output = finish(start_run(tmp_path / "disk" / "run", before=before, num_steps=12))
    if status == 99:
        pytest.skip(f"no mounting of a small disk here: {output}")
    assert status == 0, output
    first, second, _ = output.split("\nstatus ")
    assert "error: " in first, first
    assert "No space left on device" in first, first
    assert "error: writing the checkpoint of step" in first.splitlines()[-1], first
    assert second.startswith("1\n")
    assert "resuming from step 4" in second or "resuming from step 8" in second
    assert output.endswith("status 0\n"), second


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_step(tmp_path):
    changes = {"autoencoder_optimizer.learning_rate": 1e30, **CONSTANT, "autoencoder_optimizer.warmup_steps": 4}
    config = tiny_config("mmd", num_train_steps=9, checkpoint_every_steps=1, log_every_steps=1, **changes)
    with pytest.raises(NonFiniteLossError, match=r"not finite at step \d"):
        train_and_evaluate(config, str(tmp_path))
    state, meta = last_state(tmp_path)
    assert meta["step"] >= 1
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state))


def test_data_that_cannot_be_used_is_refused_before_anything_is_written(tmp_path):
    config = tiny_config(data__path=str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="nowhere"):
        train_and_evaluate(config, str(tmp_path / "run"))
    config = tiny_config(batch_size=6)
    with pytest.raises(ValueError, match="batch_size 6 does not divide over 4 devices"):
        train_and_evaluate(config, str(tmp_path / "run"))
    for changes, message in (
        ({"model__z_dim": 0}, r"model\.z_dim"),
        ({"model__network": "alte"}, "model.network is 'alte'; expected one of fir, alt"),
        ({"model__network": "fir", "model__dropout_rate": 0.1}, "dropout"),
        ({"refiner__num_units": 1, "refiner__strides": (5, 1)}, "refiner.strides is .* divisors of 192 steps"),
    ):
        with pytest.raises(ConfigError, match=message):
            train_and_evaluate(tiny_config(**changes), str(tmp_path / "run"))
    assert not (tmp_path / "run" / "config.json").exists()


def test_float64_is_refused_where_jax_would_compute_in_float32(tmp_path):
    with pytest.raises(ConfigError, match=r"dtype is 'float64'.*JAX_ENABLE_X64=1"):
        train_and_evaluate(tiny_config(dtype="float64"), str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_metric_window_averages_all_steps_since_the_last_average():
    window = MetricWindow([{"loss": 1.0}])
    window.add(2, {"loss": jax.numpy.array([2.0])})
    window.add(4, {"loss": jax.numpy.array([6.0, 7.0])})
    assert window.fetch() == [{"loss": 1.0}, {"loss": 2.0}, {"loss": 6.0}, {"loss": 7.0}]
    assert window.average() == {"loss": 4.0}
    window.add(7, {"loss": jax.numpy.array([1.0, np.inf, np.nan])})
    with pytest.raises(NonFiniteLossError, match="loss not finite at step 6"):
        window.average()


@pytest.mark.launch
def test_a_misspelt_field_is_refused_by_name_without_a_traceback(tmp_path):
    flags = ("--config.penalty_wieght=3", "--config.objective.penalty=wgan", "--config.batch_size=3")
    processes = [start_run(tmp_path, flag, network="meter") for flag in flags]
    (misspelt, wrong, odd) = [finish(process) for process in processes]
    assert misspelt == (2, "error: there is no field penalty_wieght; did you mean objective.penalty_weight?\n")
    assert wrong[0] != 0
    assert "error: the configuration cannot be run" in wrong[1]
    assert "penalty is 'wgan'" in wrong[1]
    assert "Traceback" not in wrong[1]
    assert odd[0] != 0
    assert "error: batch_size 3 does not divide over 2 devices" in odd[1]
    assert "Traceback" not in odd[1]


def test_hooks_are_called_at_every_evaluation_and_at_the_end(tmp_path):
    called = []
    hooks = Hooks(
        evaluate=lambda run, state: called.append(("evaluate", int(state.step))) or {"samples/x": float(state.step)},
        draw_curves=lambda run: called.append(("draw", len(read_metrics(run.folder)))),
        finish=lambda run, state: called.append(("finish", int(state.step))),
    )
    config = tiny_config("none", num_train_steps=2, eval_every_steps=1, best_metric="samples/x", best_mode="max")
    with pytest.raises(ConfigError, match=r"best_metric is 'samples/x'.*; expected one of eval/reconstruction, "):
        train_and_evaluate(config, str(tmp_path), hooks=hooks)
    hooks = dataclasses.replace(hooks, metric_names=lambda config, data: ["samples/x"])
    assert train_and_evaluate(config, str(tmp_path), hooks=hooks)["samples/x"] == 2
    assert called == [("evaluate", 1), ("draw", 1), ("evaluate", 2), ("draw", 2), ("finish", 2)]
    assert [row["samples/x"] for row in read_metrics(tmp_path)] == [1, 2]
    assert last_state(tmp_path)[1]["metrics"]["samples/x"] == 2


@pytest.mark.parametrize(("age_s", "drawn_after_lines"), [(0, [4]), (100, [1, 2, 3, 4, 4])])
def test_curves_are_drawn_where_a_minute_old_and_at_the_end(tmp_path, monkeypatch, age_s, drawn_after_lines):
    drawn = []
    monkeypatch.setattr("wae_jax.render.curves.write_curves", lambda folder: drawn.append(len(read_metrics(folder))))
    config = tiny_config(num_train_steps=4, eval_every_steps=1, log_every_steps=1, eval__num_page_samples=0)
    (tmp_path / "curves.png").touch()
    os.utime(tmp_path / "curves.png", times=(time.time() - age_s,) * 2)
    train_and_evaluate(config, str(tmp_path), hooks=HOOKS)
    assert drawn == drawn_after_lines
