"""Where state and batches go: every local device under `pmap`, in one process or many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

Devices = Sequence[jax.Device] | None


class DeviceError(ValueError):
    """A run that does not fit its processes and devices; the message has the numbers."""


def start(coordinator: str, num_processes: int, process_id: int) -> None:
    """Joins the processes of a run; does nothing without a coordinator.

    Args:
      coordinator: host:port of process 0; empty for a run of one process.
      num_processes: how many there are.
      process_id: which this is, from 0.

    Raises:
      DeviceError: if the numbers make no sense.
    """
    if not coordinator:
        return
    if not 0 <= process_id < num_processes:
        raise DeviceError(f"process_id {process_id} of {num_processes} processes; expected 0 to {num_processes - 1}")
    jax.distributed.initialize(coordinator, num_processes=num_processes, process_id=process_id)


def describe() -> str:
    """The line that `main` prints at start."""
    return (
        f"processes {jax.process_count()}, devices {jax.local_device_count()} local / {jax.device_count()} global "
        f"({jax.devices()[0].device_kind}, jax {jax.__version__})"
    )


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
