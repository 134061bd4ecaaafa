"""The processes of a run: how they find each other, agree, and end together."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import pathlib
import re
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import jax
import numpy as np
from jax.experimental import multihost_utils

from wae_jax import __version__
from wae_jax.errors import DeviceError, UserError

# The value of `--coordinator` for a single process, whatever a scheduler says.
ALONE = "none"

# After so many silent seconds a process counts as dead, and the others end. jax's default is 100.
_HEARTBEAT_TIMEOUT_SECONDS = 60
# jax ends the process with a stack trace when its own time is over; ours, with a sentence, is over first.
_SECONDS_BEFORE_JAX = 30


def start(coordinator: str = "", num_processes: int = 1, process_id: int = 0, *, join_seconds: float = 50.0) -> None:
    """Joins the processes of a run; to be called before anything else is done with jax.

    Without a coordinator, jax looks for one in the environment: SLURM, Open MPI, Cloud TPU or Kubernetes. Where it
    finds none, the run has one process.

    Args:
      coordinator: host:port of process 0; empty for automatic detection, `ALONE` for a single process.
      num_processes: the number of processes, if a coordinator is given.
      process_id: the index of this one.
      join_seconds: how long to wait for the others; after that this process ends with a message and status 1.

    Raises:
      DeviceError: if the numbers are inconsistent, or what the scheduler says is incomplete.
    """
    given: dict[str, Any] = {}
    if coordinator in ("", ALONE):
        if (num_processes, process_id) != (1, 0):
            raise DeviceError(
                f"process {process_id} of {num_processes} processes needs the coordinator, host:port of process 0"
            )
        if coordinator == ALONE:
            return
        who, where = "this process", "the coordinator that the scheduler named"
    else:
        if not 0 <= process_id < num_processes:
            raise DeviceError(
                f"process_id {process_id} of {num_processes} processes; expected 0 to {num_processes - 1}"
            )
        if not re.fullmatch(r".+:\d+", coordinator):
            raise DeviceError(f"the coordinator is {coordinator!r}; expected host:port of process 0")
        # Detection is off: a scheduler may have started the launcher that gives these numbers.
        given = {"coordinator_address": coordinator, "num_processes": num_processes, "process_id": process_id}
        given["cluster_detection_method"] = "deactivate"
        who, where = f"process {process_id} of {num_processes}", coordinator
    message = (
        f"{who} waited {join_seconds:.0f} s for the others at {where}; look at the output of the other processes, and "
        "whether they can reach process 0"
    )
    timer = threading.Timer(join_seconds, leave, [message])
    timer.daemon = True
    timer.start()
    try:
        jax.distributed.initialize(
            **given,
            initialization_timeout=round(join_seconds) + _SECONDS_BEFORE_JAX,
            heartbeat_timeout_seconds=_HEARTBEAT_TIMEOUT_SECONDS,
        )
    except (ValueError, RuntimeError, ImportError) as error:
        # jax has no public query and no type of error for the absence of a scheduler, only this text.
        if given or "coordinator_address should be defined" not in str(error):
            raise DeviceError(f"the processes of the run cannot be joined: {error}") from error
    finally:
        timer.cancel()


def leave(message: str) -> NoReturn:
    """Ends the process with a message and status 1, without waiting for the other processes of the run.

    A normal exit would let jax wait for all processes to finish, while they wait for this one's part of a step.
    """
    sys.stdout.flush()
    print(f"error: {message}", file=sys.stderr, flush=True)
    os._exit(1)


@contextlib.contextmanager
def leaving_at_once() -> Iterator[None]:
    """In a run of several processes, ends the process when the block raises, with a message and status 1.

    Nothing is closed on the way out: closing may wait for processes that are gone.
    """
    try:
        yield
    except BaseException as error:
        if jax.process_count() == 1:
            raise
        leave(_reason(error))


def _reason(error: BaseException) -> str:
    """Why one process of several failed: a sentence for expected errors, a traceback for others."""
    who = f"process {jax.process_index()}"
    if isinstance(error, UserError | OSError):
        return str(error)
    if isinstance(error, jax.errors.JaxRuntimeError):
        first_line = next(iter(str(error).splitlines()), "")
        return (
            f"{who} failed in a computation of all processes, probably because it lost the connection to another "
            f"process of the run; started again, the run resumes from its last checkpoint ({first_line})"
        )
    return f"{who} failed:\n{''.join(traceback.format_exception(error))}"


def describe(batch_size: int) -> str:
    """The line that `main` prints at start, for a global batch of `batch_size` phrases."""
    device = jax.devices()[0]
    kind = "" if device.device_kind == device.platform else f" ({device.device_kind})"
    return (
        f"processes {jax.process_count()}, devices {jax.local_device_count()} local / {jax.device_count()} global, "
        f"{device.platform}{kind}, batch per device {batch_size / jax.device_count():g}, jax {jax.__version__}"
    )


def code_version() -> str:
    """The versions of this package and of jax, with a digest of the package's source files."""
    digest = hashlib.sha256()
    folder = pathlib.Path(__file__).parents[1]
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"{path.relative_to(folder)}\n".encode() + path.read_bytes())
    return f"wae_jax {__version__} with files of sha256 {digest.hexdigest()[:16]}, jax {jax.__version__}"


@contextlib.contextmanager
def failing_together() -> Iterator[None]:
    """A block that raises in all processes if it raises in one; all processes must enter it.

    Raises:
      DeviceError: if the block succeeded here and failed elsewhere; the message has the errors of the others.
    """
    try:
        yield
    except Exception as error:
        _gather(f"{error}" or type(error).__name__)
        raise
    failed = [f"process {i}: {message}" for i, message in enumerate(_gather("")) if message]
    if failed:
        raise DeviceError("another process of the run has failed; " + "\n".join(failed))


def check_agreement(facts: Mapping[str, Any]) -> None:
    """Checks that all processes of a run have the same facts; all of them must call it.

    Args:
      facts: JSON values by name.

    Raises:
      DeviceError: in all processes, if a fact differs; the message has its name, the values and the processes.
    """
    everyone = [json.loads(text) for text in _gather(json.dumps(facts))]
    problems = []
    for name in dict.fromkeys(itertools.chain(*everyone)):
        processes: dict[str, list[str]] = {}
        for i, each in enumerate(everyone):
            processes.setdefault(json.dumps(each[name]) if name in each else "absent", []).append(str(i))
        if len(processes) > 1:
            held = "; ".join(f"{value} in process {', '.join(which)}" for value, which in processes.items())
            problems.append(f"  {name}: {held}")
    if problems:
        raise DeviceError("the processes of the run do not agree:\n" + "\n".join(problems))


def _gather(text: str) -> list[str]:
    """The text of each process, in the order of their indices."""
    if jax.process_count() == 1:
        return [text]
    data = np.frombuffer(text.encode(), np.uint8)
    lengths = multihost_utils.process_allgather(np.int32(len(data))).ravel()
    padded = np.pad(data, (0, int(lengths.max(initial=1)) - len(data)))
    rows = multihost_utils.process_allgather(padded).reshape(jax.process_count(), -1)
    return [row[:length].tobytes().decode() for row, length in zip(rows, lengths, strict=True)]
