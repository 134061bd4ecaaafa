from __future__ import annotations

import errno
import fcntl
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys

import pytest

import wae_jax
from wae_jax.errors import WorkdirError
from wae_jax.training.workdir import Workdir, claim_config, load_config, lock_workdir, open_workdir

CONFIG = {
    "seed": 0,
    "batch_size": 64,
    "num_train_steps": 100,
    "num_epochs": 3,
    "log_every_steps": 10,
    "data": {"path": "/music/a", "split": "song"},
    "optimizer": {"learning_rate": 0.001, "betas": (0.5, 0.999)},
    "tables": {},
}


def changed(**fields) -> dict:
    """CONFIG with other values; a double underscore in a name stands for the dot."""
    config = {name: dict(value) if isinstance(value, dict) else value for name, value in CONFIG.items()}
    for name, value in fields.items():
        *outer, inner = name.split("__")
        (config[outer[0]] if outer else config)[inner] = value
    return config


def claim(workdir: pathlib.Path, config: dict, digest: str = "d1", name: str = "gs://runs/a", **arguments) -> None:
    claim_config(Workdir(name, workdir), config, data_digest=digest, **arguments)


HOLDER = """
import sys, time
from wae_jax.training.workdir import lock_workdir
with lock_workdir(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def hold_in_another_process(workdir: pathlib.Path) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(pathlib.Path(wae_jax.__file__).parents[1])}
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(workdir)], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_lock_keeps_others_out_and_dies_with_its_process(tmp_path):
    workdir = tmp_path / "a" / "run"
    process = hold_in_another_process(workdir)
    try:
        with (
            pytest.raises(WorkdirError, match=f"process {process.pid} on {socket.gethostname()}"),
            lock_workdir(workdir),
        ):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
        with lock_workdir(workdir):
            assert (workdir / ".lock").read_text().startswith(f"process {os.getpid()} on ")
    finally:
        process.kill()
        process.communicate()


def test_lock_is_released_on_exit_and_on_error(tmp_path):
    with pytest.raises(KeyError), lock_workdir(tmp_path):
        raise KeyError
    for _ in range(2):
        with (
            lock_workdir(tmp_path),
            pytest.raises(WorkdirError, match="is in use by another run"),
            lock_workdir(tmp_path),
        ):
            pass


def test_a_file_system_without_locks_is_used_with_a_warning(tmp_path, monkeypatch):
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.warns(UserWarning, match=r"\.lock cannot be locked \(No locks available\)"), lock_workdir(tmp_path):
        pass


def test_the_first_claim_writes_the_files_and_nothing_else(tmp_path):
    claim(tmp_path / "run", CONFIG, data_name="corpus")
    assert sorted(os.listdir(tmp_path / "run")) == ["config.json", "run.json"]
    text = (tmp_path / "run" / "config.json").read_text()
    assert json.loads(text) == changed(optimizer__betas=[0.5, 0.999])
    assert text.index('"batch_size"') < text.index('"data"') < text.index('"seed"')
    assert json.loads((tmp_path / "run" / "run.json").read_text()) == {
        "format_version": 3,
        "wae_jax": wae_jax.__version__,
        "data": {"digest": "d1", "name": "corpus"},
    }
    assert load_config(tmp_path / "run") == json.loads(text)


def test_the_same_configuration_may_resume(tmp_path):
    claim(tmp_path, CONFIG)
    before = (tmp_path / "config.json").read_bytes()
    claim(tmp_path, changed(optimizer__betas=[0.5, 0.999], seed=0.0))
    assert load_config(tmp_path) == json.loads(before)


def stored_digest(workdir: pathlib.Path) -> str:
    return json.loads((workdir / "run.json").read_text())["data"]["digest"]


def test_a_workdir_of_another_version_is_refused_with_both_versions(tmp_path):
    claim(tmp_path, CONFIG)
    run = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps({**run, "format_version": 9, "wae_jax": "7.1"}))
    for read, name in ((lambda: load_config(tmp_path), tmp_path), (lambda: claim(tmp_path, CONFIG), "gs://runs/a")):
        message = rf"^{name} was written by wae_jax 7\.1, and wae_jax {wae_jax.__version__} cannot"
        with pytest.raises(WorkdirError, match=message):
            read()
    (tmp_path / "run.json").unlink()
    with pytest.raises(WorkdirError, match=r"written by wae_jax before 0\.2\.0, and wae_jax"):
        load_config(tmp_path)


def test_every_difference_is_listed_with_both_values(tmp_path):
    claim(tmp_path, CONFIG)
    before = (tmp_path / "config.json").read_bytes()
    other = changed(optimizer__learning_rate=0.002, seed=1, data__split="row", batch_size=None, num_epochs=9, new=1)
    del other["tables"]
    with pytest.raises(WorkdirError) as caught:
        claim(tmp_path, other)
    assert [line.strip() for line in str(caught.value).splitlines()[1:]] == [
        "batch_size: 64 in the workdir, null now",
        'data.split: "song" in the workdir, "row" now',
        "new: absent in the workdir, 1 now",
        "optimizer.learning_rate: 0.001 in the workdir, 0.002 now",
        "seed: 0 in the workdir, 1 now",
        "tables: {} in the workdir, absent now",
    ]
    assert str(caught.value).startswith("gs://runs/a belongs to a run with another configuration")
    assert (tmp_path / "config.json").read_bytes() == before


def test_free_fields_may_change_and_are_written_down(tmp_path):
    claim(tmp_path, CONFIG)
    now = changed(
        num_train_steps=200, num_epochs=0, log_every_steps=1, eval_every_steps=7, optimizer__betas=[0.5, 0.999]
    )
    claim(tmp_path, now)
    assert load_config(tmp_path) == now


def test_data_may_move_but_not_change(tmp_path):
    claim(tmp_path, CONFIG)
    claim(tmp_path, changed(data__path="/music/b"), data_name="moved")
    assert load_config(tmp_path)["data"]["path"] == "/music/b"
    assert stored_digest(tmp_path) == "d1"
    with pytest.raises(WorkdirError, match="content of the data: digest d1 in the workdir, d2 now"):
        claim(tmp_path, changed(data__path="/music/b"), "d2")
    with pytest.raises(WorkdirError, match=r'data\.path: "/music/b" in the workdir, "/music/c" now\n.*digest d1'):
        claim(tmp_path, changed(data__path="/music/c"), "d2")


def test_a_folder_with_other_things_may_be_used_unless_these_are_checkpoints(tmp_path):
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "10").mkdir()
    with pytest.raises(WorkdirError, match=r"has checkpoints but no config\.json"):
        claim(tmp_path, CONFIG)
    assert sorted(os.listdir(tmp_path)) == ["checkpoints", "notes.txt"]
    (tmp_path / "checkpoints" / "10").rmdir()
    claim(tmp_path, CONFIG)


@pytest.mark.parametrize("name", ["config.json", "run.json"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"seed": 0,', "^{} in .* cannot be read: Expecting"),
        (b"\xff\xfe", "^{} in .* cannot be read: 'utf-8'"),
        (b"[1]", "^{} in .* holds a list; expected a JSON object"),
    ],
)
def test_damaged_files_are_refused(tmp_path, name, content, message):
    claim(tmp_path, CONFIG)
    (tmp_path / name).write_bytes(content)
    for read in (lambda: load_config(tmp_path), lambda: claim(tmp_path, CONFIG)):
        with pytest.raises(WorkdirError, match=message.format(name)):
            read()


def test_a_folder_that_is_no_workdir_is_refused(tmp_path):
    with pytest.raises(WorkdirError, match=r"no config\.json in .*expected a workdir of wae_jax\.main"):
        load_config(tmp_path)


def test_processes_recognise_a_shared_workdir_by_its_holder(tmp_path):
    assert Workdir("run", tmp_path).holder() is None
    with open_workdir(tmp_path, is_first=True) as first, open_workdir(tmp_path, is_first=False) as other:
        assert first.holder() == other.holder() == f"process {os.getpid()} on {socket.gethostname()}"
