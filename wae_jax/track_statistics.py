"""What the music of a data set is like, track by track: what a rule that decides which cells sound is fitted to."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from wae_jax import pianoroll
from wae_jax.pianoroll import PackedPhrases

_ROWS_AT_A_TIME = 1024


class TrackStatistics(NamedTuple):
    """Statistics of some phrases.

    Attributes:
      densities: share of cells that are on, one a track.
      empty_bar_rates: share of bars in which no cell is on, one a track.
    """

    densities: tuple[float, ...]
    empty_bar_rates: tuple[float, ...]


def track_statistics(packed: PackedPhrases) -> TrackStatistics:
    """Counts cells and bars without unpacking, a part of the phrases at a time.

    Raises:
      ValueError: if there is no row or the rows are not packed phrases.
    """
    if packed.ndim != 2 or packed.shape[1] != pianoroll.BYTES_PER_PHRASE or packed.dtype != np.uint8 or not len(packed):
        raise ValueError(
            f"packed phrases have shape {packed.shape} and type {packed.dtype}; "
            f"expected [N, {pianoroll.BYTES_PER_PHRASE}] of uint8 with at least one row"
        )
    cells = np.zeros(pianoroll.NUM_TRACKS, np.int64)
    bars = np.zeros(pianoroll.NUM_TRACKS, np.int64)
    for start in range(0, len(packed), _ROWS_AT_A_TIME):
        rows = packed[start : start + _ROWS_AT_A_TIME]
        cells += pianoroll.count_track_cells(rows).sum(axis=0)
        bars += pianoroll.sounding_track_bars(rows).sum(axis=(0, 1))
    densities = cells / (len(packed) * pianoroll.NUM_STEPS * pianoroll.NUM_PITCHES)
    empty_bar_rates = 1 - bars / (len(packed) * pianoroll.NUM_BARS)
    return TrackStatistics(tuple(densities.tolist()), tuple(empty_bar_rates.tolist()))
