"""The metrics of a run as metrics.jsonl and TensorBoard event files, and for a tracker of experiments.

A run resumed from step s writes its metrics as if it had never been interrupted: lines of later steps are removed from
metrics.jsonl, and TensorBoard ignores them. So that none is missing either, a step's metrics must be written
before its checkpoint is saved.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import pathlib
import time
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import UInt8
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog

from wae_jax.files import Closing, parse_json, whole_file
from wae_jax.training.tracking import Tracking

METRICS_FILE = "metrics.jsonl"
_HISTOGRAM_BINS = 64
_EVENTS = "the TensorBoard event file"


class MetricWriter(Closing):
    """Writes metrics to `<workdir>/metrics.jsonl`, to a TensorBoard event file beside it, and to a tracker.

    metrics.jsonl has one JSON object a line, `step` first, and is written line by line; a metric that is not finite is
    null. The event file is written without the background thread of tensorboardX's `SummaryWriter`: on a full disk
    that thread dies, and the run then waits for it forever.

    Args:
      workdir: the folder; made if missing.
      resume_step: the step whose state was restored, 0 for a new run.
      enabled: False makes every method do nothing; of several processes, one writes.
      tracking: the tracker; None for none. Whoever opened it closes it.

    Raises:
      OSError: here and in all methods, if a file cannot be written; the message names it.
    """

    def __init__(
        self,
        workdir: str | os.PathLike[str],
        resume_step: int = 0,
        *,
        enabled: bool = True,
        tracking: Tracking | None = None,
    ) -> None:
        self._enabled = enabled
        self._tracking = Tracking() if tracking is None else tracking
        if not enabled:
            return
        self._path = pathlib.Path(workdir) / METRICS_FILE
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._path.exists():
            with open(self._path, "rb") as old, whole_file(self._path, durable=True) as part, part.open("wb") as new:
                new.writelines(_lines_to_keep(old, resume_step))
        # Unbuffered: nothing may be left over from a line that could not be written.
        self._file: BinaryIO = open(self._path, "ab", buffering=0)  # noqa: SIM115 - closed by close()
        # The suffix keeps apart the files of a run that is started twice within a second.
        suffix = f".{os.getpid()}.{time.monotonic_ns()}"
        self._events = EventsWriter(os.path.join(workdir, "events"), filename_suffix=suffix)
        # TensorBoard drops what earlier files hold of this step and later ones (SummaryWriter calls it purge_step).
        purge_step = resume_step + 1 if resume_step > 0 else 0
        self._write_event(purge_step, session_log=SessionLog(status=SessionLog.START))

    def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
        """Writes numbers, or arrays of one element, to both files and, where they are finite, to the tracker.

        Raises:
          OSError: if the line cannot be written, for instance on a full disk; the file ends with the line before.
          ValueError: if a value is not one number.
        """
        if not self._enabled:
            return
        numbers = {name: as_number(name, value) for name, value in scalars.items()}
        finite = {name: number if math.isfinite(number) else None for name, number in numbers.items()}
        line = json.dumps({"step": step, **finite}, allow_nan=False)
        with _described_errors(f"the metrics of step {step}", self._path):
            self._append(f"{line}\n".encode())
        for name, number in numbers.items():
            self._write_event(step, summary=summary.scalar(name, np.float64(number)))
        self._tracking.write_scalars(step, {name: each for name, each in finite.items() if each is not None})

    def write_images(self, step: int, images: Mapping[str, UInt8[np.ndarray, "height width channels"]]) -> None:
        """Writes images with 1, 3 or 4 channels to TensorBoard and to the tracker."""
        if self._enabled:
            for name, image in images.items():
                self._write_event(step, summary=summary.image(name, image, dataformats="HWC"))
            self._tracking.write_images(step, images)

    def write_sounds(self, step: int, sounds: Mapping[str, pathlib.Path]) -> None:
        """Writes sound files, which exist, to the tracker."""
        if self._enabled:
            self._tracking.write_sounds(step, sounds)

    def write_histograms(self, step: int, values: Mapping[str, Any]) -> None:
        """Writes histograms of the finite values of arrays of any shape to TensorBoard; empty ones are left out."""
        for name, array in values.items() if self._enabled else ():
            numbers = np.asarray(array, dtype=np.float64)
            numbers = numbers[np.isfinite(numbers)]
            if numbers.size:
                self._write_event(step, summary=summary.histogram(name, numbers, bins=_HISTOGRAM_BINS))

    def write_text(self, step: int, texts: Mapping[str, str]) -> None:
        """Writes texts in Markdown to TensorBoard."""
        for name, text in texts.items() if self._enabled else ():
            self._write_event(step, summary=summary.text(name, text))

    def flush(self) -> None:
        """Writes the buffered events to the disk; metrics.jsonl is never buffered."""
        if self._enabled:
            with _described_errors(_EVENTS, self._path.parent):
                self._events.flush()

    def close(self) -> None:
        """Flushes and closes the files."""
        if self._enabled:
            self._file.close()
            with _described_errors(_EVENTS, self._path.parent):
                self._events.close()

    def _append(self, data: bytes) -> None:
        size = os.fstat(self._file.fileno()).st_size
        try:
            while data:
                data = data[self._file.write(data) :]
        except OSError:
            self._file.truncate(size)
            raise

    def _write_event(self, step: int, **content: Any) -> None:
        with _described_errors(_EVENTS, self._path.parent):
            self._events.write_event(Event(step=step, wall_time=time.time(), **content))


@contextlib.contextmanager
def _described_errors(what: str, path: pathlib.Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, f"{what} could not be written: {error.strerror}", str(path)) from error


def as_number(name: str, value: Any) -> int | float:
    """A Python number from a number or an array of one element."""
    array = np.asarray(value)
    if array.size == 1 and array.dtype.kind in "iub":
        return int(array.item())
    if array.size == 1 and array.dtype.kind in "fV":  # bfloat16 is of NumPy's kind V, for void
        return float(array.item())
    raise ValueError(f"metric {name} is {value!r} (shape {array.shape}, type {array.dtype}); expected one real number")


def _lines_to_keep(lines: BinaryIO, resume_step: int) -> Iterator[bytes]:
    """The complete lines of steps up to `resume_step`; none if it is 0, because step 0 is then written again."""
    for line in lines:
        try:
            keep = line.endswith(b"\n") and 0 < resume_step >= parse_json(line)["step"]
        except (ValueError, KeyError, TypeError):
            keep = False  # a partial or damaged line
        if keep:
            yield line
