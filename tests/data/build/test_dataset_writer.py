from __future__ import annotations

import errno
import hashlib
import json
import os
import stat

import numpy as np
import pytest

from wae_jax.data import dataset
from wae_jax.data.build import dataset_writer
from wae_jax.errors import DatasetError

NAMES = ("phrases.npy", "dataset.json", "index.tsv", "skipped.tsv")


def fill(folder, value=1):
    folder.mkdir(exist_ok=True)
    np.save(folder / "phrases.npy", np.full((1, 10080), value, np.uint8))
    description = {
        "format": dataset.FORMAT,
        "format_version": dataset.FORMAT_VERSION,
        "num_phrases": 1,
        "tracks": ["Drums", "Piano", "Guitar", "Bass", "Strings"],
        "splits": {"train": [0, 1]},
        "phrases_sha256": "",
    }
    (folder / "dataset.json").write_text(json.dumps(description))
    for name in NAMES[2:]:
        (folder / name).write_text("row\n")


def make(output, *, value=1, overwrite=False, then=lambda: None):
    with dataset_writer.staging_folder(output, overwrite=overwrite) as staging:
        fill(staging.folder, value)
        then()


def content(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_appears_whole_and_only_at_the_end(tmp_path):
    output = tmp_path / "deep" / "er" / "set"
    with dataset_writer.staging_folder(output) as staging:
        fill(staging.folder)
        (staging.scratch / "rows").write_text("on the way")
        assert not output.exists()
        assert staging.scratch.parent == output.parent
    assert content(tmp_path) == {"deep", "deep/er", "deep/er/set", *(f"deep/er/set/{name}" for name in NAMES)}


def test_may_be_entered_by_others(tmp_path):
    (tmp_path / "plain").mkdir()
    make(tmp_path / "set")
    assert stat.S_IMODE((tmp_path / "set").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, ValueError, OSError])
def test_leaves_nothing_behind_where_it_fails(tmp_path, error):
    def fail():
        raise error

    with pytest.raises(error):
        make(tmp_path / "set", then=fail)
    assert content(tmp_path) == set()


def test_an_empty_folder_is_used(tmp_path):
    (tmp_path / "set").mkdir()
    make(tmp_path / "set")
    assert content(tmp_path / "set") == set(NAMES)


def test_a_link_to_a_folder_stays_a_link(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "set").symlink_to(tmp_path / "disk" / "music")
    make(tmp_path / "set")
    assert (tmp_path / "set").is_symlink()
    assert content(tmp_path / "disk" / "music") == set(NAMES)


def test_a_dataset_is_replaced_only_on_request(tmp_path):
    fill(tmp_path / "set", value=1)
    with pytest.raises(DatasetError, match=r"already holds a dataset; .*--overwrite"):
        make(tmp_path / "set", value=2, then=lambda: pytest.fail("entered"))
    with dataset_writer.staging_folder(tmp_path / "set", overwrite=True) as staging:
        fill(staging.folder, value=2)
        assert dataset.load_dataset(tmp_path / "set").phrases[0, 0] == 1
    assert dataset.load_dataset(tmp_path / "set").phrases[0, 0] == 2
    assert content(tmp_path) == {"set", *(f"set/{name}" for name in NAMES)}


def test_a_failed_replacement_leaves_the_old_one(tmp_path):
    fill(tmp_path / "set", value=1)
    with pytest.raises(KeyError):
        make(tmp_path / "set", value=2, overwrite=True, then=lambda: {}["nothing"])
    assert dataset.load_dataset(tmp_path / "set").phrases[0, 0] == 1
    assert content(tmp_path) == {"set", *(f"set/{name}" for name in NAMES)}


def test_the_old_one_comes_back_where_the_last_rename_fails(tmp_path):
    fill(tmp_path / "set", value=1)
    staging = dataset_writer.StagingFolder(tmp_path / "scratch" / "gone", tmp_path / "scratch")
    staging.scratch.mkdir()
    with pytest.raises(FileNotFoundError):
        dataset_writer._publish(staging, tmp_path / "set")
    assert dataset.load_dataset(tmp_path / "set").phrases[0, 0] == 1


def test_other_folders_are_never_deleted(tmp_path):
    (tmp_path / "file").write_text("notes")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").write_text("cat")
    fill(tmp_path / "mixed")
    (tmp_path / "mixed" / "notes.txt").write_text("notes")
    fill(tmp_path / "damaged")
    (tmp_path / "damaged" / "dataset.json").write_text("{")
    before = content(tmp_path)
    for name, message in [
        ("file", "is a file"),
        ("photos", "holds something other than a dataset"),
        ("mixed", "holds notes.txt beside a dataset"),
        ("damaged", "holds something other than a dataset .*cannot be read as JSON"),
    ]:
        for overwrite in (False, True):
            with pytest.raises(DatasetError, match=message):
                make(tmp_path / name, overwrite=overwrite, then=lambda: pytest.fail("entered"))
    assert content(tmp_path) == before


def test_what_appears_meanwhile_is_left_alone(tmp_path):
    with pytest.raises(DatasetError, match="already holds a dataset"):
        make(tmp_path / "set", value=2, then=lambda: fill(tmp_path / "set", value=1))
    assert dataset.load_dataset(tmp_path / "set").phrases[0, 0] == 1


def test_a_disk_that_is_full_only_at_the_end_leaves_nothing(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        make(tmp_path / "set")
    assert content(tmp_path) == set()


def test_rows_are_copied_in_the_requested_order(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset_writer, "_ROWS_AT_A_TIME", 2)
    rows = np.random.default_rng(0).integers(0, 256, (6, 10080), np.uint8)
    order = np.array([5, 0, 3, 2, 1])
    (tmp_path / "rows").write_bytes(rows.tobytes())
    digest = dataset_writer.copy_phrases(tmp_path / "rows", order, tmp_path / "phrases.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "phrases.npy"), rows[order])
    assert digest == hashlib.sha256(rows[order].tobytes()).hexdigest()


def test_escaped_text_stays_in_its_line_and_comes_back(tmp_path):
    names = ["plain é name.npz", "tab\there", "line\nfeed\r\x0b\x85\u2028", r"back\slash\n", "\udcff", "\x1b[31m"]
    dataset_writer.write_tsv(tmp_path / "a.tsv", [(name, "x") for name in names])
    text = (tmp_path / "a.tsv").read_text(encoding="utf-8")
    assert [line.count("\t") for line in text.splitlines()] == [1] * len(names)
    assert text.startswith("plain é name.npz\tx\ntab\\there\tx\n")
    for name, line in zip(names[1:], text.splitlines()[1:], strict=True):
        assert line.split("\t")[0].encode("latin1").decode("unicode_escape") == name
