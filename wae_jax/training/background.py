"""Work of the host beside the training: pictures and sound, for which no step needs to wait."""

from __future__ import annotations

from collections.abc import Callable
from concurrent import futures

from wae_jax.files import Closing


class Background(Closing):
    """Runs jobs in a thread of its own, in the order in which they are added.

    The error of a job is raised by the next method of this class that is called, so that a full disk ends a run with
    its sentence. No job may use devices: on CPUs two programs at a time can wait for each other forever.
    """

    def __init__(self) -> None:
        self._pool = futures.ThreadPoolExecutor(1, thread_name_prefix="background")
        self._jobs: list[futures.Future[None]] = []

    def add(self, job: Callable[[], None]) -> None:
        """Adds a job."""
        done = [each for each in self._jobs if each.done()]
        self._jobs = [each for each in self._jobs if each not in done]
        for each in done:
            each.result()
        self._jobs.append(self._pool.submit(job))

    def wait(self) -> None:
        """Waits for all jobs."""
        jobs, self._jobs = self._jobs, []
        futures.wait(jobs)
        for each in jobs:
            each.result()

    def close(self) -> None:
        """Waits for all jobs; nothing can be added any more."""
        try:
            self.wait()
        finally:
            self._pool.shutdown()
