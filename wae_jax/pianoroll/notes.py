"""The notes of piano-rolls, listed and averaged: what the measures of music and the writers of files count with.

A note is a longest run of cells that are on in one pitch of one track. A run that crosses a bar line is one note.
Lengths are in steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64, Integer, Shaped

from wae_jax.pianoroll import NUM_PITCHES, NUM_TRACKS, BinaryPieces, BinaryRolls, Rolls, check_rolls

# Phrases worked on at once: some 20 MB a mask, whatever the number of phrases.
CHUNK = 256

# One number a phrase and track.
Shares = Float64[np.ndarray, "B K=5"]
Counts = Int64[np.ndarray, "B K=5"]


class Notes(NamedTuple):
    """The notes of some rolls, ordered by phrase, pitch, track and onset.

    Attributes:
      phrase: index of the phrase.
      pitch: row of the piano-roll, from 0; the MIDI number is `pianoroll.LOWEST_PITCH` more.
      track: index into `pianoroll.TRACKS`.
      onset: first step, from 0 at the start of the phrase.
      length: steps the note lasts, at least 1.
    """

    phrase: Int64[np.ndarray, " notes"]
    pitch: Int64[np.ndarray, " notes"]
    track: Int64[np.ndarray, " notes"]
    onset: Int64[np.ndarray, " notes"]
    length: Int64[np.ndarray, " notes"]


# One value a note: whether something holds of it, or how much of something it has.
Values = Bool[np.ndarray, " notes"] | Integer[np.ndarray, " notes"] | Float[np.ndarray, " notes"]


def notes(rolls: BinaryPieces) -> Notes:
    """Lists the notes of each roll.

    Args:
      rolls: of any number of steps. They do not touch: a cell that is on at the end of one and at the start of the
        next makes two notes.

    Returns:
      The notes of all rolls.

    Raises:
      ValueError: if the rolls have another shape, or are floats (which would have to be binarised first).
    """
    rolls = _as_bool(rolls)
    if rolls.ndim != 4 or rolls.shape[2:] != (NUM_PITCHES, NUM_TRACKS):
        raise ValueError(
            f"rolls has shape {rolls.shape}; expected [phrases, steps, {NUM_PITCHES} pitches, {NUM_TRACKS} tracks]"
        )
    num, steps = rolls.shape[:2]
    # Where a cell differs from the one before it. There is silence before the first step and after the last, so that
    # each note changes its row twice: at its first step and at the step after its last.
    changes = np.zeros((num, steps + 1, NUM_PITCHES, NUM_TRACKS), bool)
    changes[:, :-1] = rolls
    changes[:, 1:] ^= rolls
    # flatnonzero and unravel_index are ten times faster than nonzero on four axes.
    phrase, step, pitch, track = np.unravel_index(np.flatnonzero(changes), changes.shape)
    # With time as the last axis, starts and ends take turns.
    time_last = num, NUM_PITCHES, NUM_TRACKS, steps + 1
    places = np.sort(np.ravel_multi_index((phrase, pitch, track, step), time_last))
    phrase, pitch, track, onset = np.unravel_index(places[::2], time_last)
    return Notes(phrase, pitch, track, onset, places[1::2] - places[::2])


def as_phrases(rolls: BinaryRolls) -> Rolls:
    """The rolls as bool.

    Raises:
      ValueError: if they are floats (which would have to be binarised first), or have another shape.
    """
    rolls = _as_bool(rolls)
    check_rolls(rolls)
    return rolls


def notes_in_chunks(rolls: BinaryRolls) -> Iterator[tuple[slice, Notes]]:
    """The notes of some phrases at a time, so that the memory it takes does not grow with their number.

    Yields:
      Which phrases, and their notes, whose `phrase` counts from the first of these.
    """
    rolls = as_phrases(rolls)
    for start in range(0, len(rolls), CHUNK):
        chunk = slice(start, min(start + CHUNK, len(rolls)))
        yield chunk, notes(rolls[chunk])


def sum_over_notes(rolls: BinaryRolls, value: Callable[[Notes], Values]) -> tuple[Counts, Shares]:
    """Adds up something that each note has.

    Args:
      rolls: phrases.
      value: gives each note's part; it is called with the notes of some whole phrases.

    Returns:
      The number of notes and the sum of their values, by phrase and track.
    """
    number = np.zeros((len(rolls), NUM_TRACKS), np.int64)
    total = np.zeros(number.shape)
    for chunk, found in notes_in_chunks(rolls):
        place = found.phrase * NUM_TRACKS + found.track
        places = number[chunk].size
        number[chunk] = np.bincount(place, minlength=places).reshape(-1, NUM_TRACKS)
        total[chunk] = np.bincount(place, value(found), minlength=places).reshape(-1, NUM_TRACKS)
    return number, total


def mean_over_notes(rolls: BinaryRolls, value: Callable[[Notes], Values]) -> Shares:
    """The mean of `value` over the notes of each phrase and track, NaN where there is none; a share if it is bool."""
    number, total = sum_over_notes(rolls, value)
    return np.divide(total, number, out=np.full(number.shape, np.nan), where=number > 0)


def _as_bool(rolls: Shaped[np.ndarray, "*shape"]) -> Bool[np.ndarray, "*shape"]:
    """The rolls as bool; floats are refused, since any probability above 0 would read as a sounding cell."""
    rolls = np.asarray(rolls)
    if rolls.dtype.kind not in "bui":
        raise ValueError(f"rolls has type {rolls.dtype}; expected bool or 0/1 integers: binarise probabilities first")
    return rolls.astype(bool, copy=False)
