"""Placement of the training state and of batches on the local devices, and the parallel step."""

from __future__ import annotations

import collections
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from wae_jax.errors import DeviceError

Devices = Sequence[jax.Device] | None


def check_devices() -> None:
    """Raises DeviceError unless all processes have equally many devices."""
    counts = collections.Counter(device.process_index for device in jax.devices())
    if len(set(counts.values())) > 1:
        each = ", ".join(f"process {i} has {count}" for i, count in sorted(counts.items()))
        raise DeviceError(f"the processes of a run need equally many devices; {each}")


def check_batch_size(batch_size: int, name: str = "batch_size") -> None:
    """Raises DeviceError unless the global batch divides over all devices."""
    if batch_size % jax.device_count():
        raise DeviceError(
            f"{name} {batch_size} does not divide over {jax.device_count()} devices "
            f"({jax.process_count()} processes x {jax.local_device_count()}); expected a multiple"
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
