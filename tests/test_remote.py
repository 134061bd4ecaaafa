import errno
import os
import pathlib
import sys

import pytest

from tests.shelf import Shelf, objects
from wae_jax import remote
from wae_jax.remote import RemoteError, Store, address_of, is_remote, kept_copy, written_to


def test_addresses_are_told_from_paths():
    assert all(map(is_remote, ["gs://bucket/x", "memory://x", "s3://bucket"]))
    assert not any(map(is_remote, ["runs/x", "/runs/x:1", "C:/runs", "", "gs:/bucket/x"]))


@pytest.mark.parametrize("address", ["memory://store/x", "shelf://bucket/x"])
def test_objects_are_written_read_listed_and_removed(shelf, tmp_path, address):
    store, beside = Store(address + "/"), Store(address + "y")
    assert store.sizes() == {}
    beside.write("other", b"")
    (tmp_path / "file").write_bytes(b"from a file")
    store.write("a", b"12")
    store.write("a", b"123")
    store.put(tmp_path / "file", "deep/er/b")
    assert store.sizes() == {"a": 3, "deep/er/b": 11}
    assert store.sizes("deep") == {"deep/er/b": 11}
    assert store.read("a") == b"123"
    assert store.get("deep/er/b", tmp_path / "new" / "b")
    assert (tmp_path / "new" / "b").read_bytes() == b"from a file"
    assert [store.create("lock", b"one"), store.create("lock", b"other"), store.read("lock")] == [True, False, b"one"]
    for name in ("a", "a", "lock"):
        store.remove(name)
    assert store.read("a") is None
    assert not store.get("a", tmp_path / "new" / "a")
    assert os.listdir(tmp_path / "new") == ["b"]
    assert store.sizes() == {"deep/er/b": 11}
    assert Store(f"{address}/deep/er/b").sizes() == {"": 11}


def test_what_goes_wrong_is_told_with_its_address(shelf, tmp_path, monkeypatch):
    store = Store("shelf://bucket/x")
    store.write("a", b"1")
    (tmp_path / "file").write_bytes(b"1")
    monkeypatch.setattr(Shelf, "fail_at", 0)
    for action, done in [
        (lambda: store.write("a", b"2"), "written"),
        (lambda: store.create("b", b"2"), "written"),
        (lambda: store.put(tmp_path / "file", "a"), f"written from {tmp_path}/file"),
        (lambda: store.remove("a"), "removed"),
    ]:
        with pytest.raises(RemoteError, match=rf"^shelf://bucket/x/. could not be {done} \(ConnectionError: no conn"):
            action()

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Shelf, "get_file", full)
    with pytest.raises(RemoteError, match=rf"x/a could not be copied to {tmp_path}/here .*No space left on device"):
        store.get("a", tmp_path / "here")
    assert not list(tmp_path.glob("*here*"))


def test_a_file_system_that_is_not_installed_is_named_with_its_extra(monkeypatch):
    for package in ("gcsfs", "s3fs"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(RemoteError, match=r"^gs://bucket/x: a package is missing, .* pip install 'wae_jax\[gcs\]'$"):
        Store("gs://bucket/x")
    with pytest.raises(RemoteError, match=r"^s3://bucket/x: a package is missing, .*s3fs"):
        Store("s3://bucket/x")
    with pytest.raises(RemoteError, match=r"nowhere://x cannot be opened .*Protocol not known: nowhere"):
        Store("nowhere://x")


@pytest.mark.parametrize("address", ["gs://", "gs:///"])
def test_an_address_of_nothing_is_refused(address):
    with pytest.raises(RemoteError, match="is no address of a folder or file; expected such as gs://bucket/runs/x"):
        Store(address)


def test_a_copy_has_the_name_of_its_address_and_knows_it(shelf, tmp_path):
    one, again, other = (
        kept_copy(*given) for given in (("gs://b/runs/x", "a"), ("gs://b/runs/x/", "a"), ("gs://b/runs/x", "b"))
    )
    assert one == again != other
    assert {one.name, other.name} == {"x"}
    assert one.is_relative_to(tmp_path / "cache")
    assert address_of(one) == address_of(str(other)) == "gs://b/runs/x"
    assert address_of("runs/x") == "runs/x"
    assert address_of(one / "deeper") == str(one / "deeper")
    with pytest.raises(RemoteError, match=r"gs://b/\.\. has no name at its end"):
        kept_copy("gs://b/..", "a")


def test_copies_are_in_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("WAE_JAX_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert remote.cache_folder() == tmp_path / ".cache" / "wae_jax"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert remote.cache_folder() == tmp_path / "caches" / "wae_jax"


def fill(folder):
    (folder / "deep").mkdir(parents=True)
    for name in ("a", "dataset.json", "z", "deep/b"):
        (folder / name).write_text(name)


def test_a_folder_is_uploaded_with_what_makes_it_whole_at_the_end(shelf, tmp_path):
    for _ in range(2):
        with written_to("shelf://bucket/set") as path:
            assert objects(shelf) == {} or len(Shelf.writes) == 4
            fill(path)
    written = [f"+bucket/set/{name}" for name in ("a", "deep/b", "z", "dataset.json")]
    assert Shelf.writes == [*written, "-bucket/set/dataset.json", *written]
    assert objects(shelf / "bucket" / "set") == {name: name.encode() for name in ("a", "dataset.json", "deep/b", "z")}
    assert os.listdir(tmp_path / "cache") == []
    told = "shelf://bucket/set is there already; choose another, or pass --overwrite"
    with pytest.raises(RemoteError, match=told), written_to("shelf://bucket/set", overwrite=False):
        pytest.fail("entered")


def test_a_file_is_uploaded(shelf):
    with written_to("shelf://bucket/model.npz", overwrite=False) as path:
        assert path.name == "model.npz"
        path.write_bytes(b"12")
    assert objects(shelf) == {"bucket/model.npz": b"12"}


def test_nothing_is_uploaded_of_what_failed_and_nothing_lost_of_what_did_not(shelf, tmp_path):
    def make(then):
        with written_to("shelf://bucket/set") as path:
            fill(path)
            then()

    with pytest.raises(KeyError):
        make(then=lambda: {}["nothing"])
    assert objects(shelf) == {}
    assert os.listdir(tmp_path / "cache") == []
    Shelf.fail_at = 2
    with pytest.raises(RemoteError, match=r"no connection.*; what was to be uploaded is kept in ") as caught:
        make(then=lambda: None)
    path = pathlib.Path(str(caught.value).rpartition(" in ")[2])
    assert objects(path) == {name: name.encode() for name in ("a", "dataset.json", "deep/b", "z")}
    assert "dataset.json" not in objects(shelf / "bucket" / "set")
