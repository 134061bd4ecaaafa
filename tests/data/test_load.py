from __future__ import annotations

import json

import fsspec
import numpy as np
import pytest

from wae_jax.config import DataSpec
from wae_jax.data.dataset import load_dataset
from wae_jax.data.load import local_dataset, open_data
from wae_jax.errors import DatasetError, RemoteError
from wae_jax.pianoroll import unpack

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


def test_the_built_in_corpus_is_in_one_tonality_or_in_all_keys():
    in_c, in_all = (open_data(DataSpec(num_songs=20, phrases_per_song=1, tonality=name)) for name in ("c", "all"))
    assert (in_c.tonality, in_all.tonality) == ("c", "all")
    assert DataSpec().tonality == "c"
    # C sharp, E flat and F sharp are in no chord of C major and A minor.
    for data, expected in ((in_c, False), (in_all, True)):
        pitches = unpack(np.asarray(data.phrases))[..., 1:].any(axis=(0, 1, 3)).reshape(7, 12)
        assert pitches[:, [1, 3, 6]].any() == expected


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


def test_phrases_with_a_damaged_header_are_refused(remote):
    content = remote.cat_file("/bucket/data/phrases.npy")
    remote.pipe_file("/bucket/data/phrases.npy", content.replace(b"}", b" ", 1))  # a dictionary that never ends
    with pytest.raises(DatasetError, match="memory://bucket/data is no dataset made by build_dataset, or a damaged"):
        local_dataset(URL)


def test_a_missing_dataset_is_named(remote):
    with pytest.raises(RemoteError, match=r"memory://bucket/other could not be read: dataset\.json"):
        local_dataset("memory://bucket/other")
