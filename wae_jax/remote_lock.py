"""A lock at an address: an object that only one run can create, and that its holder rewrites as long as it lives.

.lock    three lines: the holder's process and machine; its token; how often it has said that it lives
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time

from absl import logging

from wae_jax.files import Closing
from wae_jax.remote import RemoteError, Store
from wae_jax.workdir import LOCK_FILE, WorkdirError

# A run says so often that it is alive.
BEAT_SECONDS = 10.0
# One that has said nothing for so long is not. Clocks of two machines are not compared: who waits watches.
STALE_SECONDS = 60.0
# Of two that take a lock over at once, both find after so long who was the last to write.
SETTLE_SECONDS = 2.0


class RemoteLock(Closing):
    """Holds a work folder at its address for one run, as a context manager.

    One that nobody has rewritten for `STALE_SECONDS` is taken over; one with the same token at once.

    Args:
      store: the work folder.
      token: identifies the copy that the run works in. Whoever asks holds that for himself, so that another run with
        this token has ended.
    """

    def __init__(self, store: Store, token: str) -> None:
        self._store = store
        self._lines = [f"process {os.getpid()} on {socket.gethostname()}", token]
        self._beats = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="wae_jax lock", daemon=True)

    def __enter__(self) -> RemoteLock:
        """Takes the lock.

        Raises:
          WorkdirError: if another run holds it; the message names that run's process and machine.
        """
        while not self._store.create(LOCK_FILE, self._content()):
            held = _read(self._store)
            if held and held[1] == self._lines[1]:
                self._store.write(LOCK_FILE, self._content())
                break
            if held and self._is_stale(held):
                self._store.write(LOCK_FILE, self._content())
                time.sleep(SETTLE_SECONDS)
                self.check()
                break
        self._thread.start()
        return self

    def check(self) -> None:
        """Raises WorkdirError if another run has taken the lock over."""
        if other := self._other():
            raise self._error(other)

    def close(self) -> None:
        """Gives the lock back; where that cannot be, it will be stale."""
        self._ended.set()
        self._thread.join(STALE_SECONDS)
        with contextlib.suppress(RemoteError):
            if not self._other():
                self._store.remove(LOCK_FILE)

    def _content(self) -> bytes:
        return "\n".join([*self._lines, f"{self._beats}\n"]).encode()

    def _other(self) -> str | None:
        """Who else holds the lock. One that was removed is still ours: nobody has come for it."""
        held = _read(self._store)
        return held[0] if held and held[1] != self._lines[1] else None

    def _error(self, other: str) -> WorkdirError:
        return WorkdirError(
            f"{self._store.address} is in use by another run ({other}); "
            "wait for it, end it, or choose another work folder"
        )

    def _is_stale(self, held: list[str]) -> bool:
        """Waits for a sign of life: True if there was none, False if the lock was given back; raises if there was."""
        logging.info("%s was held by %s; %.0f s to see whether it lives", self._store.address, held[0], STALE_SECONDS)
        until = time.monotonic() + STALE_SECONDS
        while time.monotonic() < until:
            time.sleep(min(1.0, STALE_SECONDS / 10))
            now = _read(self._store)
            if now is None:
                return False
            if now != held:
                raise self._error(now[0])
        logging.info("nothing was heard of %s; its lock is taken over", held[0])
        return True

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            self._beats += 1
            # Where nothing can be read or written, the run hears of it from its own next upload.
            with contextlib.suppress(RemoteError):
                if self._other():
                    return
                self._store.write(LOCK_FILE, self._content())


def holder(store: Store) -> str | None:
    """Who holds the work folder at an address: process, machine and token; None where nobody does."""
    held = _read(store)
    return " ".join(held[:2]) if held else None


def _read(store: Store) -> list[str] | None:
    """The three lines of a lock; None where there is none."""
    content = store.read(LOCK_FILE)
    return None if content is None else [*content.decode(errors="replace").split("\n"), "", ""][:3]
