"""Damaged checkpoints, and checkpoints of another state, are noticed, named and skipped."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from tests.training.checkpoints import (
    METRIC,
    assert_same,
    damage,
    data_files,
    flip_bit,
    make_state,
    save_steps,
    tree_of,
)
from wae_jax.errors import CheckpointError
from wae_jax.training.checkpoint import Checkpointer

# After a failed read or write, tensorstore's threads report that orbax has closed its event loop.
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in. None:pytest.PytestUnraisableExceptionWarning")


def test_every_flipped_bit_is_noticed_or_harmless(tmp_path):
    save_steps(tmp_path / "good", 1)
    state, noticed = make_state(1), []
    for path in data_files(tmp_path / "good" / "1"):
        size = path.stat().st_size
        for position in (0, size // 2, size - 1):
            shutil.copytree(tmp_path / "good", tmp_path / "bad")
            flip_bit(tmp_path / "bad" / path.relative_to(tmp_path / "good"), position)
            try:
                restored, _ = Checkpointer(tmp_path / "bad", read_only=True).restore(1, state)
            except CheckpointError:
                noticed.append(path)
            else:
                assert_same(restored, state)
            shutil.rmtree(tmp_path / "bad")
    # Sooner or later every item shows: the JSON, the tree's description, the index and the numbers.
    assert {path.name for path in noticed} >= {"metadata", "_METADATA", "manifest.ocdbt"}
    assert data_files(tmp_path / "good" / "1")[-1] in noticed


def test_what_orbax_does_not_notice_is_named(tmp_path):
    save_steps(tmp_path, 1)
    damage(tmp_path, 1)
    with pytest.raises(CheckpointError, match=r"/1: leaf autoencoder/params/conv/kernel is damaged: its sha256 is"):
        Checkpointer(tmp_path).restore(1, make_state(1))


def test_an_altered_number_in_the_meta_is_noticed(tmp_path):
    with Checkpointer(tmp_path) as checkpointer:
        checkpointer.save(1, {"w": np.ones(2)}, {METRIC: 1.5})
        checkpointer.wait()
        path = tmp_path / "1" / "meta" / "metadata"
        path.write_text(path.read_text().replace("1.5", "0.5"))
        with pytest.raises(CheckpointError, match="/1: its item meta is damaged"):
            checkpointer.restore(1, {"w": np.ones(2)})
    assert Checkpointer(tmp_path).best_step() is None


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ({"a": np.zeros((2, 4), np.float32)}, r"a is float32\[2, 3\] where float32\[2, 4\] is expected"),
        ({"a": np.zeros((2, 3), np.float16)}, r"a is float32\[2, 3\] where float16\[2, 3\] is expected"),
        ({"a": np.zeros((2, 3), np.float32), "n": {"b": np.zeros(1)}}, "n/b is missing"),
        ({}, r"a is float32\[2, 3\] where nothing is expected"),
    ],
)
def test_another_state_is_refused_not_skipped(tmp_path, target, expected):
    with Checkpointer(tmp_path) as checkpointer:
        checkpointer.save(1, {"a": np.zeros((2, 3), np.float32)})
        checkpointer.save(2, {"a": np.zeros((2, 3), np.float32)})
        for restore in (checkpointer.restore_latest, lambda state: checkpointer.restore(2, state)):
            with pytest.raises(CheckpointError, match=rf"/2 holds another state.*{expected}"):
                restore(target)
        assert checkpointer.all_steps() == [1, 2]


def test_another_state_is_skipped_where_an_earlier_one_is_right(tmp_path):
    target = {"a": np.ones((2, 3), np.float32)}
    with Checkpointer(tmp_path, keep_latest=3) as checkpointer:
        checkpointer.save(1, target)
        checkpointer.save(2, {"a": np.ones((2, 4), np.float32)})
        with pytest.warns(UserWarning, match=r"step 2 \(renamed to .*2\.damaged\): .*a is float32\[2, 4\]"):
            assert_same(checkpointer.restore_latest(target)[0], target)
        checkpointer.save(2, target)
        assert checkpointer.all_steps() == [1, 2]


@pytest.mark.parametrize(
    "other", [np.zeros((2, 4), np.float32), np.zeros((3, 2), np.float32), np.zeros((2, 3), np.float16)]
)
def test_an_item_of_another_shape_or_type_than_its_meta_says_is_damage(tmp_path, other):
    right = {"a": {"b": np.ones((2, 3), np.float32)}}
    save = {"right": right, "other": {"a": {"b": other}}}
    for name, state in save.items():
        with Checkpointer(tmp_path / name) as checkpointer:
            checkpointer.save(1, right)
            checkpointer.save(2, state)
    shutil.rmtree(tmp_path / "right" / "2" / "state")
    shutil.copytree(tmp_path / "other" / "2" / "state", tmp_path / "right" / "2" / "state")
    with (
        Checkpointer(tmp_path / "right") as checkpointer,
        pytest.warns(UserWarning, match=r"step 2 \(renamed to .*\): .*a[./]b") as warned,
    ):
        assert_same(checkpointer.restore_latest(right)[0], right)
    assert len(warned) == 1


def test_long_lists_of_differences_are_cut(tmp_path):
    with Checkpointer(tmp_path) as checkpointer:
        checkpointer.save(1, {f"w{i}": np.zeros(1) for i in range(11)})
        with pytest.raises(CheckpointError, match=r"w1 is float.* where nothing is expected.*; and 3 more$"):
            checkpointer.restore(1, {})


def test_a_damaged_latest_is_skipped_and_its_step_can_be_saved_again(tmp_path):
    save_steps(tmp_path, 1, 2, 3)
    damage(tmp_path, 3)
    (tmp_path / "2" / "meta" / "metadata").unlink()
    before = tree_of(tmp_path)
    with (
        pytest.warns(UserWarning, match="step 3: .*kernel is damaged"),
        pytest.warns(UserWarning, match="step 2: .*meta cannot be read"),
    ):
        restored, meta = Checkpointer(tmp_path, read_only=True).restore_latest(make_state())
    assert_same(restored, make_state(1))
    assert tree_of(tmp_path) == before

    with Checkpointer(tmp_path, keep_latest=3) as checkpointer:
        with (
            pytest.warns(UserWarning, match=r"step 3 \(renamed to .*3\.damaged\)"),
            pytest.warns(UserWarning, match=r"step 2 \(renamed to .*2\.damaged\)"),
        ):
            restored, meta = checkpointer.restore_latest(make_state())
        assert meta["step"] == 1
        assert checkpointer.all_steps() == [1]
        checkpointer.save(2, make_state(20))
        checkpointer.save(3, make_state(30))
        assert_same(checkpointer.restore_latest(make_state())[0], make_state(30))
        damage(tmp_path, 3)
        with pytest.warns(UserWarning, match=r"renamed to .*3\.damaged_\)"):
            assert_same(checkpointer.restore_latest(make_state())[0], make_state(20))
        checkpointer.save(3, make_state(31))
        assert_same(checkpointer.restore(3, make_state())[0], make_state(31))
    assert (tmp_path / "3.damaged" / "meta").is_dir()


def test_none_good_raises_and_changes_nothing(tmp_path):
    save_steps(tmp_path, 1, 2)
    damage(tmp_path, 1)
    damage(tmp_path, 2)
    before = tree_of(tmp_path)
    with Checkpointer(tmp_path) as checkpointer:
        with pytest.raises(CheckpointError, match=r"(?s)no checkpoint in .* is good.*/2: leaf.*/1: leaf"):
            checkpointer.restore_latest(make_state())
        assert checkpointer.all_steps() == [1, 2]
    assert tree_of(tmp_path) == before


def test_a_reader_copes_with_a_step_that_vanishes(tmp_path, monkeypatch):
    save_steps(tmp_path, 1, 2)
    reader = Checkpointer(tmp_path, read_only=True)
    listed = reader.all_steps

    def vanish() -> list[int]:
        steps = listed()
        shutil.rmtree(tmp_path / "2", ignore_errors=True)
        return steps

    monkeypatch.setattr(reader, "all_steps", vanish)
    assert_same(reader.restore_latest(make_state())[0], make_state(1))
