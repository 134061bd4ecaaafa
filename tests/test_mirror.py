"""Work folders at an address, with files that stand for a run's. Real runs are in `test_remote_runs.py`."""

import dataclasses
import json
import pathlib
import shutil

import pytest

from tests.helpers import assert_same_run, read_metrics, tiny_config
from tests.shelf import Shelf, objects
from wae_jax import remote_lock
from wae_jax.mirror import MirroredWorkdir, complete_steps, describe_checkpoint, open_workdir, pull
from wae_jax.remote import RemoteError, Store
from wae_jax.train import train_and_evaluate
from wae_jax.workdir import Workdir, WorkdirError

ADDRESS = "shelf://bucket/runs/x"
# What a run writes, at one moment after another: its last step, the checkpoints that are there, and other files.
MOMENTS = [
    (1, [], {"data.json", "config.json"}),
    (2, [2], {"samples/step_2/a.mid"}),
    (4, [2, 4], {"samples/step_4/a.mid", "curves.png"}),
    (5, [2, 4], {"curves.png"}),
    (6, [2, 4, 6], set()),
    (8, [6, 8], {"samples/step_8/a.mid"}),
]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    for name, seconds in {"STALE_SECONDS": 0.05, "SETTLE_SECONDS": 0.0}.items():
        monkeypatch.setattr(remote_lock, name, seconds)


def write(folder, moment):
    """Makes a folder one at a moment of a run, as the run itself does it: atomically, and checkpoints last."""
    step, checkpoints, others = moment
    (folder / "metrics.jsonl").write_text("".join(f'{{"step": {i}}}\n' for i in range(1, step + 1)))
    for name in others:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{name} of step {step}")
    for each in checkpoints:
        checkpoint = folder / "checkpoints" / str(each)
        if not checkpoint.exists():
            part = folder / "checkpoints" / f"{each}.orbax-checkpoint-tmp-7"
            for name in ("state/d/1", "meta/metadata"):
                (part / name).parent.mkdir(parents=True, exist_ok=True)
                (part / name).write_text(f"{name} of step {each}")
            (part / "empty").write_text("")
            part.rename(checkpoint)
    for path in (folder / "checkpoints").glob("*"):
        if int(path.name) not in checkpoints:
            shutil.rmtree(path)


def run(moments, *, process=0):
    """A run that lives through these moments."""
    with open_workdir(ADDRESS, process=process) as work:
        for moment in moments:
            write(work.folder, moment)
            work.publish(lambda: None, now=True)
    return work.folder


def content(folder):
    """What is to be the same at the address, without what is not of the run."""
    return {
        name: data
        for name, data in objects(folder).items()
        if not name.rpartition("/")[2].startswith(".") and not name.endswith("complete.json")
    }


def test_a_run_is_at_its_address_as_in_its_folder(shelf):
    for end in range(1, len(MOMENTS) + 1):
        folder = run(MOMENTS[:end])
        assert content(shelf / "bucket/runs/x") == content(folder)
        assert complete_steps(Store(ADDRESS).sizes()) == MOMENTS[end - 1][1]
        assert not (shelf / "bucket/runs/x/.lock").exists()
    assert folder.name == "x"


def test_nothing_is_uploaded_twice_but_what_changes(shelf):
    with open_workdir(ADDRESS, process=0) as work:
        for moment in MOMENTS:
            write(work.folder, moment)
            Shelf.writes.clear()
            work.publish(lambda: None, now=True)
            written = [name.removeprefix("+bucket/runs/x/") for name in Shelf.writes]
            first = moment[1][-1:] if moment[0] in moment[1] else []
            files = ("empty", "meta/metadata", "state/d/1", "complete.json")
            new = [f"checkpoints/{step}/{name}" for step in first for name in files]
            others = sorted({"metrics.jsonl", *moment[2]}, key=lambda name: (name == "config.json", name))
            assert [name for name in written if not name.startswith("-")] == [*others, *new]
        assert "-bucket/runs/x/checkpoints/2/complete.json" in Shelf.writes
        # The one that says that it is complete goes first.
        assert Shelf.writes.index("-bucket/runs/x/checkpoints/2/complete.json") < Shelf.writes.index(
            "-bucket/runs/x/checkpoints/2/empty"
        )
        Shelf.writes.clear()
        work.publish(lambda: None, now=True)
        assert Shelf.writes == []


def assert_can_be_gone_on_from(folder, reached):
    """A copy on another machine: what a run that was at these steps when it broke off can go on from.

    Args:
      folder: the copy.
      reached: the checkpoints of the last moment that was wholly uploaded.
    """
    steps = sorted(int(path.name) for path in (folder / "checkpoints").glob("*"))
    assert not reached or steps[-1] >= reached[-1]
    for step in steps:
        for name in ("state/d/1", "meta/metadata"):
            assert (folder / "checkpoints" / str(step) / name).read_text() == f"{name} of step {step}"
    if steps:
        assert {"config.json", "data.json"} <= set(content(folder))
        rows = [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
        assert rows[: steps[-1]] == list(range(1, steps[-1] + 1))
    if (folder / "config.json").exists():
        assert (folder / "data.json").exists()


@dataclasses.dataclass
class BrokenOff:
    """A run that loses the connection at some write, as it was then.

    Attributes:
      folder: its copy; None where it had not begun.
      content: of the folder.
      reached: the checkpoints of the last moment that was wholly uploaded.
    """

    folder: pathlib.Path | None = None
    content: dict[str, bytes] = dataclasses.field(default_factory=dict)
    reached: list[int] = dataclasses.field(default_factory=list)

    def run(self):
        with open_workdir(ADDRESS, process=0) as work:
            self.folder = work.folder
            for moment in MOMENTS:
                write(work.folder, moment)
                self.content = content(work.folder)
                work.publish(lambda: None, now=True)
                self.reached = moment[1]


@pytest.mark.parametrize("elsewhere", [False, True])
def test_uploads_broken_off_anywhere_lose_nothing(shelf, tmp_path, monkeypatch, elsewhere):
    """Here, or on another machine, the run goes on and ends as if nothing had been."""
    run(MOMENTS)
    total, expected = len(Shelf.writes), content(shelf / "bucket/runs/x")
    assert total > 30
    for fail_at in range(1, total):
        place = tmp_path / str(fail_at)
        monkeypatch.setenv("SHELF", str(place / "shelf"))
        monkeypatch.setenv("WAE_JAX_CACHE", str(place / "cache"))
        Shelf.writes.clear()
        Shelf.fail_at = fail_at
        broken = BrokenOff()
        with pytest.raises(RemoteError, match="no connection") as caught:
            broken.run()
        Shelf.fail_at = None
        if broken.folder:
            told = f"all of it is kept in {broken.folder}, and the same command on this machine goes on from there"
            assert told in str(caught.value)
            assert content(broken.folder) == broken.content
        pull(Store(ADDRESS), place / "copy")
        assert_can_be_gone_on_from(place / "copy", broken.reached)
        if elsewhere:
            monkeypatch.setenv("WAE_JAX_CACHE", str(place / "elsewhere"))
        with open_workdir(ADDRESS, process=0) as work:
            assert elsewhere or content(work.folder) == broken.content
            assert_can_be_gone_on_from(work.folder, broken.reached)
            left = [moment for moment in MOMENTS if moment[0] > last_step(work.folder)]
            for moment in left:
                write(work.folder, moment)
                work.publish(lambda: None, now=True)
        found = content(place / "shelf/bucket/runs/x")
        if not left:  # what a run removes after its last checkpoint, it may leave
            found = {name: data for name, data in found.items() if name in expected or "checkpoints/" not in name}
        assert found == expected, fail_at


def last_step(folder):
    return max((int(path.name) for path in folder.glob("checkpoints/*")), default=0)


def test_a_copy_that_is_not_the_last_writer_is_made_anew(shelf, tmp_path, monkeypatch):
    here = run(MOMENTS[:3])
    monkeypatch.setenv("WAE_JAX_CACHE", str(tmp_path / "elsewhere"))
    other = run(MOMENTS[3:])
    monkeypatch.setenv("WAE_JAX_CACHE", str(tmp_path / "cache"))
    (here / "mine").write_text("of before")
    with open_workdir(ADDRESS, process=0) as work:
        assert work.folder == here
        kept = {name: data for name, data in content(other).items() if not name.startswith(("samples", "curves"))}
        assert content(here) == kept
    assert content(shelf / "bucket/runs/x").keys() == content(other).keys() | {
        "samples/step_2/a.mid",
        "samples/step_4/a.mid",
    }


def test_only_one_run_at_a_time(shelf, tmp_path, monkeypatch):
    with open_workdir(ADDRESS, process=0) as work:
        write(work.folder, MOMENTS[0])
        with pytest.raises(WorkdirError, match=f"^{ADDRESS} is in use by another run"):
            open_workdir(ADDRESS, process=0).__enter__()
        monkeypatch.setattr(remote_lock, "STALE_SECONDS", 60.0)
        monkeypatch.setattr(remote_lock, "BEAT_SECONDS", 0.1)
        monkeypatch.setenv("WAE_JAX_CACHE", str(tmp_path / "elsewhere"))
        Store(ADDRESS).write(".lock", b"process 7 on elsewhere\nother\n1\n")
        Shelf.writes.clear()
        with pytest.raises(WorkdirError, match=r"is in use by another run \(process 7 on elsewhere\)"):
            work.publish(lambda: None, now=True)
        assert Shelf.writes == []
    assert (shelf / "bucket/runs/x/.lock").exists()


def test_log_lines_alone_wait_for_others(shelf):
    asked = []
    with open_workdir(ADDRESS, process=0) as work:
        for moment, now in zip(MOMENTS[:3], (False, False, True), strict=True):
            write(work.folder, moment)
            work.publish(lambda: asked.append(len(asked)), now=now)
            step = len((shelf / "bucket/runs/x/metrics.jsonl").read_text().splitlines())
            assert step == (4 if now else 1)
    assert asked == [0, 1]


def test_other_processes_copy_what_the_first_has_made_of_it(shelf):
    """After the first has taken the lock and uploaded what it was ahead by."""
    run(MOMENTS[:3])
    with open_workdir(ADDRESS, process=0) as first, open_workdir(ADDRESS, process=1) as other:
        assert other.holder() == first.holder()
        for work in (first, other):
            work.follow()
        assert first.folder != other.folder
        assert complete_steps({f"checkpoints/{path.name}/complete.json": 0 for path in first.folder.glob("check*/*")})
        for name, data in content(other.folder).items():
            assert content(first.folder)[name] == data
        assert {"config.json", "checkpoints/4/state/d/1"} <= content(other.folder).keys()
        write(other.folder, MOMENTS[4])
        Shelf.writes.clear()
        other.publish(lambda: pytest.fail("asked"), now=True)
        for work in (first, other):
            work.restored()
        assert Shelf.writes == []
        assert content(other.folder) == {}
        assert "checkpoints/4/state/d/1" in content(first.folder)


def test_what_is_damaged_at_the_address_is_told(shelf, tmp_path):
    run(MOMENTS[:3])
    file = shelf / "bucket/runs/x/checkpoints/4/state/d/1"
    for damage in (lambda: file.write_text("short"), file.unlink):
        damage()
        with pytest.raises(RemoteError, match=rf"^{ADDRESS}/checkpoints/4 is damaged: its files are not those in comp"):
            pull(Store(ADDRESS), tmp_path / "copy")
        assert not (tmp_path / "copy" / "checkpoints" / "4").exists()
    (file.parents[2] / "complete.json").write_text("{")
    with pytest.raises(RemoteError, match="is damaged"):
        pull(Store(ADDRESS), tmp_path / "copy")
    (file.parents[2] / "complete.json").unlink()
    pull(Store(ADDRESS), tmp_path / "copy")
    assert [path.name for path in (tmp_path / "copy" / "checkpoints").iterdir()] == ["2"]


def test_a_checkpoint_that_is_removed_while_it_is_copied_is_left_out(shelf, tmp_path, monkeypatch):
    run(MOMENTS[:3])
    get = Store.get

    def vanish(store, name, path):
        if name.startswith("checkpoints/2"):
            shutil.rmtree(shelf / "bucket/runs/x/checkpoints/2", ignore_errors=True)
        return get(store, name, path)

    monkeypatch.setattr(Store, "get", vanish)
    pull(Store(ADDRESS), tmp_path / "copy")
    assert [path.name for path in (tmp_path / "copy" / "checkpoints").iterdir()] == ["4"]


def test_evaluations_are_read_and_not_written(shelf):
    """They are uploaded by the program that makes them, maybe while the run goes on."""
    folder = run(MOMENTS[:2])
    Store(ADDRESS).write("evaluation/evaluation.json", b"first")
    Store(ADDRESS).write("evaluation/report.html", b"large")
    run(MOMENTS[2:3])
    assert (folder / "evaluation/evaluation.json").read_bytes() == b"first"
    Store(ADDRESS).write("evaluation/evaluation.json", b"second")
    run(MOMENTS[3:4])
    assert (folder / "evaluation/evaluation.json").read_bytes() == b"second"
    assert Store(ADDRESS).read("evaluation/evaluation.json") == b"second"
    assert not (folder / "evaluation/report.html").exists()


def test_what_was_moved_aside_is_uploaded_and_its_place_taken_again(shelf):
    with open_workdir(ADDRESS, process=0) as work:
        for moment in MOMENTS[:3]:
            write(work.folder, moment)
            work.publish(lambda: None, now=True)
        checkpoint = work.folder / "checkpoints" / "4"
        checkpoint.rename(checkpoint.with_name("4.damaged"))
        shutil.copytree(checkpoint.with_name("4.damaged"), checkpoint)
        (checkpoint / "state/d/1").write_text("another")
        work.publish(lambda: None, now=True)
        assert content(shelf / "bucket/runs/x") == content(work.folder)
        assert (shelf / "bucket/runs/x/checkpoints/4/complete.json").read_bytes() == describe_checkpoint(checkpoint)


def test_training_at_an_address_is_training_in_a_folder(shelf, tmp_path, monkeypatch):
    """And goes on there on another machine."""
    for cache, num_steps in (("one", 3), ("other", 6)):
        monkeypatch.setenv("WAE_JAX_CACHE", str(tmp_path / cache))
        for workdir in (str(tmp_path / "here"), ADDRESS):
            train_and_evaluate(tiny_config("mmd", num_train_steps=num_steps), workdir)
    pull(Store(ADDRESS), tmp_path / "copy")
    assert [row["step"] for row in read_metrics(tmp_path / "copy")] == [2, 3, 4, 6]
    assert_same_run(tmp_path / "here", tmp_path / "copy")
    assert complete_steps(Store(ADDRESS).sizes()) == [3, 6]


def test_folders_are_not_mirrored(shelf, tmp_path):
    with open_workdir(str(tmp_path / "run"), process=0) as work:
        assert type(work) is Workdir
        assert work.folder == tmp_path / "run"
        work.publish(lambda: pytest.fail("asked"), now=True)
        with pytest.raises(WorkdirError, match="in use"):
            open_workdir(str(tmp_path / "run"), process=0).__enter__()
        open_workdir(str(tmp_path / "run"), process=1).__enter__()
    assert isinstance(open_workdir("memory://x", process=0), MirroredWorkdir)
