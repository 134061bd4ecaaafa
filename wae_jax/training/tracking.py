"""A run in the tracker that its configuration names, beside the training; one that resumes continues the tracker's run.

`<workdir>/tracker.json` has the run's identifier in each tracker that it has been in.
"""

from __future__ import annotations

import json
import logging
import pathlib
import queue
import re
import textwrap
import threading
from collections.abc import Callable, Mapping

from wae_jax.config import Config, flatten_config
from wae_jax.errors import TrackerError
from wae_jax.files import Closing, parse_json, whole_file
from wae_jax.training.trackers import TRACKERS, Image, Tracker

TRACKER_FILE = "tracker.json"
_SECONDS_TO_FINISH = 60.0

_LOG = logging.getLogger(__name__)


class Tracking(Closing):
    """Hands metrics, images and sounds to a tracker, in a thread of its own: no step waits for a server.

    Once the tracker fails, that is logged, and it gets nothing more; the training goes on.

    Args:
      tracker: None makes every method do nothing.
      seconds_to_finish: how long `close` waits for the tracker.
    """

    def __init__(self, tracker: Tracker | None = None, *, seconds_to_finish: float = _SECONDS_TO_FINISH) -> None:
        self._tracker = tracker
        self._seconds_to_finish = seconds_to_finish
        self._has_training_failed = False
        self._jobs: queue.SimpleQueue[Callable[[Tracker], None] | None] = queue.SimpleQueue()
        # A daemon, so that a process can end while its tracker waits for a server.
        self._thread = threading.Thread(target=self._work, name="tracker", daemon=True)
        if tracker is not None:
            self._thread.start()

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        """Writes finite numbers."""
        self._add(lambda tracker: tracker.log_scalars(step, scalars))

    def write_images(self, step: int, images: Mapping[str, Image]) -> None:
        """Writes images."""
        self._add(lambda tracker: tracker.log_images(step, images))

    def write_sounds(self, step: int, sounds: Mapping[str, pathlib.Path]) -> None:
        """Writes sound files."""
        self._add(lambda tracker: tracker.log_sounds(step, sounds))

    def __exit__(self, *error: object) -> None:
        self._has_training_failed = error[0] is not None
        self.close()

    def close(self) -> None:
        """Waits until the tracker has all, but not for ever; after an exception in its block the run has failed."""
        if self._tracker is None or not self._thread.is_alive():
            return
        self._add(lambda tracker: tracker.finish(has_failed=self._has_training_failed))
        self._jobs.put(None)
        self._thread.join(self._seconds_to_finish)
        if self._thread.is_alive():
            _LOG.warning(
                "the tracker has not finished in %.0f s, and may lack the last metrics; metrics.jsonl has them all",
                self._seconds_to_finish,
            )

    def _add(self, job: Callable[[Tracker], None]) -> None:
        if self._tracker is not None:
            self._jobs.put(job)

    def _work(self) -> None:
        assert self._tracker is not None
        has_failed = False
        while (job := self._jobs.get()) is not None:
            if has_failed:
                continue
            try:
                job(self._tracker)
            except Exception as error:  # each package has errors of its own
                has_failed = True
                _LOG.warning(
                    "the tracker has failed (%s); training goes on without it, and metrics.jsonl has all metrics",
                    _describe(error),
                )


def open_tracking(
    config: Config, folder: pathlib.Path, *, workdir: str, resume_step: int, enabled: bool = True
) -> Tracking:
    """Begins a run of the configured tracker, or continues the one that `tracker.json` names.

    Args:
      config: of the run.
      folder: its local folder.
      workdir: its name, whose last part is that of the tracker's run.
      resume_step: the step whose state was restored, 0 for a new run.
      enabled: False is as without a tracker; of several processes, one writes.

    Raises:
      TrackerError: if the tracker of a new run cannot be started. That of one that resumes is logged.
    """
    if config.tracker == "none" or not enabled:
        return Tracking()
    run_ids = _read_run_ids(folder / TRACKER_FILE)
    name = re.sub(r"[^\w.-]+", "_", workdir.rstrip("/").rpartition("/")[2]) or "run"
    tracker_type = TRACKERS[config.tracker]
    try:
        tracker = tracker_type(name, run_ids.get(config.tracker), flatten_config(config.to_dict()))
    except Exception as error:
        if resume_step == 0:
            raise TrackerError(
                f"tracker is {config.tracker!r}, which cannot be started ({_describe(error)}); {tracker_type.advice}, "
                "or set tracker to 'none'"
            ) from error
        _LOG.warning("the tracker cannot be started (%s); training goes on without it", _describe(error))
        return Tracking()
    with whole_file(folder / TRACKER_FILE) as part:
        part.write_text(json.dumps({**run_ids, config.tracker: tracker.run_id}) + "\n", encoding="utf-8")
    return Tracking(tracker)


def _read_run_ids(path: pathlib.Path) -> dict[str, str]:
    """The identifiers of a file, by tracker."""
    if not path.exists():
        return {}
    try:
        found = parse_json(path.read_bytes())
        if not isinstance(found, dict) or not all(isinstance(each, str) for each in found.values()):
            raise ValueError("expected an identifier for each tracker")
    except (OSError, ValueError) as error:
        _LOG.warning("%s cannot be read (%s): a new run of the tracker begins", path, error)
        return {}
    return found


def _describe(error: Exception) -> str:
    """The type of an error, and the beginning of what it says."""
    said = textwrap.shorten(next(iter(str(error).strip().splitlines()), ""), 200, placeholder=" …")
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
