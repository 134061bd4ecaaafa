"""Checks of the devices of a run, and steps mapped over them."""

from __future__ import annotations

import collections
from collections.abc import Callable, Sequence
from typing import Any

import jax

from wae_jax.data.pipeline import BATCH_AXIS
from wae_jax.errors import DeviceError


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


def parallel_step(
    step: Callable[..., Any], *, donate_state: bool = False, devices: Sequence[jax.Device] | None = None
) -> Callable[..., Any]:
    """Maps `step(state, batch)` over the local devices of all processes.

    Args:
      step: a pure function whose results are reduced over `BATCH_AXIS`, and so are the same on all devices.
      donate_state: whether the memory of the state may be reused for the result.
      devices: the devices to use; None means all local ones.

    Returns:
      A function of a state placed by `pipeline.replicate` and a batch with a leading axis of devices.
    """
    # Axes of None keep the state free of a device axis, and make the step compile once.
    return jax.pmap(
        step,
        axis_name=BATCH_AXIS,
        in_axes=(None, 0),
        out_axes=None,
        donate_argnums=(0,) if donate_state else (),
        devices=devices,
    )
