"""Contenders in processes of their own, timed in turns.

Two libraries in one process would share neither fairly: each has its pool of threads, and those of one still spin
when the other's turn comes; compilers, allocators and peak memory could not be told apart. So each contender is a
process that waits at a pipe, and takes no time while it waits. The turns are short, and every round starts with
another contender, so that whatever else the machine does falls on all of them alike.

    python -m tests.bench.contender MODULE:FUNCTION

is the process. A line of its input is an object of JSON, the arguments of the function, which returns a `Contender` in
place of the one before; or a number of steps for this contender to do; or "measure".
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pathlib
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

ROOT = pathlib.Path(__file__).parents[2]

# OpenMP's threads spin for .2 s after their work.
PAUSE_S = 0.3
_MEASURE = "measure"


class Contender(NamedTuple):
    """Something to be timed.

    Attributes:
      run: does so many steps and waits for their end; may return the seconds that count, where not all do.
      facts: what a reader of the figures should know, ready for JSON.
      device_memory: peak bytes on an accelerator so far, in the whole process where the library cannot tell contenders
        apart; None where the process's own memory is what counts.
      measure: what the steps so far have led to, ready for JSON; no part of a turn.
    """

    run: Callable[[int], float | None]
    facts: Mapping[str, Any] = {}
    device_memory: Callable[[], int | None] = lambda: None
    measure: Callable[[], Mapping[str, Any]] = dict


class ContenderError(RuntimeError):
    """A contender's process ended early; its output precedes the message."""


class Process:
    """A contender's process, seen from outside.

    Args:
      name: for messages.
      function: MODULE:FUNCTION that makes the contender.
      arguments: of the function, ready for JSON; None leaves the contender to `begin`.
      environment: variables to add.

    Attributes:
      start_s: seconds from the start of the process, or of a later contender, to the end of its first step.
      compile_s: how much longer the first step took than the second.
      facts: those of the contender.
      peak_memory_mb: so far; of the process, with its libraries, or of the accelerator.
    """

    def __init__(
        self,
        name: str,
        function: str,
        arguments: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        command = [sys.executable, "-m", "tests.bench.contender", function]
        started = time.perf_counter()
        # Memory as needed, so that several contenders fit on one accelerator.
        quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **quiet, **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._started: float | None = started
        if arguments is not None:
            self.begin(arguments)

    def begin(self, arguments: Mapping[str, Any]) -> None:
        """Makes a contender of these arguments, which replaces the one before."""
        started, self._started = self._started or time.perf_counter(), None
        self._ask(arguments)
        self._answer()
        self.start_s = time.perf_counter() - started
        ready = self._answer()
        self.compile_s: float = ready["compile_s"]
        self.facts: dict[str, Any] = ready["facts"]
        self.peak_memory_mb: float = ready["peak_memory_mb"]

    def _ask(self, what: Mapping[str, Any] | int | str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the answer will be missing
            self._process.stdin.write(json.dumps(what) + "\n")
            self._process.stdin.flush()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise ContenderError(f"{self.name} ended with status {self._process.wait()}; its own words stand above")
        return json.loads(line)

    def run(self, steps: int) -> float:
        """Seconds for so many steps."""
        self._ask(steps)
        answer = self._answer()
        self.peak_memory_mb = answer["peak_memory_mb"]
        return answer["seconds"]

    def measure(self) -> dict[str, Any]:
        """What the contender's `measure` returns, and the `seconds` it took."""
        self._ask(_MEASURE)
        answer = self._answer()
        self.peak_memory_mb = answer.pop("peak_memory_mb")
        return answer

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *exception: object) -> None:
        if any(exception):  # no one waits for its answer
            self._process.terminate()
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate(timeout=60)


def take_turns(contenders: Sequence[tuple[Process, int]], rounds: int) -> list[list[float]]:
    """Seconds of each contender's turn in each round, for contenders and the steps that a turn of theirs has."""
    seconds: list[list[float]] = [[] for _ in contenders]
    for number in range(rounds):
        for place in range(len(contenders)):
            index = (number + place) % len(contenders)
            process, steps = contenders[index]
            time.sleep(PAUSE_S)
            seconds[index].append(process.run(steps))
    return seconds


def process_memory_mb(usage: resource.struct_rusage) -> float:
    """The most memory that a process has had, compilers and libraries included."""
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 2**20


def _peak_memory_mb(contender: Contender) -> float:
    on_device = contender.device_memory()
    return process_memory_mb(resource.getrusage(resource.RUSAGE_SELF)) if on_device is None else on_device / 2**20


def _serve(function: str) -> None:
    """Makes the contenders that come in, and answers every number of steps with the seconds they took."""
    # Libraries print what they like; the answers go where nobody else writes.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def tell(**answer: Any) -> None:
        answers.write(json.dumps(answer) + "\n")

    def timed(steps: int) -> float:
        start = time.perf_counter()
        own = contender.run(steps)
        return time.perf_counter() - start if own is None else own

    module, name = function.split(":")
    make = getattr(importlib.import_module(module), name)
    contender = Contender(lambda steps: None)
    for line in sys.stdin:
        asked = json.loads(line)
        if isinstance(asked, int):
            seconds = timed(asked)
            tell(seconds=seconds, peak_memory_mb=_peak_memory_mb(contender))
            continue
        if asked == _MEASURE:
            started = time.perf_counter()
            found = contender.measure()
            seconds = time.perf_counter() - started
            tell(**found, seconds=seconds, peak_memory_mb=_peak_memory_mb(contender))
            continue
        # Two would not fit into memory.
        contender = Contender(lambda steps: None)
        gc.collect()
        contender = make(**asked)
        first = timed(1)
        tell()
        compile_s = max(first - timed(1), 0.0)
        tell(compile_s=compile_s, facts=contender.facts, peak_memory_mb=_peak_memory_mb(contender))


if __name__ == "__main__":
    _serve(sys.argv[1])
