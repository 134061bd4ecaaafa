"""Reads songs in other processes: several at a time, and no damaged song can crash this process."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import multiprocessing
import os
import pathlib
import signal
import threading
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from wae_jax.data.build import formats
from wae_jax.data.build.sources import Input, Options, Source
from wae_jax.errors import SourceError

# Enough to keep the workers busy while results are used in order; few enough to hold all their phrases in memory.
_AHEAD_PER_WORKER = 8


def default_workers() -> int:
    """The number of CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read_songs(
    inputs: Iterable[Input], options: Options, *, num_workers: int
) -> Generator[Source | SourceError, None, None]:
    """Reads songs, each in one of the worker processes, which start with the first song.

    Yields:
      For each song, in order, the opened source or the error that its reader raised.
    """
    remaining = collections.deque(inputs)
    while remaining:
        started: collections.deque[tuple[Input, Future[Source]]] = collections.deque()
        with _worker_pool(num_workers) as pool, contextlib.suppress(BrokenProcessPool):
            while remaining or started:
                while remaining and len(started) < num_workers * _AHEAD_PER_WORKER:
                    started.append((remaining[0], pool.submit(_read, remaining[0], options)))
                    remaining.popleft()
                result = _result(started[0][1])
                started.popleft()
                yield result
        # A worker crashed, and any of the songs under way may be the reason: each is read again by itself.
        for song, _ in started:
            yield _read_alone(song, options)


def _read(song: Input, options: Options) -> Source:
    source = formats.open_source(pathlib.Path(song.path), rows=song.rows, options=options)
    # The iterator of a list can be sent to another process.
    return dataclasses.replace(source, chunks=iter(list(source.chunks)))


def _result(future: Future[Source]) -> Source | SourceError:
    try:
        return future.result()
    except SourceError as error:
        return error


def _read_alone(song: Input, options: Options) -> Source | SourceError:
    with _worker_pool(1) as pool:
        try:
            return _result(pool.submit(_read, song, options))
        except BrokenProcessPool:
            return SourceError("crashes the process that reads it")


@contextlib.contextmanager
def _worker_pool(num_workers: int) -> Iterator[ProcessPoolExecutor]:
    # Not by forking: this process has threads of JAX.
    pool = ProcessPoolExecutor(num_workers, multiprocessing.get_context("spawn"), initializer=_prepare_worker)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _prepare_worker() -> None:
    """Leaves Ctrl-C to the parent, and ends this worker if the parent is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
