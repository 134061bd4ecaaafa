"""Rasterizes notes on an axis of steps into packed cells; a roll with a byte for each cell never exists."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int64, UInt8

from wae_jax.pianoroll import CELLS_PER_PHRASE, NUM_STEPS

# Distance from a cell to the same pitch and track a step later.
CELLS_PER_STEP = CELLS_PER_PHRASE // NUM_STEPS

# Keeps intermediate arrays in the processor's cache, and small for a song with millions of cells.
_CELLS_AT_ONCE = 1 << 14


class Runs(NamedTuple):
    """Consecutive active steps of a pitch on a track; runs of one pitch and track do not overlap."""

    pitch_track: Int64[np.ndarray, " n"]  # both as one number
    start: Int64[np.ndarray, " n"]
    length: Int64[np.ndarray, " n"]  # steps; 0 if another run has them all
    pauses: Bool[np.ndarray, " n"]  # the step after it is inactive only because another run starts after it


def merge_notes(
    pitch_track: Int64[np.ndarray, " n"], start: Int64[np.ndarray, " n"], end: Int64[np.ndarray, " n"]
) -> Runs:
    """Merges notes into runs: a step is active while a note sounds, except for the step before the start of another.

    There is one run a note, by pitch and track, then start. The first step of a note is always active.

    Args:
      pitch_track: pitch and track of each note as one number, from 0.
      start: its first step, from 0.
      end: the step after its last, from 0; taken as at least one step after its start. `pitch_track` and two steps
        have to fit into 63 bits.
    """
    bits = (max(int(start.max(initial=0)), int(end.max(initial=0))) + 1).bit_length()
    # A note as one number: sorting numbers takes half the time of finding their order and applying it.
    notes = np.sort((pitch_track << bits | start) << bits | end)
    # The pitches and tracks follow one another on one axis of time, so that all are processed at once.
    start = notes >> bits
    pitch_track = start >> bits
    origin = pitch_track << bits
    latest_end = np.maximum.accumulate(origin | notes & ((1 << bits) - 1))
    following = np.append(start[1:], np.iinfo(np.int64).max)
    until = np.minimum(np.maximum(latest_end, start + 1), following)
    paused = np.maximum(np.minimum(until, following - 1), np.minimum(start + 1, following))
    return Runs(pitch_track, start - origin, paused - start, paused < until)


def activate_runs(
    packed: UInt8[np.ndarray, " bytes"], first: Int64[np.ndarray, " runs"], lengths: Int64[np.ndarray, " runs"]
) -> None:
    """Activates runs of inactive cells of packed phrases, in place.

    A byte holds eight cells, most significant bit first. The first cell of each run is given; the others follow at a
    distance of `CELLS_PER_STEP`. No cell is in two runs.
    """
    ends = np.cumsum(lengths)
    before = ends - lengths
    # Where a run would begin if all cells of the runs before it were its own.
    origin = first - before * CELLS_PER_STEP
    num_cells = int(ends[-1]) if len(ends) else 0
    cuts = np.searchsorted(ends, np.arange(0, num_cells + _CELLS_AT_ONCE, _CELLS_AT_ONCE), side="right").tolist()
    for begin, end in itertools.pairwise(cuts):
        cells = np.repeat(origin[begin:end], lengths[begin:end])
        done = int(before[begin]) * CELLS_PER_STEP
        cells += np.arange(done, done + len(cells) * CELLS_PER_STEP, CELLS_PER_STEP)
        activate_cells(packed, cells)


def activate_cells(packed: UInt8[np.ndarray, " bytes"], cells: Int64[np.ndarray, " n"]) -> None:
    """Activates inactive cells of packed phrases, in place; no cell may be given twice."""
    # Adding a bit that is off sets it, in a tenth of the time of `bitwise_or.at`.
    np.add.at(packed, cells >> 3, np.uint8(128) >> (cells.astype(np.uint8) & 7))
