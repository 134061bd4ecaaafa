"""What the music of a data set is like, track by track: what a rule that decides which cells sound is fitted to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from wae_jax import pianoroll
from wae_jax.config import LONGEST_FITTED_SHORT_NOTE
from wae_jax.data.dataset import spread
from wae_jax.metrics.music import note_length_histogram
from wae_jax.pianoroll import PackedPhrases

# Lengths of notes that shares are told of.
# Ten megabytes at a time of what may be larger than memory.
_ROWS_AT_A_TIME = 1024
_PHRASES_WITH_LENGTHS = 2048


class TrackStatistics(NamedTuple):
    """Statistics of some phrases.

    Attributes:
      densities: share of cells that are on, one a track.
      empty_bar_rates: share of bars in which no cell is on, one a track.
      short_note_shares: of each track the share of notes that last at most 1, 2 ... 12 steps, as the mean over the
        phrases in which it has notes; 0 where it has none.
    """

    densities: tuple[float, ...]
    empty_bar_rates: tuple[float, ...]
    short_note_shares: tuple[tuple[float, ...], ...]


def track_densities(packed: PackedPhrases) -> tuple[float, ...]:
    """The share of cells that are on, one a track, counted without unpacking.

    Raises:
      ValueError: if there is no row or the rows are not packed phrases.
    """
    _check(packed)
    cells = sum(pianoroll.count_track_cells(rows).sum(axis=0) for rows in _parts(packed))
    return tuple((cells / (len(packed) * pianoroll.NUM_STEPS * pianoroll.NUM_PITCHES)).tolist())


def track_statistics(packed: PackedPhrases, densities: tuple[float, ...] | None = None) -> TrackStatistics:
    """The statistics of packed phrases; notes are looked at in up to 2,048 of them, spread over all.

    Args:
      packed: the phrases.
      densities: theirs, where they have been found already.

    Raises:
      ValueError: if there is no row or the rows are not packed phrases.
    """
    _check(packed)
    bars = sum(pianoroll.active_track_bars(rows).sum(axis=(0, 1)) for rows in _parts(packed))
    return TrackStatistics(
        track_densities(packed) if densities is None else densities,
        tuple((1 - bars / (len(packed) * pianoroll.NUM_BARS)).tolist()),
        _short_note_shares(packed[spread(len(packed), _PHRASES_WITH_LENGTHS)]),
    )


def _short_note_shares(packed: PackedPhrases) -> tuple[tuple[float, ...], ...]:
    # A bin each, and one for all that are longer.
    counts = note_length_histogram(pianoroll.unpack(np.asarray(packed)), bins=range(1, LONGEST_FITTED_SHORT_NOTE + 2))
    of_phrase = counts.sum(axis=2, keepdims=True)
    shares = np.divide(counts.cumsum(axis=2), of_phrase, out=np.zeros(counts.shape), where=of_phrase > 0)
    mean = shares.sum(axis=0) / np.maximum((of_phrase > 0).sum(axis=0), 1)
    return tuple(tuple(each) for each in mean[:, :LONGEST_FITTED_SHORT_NOTE].tolist())


def _check(packed: PackedPhrases) -> None:
    if packed.ndim != 2 or packed.shape[1] != pianoroll.BYTES_PER_PHRASE or packed.dtype != np.uint8 or not len(packed):
        raise ValueError(
            f"packed phrases have shape {packed.shape} and type {packed.dtype}; "
            f"expected [N, {pianoroll.BYTES_PER_PHRASE}] of uint8 with at least one row"
        )


def _parts(packed: PackedPhrases) -> Iterator[PackedPhrases]:
    """The rows, a part at a time."""
    for start in range(0, len(packed), _ROWS_AT_A_TIME):
        yield packed[start : start + _ROWS_AT_A_TIME]
