from __future__ import annotations

import hashlib
import json
import os
import pathlib
import resource
import shutil
import signal
import socket
import subprocess
import sys
import warnings
from typing import Any, NamedTuple

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import wae_jax
from wae_jax.errors import CheckpointError, CheckpointMismatchError
from wae_jax.training.checkpoint import Checkpointer, steps_to_keep
from wae_jax.training.checkpoint_meta import checkpoint_digest, digests

# After a failed read or write, tensorstore's threads report that orbax has closed its event loop.
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in. None:pytest.PytestUnraisableExceptionWarning")

METRIC = "eval/reconstruction"


@flax.struct.dataclass
class Player:
    params: Any
    batch_stats: Any
    opt_state: Any


class Counters(NamedTuple):
    seen: Any
    key: Any


def make_state(seed: int = 0) -> dict[str, Any]:
    """All kinds of leaves and nodes that a training state may have."""
    rng = np.random.default_rng(seed)
    params = {"conv": {"kernel": jnp.asarray(rng.normal(size=(60, 40)), jnp.float32), "bias": jnp.zeros(40)}}
    tx = optax.chain(optax.clip(1.0), optax.adam(1e-3))
    half = {"scale": jnp.asarray(rng.normal(size=5), jnp.bfloat16)}
    return {
        "step": jnp.asarray(seed, jnp.int32),
        "autoencoder": Player(params, half, tx.init(params)),
        "discriminator": Player({}, {}, tx.init({})),
        "counters": Counters(np.arange(3, dtype=np.uint32), jax.random.key_data(jax.random.key(seed))),
        "nothing": (optax.EmptyState(), None, [], ()),
    }


def assert_same(actual: Any, expected: Any) -> None:
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        other = np.asarray(other)
        assert isinstance(one, np.ndarray)
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        assert one.tobytes() == other.tobytes()


def save_steps(directory: pathlib.Path, *steps: int) -> None:
    with Checkpointer(directory, keep_latest=len(steps)) as checkpointer:
        for step in steps:
            checkpointer.save(step, make_state(step))


def data_files(checkpoint: pathlib.Path) -> list[pathlib.Path]:
    return sorted((path for path in checkpoint.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def flip_bit(path: pathlib.Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 0x10
    path.write_bytes(content)


def damage(directory: pathlib.Path, step: int) -> None:
    """Flips one bit amid the numbers of the largest array, which orbax by itself does not notice."""
    path = data_files(directory / str(step))[-1]
    assert path.stat().st_size > 8000
    flip_bit(path, path.stat().st_size // 2)


def tree_of(directory: pathlib.Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()}


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


def test_digests_by_hand():
    state = {"b": jnp.asarray([[1, 2]], jnp.int32), "a": Counters(np.float32(0.5), {})}
    found = digests(state)
    assert found == {
        "b": hashlib.sha256(b"int32[1, 2]" + bytes([1, 0, 0, 0, 2, 0, 0, 0])).hexdigest(),
        "a/seen": hashlib.sha256(b"float32[]" + bytes([0, 0, 0, 0x3F])).hexdigest(),
    }
    assert digests({"b": jnp.asarray([1, 2], jnp.int32)})["b"] != found["b"]


def test_checkpoint_digest_tells_states_apart_and_nothing_else(tmp_path):
    state, other = make_state(0), make_state(0)
    other["counters"].seen[1] += 1
    with Checkpointer(tmp_path, keep_latest=3) as checkpointer:
        checkpointer.save(1, state)
        checkpointer.save(2, state, {METRIC: 1.0}, {"note": "x"})
        checkpointer.save(3, other)
        first, second, third = (checkpoint_digest(checkpointer.restore(step, state)[1]) for step in (1, 2, 3))
    assert first == second != third
    lines = "".join(f"{path} {digest}\n" for path, digest in sorted(digests(state).items()))
    assert first == hashlib.sha256(lines.encode()).hexdigest()


@pytest.mark.parametrize(
    ("scores", "latest", "mode", "expected"),
    [
        ({}, 1, "min", set()),
        ({1: 3.0, 2: 1.0, 3: 2.0, 4: None}, 1, "min", {2, 4}),
        ({1: 3.0, 2: 1.0, 3: 2.0, 4: None}, 1, "max", {1, 4}),
        ({1: 3.0, 2: 1.0, 3: 2.0, 4: None}, 2, "min", {2, 3, 4}),
        ({1: None, 2: None, 3: None}, 1, "min", {3}),
        ({1: 1.0, 2: 1.0, 3: 1.0}, 1, "max", {1, 3}),
        ({9: 1.0, 10: 2.0, 8: 3.0}, 1, "max", {8, 10}),
    ],
)
def test_steps_to_keep(scores, latest, mode, expected):
    assert steps_to_keep(scores, keep_latest=latest, best_mode=mode) == expected


def test_latest_and_best_stay_also_after_reopening(tmp_path):
    state = {"w": np.ones(3, np.float32)}
    scores = [(10, 4.0), (20, 1.0), (30, None), (40, float("nan")), (50, 3.0)]
    with Checkpointer(tmp_path, keep_latest=1) as checkpointer:
        assert checkpointer.best_step() is None
        for step, score in scores:
            checkpointer.save(step, state, None if score is None else {METRIC: score})
        assert checkpointer.all_steps() == [20, 50]
    with Checkpointer(tmp_path, keep_latest=1) as checkpointer:
        assert (checkpointer.best_step(), checkpointer.all_steps()) == (20, [20, 50])
        checkpointer.save(60, state, {METRIC: 2.0, "other": 0.0})
        checkpointer.save(70, state, {"other": 0.0})
        assert checkpointer.all_steps() == [20, 70]
        assert checkpointer.restore_best(state)[1]["step"] == 20
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
    with pytest.raises(ValueError, match="best_mode is 'least'"):
        Checkpointer(tmp_path, best_mode="least")
    with pytest.raises(ValueError, match="keep_latest is 0"):
        Checkpointer(tmp_path, keep_latest=0)
    with Checkpointer(tmp_path) as checkpointer:
        with pytest.raises(ValueError, match=r"fields \['step'\]"):
            checkpointer.save(1, {"w": np.ones(2)}, meta={"step": 1})
        with pytest.raises(ValueError, match="cannot be written as JSON"):
            checkpointer.save(1, {"w": np.ones(2)}, meta={"array": np.ones(2)})
        with pytest.raises(ValueError, match="same path"):
            checkpointer.save(1, {"a": {"b": np.ones(2)}, "a/b": np.ones(2)})
        checkpointer.save(1, {"w": np.ones(2)})
        assert checkpointer.all_steps() == [1]


def test_nothing_there(tmp_path):
    state = {"w": np.ones(2)}
    for read_only in (False, True):
        with Checkpointer(tmp_path / "none", read_only=read_only) as checkpointer:
            assert checkpointer.restore_latest(state) is None
            assert checkpointer.all_steps() == []
            with pytest.raises(CheckpointError, match=r"no checkpoint of step 7 in .*none; there are \[\]"):
                checkpointer.restore(7, state)
            with pytest.raises(CheckpointError, match="has the metric 'eval/reconstruction'"):
                checkpointer.restore_best(state)
    with pytest.raises(CheckpointError, match="reading only; step 1 was not saved"):
        checkpointer.save(1, state)
    assert not (tmp_path / "none").exists()


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


@pytest.mark.parametrize("how", ["truncated", "missing"])
def test_truncated_and_missing_files(tmp_path, how):
    save_steps(tmp_path / "good", 1)
    state = make_state(1)
    needed = [path for path in data_files(tmp_path / "good" / "1") if path.name in ("metadata", "_METADATA")]
    needed += [tmp_path / "good" / "1" / "state" / "manifest.ocdbt", data_files(tmp_path / "good" / "1")[-1]]
    for path in needed:
        shutil.copytree(tmp_path / "good", tmp_path / "bad")
        victim = tmp_path / "bad" / path.relative_to(tmp_path / "good")
        if how == "missing":
            victim.unlink()
        else:
            os.truncate(victim, victim.stat().st_size // 2)
        with pytest.raises(CheckpointError, match="cannot be read"):
            Checkpointer(tmp_path / "bad", read_only=True).restore(1, state)
        shutil.rmtree(tmp_path / "bad")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ({"a": np.zeros((2, 4), np.float32)}, r"a is float32\[2, 3\] where float32\[2, 4\] is expected"),
        ({"a": np.zeros((2, 3), np.float16)}, r"a is float32\[2, 3\] where float16\[2, 3\] is expected"),
        ({"a": np.zeros((2, 3), np.float32), "n": {"b": np.zeros(1)}}, "n/b is missing"),
        ({}, "a is not expected"),
    ],
)
def test_another_state_is_refused_not_skipped(tmp_path, target, expected):
    with Checkpointer(tmp_path) as checkpointer:
        checkpointer.save(1, {"a": np.zeros((2, 3), np.float32)})
        checkpointer.save(2, {"a": np.zeros((2, 3), np.float32)})
        for restore in (checkpointer.restore_latest, lambda state: checkpointer.restore(2, state)):
            with pytest.raises(CheckpointMismatchError, match=rf"/2 holds another state.*{expected}"):
                restore(target)
        assert checkpointer.all_steps() == [1, 2]


def test_another_state_is_skipped_where_an_earlier_one_is_right(tmp_path):
    with Checkpointer(tmp_path, keep_latest=3) as checkpointer:
        checkpointer.save(1, {"a": np.ones((2, 3), np.float32)})
        checkpointer.save(2, {"a": np.ones((2, 4), np.float32)})
        checkpointer.save(3, {"a": np.ones((2, 3), np.float16)})
    target = {"a": np.zeros((2, 3), np.float32)}
    with (
        pytest.warns(UserWarning, match=r"step 3: .*a is float16\[2, 3\] where float32\[2, 3\]"),
        pytest.warns(UserWarning, match=r"step 2: .*a is float32\[2, 4\] where float32\[2, 3\]"),
        Checkpointer(tmp_path, read_only=True) as reader,
    ):
        assert_same(reader.restore_latest(target)[0], {"a": np.ones((2, 3), np.float32)})
    with Checkpointer(tmp_path, keep_latest=3) as checkpointer:
        with (
            pytest.warns(UserWarning, match=r"step 3 \(renamed to .*3\.damaged\)"),
            pytest.warns(UserWarning, match=r"step 2 \(renamed to .*2\.damaged\)"),
        ):
            assert checkpointer.restore_latest(target)[1]["step"] == 1
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
        with pytest.raises(CheckpointMismatchError, match=r"w1 is not expected.*; and 3 more$"):
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


def test_a_failed_write_is_told_at_the_next_call_and_leaves_the_last_good_one(tmp_path):
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


def test_a_write_that_cannot_begin_is_told_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        Checkpointer(tmp_path / "file" / "checkpoints") as checkpointer,
        pytest.raises(CheckpointError, match=r"step 1 to .* failed; there is no earlier one.*NotADirectoryError"),
    ):
        checkpointer.save(1, {"w": np.ones(2)})


def start(script: str, *arguments: object) -> subprocess.Popen:
    """Runs a script in another process, with one device."""
    root = pathlib.Path(wae_jax.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": str(root), "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "1"}
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", script, *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


KILLED = """
import os, pathlib, signal, sys, threading
import numpy as np
from wae_jax.training.checkpoint import Checkpointer

directory = pathlib.Path(sys.argv[1])

def kill_in_the_middle():
    while not list(directory.glob("2.*/**/ocdbt.process_0")):
        pass
    os.kill(os.getpid(), signal.SIGKILL)

checkpointer = Checkpointer(directory)
checkpointer.save(1, {"w": np.arange(10.0)})
checkpointer.wait()
threading.Thread(target=kill_in_the_middle).start()
checkpointer.save(2, {"w": np.random.default_rng(0).normal(size=8_000_000)})
checkpointer.wait()
"""


def test_kill_in_the_middle_of_a_save_leaves_the_earlier_step(tmp_path):
    process = start(KILLED, tmp_path)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, errors
    assert [path.name.split("-")[0] for path in sorted(tmp_path.iterdir())] == ["1", "2.orbax"]
    state = {"w": np.arange(10.0)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        restored, meta = Checkpointer(tmp_path, read_only=True).restore_latest(state)
    assert meta["step"] == 1
    assert_same(restored, state)
    with Checkpointer(tmp_path) as checkpointer:
        checkpointer.save(2, state)
    assert sorted(os.listdir(tmp_path)) == ["1", "2"]


TOGETHER = """
import json, pathlib, sys, warnings
import jax
import numpy as np
from jax.experimental import multihost_utils
index, port, directory = int(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3])
jax.distributed.initialize(f"localhost:{port}", num_processes=2, process_id=index)
from wae_jax.errors import DeviceError
from wae_jax.training.checkpoint import Checkpointer

def state(step):
    return {"w": jax.numpy.full(3, step, jax.numpy.float32), "empty": {}}

def save(step, value):
    checkpointer.save(step, state(value))
    checkpointer.wait()
    multihost_utils.sync_global_devices("saved")

found = []
with Checkpointer(directory) as checkpointer:
    found.append(checkpointer.restore_latest(state(0)))
    save(1, 1)
    save(2, 2)
    found.append(checkpointer.all_steps())
    multihost_utils.sync_global_devices("listed")
    if index == 0:
        (directory / "2" / "meta" / "metadata").write_text("{")
    multihost_utils.sync_global_devices("damaged")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        restored, meta = checkpointer.restore_latest(state(0))
    found += [restored["w"].tolist(), meta["step"]]
    save(2, 5)
    found.append(checkpointer.restore(2, state(0))[0]["w"].tolist())
try:
    Checkpointer(directory if index == 0 else directory / "elsewhere").restore_latest(state(0))
except DeviceError as error:
    found.append(str(error))
print(json.dumps(found))
"""


@pytest.mark.slow
def test_two_processes_save_skip_and_restore_together(tmp_path):
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    processes = [start(TOGETHER, index, port, tmp_path) for index in range(2)]
    try:
        results = [process.communicate(timeout=60) for process in processes]
    finally:
        for process in processes:
            process.kill()
    for output, errors in results:
        assert output.endswith("]\n"), errors
        found = json.loads(output.splitlines()[-1])
        assert found[:-1] == [None, [1, 2], [1.0, 1.0, 1.0], 1, [5.0, 5.0, 5.0]]
        assert "newest good checkpoint: 2 in process 0; null in process 1" in found[-1]
    assert sorted(os.listdir(tmp_path)) == ["1", "2", "2.damaged"]
