"""The runs of a sweep: their commands, which of them are finished, and running the others on this host."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime
import errno
import fcntl
import functools
import json
import os
import pathlib
import platform
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT))  # for a checkout that is not installed

FINISHED, SKIPPED, FAILED, INTERRUPTED, ELSEWHERE = "finished", "skipped", "failed", "interrupted", "elsewhere"
# Part of main's message when another run holds the workdir.
_IN_USE = "is in use by another run"


class SweepError(ValueError):
    """A sweep that cannot be run; the message says why and what would be right."""


@dataclasses.dataclass(frozen=True)
class Command:
    """One command of a run: its purpose, its words, and a check whether its result exists."""

    what: str
    words: tuple[str, ...]
    is_done: Callable[[], bool]


@dataclasses.dataclass
class Task:
    """A run of the sweep: an arm as it is trained, a seed, a workdir, and the commands that make it."""

    arm: str
    seed: int
    workdir: pathlib.Path
    commands: list[Command]

    @property
    def log(self) -> pathlib.Path:
        """The file that receives the output of the commands."""
        return self.workdir.with_name(self.workdir.name + ".log")


def read_description(data: str) -> dict[str, Any]:
    """The content of a dataset's dataset.json."""
    return dict(json.loads((pathlib.Path(data) / "dataset.json").read_text(encoding="utf-8")))


def total_steps(workdir: pathlib.Path, data: str) -> int | None:
    """The last step of a run, computed like `training.calls.num_train_steps`; None if it is unknown."""
    try:
        config = json.loads((workdir / "config.json").read_text(encoding="utf-8"))
        if config["num_train_steps"]:
            return int(config["num_train_steps"])
        epochs = config["num_epochs"] * _num_training_phrases(config, data) / config["batch_size"]
        return int(config["objective"]["pretrain_steps"] + max(1, round(epochs)))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _num_training_phrases(config: Mapping[str, Any], data: str) -> int:
    if data:
        start, stop = read_description(data)["splits"]["train"]
        return int(stop - start)
    # Only here, since it takes a second; and the built-in corpus has to be composed to be counted.
    from wae_jax.config import read_config
    from wae_jax.data.load import open_data

    return len(open_data(read_config(config).data).split("train"))


def last_checkpoint(workdir: pathlib.Path) -> pathlib.Path | None:
    """The newest complete checkpoint of a run; None if there is none."""
    steps = [path for path in (workdir / "checkpoints").glob("*") if path.name.isdecimal()]
    return max(steps, key=lambda path: int(path.name), default=None)


def is_trained(workdir: pathlib.Path, data: str) -> bool:
    """Whether a run has saved its last step; its metrics are written before that."""
    total, checkpoint = total_steps(workdir, data), last_checkpoint(workdir)
    return total is not None and checkpoint is not None and int(checkpoint.name) >= total


def is_evaluated(workdir: pathlib.Path, file: pathlib.Path) -> bool:
    """Whether there is an evaluation that is not older than the newest checkpoint."""
    checkpoint = last_checkpoint(workdir)
    return checkpoint is not None and file.is_file() and file.stat().st_mtime >= checkpoint.stat().st_mtime


def run_here(tasks: Sequence[Task], options: argparse.Namespace) -> int:
    """Runs the tasks one after another on this host; returns the exit status of the sweep."""
    claim_output(options)
    runner, states = _Runner(), []
    with runner.handling_signals():
        for number, task in enumerate(tasks, 1):
            print(f"[{number}/{len(tasks)}] {task.arm} seed {task.seed}", flush=True)
            states.append(_run_task(task, options.output, runner))
            print(f"  {states[-1]}", flush=True)
            if runner.stopped_by is not None:
                print(f"{signal.Signals(runner.stopped_by).name}: the same command resumes from here", flush=True)
                return 128 + runner.stopped_by
    print(", ".join(f"{count} {state}" for state, count in Counter(states).items()))
    failed = [task for task, state in zip(tasks, states, strict=True) if state == FAILED]
    for task in failed:
        print(f"\n{task.arm} seed {task.seed} failed; the end of {task.log}:")
        print(*(f"  {line}" for line in last_lines(task.log)), sep="\n")
    return 1 if failed else 0


def claim_output(options: argparse.Namespace) -> None:
    """Writes sweep.json; raises SweepError if the folder has runs with another protocol, other data or flags."""
    data = options.data or "built-in corpus"
    if options.data and not options.remote:
        data = read_description(options.data)["phrases_sha256"]
    present = {"protocol": options.protocol, "data": data, "flags": options.flags}
    options.output.mkdir(parents=True, exist_ok=True)
    file = options.output / "sweep.json"
    if not file.exists():
        part = file.with_name(f".sweep.json.{os.getpid()}")  # another sweep sees the whole file or none
        part.write_text(json.dumps(present, indent=2) + "\n", encoding="utf-8")
        part.replace(file)
    before = json.loads(file.read_text(encoding="utf-8"))
    if before != present:
        raise SweepError(f"{options.output} is a sweep of {before}, this one of {present}; choose another --output")


def last_lines(log: pathlib.Path, num: int = 6) -> list[str]:
    """The last lines of output of the newest command in a log."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    start = max((index for index, line in enumerate(lines) if line.startswith("$ ")), default=-1)
    return [line for line in lines[start + 1 :] if line.strip()][-num:]


class _Runner:
    """Runs one command after another; SIGTERM and Ctrl-C end the current one with SIGTERM, and then the sweep.

    Commands have a session of their own, so that Ctrl-C at a terminal does not reach them directly: twice, it makes
    main end without saving. A second Ctrl-C here does that.
    """

    def __init__(self) -> None:
        self.stopped_by: int | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @contextlib.contextmanager
    def handling_signals(self) -> Iterator[None]:
        """Handles the two signals during the block."""
        before = {number: signal.signal(number, self._handle) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handle(self, number: int, frame: object) -> None:
        again = number == signal.SIGINT == self.stopped_by
        self.stopped_by = number
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL if again else signal.SIGTERM)

    def run(self, words: Sequence[str], log: pathlib.Path) -> int:
        """Runs a command, adds its output to the log, and returns its exit status."""
        with log.open("ab", buffering=0) as file:
            file.write(f"\n$ {shlex.join(words)}\n".encode())
            self._process = subprocess.Popen(
                words, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True
            )
            if self.stopped_by is not None:  # while it was being started
                self._process.send_signal(signal.SIGTERM)
            status = self._process.wait()
            self._process = None
        return status


def _run_task(task: Task, output: pathlib.Path, runner: _Runner) -> str:
    """Runs the commands of a task that are not done yet; returns the task's state after that."""
    state = SKIPPED
    with _lock(task.workdir.with_name(f".{task.workdir.name}.lock")) as is_ours:
        if not is_ours:
            return ELSEWHERE
        for command in task.commands:
            if command.is_done():
                continue
            if runner.stopped_by is not None:
                return INTERRUPTED
            print(f"  {command.what}: see {task.log}", flush=True)
            started, clock = _now(), time.monotonic()
            status = runner.run(command.words, task.log)
            state = _state_after(command, status, task.log, runner)
            record = {"arm": task.arm, "seed": task.seed, "what": command.what, "state": state, "status": status}
            record |= {"seconds": round(time.monotonic() - clock, 1), "started": started, "ended": _now()}
            record |= {"commit": _commit(), "processor": _processor()}
            # One write, which the kernel does not mix with another sweep's.
            with (output / "sweep.jsonl").open("ab", buffering=0) as file:
                file.write(json.dumps(record).encode() + b"\n")
            if state != FINISHED:
                break
    return state


@contextlib.contextmanager
def _lock(path: pathlib.Path) -> Iterator[bool]:
    """Yields whether this sweep holds the lock of a run, which ends with the block or the process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        is_ours = True
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            # Some network file systems have no locks; main warns of it.
            is_ours = error.errno not in (errno.EWOULDBLOCK, errno.EACCES)
        yield is_ours


def _state_after(command: Command, status: int, log: pathlib.Path, runner: _Runner) -> str:
    if status == 0 and command.is_done():
        return FINISHED
    if runner.stopped_by is not None:
        return INTERRUPTED
    return ELSEWHERE if any(_IN_USE in line for line in last_lines(log)) else FAILED


@functools.cache
def _commit() -> str:
    """The commit of this checkout, with "+" where files differ from it; "" where git knows none."""
    words = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+", "--abbrev=7", "--exclude=*"]
    try:
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


@functools.cache
def _processor() -> str:
    """The name and number of this host's processors, such as "AMD EPYC, 2 cores"."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # another system than Linux
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
