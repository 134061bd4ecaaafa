"""Statistics of the music of a dataset, track by track, to which binarization rules are fitted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from wae_jax import pianoroll
from wae_jax.config import LONGEST_FITTED_SHORT_NOTE
from wae_jax.data.dataset import spread
from wae_jax.metrics.music import note_length_histogram
from wae_jax.pianoroll import PackedPhrases

_ROWS_AT_A_TIME = 1024  # ten megabytes of what may be larger than memory
_PHRASES_WITH_LENGTHS = 2048


class TrackStatistics(NamedTuple):
    """Statistics of phrases, one value a track.

    Attributes:
      densities: share of active cells.
      empty_bar_rates: share of bars without an active cell.
      short_note_shares: shares of notes of at most 1, 2, ... 12 steps, averaged over the phrases in which the track has
        notes; 0 if it has none.
    """

    densities: tuple[float, ...]
    empty_bar_rates: tuple[float, ...]
    short_note_shares: tuple[tuple[float, ...], ...]


def track_densities(packed: PackedPhrases) -> tuple[float, ...]:
    """The share of active cells of each track, counted without unpacking.

    Raises:
      ValueError: if `packed` is empty or not packed phrases.
    """
    _check(packed)
    cells = sum(pianoroll.count_track_cells(rows).sum(axis=0) for rows in _parts(packed))
    return tuple((cells / (len(packed) * pianoroll.NUM_STEPS * pianoroll.NUM_PITCHES)).tolist())


def track_statistics(packed: PackedPhrases, densities: tuple[float, ...] | None = None) -> TrackStatistics:
    """Statistics of packed phrases; note lengths are counted in up to 2,048 phrases, evenly spread.

    Args:
      packed: the phrases.
      densities: their `track_densities` if known.

    Raises:
      ValueError: if `packed` is empty or not packed phrases.
    """
    _check(packed)
    bars = sum(pianoroll.active_track_bars(rows).sum(axis=(0, 1)) for rows in _parts(packed))
    return TrackStatistics(
        track_densities(packed) if densities is None else densities,
        tuple((1 - bars / (len(packed) * pianoroll.NUM_BARS)).tolist()),
        _short_note_shares(packed[spread(len(packed), _PHRASES_WITH_LENGTHS)]),
    )


def _short_note_shares(packed: PackedPhrases) -> tuple[tuple[float, ...], ...]:
    # The last bin has all longer notes.
    counts = note_length_histogram(pianoroll.unpack(np.asarray(packed)), bins=range(1, LONGEST_FITTED_SHORT_NOTE + 2))
    num_notes = counts.sum(axis=2, keepdims=True)
    shares = np.divide(counts.cumsum(axis=2), num_notes, out=np.zeros(counts.shape), where=num_notes > 0)
    mean = shares.sum(axis=0) / np.maximum((num_notes > 0).sum(axis=0), 1)
    return tuple(tuple(each) for each in mean[:, :LONGEST_FITTED_SHORT_NOTE].tolist())


def _check(packed: PackedPhrases) -> None:
    if packed.ndim != 2 or packed.shape[1] != pianoroll.BYTES_PER_PHRASE or packed.dtype != np.uint8 or not len(packed):
        raise ValueError(
            f"packed phrases have shape {packed.shape} and type {packed.dtype}; "
            f"expected [N, {pianoroll.BYTES_PER_PHRASE}] of uint8 with at least one row"
        )


def _parts(packed: PackedPhrases) -> Iterator[PackedPhrases]:
    for start in range(0, len(packed), _ROWS_AT_A_TIME):
        yield packed[start : start + _ROWS_AT_A_TIME]
