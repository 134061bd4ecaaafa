from __future__ import annotations

import io
import os
import subprocess
import sys
import time

import pytest

from tests.helpers import ROOT
from wae_jax.training.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def report(stream: io.StringIO, **arguments) -> str:
    """What a run reports that goes from step 100 to step 103 in .3 seconds."""
    with Progress(1000, 64, initial_step=100, stream=stream, **arguments) as progress:
        for step in (101, 102, 103):
            time.sleep(0.1)
            progress.update(step, {"train/x": step * 1.5, "n": 12_345.6} if step == 102 else None)
    return stream.getvalue()


def test_a_log_has_a_line_now_and_then():
    first, last = report(io.StringIO(), seconds=60).splitlines()
    assert first.startswith("step 100/1,000, ")
    assert last.startswith("step 103/1,000, ")
    assert last.endswith("left, train/x 153, n 1.235e+04")
    speed = float(last.split(", ")[1].removesuffix(" phrases/s"))
    assert 64 < speed < 640 * 1.1
    assert len(report(io.StringIO(), seconds=0).splitlines()) >= 4


def test_a_terminal_has_one_line_that_is_updated():
    text = report(Terminal(), seconds=0)
    assert text.endswith("\n")
    assert text.count("\n") == 1
    assert [line[:8] for line in text.split("\r")[1:]] == [
        *("step 100", "step 101", "step 102", "step 103"),
        "step 103",  # with the speed of the whole run
    ]


def test_a_disabled_progress_writes_nothing():
    assert report(io.StringIO(), enabled=False) == ""


@pytest.mark.parametrize("kind", [io.StringIO, Terminal])
def test_a_closed_stream_does_not_end_the_run(kind):
    stream = kind()
    with Progress(10, 1, stream=stream, seconds=0) as progress:
        progress.update(1)
        stream.close()
        progress.update(2)
        progress.update(3)


BROKEN = """
import sys
from wae_jax.training.progress import Progress
with Progress(10, 1, seconds=0) as progress:
    for step in range(1, 10):
        progress.update(step)
        if step == 1:
            sys.stdin.read()  # until the reader of stderr is gone
print("finished")
"""


def test_a_broken_pipe_does_not_end_the_run():
    process = subprocess.Popen(
        [sys.executable, "-c", BROKEN],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr.readline().startswith("step 0/10")
    process.stderr.close()
    process.stdin.close()
    assert process.stdout.read() == "finished\n"
    assert process.wait(timeout=30) == 0
    process.stdout.close()
