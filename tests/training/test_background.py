from __future__ import annotations

import threading

import pytest

from wae_jax.training.background import Background


def test_jobs_run_beside_the_caller_one_after_another():
    started, go, done = threading.Event(), threading.Event(), []

    def first():
        started.set()
        assert go.wait(10)
        done.append("first")

    with Background() as background:
        background.add(first)
        background.add(lambda: done.append("second"))
        assert started.wait(10)
        assert done == []
        go.set()
        background.wait()
        assert done == ["first", "second"]
        background.add(lambda: done.append("third"))
    assert done[-1] == "third"  # leaving waits


def fail():
    raise OSError(28, "no space left", "grid.png")


def test_an_error_is_raised_once_by_the_next_call():
    with Background() as background:
        background.add(fail)
        with pytest.raises(OSError, match="grid"):
            background.wait()
        background.wait()


def test_an_error_of_a_finished_job_is_raised_before_the_next_is_added():
    done, ran = threading.Event(), []
    with Background() as background:
        background.add(fail)
        background._pool.submit(done.set)
        assert done.wait(10)
        with pytest.raises(OSError, match="no space"):
            background.add(lambda: ran.append(1))
    assert ran == []


def test_an_error_is_raised_at_the_end_at_the_latest():
    with pytest.raises(OSError, match="no space"), Background() as background:
        background.add(fail)
