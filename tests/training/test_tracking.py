"""Trackers of experiments: a stand-in for failures, and the packages themselves where they are installed."""

import contextlib
import importlib.util
import json
import os
import sqlite3
import struct
import subprocess
import sys
import threading

import numpy as np
import pytest

from tests.helpers import ROOT, changed, tiny_config
from wae_jax.config import Config, read_config
from wae_jax.errors import ConfigError, TrackerError
from wae_jax.training import checks, trackers
from wae_jax.training.metric_writer import MetricWriter
from wae_jax.training.tracking import Tracking, open_tracking

PICTURE = np.zeros((4, 6, 3), np.uint8)


class Recorder(trackers.Tracker):
    """Remembers what it is handed, and fails from the call `failing_from` on."""

    failing_from, started = 99, []

    def __init__(self, name="run", run_id=None, config=None):
        self.run_id, self.calls = run_id or f"{name}-new", []
        self.started.append((name, run_id, dict(config or {})))

    def log_scalars(self, step, scalars):
        self.calls.append((step, dict(scalars)))
        if len(self.calls) >= self.failing_from:
            raise ConnectionError("the server is gone\nmore of it")

    log_images = log_sounds = log_scalars

    def finish(self, *, has_failed):
        self.calls.append("failed" if has_failed else "finish")


@pytest.fixture
def recorder(monkeypatch):
    """The class in place of every tracker."""
    monkeypatch.setattr(Recorder, "started", [])
    monkeypatch.setattr(trackers, "TRACKERS", {})
    for name in ("wandb", "mlflow"):
        monkeypatch.setitem(trackers.TRACKERS, name, Recorder)
    monkeypatch.setattr("wae_jax.training.tracking.TRACKERS", trackers.TRACKERS)
    return Recorder


def test_the_tracker_gets_what_the_files_get(tmp_path):
    tracker = Recorder()
    with Tracking(tracker) as tracking, MetricWriter(tmp_path, tracking=tracking) as writer:
        writer.write_scalars(1, {"train/x": np.float32(0.5), "nan": float("nan"), "inf": float("inf")})
        writer.write_images(2, {"rolls": PICTURE})
        writer.write_sounds(3, {"sound": tmp_path / "a.ogg"})
    assert tracker.calls == [
        (1, {"train/x": 0.5}),
        (2, {"rolls": PICTURE}),
        (3, {"sound": tmp_path / "a.ogg"}),
        "finish",
    ]
    with Tracking(tracker) as tracking, MetricWriter(tmp_path, enabled=False, tracking=tracking) as writer:
        writer.write_scalars(1, {"train/x": 0.5})
        writer.write_sounds(3, {"sound": tmp_path / "a.ogg"})
    assert tracker.calls[4:] == ["finish"]


def test_a_training_that_fails_is_marked_so():
    tracker = Recorder()
    with contextlib.suppress(FloatingPointError), Tracking(tracker) as tracking:
        tracking.write_scalars(1, {"x": 1.0})
        raise FloatingPointError("the loss is not finite")
    assert tracker.calls == [(1, {"x": 1.0}), "failed"]


@pytest.mark.parametrize(("has_failed", "mlflow", "wandb"), [(True, "FAILED", 1), (False, "FINISHED", 0)])
def test_the_packages_are_told_whether_the_training_has_failed(has_failed, mlflow, wandb):
    told = []

    class Package:
        def set_terminated(self, run_id, status):
            told.append((run_id, status))

        def finish(self, exit_code):
            told.append(exit_code)

    for kind, name in ((trackers.MLflow, "_client"), (trackers.WeightsAndBiases, "_run")):
        tracker = kind.__new__(kind)
        tracker.run_id = "a"
        setattr(tracker, name, Package())
        tracker.finish(has_failed=has_failed)
    assert told == [("a", mlflow), wandb]


def test_a_tracker_that_fails_is_said_once_and_training_goes_on(tmp_path, caplog):
    tracker = Recorder()
    tracker.failing_from = 2
    with Tracking(tracker) as tracking, MetricWriter(tmp_path, tracking=tracking) as writer:
        for step in range(1, 9):
            writer.write_scalars(step, {"train/x": step})
    assert [call[0] for call in tracker.calls] == [1, 2]
    (record,) = caplog.records
    assert record.getMessage().startswith("the tracker has failed (ConnectionError: the server is gone); training goes")
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 8


def test_a_tracker_that_does_not_answer_holds_up_neither_steps_nor_the_end(caplog):
    gate = threading.Event()

    class Waiting(Recorder):
        def log_scalars(self, step, scalars):
            gate.wait(60)

    tracking = Tracking(Waiting(), seconds_to_finish=0.05)
    for step in range(100):
        tracking.write_scalars(step, {"x": 1.0})
    tracking.close()
    gate.set()
    assert "the tracker has not finished in 0 s" in caplog.text


def track(folder, tracker="wandb", resume_step=0, workdir="gs://bucket/runs/my gan/"):
    config = changed(Config(), tracker=tracker)
    open_tracking(config, folder, workdir=workdir, resume_step=resume_step).close()


def test_a_resumed_run_continues_that_of_its_tracker(recorder, tmp_path):
    track(tmp_path)
    track(tmp_path, resume_step=5)
    track(tmp_path, "mlflow", resume_step=7)
    track(tmp_path, resume_step=9)
    assert [start[:2] for start in recorder.started] == [
        ("my_gan", None),
        ("my_gan", "my_gan-new"),
        ("my_gan", None),
        ("my_gan", "my_gan-new"),
    ]
    assert recorder.started[0][2]["model.z_dim"] == 32
    assert json.loads((tmp_path / "tracker.json").read_text()) == {"wandb": "my_gan-new", "mlflow": "my_gan-new"}


@pytest.mark.parametrize("content", [b"", b"\xff", b"[1]", b'{"wandb": 3}'])
def test_a_damaged_identifier_is_said_and_a_new_run_begins(recorder, tmp_path, caplog, content):
    (tmp_path / "tracker.json").write_bytes(content)
    track(tmp_path, resume_step=5)
    assert recorder.started[0][1] is None
    assert "tracker.json cannot be read" in caplog.text
    assert json.loads((tmp_path / "tracker.json").read_text()) == {"wandb": "my_gan-new"}


def test_a_tracker_that_cannot_start_ends_a_new_run_and_not_one_that_resumes(recorder, tmp_path, monkeypatch, caplog):
    def refuse(self, name, run_id, config):
        raise PermissionError("no key configured")

    monkeypatch.setattr(recorder, "__init__", refuse)
    with pytest.raises(TrackerError, match=r"tracker is 'wandb', which cannot be started \(PermissionError: no key"):
        track(tmp_path)
    track(tmp_path, resume_step=1)
    assert "the tracker cannot be started (PermissionError: no key configured); training goes on" in caplog.text
    assert not list(tmp_path.iterdir())


def test_without_a_tracker_there_is_none(recorder, tmp_path):
    track(tmp_path, "none")
    open_tracking(changed(Config(), tracker="wandb"), tmp_path, workdir="w", resume_step=0, enabled=False).close()
    assert recorder.started == []
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_named_before_anything_runs(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in trackers.TRACKERS else find(name))
    checks.check_config(tiny_config())
    for name in trackers.TRACKERS:
        with pytest.raises(ConfigError, match=rf"tracker is '{name}'.*pip install 'wae_jax\[{name}\]'.* 'none'"):
            checks.check_config(tiny_config(tracker=name))
    with pytest.raises(ConfigError, match="expected one of 'none', 'wandb', 'mlflow', 'trackio'"):
        read_config({**Config().to_dict(), "tracker": "comet"})


# As a run does that is killed after step 3, whose newest checkpoint is of step 2.
PROGRAM = """
import math, pathlib, sys
import numpy as np
from tests.helpers import changed
from wae_jax.config import Config
from wae_jax.training.metric_writer import MetricWriter
from wae_jax.training.tracking import open_tracking

folder, tracker = pathlib.Path(sys.argv[1]), sys.argv[2]
config = changed(Config(), tracker=tracker, num_train_steps=int(sys.argv[4]))
start, stop = map(int, sys.argv[3:])
with (
    open_tracking(config, folder, workdir="runs/gan", resume_step=start) as tracking,
    MetricWriter(folder, start, tracking=tracking) as writer,
):
    for step in range(start + 1, stop + 1):
        writer.write_scalars(step, {"train/x": step / 4, "train/nan": math.nan})
    writer.write_images(stop, {"generated/0": np.full((5, 7, 3), 200, np.uint8)})
    writer.write_sounds(stop, {"generated_sound/0": folder / "phrase_0000.ogg"})
"""


@pytest.fixture
def tracked(tmp_path, request):
    """The folder of a run that was tracked and resumed, each in a process of its own."""
    name = request.param
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed (pip install 'wae_jax[{name}]')")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "phrase_0000.ogg").write_bytes(b"a sound, for all that a tracker knows")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "JAX_PLATFORMS": "cpu",
        "WANDB_MODE": "offline",
        "WANDB_DIR": str(tmp_path),
        "MLFLOW_TRACKING_URI": str(tmp_path / "mlruns"),
        "MLFLOW_ALLOW_FILE_STORE": "true",
        "TRACKIO_DIR": str(tmp_path / "trackio"),
    }
    for start, stop in ((0, 3), (2, 4)):
        words = [sys.executable, "-c", PROGRAM, str(folder), name, str(start), str(stop)]
        done = subprocess.run(words, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "tracker has" not in done.stderr
    return folder


def run_id_of(folder, tracker):
    return json.loads((folder / "tracker.json").read_text())[tracker]


EXPECTED = {(step, step / 4) for step in range(1, 5)}


@pytest.mark.slow
@pytest.mark.parametrize("tracked", ["mlflow"], indirect=True)
def test_mlflow_has_one_run_with_all(tracked):
    (run,) = (path.parent for path in (tracked.parent / "mlruns").glob("*/*/meta.yaml"))
    assert run.name == run_id_of(tracked, "mlflow")
    lines = (run / "metrics" / "train" / "x").read_text().splitlines()
    assert {(int(step), float(value)) for _, value, step in map(str.split, lines)} == EXPECTED
    assert (run / "params" / "model.z_dim").read_text() == "32"
    assert not (run / "metrics" / "train" / "nan").exists()
    (sound,) = run.glob("artifacts/step_00000004/generated_sound/*.ogg")
    assert sound.read_bytes() == (tracked / "phrase_0000.ogg").read_bytes()
    assert len(list(run.glob("artifacts/images/*.png"))) == 2


@pytest.mark.slow
@pytest.mark.parametrize("tracked", ["trackio"], indirect=True)
def test_trackio_has_one_run_with_all(tracked):
    with sqlite3.connect(tracked.parent / "trackio" / "wae_jax.db") as database:
        rows = database.execute("SELECT run_name, step, metrics FROM metrics").fetchall()
        configs = database.execute("SELECT config FROM configs").fetchall()
    assert {name for name, _, _ in rows} == {run_id_of(tracked, "trackio")}
    metrics = [(step, json.loads(text)) for _, step, text in rows]
    assert {(step, each["train/x"]) for step, each in metrics if "train/x" in each} == EXPECTED
    assert json.loads(configs[0][0])["model.z_dim"] == 32
    assert {step for step, each in metrics if "generated/0" in each} == {3, 4}
    assert {step for step, each in metrics if "generated_sound/0" in each} == {3, 4}
    assert len(list((tracked.parent / "trackio").rglob("*.ogg"))) == 2


def records_of(path):
    """The records of a file of wandb, by LevelDB's format of logs: blocks of 32 KiB with parts of records."""
    content, place, record = path.read_bytes(), len(":W&B") + 3, b""
    while place + 7 <= len(content):
        if (left := 2**15 - place % 2**15) < 7:
            place += left
            continue
        _, length, kind = struct.unpack_from("<IHB", content, place)
        record += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield record
            record = b""


@pytest.mark.slow
@pytest.mark.parametrize("tracked", ["wandb"], indirect=True)
def test_wandb_has_one_run_with_all(tracked):
    from wandb.proto.wandb_internal_pb2 import Record

    points, ids, config = set(), set(), {}
    for path in tracked.parent.glob("wandb/offline-run-*/*.wandb"):
        for record in map(Record.FromString, records_of(path)):
            if record.HasField("run"):
                ids.add(record.run.run_id)
                config |= {each.key: json.loads(each.value_json) for each in record.run.config.update}
            items = {each.key or "/".join(each.nested_key): each.value_json for each in record.history.item}
            if "train/x" in items:
                points.add((int(items["step"]), float(items["train/x"])))
    assert points == EXPECTED
    assert ids == {run_id_of(tracked, "wandb")}
    assert config["model.z_dim"] == 32
    media = tracked.parent.glob("wandb/offline-run-*/files/media")
    assert sorted(path.suffix for folder in media for path in folder.rglob("*.*")) == [".ogg", ".ogg", ".png", ".png"]
