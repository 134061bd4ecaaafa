"""Where state and batches go: every local device under `pmap`, in one process or many."""

from __future__ import annotations

import collections
import contextlib
import hashlib
import json
import os
import pathlib
import re
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from wae_jax import __version__
from wae_jax.errors import DeviceError

Devices = Sequence[jax.Device] | None


# What the flag `--coordinator` is for a run of one process where a scheduler would suggest several.
ALONE = "none"

# A process that says nothing for so long counts as dead, and the others end. jax's default of 100 s would leave them
# waiting longer; a machine that is moved to other hardware is silent for less.
_SECONDS_OF_SILENCE = 60
# jax ends the process itself when its time is over, with a stack trace and without a reason; so ours is over first.
_SECONDS_BEFORE_JAX = 30
_SECONDS_TO_PROBE = 3


def start(coordinator: str = "", num_processes: int = 1, process_id: int = 0, *, join_seconds: float = 50.0) -> None:
    """Joins the processes of a run, before anything else is done with jax.

    Without a coordinator, jax looks for one that a scheduler has named: of SLURM, Open MPI, a Cloud TPU or Kubernetes.
    Where there is none the run has one process.

    Args:
      coordinator: host:port of process 0; empty to find out, `ALONE` for one process whatever a scheduler says.
      num_processes: how many there are, where a coordinator is given.
      process_id: which this is, from 0.
      join_seconds: how long to wait for the others. After that this process ends with a message and status 1.

    Raises:
      DeviceError: if the numbers make no sense, or what the scheduler says is not enough.
    """
    if coordinator in ("", ALONE) and (num_processes, process_id) != (1, 0):
        raise DeviceError(
            f"process {process_id} of {num_processes} processes needs the coordinator, host:port of process 0"
        )
    if coordinator == ALONE:
        return
    given: dict[str, Any] = {}
    if coordinator:
        if not 0 <= process_id < num_processes:
            raise DeviceError(
                f"process_id {process_id} of {num_processes} processes; expected 0 to {num_processes - 1}"
            )
        if not re.fullmatch(r".+:\d+", coordinator):
            raise DeviceError(f"the coordinator is {coordinator!r}; expected host:port of process 0")
        # What is given counts: a scheduler may have started the launcher that gives it.
        given = {"coordinator_address": coordinator, "num_processes": num_processes, "process_id": process_id}
        given["cluster_detection_method"] = "deactivate"
    late = threading.Timer(join_seconds, _leave_without_the_others, [join_seconds])
    late.daemon = True
    late.start()
    try:
        jax.distributed.initialize(
            **given,
            initialization_timeout=round(join_seconds) + _SECONDS_BEFORE_JAX,
            heartbeat_timeout_seconds=_SECONDS_OF_SILENCE,
        )
    except (ValueError, RuntimeError, ImportError) as error:
        # Its only way to say that there is no scheduler.
        if given or "coordinator_address should be defined" not in str(error):
            raise DeviceError(f"the processes of the run cannot be joined: {error}") from error
    finally:
        late.cancel()


def _leave_without_the_others(seconds: float) -> None:
    """Ends the process, which waits inside jax, with what can be told of the reason."""
    # Not public, and only for the message: nothing else tells what a scheduler has said.
    joining = jax._src.distributed.global_state
    address, first = str(joining.coordinator_address), joining.process_id == 0
    if address == "None":
        why = "what the scheduler says of the run could not be found out; see what the others say"
    elif first:
        why = f"not all of the others have come to {address}; see what they say, and whether they can reach it"
    elif _answers(address):
        why = f"process 0 answers at {address}, but not all of the others have come; see what they say"
    else:
        why = f"nothing answers at {address}: process 0 has not started, or cannot be reached from here"
    who = "this process" if address == "None" else f"process {joining.process_id} of {joining.num_processes}"
    leave(f"{who} waited {seconds:.0f} s for the others: {why}")


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS_TO_PROBE):
            return True
    except OSError:
        return False


def leave(message: str, status: int = 1) -> NoReturn:
    """Ends the process with a message, without waiting for the other processes of the run.

    Leaving as usual, jax would wait for all processes to come to their end, while they wait for this one's part of a
    step. So they find it gone, and end too.
    """
    sys.stdout.flush()
    print(f"error: {message}", file=sys.stderr, flush=True)
    os._exit(status)


@contextlib.contextmanager
def leaving_at_once() -> Iterator[None]:
    """A block that, in a run of several processes, ends the process where it raises, with a message and status 1.

    Nothing is given back on the way out: what waits for the other processes there would wait for ones that are gone.
    """
    try:
        yield
    except BaseException as error:
        if jax.process_count() == 1:
            raise
        leave(_reason(error))


def _reason(error: BaseException) -> str:
    """Why a process of several has failed: in a sentence where that was foreseen."""
    who = f"process {jax.process_index()}"
    # What gloo, which connects CPUs, says when a connection is closed. On GPUs and TPUs jax ends the process itself.
    if "Gloo" in str(error):
        return (
            f"{who} has lost the connection to another process of the run, which has ended or cannot be reached; "
            f"started again, the run goes on from its last checkpoint ({str(error).splitlines()[0]})"
        )
    if isinstance(error, OSError) or type(error).__module__.startswith("wae_jax."):
        return str(error)
    return f"{who} has failed:\n{''.join(traceback.format_exception(error))}"


def describe(batch_size: int) -> str:
    """The line that `main` prints at start, for a global batch of so many phrases."""
    device = jax.devices()[0]
    kind = "" if device.device_kind == device.platform else f" ({device.device_kind})"
    return (
        f"processes {jax.process_count()}, devices {jax.local_device_count()} local / {jax.device_count()} global, "
        f"{device.platform}{kind}, batch per device {batch_size / jax.device_count():g}, jax {jax.__version__}"
    )


def code_version() -> str:
    """What this package and jax are, by version and by the content of the package's files."""
    digest = hashlib.sha256()
    folder = pathlib.Path(__file__).parents[1]
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"{path.relative_to(folder)}\n".encode() + path.read_bytes())
    return f"wae_jax {__version__} with files of sha256 {digest.hexdigest()[:16]}, jax {jax.__version__}"


@contextlib.contextmanager
def failing_together() -> Iterator[None]:
    """A block that fails in all processes if it fails in one; all processes must come to it.

    Raises:
      DeviceError: if it succeeded here and failed elsewhere; the message has what was said there.
    """
    try:
        yield
    except Exception as error:
        _gather(f"{error}" or type(error).__name__)
        raise
    failed = [f"process {i}: {said}" for i, said in enumerate(_gather("")) if said]
    if failed:
        raise DeviceError("another process of the run has failed; " + "\n".join(failed))


def check_agreement(facts: Mapping[str, Any]) -> None:
    """Sees to it that all processes of a run are of one mind; all of them must call it.

    Args:
      facts: by name, what JSON knows.

    Raises:
      DeviceError: in all processes, if a fact differs; the message has its name, the values and the processes.
    """
    everyone = [json.loads(text) for text in _gather(json.dumps(facts))]
    problems = []
    for name in dict.fromkeys(name for each in everyone for name in each):
        values: dict[str, list[str]] = {}
        for i, each in enumerate(everyone):
            values.setdefault(json.dumps(each[name]) if name in each else "absent", []).append(str(i))
        if len(values) > 1:
            held = [f"{value} in process {', '.join(processes)}" for value, processes in values.items()]
            problems.append(f"  {name}: {'; '.join(held)}")
    if problems:
        raise DeviceError("the processes of the run do not agree:\n" + "\n".join(problems))


def _gather(text: str) -> list[str]:
    """What each process has to say, by process."""
    if jax.process_count() == 1:
        return [text]
    data = np.frombuffer(text.encode(), np.uint8)
    lengths = multihost_utils.process_allgather(np.int32(len(data))).ravel()
    padded = np.pad(data, (0, int(lengths.max(initial=1)) - len(data)))
    rows = multihost_utils.process_allgather(padded).reshape(jax.process_count(), -1)
    return [row[:length].tobytes().decode() for row, length in zip(rows, lengths, strict=True)]


def _device_counts() -> dict[int, int]:
    """How many devices each process has."""
    return collections.Counter(device.process_index for device in jax.devices())


def check_devices() -> None:
    """Raises DeviceError unless all processes have equally many devices, which this package takes for granted."""
    counts = _device_counts()
    if len(set(counts.values())) > 1:
        each = ", ".join(f"process {i} has {count}" for i, count in sorted(counts.items()))
        raise DeviceError(f"the processes of a run need equally many devices; {each}")


def check_batch_size(batch_size: int, name: str = "batch_size") -> None:
    """Raises DeviceError unless the global batch divides over all devices."""
    if batch_size % jax.device_count():
        raise DeviceError(
            f"{name} {batch_size} does not divide over {jax.device_count()} devices "
            f"({jax.process_count()} processes x {jax.local_device_count()}): take a multiple of {jax.device_count()}"
        )


def replicate(tree: Any, axis_name: str, devices: Devices = None) -> Any:
    """Puts a copy of every leaf on each local device, or on those given, without adding a device axis.

    `axis_name` must be that of the mapped step: under another name the step would compile a second time for its own
    results.
    """
    mesh = Mesh(np.array(devices or jax.local_devices()), (axis_name,))
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def shard(tree: Any, devices: Devices = None) -> Any:
    """Splits the leading axis of every leaf over the local devices: [n, ...] to [devices, n / devices, ...]."""
    count = len(devices or jax.local_devices())

    def split(leaf: np.ndarray) -> np.ndarray:
        if leaf.shape[0] % count:
            raise ValueError(f"a leading axis of {leaf.shape[0]} does not divide over {count} local devices")
        return leaf.reshape(count, -1, *leaf.shape[1:])

    return jax.tree.map(split, tree)


def parallel_step(
    step: Callable[..., Any],
    axis_name: str,
    *,
    in_axes: tuple[int | None, ...] = (None, 0),
    returns_state: bool = False,
    devices: Devices = None,
) -> Callable[..., Any]:
    """Maps `step(state, batch)` over all devices; its results must be alike on all of them.

    Args:
      step: a pure function that reduces over `axis_name` whatever it returns.
      axis_name: the name of the mapped axis.
      in_axes: of each argument: 0 for one shaped by `shard`, None for one that is alike on all devices.
      returns_state: whether the state is replaced by the result; its memory is then reused.
      devices: which; None means all.

    Returns:
      A function of a state placed by `replicate` and a batch shaped by `shard`.
    """
    # In- and output axes of None keep the state free of a device axis and make the step compile once.
    return jax.pmap(
        step,
        axis_name=axis_name,
        in_axes=in_axes,
        out_axes=None,
        donate_argnums=(0,) if returns_state else (),
        devices=devices,
    )
