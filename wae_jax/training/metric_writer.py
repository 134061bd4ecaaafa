"""What a run tells while it goes: metrics.jsonl, TensorBoard event files, and the progress line.

A run that goes on from step s writes its metrics as if it had never been interrupted: what an earlier start wrote
beyond s is taken out of metrics.jsonl and marked as void for TensorBoard. So that nothing is missing either, a step's
metrics are to be written before its checkpoint is saved.
"""

from __future__ import annotations

import collections
import json
import math
import os
import pathlib
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO, TextIO

import numpy as np
from jaxtyping import UInt8
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog

from wae_jax.files import Closing, whole_file

METRICS_FILE = "metrics.jsonl"
HISTOGRAM_BINS = 64


def _scalar(name: str, value: Any) -> int | float:
    """A Python number from a number or an array of one element."""
    array = np.asarray(value)
    if array.size == 1 and array.dtype.kind in "iub":
        return int(array.item())
    # bfloat16 is of NumPy's kind V, for void.
    if array.size == 1 and array.dtype.kind in "fV":
        return float(array.item())
    raise ValueError(f"metric {name} is {value!r} (shape {array.shape}, type {array.dtype}); expected one real number")


class MetricsFile:
    """metrics.jsonl: one JSON object a line, `step` first, appended to and handed to the system line by line.

    JSON has no NaN and no infinity; a metric that is not finite is written as null.

    Args:
      path: the file; made where there is none.
      resume_step: the step whose state has been restored, 0 for a run from the start. Lines of later steps (with 0,
        all lines) and what a kill has left of a line are removed.

    Raises:
      OSError: if the file cannot be read or written.
    """

    def __init__(self, path: str | os.PathLike[str], resume_step: int) -> None:
        self._path = pathlib.Path(path)
        if self._path.exists():
            self._take_back(resume_step)
        # Unbuffered: nothing may be left over from a line that failed to be written.
        self._file: BinaryIO = open(self._path, "ab", buffering=0)  # noqa: SIM115 - closed by close()

    def _take_back(self, resume_step: int) -> None:
        with open(self._path, "rb") as old, whole_file(self._path, durable=True) as part, part.open("wb") as new:
            new.writelines(_lines_to_keep(old, resume_step))

    def write(self, step: int | np.integer, scalars: Mapping[str, Any]) -> None:
        """Appends one line.

        Args:
          step: the number of steps behind the state that the metrics are of.
          scalars: numbers, or arrays of one element.

        Raises:
          OSError: if the line cannot be written, for instance on a full disk; the file then ends with the line before.
          ValueError: if a value is not one number, or a metric is called `step`.
        """
        if "step" in scalars:
            raise ValueError("a metric is called 'step', the name under which the line's step is written")
        numbers = {name: _scalar(name, value) for name, value in scalars.items()}
        finite = {name: number if math.isfinite(number) else None for name, number in numbers.items()}
        line = (json.dumps({"step": int(step), **finite}, allow_nan=False) + "\n").encode()
        size = os.fstat(self._file.fileno()).st_size
        try:
            written = 0
            while written < len(line):
                written += self._file.write(line[written:])
        except OSError as error:
            self._file.truncate(size)
            raise OSError(
                error.errno, f"the metrics of step {step} could not be written: {error.strerror}", str(self._path)
            ) from error

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def _lines_to_keep(lines: BinaryIO, resume_step: int) -> Iterator[bytes]:
    """The whole lines of steps up to `resume_step`; none if that is 0, for then step 0 will be written again too."""
    for line in lines:
        try:
            keep = line.endswith(b"\n") and 0 < resume_step >= json.loads(line)["step"]
        except (ValueError, KeyError, TypeError):
            keep = False  # not a line that was written here as a whole
        if keep:
            yield line


class TensorBoardWriter:
    """One TensorBoard event file for this start of the run.

    Built from the parts of tensorboardX's `SummaryWriter` but without its background thread: on a full disk that thread
    dies, and the run then waits for it for ever.

    Args:
      logdir: the folder of the event files; made where there is none.
      resume_step: the step whose state has been restored; TensorBoard forgets what earlier files hold of later ones.

    Raises:
      OSError: here and in all methods, if the file cannot be written.
    """

    def __init__(self, logdir: str | os.PathLike[str], resume_step: int) -> None:
        self._logdir = os.fspath(logdir)
        os.makedirs(self._logdir, exist_ok=True)
        # tensorboardX's own name has the second and the machine, too little if a run is started twice in one second.
        suffix = f".{os.getpid()}.{time.monotonic_ns()}"
        self._writer = EventsWriter(os.path.join(self._logdir, "events"), filename_suffix=suffix)
        first = resume_step + 1 if resume_step > 0 else 0
        self._write(Event(wall_time=time.time(), step=first, session_log=SessionLog(status=SessionLog.START)))

    def _write(self, event: Event) -> None:
        try:
            self._writer.write_event(event)
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> OSError:
        return OSError(error.errno, f"a TensorBoard event file could not be written: {error.strerror}", self._logdir)

    def _add(self, step: int, content: Any) -> None:
        self._write(Event(wall_time=time.time(), step=int(step), summary=content))

    def scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
        """Writes numbers, or arrays of one element."""
        for name, value in scalars.items():
            self._add(step, summary.scalar(name, np.float64(_scalar(name, value))))

    def images(self, step: int, images: Mapping[str, UInt8[np.ndarray, "height width channels"]]) -> None:
        """Writes images with 1, 3 or 4 channels; ValueError for anything else."""
        for name, image in images.items():
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3, 4):
                raise ValueError(
                    f"image {name} has shape {image.shape} and type {image.dtype}; "
                    "expected uint8 [height, width, 1, 3 or 4 channels]"
                )
            self._add(step, summary.image(name, image, dataformats="HWC"))

    def histograms(self, step: int, values: Mapping[str, Any]) -> None:
        """Writes histograms of the finite values of arrays of any shape; an array with none is left out."""
        for name, array in values.items():
            numbers = np.asarray(array, dtype=np.float64)
            numbers = numbers[np.isfinite(numbers)]
            if numbers.size:
                self._add(step, summary.histogram(name, numbers, bins=HISTOGRAM_BINS))

    def text(self, step: int, texts: Mapping[str, str]) -> None:
        """Writes texts, which TensorBoard shows as Markdown."""
        for name, text in texts.items():
            self._add(step, summary.text(name, text))

    def flush(self) -> None:
        """Hands everything to the disk."""
        try:
            self._writer.flush()
        except OSError as error:
            raise self._failure(error) from error

    def close(self) -> None:
        """Flushes and closes the file."""
        try:
            self._writer.close()
        except OSError as error:
            raise self._failure(error) from error


class MetricWriter(Closing):
    """Writes a run's metrics to `<workdir>/metrics.jsonl` and to TensorBoard event files beside it.

    Args:
      workdir: the work folder; made where there is none.
      resume_step: the step whose state has been restored, 0 for a run from the start.
      enabled: False makes every method do nothing: of several processes, one writes.

    Raises:
      OSError: here and in all methods, if a file cannot be written.
    """

    def __init__(self, workdir: str | os.PathLike[str], resume_step: int = 0, *, enabled: bool = True) -> None:
        self._enabled = enabled
        if enabled:
            self._board = TensorBoardWriter(workdir, resume_step)
            self._file = MetricsFile(pathlib.Path(workdir) / METRICS_FILE, resume_step)

    def write_scalars(self, step: int, scalars: Mapping[str, Any]) -> None:
        """Writes numbers, or arrays of one element, to both."""
        if self._enabled:
            self._file.write(step, scalars)
            self._board.scalars(step, scalars)

    def write_images(self, step: int, images: Mapping[str, UInt8[np.ndarray, "height width channels"]]) -> None:
        """Writes images to TensorBoard."""
        if self._enabled:
            self._board.images(step, images)

    def write_histograms(self, step: int, values: Mapping[str, Any]) -> None:
        """Writes histograms of arrays of any shape to TensorBoard."""
        if self._enabled:
            self._board.histograms(step, values)

    def write_text(self, step: int, texts: Mapping[str, str]) -> None:
        """Writes texts in Markdown to TensorBoard."""
        if self._enabled:
            self._board.text(step, texts)

    def flush(self) -> None:
        """Hands everything to the disk; metrics.jsonl never lags behind."""
        if self._enabled:
            self._board.flush()

    def close(self) -> None:
        """Flushes and closes the files."""
        if self._enabled:
            self._file.close()
            self._board.close()


def format_duration(seconds: float) -> str:
    """A duration to the precision that one cares for: `45 s`, `12 min 05 s`, `3 h 07 min`, `2 d 04 h`; else `?`."""
    if not 0 <= seconds < math.inf:
        return "?"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    minutes = round(seconds / 60)
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60:02} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24:02} h"


def _short(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.4g}"


class Progress(Closing):
    """The progress line: step, phrases a second, time left, the latest metrics.

    On a terminal one line is written over and over; elsewhere a line is added now and then, so that logs stay short.
    When the terminal is gone the line ends and the run goes on.

    Args:
      total_steps: where the run will end.
      batch_size: phrases a step, of all processes together.
      stream: where to write; None is stderr.
      enabled: False makes every method do nothing: of several processes, one tells.
      plain_seconds: where there is no terminal, at least so much time between two lines.
      window_seconds: speed and time left are those of the last so many seconds.
      max_metrics: how many of the latest metrics are shown, from the first on.
      clock: tells the time in seconds.
    """

    _TERMINAL_SECONDS = 0.2

    def __init__(
        self,
        total_steps: int,
        batch_size: int,
        *,
        stream: TextIO | None = None,
        enabled: bool = True,
        plain_seconds: float = 10.0,
        window_seconds: float = 60.0,
        max_metrics: int = 4,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total_steps = total_steps
        self._batch_size = batch_size
        self._stream: TextIO | None = (stream or sys.stderr) if enabled else None
        self._is_terminal = self._stream is not None and self._stream.isatty()
        self._interval = self._TERMINAL_SECONDS if self._is_terminal else plain_seconds
        self._window_seconds = window_seconds
        self._max_metrics = max_metrics
        self._clock = clock
        self._points: collections.deque[tuple[float, int]] = collections.deque()
        self._metrics: dict[str, float] = {}
        self._next_time = -math.inf
        self._shown_step: int | None = None

    def update(self, step: int, metrics: Mapping[str, Any] | None = None) -> None:
        """Tells that `step` steps are done; shows it if it is time to.

        Args:
          step: steps done, at the first call those that the run starts with.
          metrics: shown from now on, until others are given.
        """
        if self._stream is None:
            return
        now = self._clock()
        self._points.append((now, step))
        # The oldest point kept is the last one outside the window, so that slow steps too have two points.
        while len(self._points) > 2 and self._points[1][0] <= now - self._window_seconds:
            self._points.popleft()
        if metrics:
            self._metrics = {name: _scalar(name, value) for name, value in list(metrics.items())[: self._max_metrics]}
        if now >= self._next_time:
            self._next_time = now + self._interval
            self._show()

    def close(self) -> None:
        """Shows the last update, if it has not been shown yet, and ends the line."""
        if self._points and self._points[-1][1] != self._shown_step:
            self._show()
        if self._is_terminal and self._shown_step is not None:
            self._print("\n")
        self._stream = None

    def _line(self) -> str:
        (start_time, start_step), (end_time, step) = self._points[0], self._points[-1]
        parts = [f"step {step:,}/{self._total_steps:,}"]
        if end_time > start_time and step > start_step:
            steps_per_second = (step - start_step) / (end_time - start_time)
            parts.append(f"{_short(steps_per_second * self._batch_size)} phrases/s")
            parts.append(f"{format_duration((self._total_steps - step) / steps_per_second)} left")
        return ", ".join([*parts, *(f"{name} {_short(value)}" for name, value in self._metrics.items())])

    def _show(self) -> None:
        self._shown_step = self._points[-1][1]
        if self._is_terminal:
            width = shutil.get_terminal_size().columns
            self._print(f"\r{self._line()[: width - 1]}\x1b[K")
        else:
            self._print(f"{self._line()}\n")

    def _print(self, text: str) -> None:
        if self._stream is None:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # a broken pipe, a terminal hung up, a stream closed
            self._stream = None
