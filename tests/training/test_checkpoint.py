from __future__ import annotations

import hashlib
import os
import resource

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.training.checkpoints import METRIC, Counters, assert_same, make_state
from wae_jax.errors import CheckpointError
from wae_jax.training.checkpoint import Checkpointer
from wae_jax.training.checkpoint_meta import checkpoint_digest, describe_leaves

# After a failed read or write, tensorstore's threads report that orbax has closed its event loop.
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in. None:pytest.PytestUnraisableExceptionWarning")


def test_state_survives_the_round_trip_bit_for_bit(tmp_path):
    state = make_state()
    mesh = jax.sharding.Mesh(jax.local_devices(), ("batch",))
    on_all = jax.device_put(state, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec()))
    with Checkpointer(tmp_path / "a" / "checkpoints") as checkpointer:
        checkpointer.save(
            3, on_all, {METRIC: 1.5, "eval/f1": np.float32("nan")}, {"data": {"digest": "d"}, "t": (1, 2)}
        )
        restored, meta = checkpointer.restore(3, jax.eval_shape(lambda: state))
        assert_same(restored, state)
    assert meta["step"] == 3
    assert meta["metrics"] == {METRIC: 1.5, "eval/f1": None}
    assert meta["data"] == {"digest": "d"}
    assert meta["t"] == [1, 2]
    with Checkpointer(tmp_path / "a" / "checkpoints", read_only=True) as reader:
        assert_same(reader.restore_latest(state)[0], state)


def test_save_takes_a_copy(tmp_path):
    array = np.arange(200_000, dtype=np.float32)
    with Checkpointer(tmp_path) as checkpointer:
        checkpointer.save(1, {"w": array})
        array[:] = -1
        restored, _ = checkpointer.restore(1, {"w": array})
    np.testing.assert_array_equal(restored["w"], np.arange(200_000, dtype=np.float32))


def test_an_empty_part_that_only_the_checkpoint_has_does_not_matter(tmp_path):
    weights = np.arange(3, dtype=np.float32)
    with Checkpointer(tmp_path) as checkpointer:
        checkpointer.save(1, {"w": weights, "averages": {}})
        restored, _ = checkpointer.restore(1, {"w": np.zeros(3, np.float32)})
        assert restored.keys() == {"w"}
        np.testing.assert_array_equal(restored["w"], weights)
        with pytest.raises(CheckpointError, match=r"averages is missing where float32\[\] is expected"):
            checkpointer.restore(1, {"w": weights, "averages": np.float32(0)})


def test_digests_by_hand():
    found = describe_leaves({"b": jnp.asarray([[1, 2]], jnp.int32), "a": Counters(np.float32(0.5), {})})
    seen, b = hashlib.sha256(b"float32[]\0\0\0\x3f"), hashlib.sha256(b"int32[1, 2]\1\0\0\0\2\0\0\0")
    assert found == {
        "a/seen": {"shape": [], "dtype": "float32", "sha256": seen.hexdigest()},
        "b": {"shape": [1, 2], "dtype": "int32", "sha256": b.hexdigest()},
    }
    lines = f"a/seen {seen.hexdigest()}\nb {b.hexdigest()}\n"
    assert checkpoint_digest(found) == hashlib.sha256(lines.encode()).hexdigest()


def test_latest_and_best_stay_also_after_reopening(tmp_path):
    state = {"w": np.ones(3, np.float32)}
    scores = [(8, 4.0), (10, 1.0), (20, 1.0), (30, None), (40, float("nan")), (50, 3.0)]
    with Checkpointer(tmp_path, keep_latest=1) as checkpointer:
        assert checkpointer.best_step() is None
        for step, score in scores:
            checkpointer.save(step, state, None if score is None else {METRIC: score})
        assert checkpointer.all_steps() == [10, 50]
    with Checkpointer(tmp_path, keep_latest=1) as checkpointer:
        assert (checkpointer.best_step(), checkpointer.all_steps()) == (10, [10, 50])
        checkpointer.save(60, state, {METRIC: 2.0, "other": 0.0})
        checkpointer.save(70, state, {"other": 0.0})
        assert checkpointer.all_steps() == [10, 70]
    with Checkpointer(tmp_path, keep_latest=1, best_metric="other", best_mode="max") as checkpointer:
        assert checkpointer.best_step() == 70
        checkpointer.save(80, state, {"other": 5.0})
        assert checkpointer.all_steps() == [80]


def test_a_step_is_saved_once_and_never_out_of_order(tmp_path):
    with Checkpointer(tmp_path) as checkpointer:
        checkpointer.save(5, {"w": np.zeros(2)})
        checkpointer.save(5, {"w": np.ones(2)})
        restored, _ = checkpointer.restore(5, {"w": np.zeros(2)})
        np.testing.assert_array_equal(restored["w"], np.zeros(2))
        with pytest.raises(CheckpointError, match=r"step 4 was not saved.*already holds the later 5"):
            checkpointer.save(4, {"w": np.ones(2)})


def test_bad_arguments(tmp_path):
    with Checkpointer(tmp_path) as checkpointer:
        with pytest.raises(ValueError, match="cannot be written as JSON"):
            checkpointer.save(1, {"w": np.ones(2)}, meta={"array": np.ones(2)})
        with pytest.raises(ValueError, match="same path"):
            checkpointer.save(1, {"a": {"b": np.ones(2)}, "a/b": np.ones(2)})
        assert checkpointer.all_steps() == []


@pytest.mark.parametrize("name", ["a\\b", "x[1]", "caf\udce9", "a[!b]c"])
def test_a_path_that_orbax_reads_otherwise_is_refused(tmp_path, name):
    with pytest.raises(
        CheckpointError, match=r"orbax would read .* as another name; expected a workdir whose path has"
    ):
        Checkpointer(tmp_path / name / "checkpoints")


@pytest.mark.parametrize("name", ["a$%41 #?", "b[", "c]*", "d{}", "\u202eא🎹", "e\n\x1b", "x" * 255])
def test_any_other_path_holds_checkpoints(tmp_path, name):
    with Checkpointer(tmp_path / name) as checkpointer:
        checkpointer.save(1, {"w": np.arange(3.0)})
    state, _ = Checkpointer(tmp_path / name, read_only=True).restore(1, {"w": np.zeros(3)})
    np.testing.assert_array_equal(state["w"], np.arange(3.0))


def test_nothing_there(tmp_path):
    state = {"w": np.ones(2)}
    for read_only in (False, True):
        with Checkpointer(tmp_path / "none", read_only=read_only) as checkpointer:
            assert checkpointer.restore_latest(state) is None
            assert checkpointer.all_steps() == []
            with pytest.raises(CheckpointError, match=r"no checkpoint of step 7 in .*none; there are \[\]"):
                checkpointer.restore(7, state)
            assert checkpointer.best_step() is None
    with pytest.raises(CheckpointError, match="reading only; step 1 was not saved"):
        checkpointer.save(1, state)
    assert not (tmp_path / "none").exists()


def test_a_failed_write_is_raised_at_the_next_call_and_leaves_the_last_good_one(tmp_path):
    state = {"w": np.random.default_rng(0).normal(size=100_000)}
    checkpointer = Checkpointer(tmp_path)
    checkpointer.save(1, state, {METRIC: 2.0})
    checkpointer.wait()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # stands in for a full disk
    message = r"writing the checkpoint of step {} to {} failed; the checkpoint of step 1 is complete.*File too large"
    try:
        checkpointer.save(2, state, {METRIC: 1.0})
        with pytest.raises(CheckpointError, match=message.format(2, tmp_path)):
            checkpointer.save(3, state)
        assert (checkpointer.all_steps(), checkpointer.best_step()) == ([1], 1)
        checkpointer.save(3, state)
        with pytest.raises(CheckpointError, match=message.format(3, tmp_path)):
            checkpointer.wait()
        assert os.listdir(tmp_path) == ["1"]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    checkpointer.save(3, state, {METRIC: 3.0})
    assert (checkpointer.all_steps(), checkpointer.best_step()) == ([1, 3], 1)
    assert_same(checkpointer.restore_latest(state)[0], state)
    checkpointer.close()


def test_a_full_disk_is_said(tmp_path, monkeypatch):
    def fail(self, *arguments, **options):
        raise ValueError("RESOURCE_EXHAUSTED: Failed to write 613 bytes to file 13: No space left on device [spec]")

    checkpointer = Checkpointer(tmp_path)
    monkeypatch.setattr("orbax.checkpoint.AsyncCheckpointer.save", fail)
    message = (
        f"writing the checkpoint of step 1 to {tmp_path} failed; there is no earlier one. The disk is full: No space"
    )
    with pytest.raises(CheckpointError, match=message):
        checkpointer.save(1, {"w": np.ones(2)})


def test_a_write_that_cannot_begin_is_raised_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        Checkpointer(tmp_path / "file" / "checkpoints") as checkpointer,
        pytest.raises(CheckpointError, match=r"step 1 to .* failed; there is no earlier one.*NotADirectoryError"),
    ):
        checkpointer.save(1, {"w": np.ones(2)})
