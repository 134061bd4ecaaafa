import os
import socket
import threading
import time

import pytest

from tests.shelf import Shelf
from wae_jax import remote_lock
from wae_jax.remote import Store
from wae_jax.remote_lock import RemoteLock, holder
from wae_jax.workdir import WorkdirError

ADDRESS = "shelf://bucket/run"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    for name, seconds in {"BEAT_SECONDS": 0.05, "STALE_SECONDS": 0.5, "SETTLE_SECONDS": 0.2}.items():
        monkeypatch.setattr(remote_lock, name, seconds)


def lock(token):
    return RemoteLock(Store(ADDRESS), token)


def test_it_is_held_by_one_that_can_be_named(shelf):
    me = f"process {os.getpid()} on {socket.gethostname()}"
    assert holder(Store(ADDRESS)) is None
    with lock("one") as held:
        assert holder(Store(ADDRESS)) == f"{me} one"
        with pytest.raises(WorkdirError, match=f"^{ADDRESS} is in use by another run \\({me}\\); wait for it, end it"):
            lock("other").__enter__()
        held.check()
    assert holder(Store(ADDRESS)) is None
    with lock("other"):
        pass


def test_the_holder_says_that_it_lives(shelf):
    with lock("one"):
        beats = set()
        deadline = time.monotonic() + 20
        while len(beats) < 3 and time.monotonic() < deadline:
            beats.add((shelf / "bucket" / "run" / ".lock").read_text())
        assert len({beat.split("\n")[2] for beat in beats}) == len(beats) == 3
        assert len({holder(Store(ADDRESS))}) == 1


def leave_behind(token):
    """A lock whose holder was killed."""
    Store(ADDRESS).write(".lock", f"process 1 on gone\n{token}\n7\n".encode())


def test_what_a_dead_run_has_left_is_taken_over_when_nothing_is_heard_of_it(shelf):
    leave_behind("dead")
    started = time.monotonic()
    with lock("one") as held:
        assert time.monotonic() - started >= 0.7
        held.check()
        assert holder(Store(ADDRESS)).endswith(" one")


def test_what_a_run_of_the_same_copy_has_left_is_taken_over_at_once(shelf):
    leave_behind("one")
    started = time.monotonic()
    with lock("one"):
        assert time.monotonic() - started < 0.4


def test_what_is_given_back_meanwhile_is_taken(shelf):
    leave_behind("dead")
    giving_back = threading.Timer(0.2, lambda: Store(ADDRESS).remove(".lock"))
    giving_back.start()
    with lock("one") as held:
        held.check()
    giving_back.join()


def test_of_two_that_take_over_at_once_one_gets_it(shelf):
    leave_behind("dead")
    got, refused = [], []

    def take(token):
        try:
            with lock(token) as held:
                time.sleep(0.5)
                held.check()
                got.append(token)
        except WorkdirError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=take, args=[token]) for token in ("one", "other", "third")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1
    assert len(refused) == 2
    assert all("is in use by another run" in text for text in refused)


def test_who_was_silent_for_too_long_finds_out(shelf):
    with lock("one") as held:
        leave_behind("other")
        with pytest.raises(WorkdirError, match=r"is in use by another run \(process 1 on gone\)"):
            held.check()
        time.sleep(0.2)
        assert holder(Store(ADDRESS)).endswith(" other")  # it does not say that it lives any more
    assert holder(Store(ADDRESS)).endswith(" other")


def test_a_lock_that_cannot_be_given_back_ends_no_run(shelf, monkeypatch):
    with lock("one"):
        monkeypatch.setattr(Shelf, "fail_at", 0)
    assert holder(Store(ADDRESS)).endswith(" one")
