import hashlib
import json
import pathlib
import shutil
import threading

import numpy as np
import pytest

from tests.shelf import Shelf, objects
from wae_jax.data_source import fetch_data, open_data
from wae_jax.dataset import DatasetError, load_dataset
from wae_jax.remote import Store

ADDRESS = "shelf://bucket/data"


@pytest.fixture
def there(small_data, shelf):
    """The objects of a data set."""
    shutil.copytree(small_data, shelf / "bucket" / "data")
    return shelf / "bucket" / "data"


@pytest.fixture
def fetched(monkeypatch):
    """The names of the objects that were copied."""
    names: list[str] = []
    get = Store.get
    monkeypatch.setattr(Store, "get", lambda store, name, path: names.append(name) or get(store, name, path))
    return names


def test_it_is_fetched_once(small_data, there, fetched, tmp_path):
    folder = fetch_data(ADDRESS)
    assert fetched == ["phrases.npy", "index.tsv", "skipped.tsv"]
    assert objects(folder) == {name: data for name, data in objects(small_data).items() if not name.startswith(".")}
    assert fetch_data(f"{ADDRESS}/") == folder
    assert len(fetched) == 3
    data, expected = load_dataset(folder), load_dataset(small_data)
    assert (data.name, data.digest) == (ADDRESS, expected.digest)
    np.testing.assert_array_equal(data.phrases, expected.phrases)
    assert data.read_songs() == expected.read_songs()
    assert sorted(path.name for path in folder.parent.iterdir()) == [".address", ".used", "data"]


def test_a_run_reads_it_from_there(small_data, there):
    open_data.cache_clear()
    data = open_data(ADDRESS, num_songs=1, phrases_per_song=1)
    assert (data.name, data.digest) == (ADDRESS, load_dataset(small_data).digest)
    open_data.cache_clear()


def test_another_data_set_of_the_same_name_is_fetched_again(there, fetched):
    fetch_data(ADDRESS)
    rows = np.load(there / "phrases.npy")[::-1]
    np.save(there / "phrases.npy", rows)
    description = json.loads((there / "dataset.json").read_text())
    description["phrases_sha256"] = hashlib.sha256(np.ascontiguousarray(rows)).hexdigest()
    (there / "dataset.json").write_text(json.dumps(description))
    folder = fetch_data(ADDRESS)
    assert len(fetched) == 6
    np.testing.assert_array_equal(load_dataset(folder).phrases, rows)


def test_what_is_damaged_on_its_way_is_not_kept(there, fetched, monkeypatch):
    good = (there / "phrases.npy").read_bytes()
    for damage, told in [
        (good[:-1] + bytes([good[-1] ^ 1]), rf"^{ADDRESS}/phrases.npy has rows of sha256 .* and dataset.json promises"),
        (good[:-1], rf"^{ADDRESS}/phrases.npy cannot be read"),
    ]:
        (there / "phrases.npy").write_bytes(damage)
        with pytest.raises(DatasetError, match=told):
            fetch_data(ADDRESS)
    (there / "phrases.npy").write_bytes(good)
    before = len(fetched)
    assert (fetch_data(ADDRESS) / "phrases.npy").read_bytes() == good
    assert len(fetched) == before + 3


def test_what_broke_off_is_cleared_away(there, tmp_path, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)  # as if it had been killed
        patch.setattr(Shelf, "get_file", interrupt)
        with pytest.raises(KeyboardInterrupt):
            fetch_data(ADDRESS)
    [left] = (tmp_path / "cache").glob("*/.data.*.partial")
    folder = fetch_data(ADDRESS)
    assert not left.exists()
    assert load_dataset(folder).name == ADDRESS


def test_processes_of_one_machine_share_a_copy(there, fetched):
    folders: list[pathlib.Path] = []
    threads = [threading.Thread(target=lambda: folders.append(fetch_data(ADDRESS))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(folders) == 4
    assert len(set(folders)) == 1
    assert fetched == ["phrases.npy", "index.tsv", "skipped.tsv"]


def test_what_is_no_data_set_is_told(shelf, monkeypatch):
    with pytest.raises(DatasetError, match=f"^{ADDRESS} holds no dataset.json; expected a folder made by"):
        fetch_data(ADDRESS)

    def unreachable(*_, **__):
        raise ConnectionError("no route")

    monkeypatch.setattr(Shelf, "cat_file", unreachable)
    with pytest.raises(DatasetError, match=rf"^{ADDRESS}/dataset.json could not be read \(ConnectionError: no route\)"):
        fetch_data(ADDRESS)
