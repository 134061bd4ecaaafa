"""Phrases on their way to the training step: from the host call by call, or lying on every device from the start."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int32, Shaped, UInt8

from wae_jax.array_types import AnyArray
from wae_jax.data.dataset import local_indices
from wae_jax.pianoroll import PackedPhrases
from wae_jax.training import devices
from wae_jax.training.state import TrainState
from wae_jax.training.step import BATCH_AXIS, Batch, Metrics

PLACEMENTS = ("auto", "device", "host")
_STEPS_ON_ACCELERATORS = 8
# What the data may take of a device's memory, the rest being the network's.
_LARGEST_SHARE = 0.25


class Feed(NamedTuple):
    """What several training steps in one call work on. Leading axes of devices are left out here.

    Attributes:
      phrases: packed phrases to choose from: the whole split, or those of this call.
      rows: of `phrases`, for S steps.
      position: places within the global batch, alike in all steps.
    """

    phrases: UInt8[AnyArray, "n bytes=10080"]
    rows: Int32[AnyArray, "S b"]
    position: Int32[AnyArray, " b"]


def make_several_steps(
    train_step: Callable[[TrainState, Batch], tuple[TrainState, Metrics]],
) -> Callable[..., tuple[TrainState, dict[str, Float[Array, " S"]]]]:
    """Several training steps in one call, so that the devices do not wait for the host between them.

    Args:
      train_step: one step.

    Returns:
      (state, phrases, rows, position), the latter three as in `Feed`, to the state after all steps and the metrics of
      each.
    """

    def several_steps(
        state: TrainState,
        phrases: UInt8[Array, "n bytes=10080"],
        rows: Int32[Array, "S b"],
        position: Int32[Array, " b"],
    ) -> tuple[TrainState, dict[str, Float[Array, " S"]]]:
        def one_step(state: TrainState, chosen: Int32[Array, " b"]) -> tuple[TrainState, Metrics]:
            return train_step(state, Batch(phrases[chosen], position, jnp.ones(chosen.shape, jnp.float32)))

        return jax.lax.scan(one_step, state, rows)

    return several_steps


def steps_of_call(step: int, *, at_most: int, total: int, stops: Sequence[int]) -> int:
    """How many steps the call after `step` steps takes.

    Depends on nothing but its arguments, so that a run that goes on after an interruption makes the calls that an
    uninterrupted one makes: the same programs, the same rounding.

    Args:
      step: steps done.
      at_most: of a call. A call takes as many or 1, so that only two programs are compiled.
      total: steps of the run.
      stops: no call goes past a multiple of any of these.
    """
    start = max(step // every * every for every in stops)
    end = min(total, *((step // every + 1) * every for every in stops))
    return at_most if (step - start) % at_most == 0 and step + at_most <= end else 1


def steps_per_call(configured: int) -> int:
    """The configured number, or where that is 0, the default of the platform."""
    return configured or (1 if jax.default_backend() == "cpu" else _STEPS_ON_ACCELERATORS)


def lies_on_device(placement: str, num_bytes: int) -> bool:
    """Whether a split of so many bytes is to lie on every device.

    Args:
      placement: one of `PLACEMENTS`; "auto" is the device where that has memory of its own, and plenty.
      num_bytes: of the packed phrases.
    """
    if placement != "auto":
        return placement == "device"
    if jax.default_backend() == "cpu":
        return False
    statistics = jax.local_devices()[0].memory_stats() or {}
    return num_bytes <= _LARGEST_SHARE * statistics.get("bytes_limit", 0)


class Feeder:
    """Hands out what the training steps work on, in the order of the shuffling.

    Args:
      rows: the training split.
      seed: of the shuffling.
      batch_size: of all processes together.
      placement: see `lies_on_device`.

    Attributes:
      in_axes: of state, phrases, rows and position, for `devices.parallel_step`.
    """

    def __init__(self, rows: PackedPhrases, *, seed: int, batch_size: int, placement: str) -> None:
        self._rows = rows
        self._seed = seed
        self._batch_size = batch_size
        self._on_device: Any = None
        if lies_on_device(placement, rows.nbytes):
            self._on_device = devices.replicate(np.asarray(rows), BATCH_AXIS)
        self.in_axes = (None, 0 if self._on_device is None else None, 0, 0)

    def feed(self, step: int, count: int) -> Feed:
        """What `count` steps after `step` work on; arrays with leading axes of devices, as `in_axes` says."""
        shares = [
            local_indices(
                len(self._rows),
                self._seed,
                each,
                batch_size=self._batch_size,
                process_index=jax.process_index(),
                process_count=jax.process_count(),
            )
            for each in range(step, step + count)
        ]
        # [b, S], and a leading axis of devices: a step's phrases are divided over them, its steps are not.
        indices, position = devices.shard((np.stack([indices for indices, _ in shares], axis=1), shares[0][1]))
        indices = indices.swapaxes(1, 2).astype(np.int32)
        if self._on_device is not None:
            return Feed(self._on_device, indices, position)
        return Feed(_take(self._rows, indices), _in_order(indices), position)


def _take(rows: PackedPhrases, indices: Int32[np.ndarray, "D S b"]) -> UInt8[np.ndarray, "D n bytes=10080"]:
    return np.asarray(rows[indices.ravel()]).reshape(len(indices), -1, rows.shape[1])


def _in_order(indices: Shaped[np.ndarray, "D S b"]) -> Int32[np.ndarray, "D S b"]:
    """Where each of the phrases that `_take` takes then is, on its device."""
    places = np.arange(indices[0].size, dtype=np.int32).reshape(indices.shape[1:])
    return np.broadcast_to(places, indices.shape)
