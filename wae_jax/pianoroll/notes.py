"""The notes of piano-rolls, as lists, sums and means.

A note is a maximal run of active cells of one pitch of one track. A run that crosses a bar line is one note.
Lengths are in steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64, Integer, Shaped

from wae_jax.pianoroll.layout import NUM_PITCHES, NUM_TRACKS, BinaryPieces, BinaryRolls, Rolls, check_rolls

# Phrases processed at a time: some 20 MB a mask, whatever the number of phrases.
CHUNK = 256

TrackValues = Float64[np.ndarray, "B K=5"]
TrackCounts = Int64[np.ndarray, "B K=5"]


class Notes(NamedTuple):
    """The notes of some rolls, ordered by phrase, pitch, track and onset.

    Attributes:
      phrase: index of the phrase.
      pitch: row of the piano-roll, from 0; the MIDI number is `pianoroll.LOWEST_PITCH` more.
      track: index into `pianoroll.TRACKS`.
      onset: first step, from 0 at the start of the phrase.
      length: steps, at least 1.
    """

    phrase: Int64[np.ndarray, " notes"]
    pitch: Int64[np.ndarray, " notes"]
    track: Int64[np.ndarray, " notes"]
    onset: Int64[np.ndarray, " notes"]
    length: Int64[np.ndarray, " notes"]


# One value for each note.
Values = Bool[np.ndarray, " notes"] | Integer[np.ndarray, " notes"] | Float[np.ndarray, " notes"]


def find_notes(rolls: BinaryPieces) -> Notes:
    """The notes of all rolls.

    Args:
      rolls: of any number of steps. A note ends with its roll, even if the next roll continues it.

    Raises:
      ValueError: if the rolls are not [B, steps, P, K], or are floats (binarize them first).
    """
    rolls = _as_bool(rolls)
    if rolls.ndim != 4 or rolls.shape[2:] != (NUM_PITCHES, NUM_TRACKS):
        raise ValueError(
            f"rolls has shape {rolls.shape}; expected [phrases, steps, {NUM_PITCHES} pitches, {NUM_TRACKS} tracks]"
        )
    num, steps = rolls.shape[:2]
    # Where a cell differs from the one before it, with silence before the first step and after the last: a note changes
    # its row twice, at its first step and at the step after its last.
    changes = np.zeros((num, steps + 1, NUM_PITCHES, NUM_TRACKS), bool)
    changes[:, :-1] = rolls
    changes[:, 1:] ^= rolls
    # flatnonzero and unravel_index are ten times faster than nonzero on four axes.
    phrase, step, pitch, track = np.unravel_index(np.flatnonzero(changes), changes.shape)
    # With time as the last axis, starts and ends alternate.
    time_last = num, NUM_PITCHES, NUM_TRACKS, steps + 1
    indices = np.sort(np.ravel_multi_index((phrase, pitch, track, step), time_last))
    phrase, pitch, track, onset = np.unravel_index(indices[::2], time_last)
    return Notes(phrase, pitch, track, onset, indices[1::2] - indices[::2])


def as_phrases(rolls: BinaryRolls) -> Rolls:
    """The rolls as bool.

    Raises:
      ValueError: if they are floats (binarize them first), or not [B, T, P, K].
    """
    rolls = _as_bool(rolls)
    check_rolls(rolls)
    return rolls


def notes_in_chunks(rolls: BinaryRolls) -> Iterator[tuple[slice, Notes]]:
    """The notes of a few phrases at a time, in memory that does not grow with the number of phrases.

    Yields:
      The slice of phrases, and their notes, whose `phrase` counts from the start of the slice.
    """
    rolls = as_phrases(rolls)
    for start in range(0, len(rolls), CHUNK):
        chunk = slice(start, min(start + CHUNK, len(rolls)))
        yield chunk, find_notes(rolls[chunk])


def sum_over_notes(rolls: BinaryRolls, value: Callable[[Notes], Values]) -> tuple[TrackCounts, TrackValues]:
    """The number of notes and the sum of their values, by phrase and track.

    Args:
      rolls: phrases.
      value: a function of notes to a value for each; it is called with all notes of a few phrases at a time.
    """
    number = np.zeros((len(rolls), NUM_TRACKS), np.int64)
    total = np.zeros(number.shape)
    for chunk, found in notes_in_chunks(rolls):
        index, size = found.phrase * NUM_TRACKS + found.track, number[chunk].size
        number[chunk] = np.bincount(index, minlength=size).reshape(-1, NUM_TRACKS)
        total[chunk] = np.bincount(index, value(found), minlength=size).reshape(-1, NUM_TRACKS)
    return number, total


def mean_over_notes(rolls: BinaryRolls, value: Callable[[Notes], Values]) -> TrackValues:
    """The mean of `value` over the notes of each phrase and track, NaN without notes; a share if it is bool."""
    number, total = sum_over_notes(rolls, value)
    return ratio(total, number)


def ratio(part: Shaped[np.ndarray, "*part"], whole: Shaped[np.ndarray, "*whole"]) -> Float64[np.ndarray, "*part"]:
    """Quotients in the shape of `part`, NaN where the denominator is 0."""
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def _as_bool(rolls: Shaped[np.ndarray, "*shape"]) -> Bool[np.ndarray, "*shape"]:
    """The rolls as bool; floats are refused, since any probability above 0 would become an active cell."""
    rolls = np.asarray(rolls)
    if rolls.dtype.kind not in "bui":
        raise ValueError(f"rolls has type {rolls.dtype}; expected bool or 0/1 integers: binarize probabilities first")
    return rolls.astype(bool, copy=False)
