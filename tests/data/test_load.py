from __future__ import annotations

import json

import fsspec
import numpy as np
import pytest

from wae_jax.data.dataset import load_dataset
from wae_jax.data.load import local_dataset
from wae_jax.errors import DatasetError, RemoteError

URL = "memory://bucket/data"


@pytest.fixture
def remote(small_data, tmp_path, monkeypatch):
    """A data set at memory://, and an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    files = fsspec.filesystem("memory")
    files.store.clear()
    for name in ("dataset.json", "phrases.npy", "index.tsv"):
        files.pipe_file(f"/bucket/data/{name}", (small_data / name).read_bytes())
    return files


def test_a_dataset_is_copied_once(remote, small_data, tmp_path):
    folder = local_dataset(URL)
    assert folder.is_relative_to(tmp_path / "cache" / "wae_jax")
    copy, original = load_dataset(folder), load_dataset(small_data)
    assert copy.digest == original.digest
    np.testing.assert_array_equal(copy.phrases, original.phrases)
    remote.rm_file("/bucket/data/phrases.npy")
    assert local_dataset(f"{URL}/") == folder


def test_a_changed_dataset_is_copied_again(remote):
    folder = local_dataset(URL)
    description = json.loads(remote.cat_file("/bucket/data/dataset.json"))
    remote.pipe_file("/bucket/data/dataset.json", json.dumps({**description, "note": "new"}).encode())
    remote.rm_file("/bucket/data/index.tsv")
    with pytest.raises(RemoteError, match=r"index\.tsv"):
        local_dataset(URL)
    remote.pipe_file("/bucket/data/index.tsv", b"")
    assert json.loads((local_dataset(URL) / "dataset.json").read_text())["note"] == "new"
    assert (folder / "index.tsv").read_bytes() == b""


def test_damaged_phrases_are_refused_each_time(remote):
    content = bytearray(remote.cat_file("/bucket/data/phrases.npy"))
    content[-1] ^= 1
    remote.pipe_file("/bucket/data/phrases.npy", bytes(content))
    for _ in range(2):
        with pytest.raises(DatasetError, match=r"memory://bucket/data: phrases\.npy has sha256 .*promises"):
            local_dataset(URL)


def test_a_missing_dataset_is_named(remote):
    with pytest.raises(RemoteError, match=r"memory://bucket/other could not be read: dataset\.json"):
        local_dataset("memory://bucket/other")
