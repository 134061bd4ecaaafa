"""Reading songs in other processes: several at a time, and none of them able to take this process along."""

from __future__ import annotations

import collections
import dataclasses
import multiprocessing
import os
import pathlib
import signal
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import NamedTuple

import numpy as np

from wae_jax.data.build import formats
from wae_jax.data.build.sources import Options, Source
from wae_jax.errors import SourceError
from wae_jax.files import Closing

# Enough to keep the readers busy while results are taken in order, few enough to hold all their phrases.
_AHEAD_PER_WORKER = 8

# Larger than the arrays of any common song; of at most twice as many bytes the system does without.
_KEPT_BYTES = 1 << 24


class Request(NamedTuple):
    """A song to read."""

    path: str
    rows: slice | None


def default_workers() -> int:
    """As many as there are CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def keep_freed_memory() -> None:
    """Lets this process keep what arrays of a song leave for those of the next, which saves a tenth of the time.

    By default glibc gives larger pieces back to the system, which zeroes them before they are used again. It keeps such
    as are no larger than one that was freed before, so this frees one, of which no byte is touched.
    """
    np.empty(_KEPT_BYTES, np.uint8)


def _start_reader() -> None:
    """Makes a process fit to read."""
    keep_freed_memory()
    _leave_with_parent()


def _leave_with_parent() -> None:
    """Ends a worker whose parent was killed, and leaves Ctrl-C to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _read(request: Request, options: Options) -> Source:
    source = formats.open_source(pathlib.Path(request.path), rows=request.rows, options=options)
    # A list's iterator can be sent to another process.
    return dataclasses.replace(source, chunks=iter(list(source.chunks)))


class SongReaders(Closing):
    """Processes that read songs; started with the first song.

    Args:
      workers: how many.
      options: how songs are read.
    """

    def __init__(self, workers: int, options: Options) -> None:
        self._workers = workers
        self._options = options
        self._pool: ProcessPoolExecutor | None = None

    def read(self, requests: Iterable[Request]) -> Iterator[Source | SourceError]:
        """Reads songs; gives for each, in their order, what was read or why nothing was."""
        left = iter(requests)
        pending: collections.deque[tuple[Request, Future[Source]]] = collections.deque()
        while True:
            while len(pending) < self._workers * _AHEAD_PER_WORKER and (request := next(left, None)):
                pending.append((request, self._submit(request)))
            if not pending:
                return
            request, future = pending.popleft()
            try:
                yield future.result()
            except SourceError as error:
                yield error
            except BrokenProcessPool:
                # Any of the songs under way may have done it.
                suspects = [request, *(other for other, _ in pending)]
                pending.clear()
                self.close()
                for suspect in suspects:
                    yield self._read_alone(suspect)

    def _submit(self, request: Request) -> Future[Source]:
        if self._pool is None:
            # Not by forking: this process has threads of JAX.
            self._pool = ProcessPoolExecutor(
                self._workers, multiprocessing.get_context("spawn"), initializer=_start_reader
            )
        try:
            return self._pool.submit(_read, request, self._options)
        except BrokenProcessPool as error:
            broken: Future[Source] = Future()
            broken.set_exception(error)
            return broken

    def _read_alone(self, request: Request) -> Source | SourceError:
        """Reads one song with nothing else under way, so that a crash can only be its own."""
        try:
            return self._submit(request).result()
        except SourceError as error:
            return error
        except BrokenProcessPool:
            self.close()
            return SourceError("makes its reader crash")

    def close(self) -> None:
        """Ends the processes."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None
