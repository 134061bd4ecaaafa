"""The connections that gloo makes between processes on CPUs, which stall with the buffers that it asks for."""

from __future__ import annotations

import os
import pathlib
import socket

import jax
import numpy as np

# Of what waits to be sent or read: what any Linux allows as it comes (net.core.wmem_max and rmem_max).
_BYTES = 212992

_DESCRIPTORS = pathlib.Path("/proc/self/fd")


def connect() -> None:
    """Connects the devices of all processes, which all call it, and sees to the connections' buffers.

    Gloo, of jax 0.10 at least, makes the room for what is to be sent as large as the first piece of a scattered sum
    that is larger than this room; in a training step that are the gradients of a few codes, 2,096 bytes. The sum of all
    gradients then goes in so small pieces that the other side often waits, by default 40 ms, before it says that it has
    them: 4 MB take 700 ms between two processes of one host, and 30 with the buffers of here. So the first such sum is
    one of `_BYTES`, and then the room is chosen for good.

    Where connections cannot be looked at, as on other systems than Linux, they stay as they are.
    """
    before = _sockets()
    ones = np.ones((jax.local_device_count(), _BYTES // 4 * jax.device_count()), np.float32)
    jax.block_until_ready(_scattered_sum(ones))
    for name, descriptor in _sockets().items():
        if name not in before:
            _choose_buffers(descriptor)


def _scattered_sum(x: np.ndarray) -> jax.Array:
    # Over all devices, as the training step sums: connections belong to the devices that take part.
    return jax.pmap(lambda x: jax.lax.psum_scatter(x, "devices", tiled=True), axis_name="devices")(x)


def _sockets() -> dict[str, int]:
    """The open sockets of this process: the system's names for them, and descriptors."""
    found = {}
    if _DESCRIPTORS.is_dir():
        for path in _DESCRIPTORS.iterdir():
            try:
                name = os.readlink(path)
            except OSError:  # closed meanwhile
                continue
            if name.startswith("socket:"):
                found[name] = int(path.name)
    return found


def _choose_buffers(descriptor: int) -> None:
    try:
        with socket.socket(fileno=os.dup(descriptor)) as connection:
            connection.getpeername()  # raises OSError unless it is connected
            if connection.family in (socket.AF_INET, socket.AF_INET6):
                for buffer in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                    connection.setsockopt(socket.SOL_SOCKET, buffer, _BYTES)
    except OSError:
        pass
