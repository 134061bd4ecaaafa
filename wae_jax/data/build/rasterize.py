"""Notes on an axis of steps, painted into packed cells: no roll is ever there with a byte for a cell."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int64, UInt8

from wae_jax.pianoroll import CELLS_PER_PHRASE, NUM_STEPS

# From a cell to the same pitch and track a step later.
CELLS_PER_STEP = CELLS_PER_PHRASE // NUM_STEPS

# So that what is made of them stays in the processor's cache, and small where a song has millions.
_CELLS_AT_ONCE = 1 << 14


class Runs(NamedTuple):
    """Steps in a row at which a place is on; no step of a place is in two runs.

    Attributes:
      place: a pitch and a track as one number.
      start: the first step.
      length: how many steps; 0 where another run has them all.
      pauses: whether the step behind it is off only for the start of another run.
    """

    place: Int64[np.ndarray, " n"]
    start: Int64[np.ndarray, " n"]
    length: Int64[np.ndarray, " n"]
    pauses: Bool[np.ndarray, " n"]


def runs(place: Int64[np.ndarray, " n"], start: Int64[np.ndarray, " n"], end: Int64[np.ndarray, " n"]) -> Runs:
    """When places are on: as long as one of their notes, but for the step before the start of another.

    A step that is the start of a note is on whatever follows, so that every note lasts a step at least.

    Args:
      place: that of each note, from 0.
      start: the step at which it starts, from 0.
      end: the step before which it ends, from 0; one step after its start at least is meant. A place and two steps
        have to fit into 63 bits.

    Returns:
      A run a note, by place and start.
    """
    bits = (max(int(start.max(initial=0)), int(end.max(initial=0))) + 1).bit_length()
    # A note as one number: to sort numbers takes half as long as to find their order and apply it.
    notes = np.sort((place << bits | start) << bits | end)
    # Places lie one behind the other on one axis of time, so that there is no need to look at each by itself.
    start = notes >> bits
    place = start >> bits
    origin = place << bits
    latest_end = np.maximum.accumulate(origin | notes & ((1 << bits) - 1))
    following = np.append(start[1:], np.iinfo(np.int64).max)
    until = np.minimum(np.maximum(latest_end, start + 1), following)
    paused = np.maximum(np.minimum(until, following - 1), np.minimum(start + 1, following))
    return Runs(place, start - origin, paused - start, paused < until)


def paint(
    packed: UInt8[np.ndarray, " bytes"], first: Int64[np.ndarray, " runs"], lengths: Int64[np.ndarray, " runs"]
) -> None:
    """Turns on runs of cells.

    Args:
      packed: eight cells a byte, most significant bit first; those of the runs are off.
      first: the first cell of each run; the others are `CELLS_PER_STEP` apart.
      lengths: how many cells each has, from 0; no cell is in two runs.
    """
    ends = np.cumsum(lengths)
    before = ends - lengths
    # Where a run would begin if all cells before it were its own.
    origin = first - before * CELLS_PER_STEP
    num_cells = int(ends[-1]) if len(ends) else 0
    cuts = np.searchsorted(ends, np.arange(0, num_cells + _CELLS_AT_ONCE, _CELLS_AT_ONCE), side="right").tolist()
    for begin, end in itertools.pairwise(cuts):
        cells = np.repeat(origin[begin:end], lengths[begin:end])
        done = int(before[begin]) * CELLS_PER_STEP
        cells += np.arange(done, done + len(cells) * CELLS_PER_STEP, CELLS_PER_STEP)
        turn_on(packed, cells)


def turn_on(packed: UInt8[np.ndarray, " bytes"], cells: Int64[np.ndarray, " n"]) -> None:
    """Turns on cells that are off, each named once; eight are a byte, most significant bit first."""
    # To add a bit that is off is to set it, in a tenth of the time.
    np.add.at(packed, cells >> 3, np.uint8(128) >> (cells.astype(np.uint8) & 7))
