"""The cores of a host as devices of JAX, which otherwise is one device, whatever the number of cores."""

from __future__ import annotations

import os

import jax
import joblib

# A step of fewer phrases spends its time on what does not shrink with them.
_MIN_PHRASES_PER_DEVICE = 8


def use_all_cores(batch_size: int) -> None:
    """Makes a CPU device of each core that this process may use; to be called before the first use of a device.

    Where JAX_NUM_CPU_DEVICES or XLA_FLAGS gives a number, it stays; so does the one device of each of several
    processes, which share the cores of a host. GPUs and TPUs are not touched.

    Args:
      batch_size: phrases in a global batch, which must divide over the devices.
    """
    # Options whose value has a context manager cannot be read with `jax.config.read`.
    given: int = getattr(jax.config, "jax_num_cpu_devices")  # noqa: B009 - unknown to type checkers
    if given <= 0 and "device_count" not in os.environ.get("XLA_FLAGS", "") and not jax.distributed.is_initialized():
        jax.config.update("jax_num_cpu_devices", num_devices(batch_size, joblib.cpu_count()))


def num_devices(batch_size: int, num_cores: int) -> int:
    """The largest number of devices, at most one a core, whose shares of a batch are equal, of 8 phrases or more."""
    largest = max(min(num_cores, batch_size // _MIN_PHRASES_PER_DEVICE), 1)
    return next(count for count in range(largest, 0, -1) if batch_size % count == 0)
