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
from wae_jax.config import flatten_config
from wae_jax.errors import WorkdirError
from wae_jax.training.workdir import WorkdirLock, claim_config, load_config

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


def claim(workdir: pathlib.Path, config: dict, digest: str = "d1", **arguments) -> None:
    claim_config(workdir, config, data_digest=digest, **arguments)


HOLDER = """
import sys, time
from wae_jax.workdir import WorkdirLock
with WorkdirLock(sys.argv[1]):
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
            WorkdirLock(workdir),
        ):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
        with WorkdirLock(workdir):
            assert (workdir / ".lock").read_text().startswith(f"process {os.getpid()} on ")
    finally:
        process.kill()
        process.communicate()


def test_lock_is_released_on_exit_and_on_error(tmp_path):
    with pytest.raises(KeyError), WorkdirLock(tmp_path):
        raise KeyError
    lock = WorkdirLock(tmp_path)
    for _ in range(2):
        with lock, pytest.raises(WorkdirError, match="is in use by another run"), WorkdirLock(tmp_path):
            pass


def test_a_file_system_without_locks_is_told_and_used(tmp_path, monkeypatch):
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.warns(UserWarning, match=r"\.lock cannot be locked \(No locks available\)"), WorkdirLock(tmp_path):
        pass


def test_flatten_config():
    assert flatten_config({"a": 1, "b": {"c": {"d": [1, {"e": 2}]}, "f": {}}, "g": None}) == {
        "a": 1,
        "b.c.d": [1, {"e": 2}],
        "b.f": {},
        "g": None,
    }


def test_the_first_claim_writes_the_files_and_nothing_else(tmp_path):
    claim(tmp_path / "run", CONFIG, data_name="corpus")
    assert sorted(os.listdir(tmp_path / "run")) == ["config.json", "data.json"]
    text = (tmp_path / "run" / "config.json").read_text()
    assert json.loads(text) == changed(optimizer__betas=[0.5, 0.999])
    assert text.index('"batch_size"') < text.index('"data"') < text.index('"seed"')
    assert json.loads((tmp_path / "run" / "data.json").read_text()) == {"digest": "d1", "name": "corpus"}
    assert load_config(tmp_path / "run") == json.loads(text)


def test_the_same_configuration_may_go_on(tmp_path):
    claim(tmp_path, CONFIG)
    before = (tmp_path / "config.json").read_bytes()
    claim(tmp_path, changed(optimizer__betas=[0.5, 0.999], seed=0.0))
    assert load_config(tmp_path) == json.loads(before)


def test_a_run_of_before_a_field_may_go_on_where_the_field_means_what_it_did(tmp_path):
    def complete(stored):
        return {"encoder": "deterministic", "kernel_size": (12, 12), **stored}

    claim(tmp_path, CONFIG)
    with pytest.raises(WorkdirError, match='encoder: "deterministic" in the work folder, "gaussian" now'):
        claim(tmp_path, changed(encoder="gaussian", kernel_size=(12, 12)), complete=complete)
    claim(tmp_path, changed(encoder="deterministic", kernel_size=(12, 12)), complete=complete)
    assert load_config(tmp_path)["encoder"] == "deterministic"


def test_every_difference_is_listed_with_both_values(tmp_path):
    claim(tmp_path, CONFIG)
    before = (tmp_path / "config.json").read_bytes()
    other = changed(optimizer__learning_rate=0.002, seed=False, data__split="row", batch_size=None, num_epochs=9, new=1)
    del other["tables"]
    with pytest.raises(WorkdirError) as caught:
        claim(tmp_path, other)
    assert [line.strip() for line in str(caught.value).splitlines()[1:]] == [
        "batch_size: 64 in the work folder, null now",
        'data.split: "song" in the work folder, "row" now',
        "new: absent in the work folder, 1 now",
        "optimizer.learning_rate: 0.001 in the work folder, 0.002 now",
        "seed: 0 in the work folder, false now",
        "tables: {} in the work folder, absent now",
    ]
    assert str(tmp_path) in str(caught.value)
    assert (tmp_path / "config.json").read_bytes() == before


def test_free_fields_may_change_and_are_written_down(tmp_path):
    claim(tmp_path, CONFIG)
    now = changed(
        num_train_steps=200, num_epochs=0, log_every_steps=1, eval_every_steps=7, optimizer__betas=[0.5, 0.999]
    )
    claim(tmp_path, now)
    assert load_config(tmp_path) == now
    with pytest.raises(WorkdirError, match="num_train_steps: 200 in the work folder, 300 now"):
        claim(tmp_path, {**now, "num_train_steps": 300}, free_fields=["*_every_steps", "optimizer.*"])
    claim(tmp_path, {**now, "optimizer": {}}, free_fields=["optimizer*"])


def test_data_may_move_but_not_change(tmp_path):
    claim(tmp_path, CONFIG)
    claim(tmp_path, changed(data__path="/music/b"), data_name="moved")
    assert load_config(tmp_path)["data"]["path"] == "/music/b"
    assert json.loads((tmp_path / "data.json").read_text()) == {"digest": "d1", "name": "moved"}
    with pytest.raises(WorkdirError, match="content of the data: digest d1 in the work folder, d2 now"):
        claim(tmp_path, changed(data__path="/music/b"), "d2")
    with pytest.raises(WorkdirError, match=r'data\.path: "/music/b" in the work folder, "/music/c" now\n.*digest d1'):
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


@pytest.mark.parametrize("name", ["config.json", "data.json"])
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "no {} in .*: is this a work folder made by wae_jax.main"),
        (b'{"seed": 0,', "{} cannot be read: Expecting"),
        (b"\xff\xfe", "{} cannot be read: 'utf-8'"),
        (b"[1]", "{} holds a list where a JSON object is expected"),
    ],
)
def test_missing_and_damaged_files_are_told(tmp_path, name, content, told):
    claim(tmp_path, CONFIG)
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(WorkdirError, match=told.format(name)):
        load_config(tmp_path) if name == "config.json" else claim(tmp_path, CONFIG)


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, object])
def test_values_that_json_does_not_know(tmp_path, value):
    with pytest.raises(ValueError, match=r"the field data\.path of the configuration is"):
        claim(tmp_path / "run", changed(data__path=value))
    assert not (tmp_path / "run").exists()
