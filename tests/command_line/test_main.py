"""Errors of `main` are sentences that name a file."""

import errno
import os
import types

import pytest

from wae_jax import main
from wae_jax.config import default_config
from wae_jax.errors import CheckpointError


def set_flags(monkeypatch, config):
    flags = {"config": config, "workdir": "runs/x", "coordinator": "none"}
    flags |= {"num_processes": 1, "process_id": 0, "join_seconds": 1.0}
    monkeypatch.setattr(main, "FLAGS", types.SimpleNamespace(**flags))


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError("80640 requested and 0 written"), "runs/x: cannot be written or read completely (80640 requested and"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "runs/x: No space left on device"),
        (
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "runs/x/run.json"),
            "runs/x/run.json: No space left on device",
        ),
        (CheckpointError("of step 4"), "of step 4"),
    ],
)
def test_an_error_names_the_file_or_else_the_workdir(error, message, monkeypatch):
    def fail(*arguments, **options):
        raise error

    set_flags(monkeypatch, default_config())
    monkeypatch.setattr(main.processes, "start", lambda *arguments, **options: None)
    monkeypatch.setattr(main, "use_all_cores", lambda batch_size: None)
    monkeypatch.setattr(main, "train_and_evaluate", fail)
    with pytest.raises(SystemExit) as raised:
        main.main([])
    assert str(raised.value.code).startswith(f"error: {message}")


@pytest.mark.parametrize("batch_size", [None, "32", 8.5, 0])
def test_a_batch_size_that_is_no_number_is_refused_before_the_cores_are_divided(batch_size, monkeypatch):
    config = default_config()
    with config.ignore_type():
        config.batch_size = batch_size
    set_flags(monkeypatch, config)
    with pytest.raises(SystemExit, match=r"(?s)^error: .*batch_size"):
        main.main([])
