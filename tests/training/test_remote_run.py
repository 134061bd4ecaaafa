"""Runs at a URL: what is uploaded, and that a killed run resumes there, bit for bit."""

from __future__ import annotations

import pathlib
import random
import signal
import time

import fsspec
import pytest

import wae_jax
from tests.helpers import assert_same_run, finish, start_run, tiny_config
from wae_jax.errors import RemoteError, WorkdirError
from wae_jax.remote import RemoteFolder, local_copy
from wae_jax.training.loop import Hooks, train_and_evaluate

URL = "memory://bucket/run"


@pytest.fixture
def memory():
    """The file system at memory://, empty."""
    files = fsspec.filesystem("memory")
    files.store.clear()
    return files


class Killed(BaseException):
    """Ends a run as a kill would: nothing more is written."""


def test_a_run_that_breaks_off_resumes_from_its_url(tmp_path, memory):
    config = tiny_config("mmd", num_train_steps=6, log_every_steps=2, eval_every_steps=3, checkpoint_every_steps=2)
    train_and_evaluate(config, str(tmp_path / "whole"))

    def kill(run):
        if (run.folder / "checkpoints" / "2").exists():
            raise Killed

    with pytest.raises(Killed):
        train_and_evaluate(config, URL, hooks=Hooks(draw_curves=kill))
    names = RemoteFolder(URL).names()
    assert {"config.json", "run.json", "metrics.jsonl", "checkpoints/2/meta/metadata"} <= set(names)
    assert not any(name.startswith((".", "checkpoints/4")) for name in names)
    train_and_evaluate(config, URL)
    assert_same_run(tmp_path / "whole", local_copy(URL))
    steps = {name.split("/")[1] for name in RemoteFolder(URL).names() if name.startswith("checkpoints/")}
    assert steps == {path.name for path in (tmp_path / "whole" / "checkpoints").iterdir()}
    with pytest.raises(WorkdirError, match=r"memory://bucket/run belongs to a run with another configuration"):
        train_and_evaluate(tiny_config("mmd", seed=1), URL)
    model = wae_jax.load(URL, "latest")
    assert model.step == 6


def test_a_url_that_cannot_be_written_ends_the_run(memory, monkeypatch):
    def refuse(self, *arguments, **options):
        raise PermissionError("read-only")

    monkeypatch.setattr(type(memory), "put_file", refuse)
    with pytest.raises(RemoteError, match=r"memory://bucket/run could not be written: run\.json \(PermissionError"):
        train_and_evaluate(tiny_config("mmd"), URL)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_killed_thrice_resumes_from_its_url_bit_for_bit(tmp_path):
    """Each start works in a folder of its own, as on another machine; the URL is a folder of this one."""
    num_steps, chance = 24, random.Random(0)
    status, output = finish(start_run(tmp_path / "whole", config="wae_gan", num_steps=num_steps))
    assert status == 0, output
    shelf = tmp_path / "shelf"
    url = f"file://{shelf}"

    def is_uploaded(step: int) -> bool:
        metrics = shelf / "metrics.jsonl"
        return metrics.exists() and f'"step": {step},' in metrics.read_text()

    for step in (3, 9, 15):
        process = start_run(url, config="wae_gan", num_steps=num_steps)
        deadline = time.monotonic() + 200
        while not is_uploaded(step):
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        finish(process)
        assert process.returncode == -signal.SIGKILL
    status, output = finish(start_run(url, config="wae_gan", num_steps=num_steps))
    assert status == 0, output
    assert "resuming from step" in output
    assert_same_run(tmp_path / "whole", local_copy(url))
    assert not list(pathlib.Path(shelf).rglob(".lock"))
