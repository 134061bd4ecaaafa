"""Input pipeline: the phrases of one split as batches, divided over processes and devices.

Training and evaluation get the same `Batch`. A batch is a pure function of seed, step and split, so that a resumed run
needs no saved iterator. This file also says how arrays are placed on devices for steps that are mapped over them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Int32, Int64, UInt8

from wae_jax.array_types import AnyArray
from wae_jax.data.dataset import batch_indices, random_bars
from wae_jax.pianoroll import BYTES_PER_PHRASE, NUM_BARS, PackedPhrases

BATCH_AXIS = "batch"  # the axis that steps are mapped over
PLACEMENTS = ("auto", "device", "host")
PADDING = -1
_LARGEST_SHARE_OF_MEMORY = 0.25  # of a device, for the phrases; the rest is for the network


class Batch(NamedTuple):
    """One device's share of a global batch.

    Arguments of a mapped step have leading axes in front of these: devices, and steps of one call.

    Attributes:
      packed: the phrases.
      position: index of each phrase in the global batch; `PADDING` for phrases that only fill the last batch of an
        evaluation and must not be counted.
    """

    packed: UInt8[AnyArray, "*axes b bytes=10080"]
    position: Int32[AnyArray, "*axes b"]


class InputPipeline:
    """Batches of one split.

    Args:
      rows: the packed phrases of the split; may be a memmap.
      batch_size: phrases in a global batch, over all processes; a multiple of the number of devices.
      placement: where `rows` are kept, one of `PLACEMENTS`. "device" holds all of them on every device, so that only
        indices are sent there; "auto" does so if the devices have memory of their own, and plenty.
      following: for each row the one that goes on with its music, -1 without, as `Dataset.following` returns them.
        Then a phrase of a training batch begins 0 to 3 bars later than its row, at random, where another one follows.
    """

    def __init__(
        self,
        rows: PackedPhrases,
        *,
        batch_size: int,
        placement: str = "host",
        following: Int64[np.ndarray, " rows"] | None = None,
    ) -> None:
        self._num_rows = len(rows)
        self._batch_size = batch_size
        self._following = following
        bars = rows.reshape(len(rows) * NUM_BARS, -1)
        on_device = should_keep_on_device(placement, rows.nbytes)
        self._gather = _make_device_gather(bars) if on_device else lambda indices: _join(np.asarray(bars[indices]))

    def training_batches(self, seed: int, step: int, count: int) -> Batch:
        """Batches of the `count` training steps after `step`, for one call: `[D, count, b]`.

        Args:
          seed: of the shuffling.
          step: training steps done.
          count: how many steps the call takes.
        """
        steps = range(step, step + count)
        rows = np.stack(
            [batch_indices(seed, i, num_rows=self._num_rows, batch_size=self._batch_size) for i in steps],
        )
        if self._following is None:
            return self._load(rows)
        following = self._following[rows]
        bars_later = np.stack([random_bars(seed, i, batch_size=self._batch_size) for i in steps])
        return self._load(rows, following, np.where(following < 0, 0, bars_later))

    def evaluation_batches(self) -> Iterator[Batch]:
        """Yields every phrase once, in order: batches of `[D, b]`, the last one padded."""
        for start in range(0, self._num_rows, self._batch_size):
            rows = np.arange(start, start + self._batch_size)
            yield self._load(np.where(rows < self._num_rows, rows, PADDING))

    def _load(self, rows: Int64[np.ndarray, "*steps B"], *later: Int64[np.ndarray, "*steps B"]) -> Batch:
        """A batch of rows, which begin later if `later` has what `bars_of` takes."""
        position = np.where(rows == PADDING, PADDING, np.arange(self._batch_size))
        return Batch(self._gather(bars_of(*map(_local_share, (rows, *later)))), _local_share(position))


def bars_of(
    rows: Int32[np.ndarray, "*axes"],
    following: Int32[np.ndarray, "*axes"] | None = None,
    bars_later: Int32[np.ndarray, "*axes"] | None = None,
) -> Int32[np.ndarray, "*axes bars=4"]:
    """Which bars of a split phrases have, where the bars of row i are 4 i to 4 i + 3.

    Args:
      rows: the row of each phrase.
      following: the row that goes on with its music.
      bars_later: by how many bars, 0 to 3, the phrase begins later; its last bars are then of the row that follows.
    """
    of_row = NUM_BARS * rows[..., None] + np.arange(NUM_BARS, dtype=np.int32)
    if following is None or bars_later is None:
        return of_row
    of_following = NUM_BARS * (following - rows - 1)[..., None]
    bars = of_row + bars_later[..., None]
    return bars + np.where(bars < NUM_BARS * (rows[..., None] + 1), 0, of_following)


def _local_share(values: Int64[np.ndarray, "*steps B"]) -> Int32[np.ndarray, "D *steps b"]:
    """This process's share of a global batch, divided over its devices."""
    share = np.split(values, jax.process_count(), axis=-1)[jax.process_index()]
    return np.stack(np.split(share, jax.local_device_count(), axis=-1)).astype(np.int32)


def _make_device_gather(bars: UInt8[np.ndarray, "N bytes"]) -> Callable[[Int32[np.ndarray, "D *steps b bars=4"]], Any]:
    """Returns a function that gathers phrases by their bars on the devices, each of which holds all of them."""
    on_devices = replicate(np.asarray(bars))
    gather = jax.pmap(lambda bars, indices: _join(bars[indices]), axis_name=BATCH_AXIS, in_axes=(None, 0))
    return lambda indices: gather(on_devices, indices)


def _join(bars: UInt8[AnyArray, "*axes bars=4 bytes"]) -> UInt8[AnyArray, "*axes bytes=10080"]:
    return bars.reshape(*bars.shape[:-2], BYTES_PER_PHRASE)


def should_keep_on_device(placement: str, num_bytes: int) -> bool:
    """Whether a split of so many bytes is kept on every device; see `InputPipeline`."""
    if placement != "auto":
        return placement == "device"
    if jax.default_backend() == "cpu":
        return False
    statistics = jax.local_devices()[0].memory_stats() or {}
    return num_bytes <= _LARGEST_SHARE_OF_MEMORY * statistics.get("bytes_limit", 0)


def replicate(tree: Any, devices: Sequence[jax.Device] | None = None) -> Any:
    """Copies every leaf to each local device, or to those given, without adding a device axis.

    The mesh has the axis of mapped steps: with another name, a step would compile a second time for its own results.
    """
    mesh = Mesh(np.array(devices or jax.local_devices()), (BATCH_AXIS,))
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))
