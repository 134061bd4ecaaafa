from __future__ import annotations

import os
import pathlib

import fsspec
import pytest

from wae_jax.errors import RemoteError
from wae_jax.remote import RemoteFolder, is_url, local_copy

URL = "memory://bucket/run"


@pytest.fixture(autouse=True)
def memory():
    """The file system at memory://, empty."""
    files = fsspec.filesystem("memory")
    files.store.clear()
    files.pseudo_dirs[:] = [""]
    return files


def write(folder: pathlib.Path, **contents: str) -> None:
    """Writes files; `__` in a name stands for the slash and `_DOT_` for a dot."""
    for name, content in contents.items():
        path = folder / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def write_checkpoint(folder: pathlib.Path, step: int, content: str = "x") -> None:
    for name in ("meta/metadata", "state/d/0", "_METADATA"):
        path = folder / "checkpoints" / str(step) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def contents(folder: pathlib.Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_urls_are_told_from_paths():
    assert is_url("gs://bucket/run")
    assert not is_url("runs/gan")
    assert not is_url(pathlib.Path("/tmp/run"))


def test_a_run_comes_back_as_it_was_uploaded(tmp_path):
    write(tmp_path / "a", config_DOT_json="c", run_DOT_json="r", metrics_DOT_jsonl="m", samples__x_DOT_mid="s")
    write(tmp_path / "a", _DOT_lock="l", evaluation__evaluation_DOT_json="e")
    write_checkpoint(tmp_path / "a", 10)
    write_checkpoint(tmp_path / "a", 9)
    write(tmp_path / "a" / "checkpoints", **{"11_DOT_orbax-checkpoint-tmp__x": "u", "8_DOT_damaged__x": "d"})
    RemoteFolder(URL).upload_run(tmp_path / "a")
    uploaded = {name: text for name, text in contents(tmp_path / "a").items() if text not in "lud"}
    assert RemoteFolder(URL).names() == sorted(uploaded)
    RemoteFolder(URL).download_run(tmp_path / "b")
    assert contents(tmp_path / "b") == {name: text for name, text in uploaded.items() if text != "s"}
    assert contents(local_copy(URL)) == contents(tmp_path / "b")


def test_only_changes_are_uploaded_and_removed_checkpoints_are_removed(tmp_path, memory, monkeypatch):
    write(tmp_path, metrics_DOT_jsonl="1", config_DOT_json="c")
    write_checkpoint(tmp_path, 1)
    remote = RemoteFolder(URL)
    remote.upload_run(tmp_path)
    done = []
    monkeypatch.setattr(type(memory), "put_file", record(done, memory.put_file))
    monkeypatch.setattr(type(memory), "rm_file", record(done, memory.rm_file))
    remote.upload_run(tmp_path)
    assert done == []
    write(tmp_path, metrics_DOT_jsonl="12")
    write_checkpoint(tmp_path, 2)
    for path in sorted((tmp_path / "checkpoints" / "1").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    remote.upload_run(tmp_path)
    # In this order, a kill anywhere leaves metrics beyond the newest complete checkpoint, and always a complete one.
    at = "/bucket/run/checkpoints"
    assert done == [
        str(tmp_path / "metrics.jsonl"),
        *(str(tmp_path / "checkpoints/2" / name) for name in ("_METADATA", "state/d/0", "meta/metadata")),
        *(f"{at}/1/{name}" for name in ("meta/metadata", "state/d/0", "_METADATA")),
    ]


def record(done: list[str], method):
    def recorded(self, path, *arguments, **options):
        done.append(path)
        return method(path, *arguments, **options)

    return recorded


def test_an_incomplete_checkpoint_is_not_read_and_is_uploaded_anew(tmp_path, memory):
    write(tmp_path / "a", config_DOT_json="c")
    write_checkpoint(tmp_path / "a", 1)
    write_checkpoint(tmp_path / "a", 2)
    RemoteFolder(URL).upload_run(tmp_path / "a")
    memory.rm_file("/bucket/run/checkpoints/2/meta/metadata")
    memory.pipe_file("/bucket/run/checkpoints/2/state/d/left_over", b"")
    remote = RemoteFolder(URL)
    remote.download_run(tmp_path / "b")
    assert sorted(os.listdir(tmp_path / "b" / "checkpoints")) == ["1"]
    write_checkpoint(tmp_path / "b", 2, "new")
    remote.upload_run(tmp_path / "b")
    RemoteFolder(URL).download_run(tmp_path / "c")
    assert contents(tmp_path / "c") == contents(tmp_path / "b")
    assert "checkpoints/2/state/d/left_over" not in remote.names()


def test_a_single_file_is_copied(memory):
    memory.pipe_file("/bucket/model.npz", b"model")
    path = local_copy("memory://bucket/model.npz")
    assert path.name == "model.npz"
    assert path.read_bytes() == b"model"


def test_local_paths_are_left_alone():
    assert local_copy("runs/gan") == pathlib.Path("runs/gan")


def test_what_cannot_be_reached_is_named(tmp_path):
    with pytest.raises(RemoteError, match=r"there is nothing at memory://bucket/none; expected a workdir"):
        local_copy("memory://bucket/none")
    with pytest.raises(RemoteError, match=r"nowhere://x could not be opened \(ValueError: Protocol not known: nowhere"):
        RemoteFolder("nowhere://x")
    with pytest.raises(RemoteError, match=r"memory://bucket/run could not be read: a\.json \(FileNotFoundError"):
        RemoteFolder(URL).download(["a.json"], tmp_path)
    assert contents(tmp_path) == {}
