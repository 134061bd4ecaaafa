"""Measures of music, computed from binary piano-rolls with NumPy.

Every function takes rolls [B, T, P, K] (T = 192 steps of 12 a quarter note) and returns one number a phrase, [B], or
a phrase and track, [B, K]. Averaging is left to the caller. A share of no notes is NaN, which `numpy.nanmean` leaves
out; that mean counts every phrase alike. A share of all notes together, where long phrases of many notes count for
more, is the mean weighted by `notes_per_bar`; the two differ a good deal, so a table should say which it shows.

A note is a longest run of cells that are on in one pitch of one track. A run that crosses a bar line is one note.
Lengths are in steps.

The measures go back to MuseGAN (arXiv 1709.06298, section 5.1). Its published code, and the metrics of pypianoroll
after it, pair note starts with note ends along the pitch axis, so that a roll of one-step notes has only qualified
notes; the functions here follow the definitions instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64, Shaped

from wae_jax.pianoroll import (
    NUM_BARS,
    NUM_PITCHES,
    NUM_TRACKS,
    STEPS_PER_BAR,
    BinaryPieces,
    BinaryRolls,
    Rolls,
    check_rolls,
    onsets,
)

# Phrases worked on at once: some 20 MB a mask, whatever the number of phrases.
_CHUNK = 256

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
    time_last = rolls.shape[0], NUM_PITCHES, NUM_TRACKS, rolls.shape[1]

    def places(marks: Bool[np.ndarray, "B steps P K"], *, backwards: bool = False) -> Int64[np.ndarray, " notes"]:
        # flatnonzero and unravel_index are ten times faster than nonzero on four axes.
        phrase, step, pitch, track = np.unravel_index(np.flatnonzero(marks), rolls.shape)
        if backwards:
            step = rolls.shape[1] - 1 - step
        return np.sort(np.ravel_multi_index((phrase, pitch, track, step), time_last))

    # With time as the last axis, the nth first step and the nth last step belong to the same note.
    first = places(onsets(rolls))
    last = places(onsets(rolls[:, ::-1]), backwards=True)
    phrase, pitch, track, onset = np.unravel_index(first, time_last)
    return Notes(phrase, pitch, track, onset, last - first + 1)


def cells(rolls: BinaryRolls) -> Int64[np.ndarray, " B"]:
    """Number of cells that are on in each phrase."""
    return np.count_nonzero(_phrases(rolls), axis=(1, 2, 3))


def track_sounds(rolls: BinaryRolls) -> Bool[np.ndarray, "B K=5"]:
    """Whether a track has any cell on."""
    return np.any(_phrases(rolls).any(axis=1), axis=1)


def empty_bar_rate(rolls: BinaryRolls) -> Shares:
    """Share of the four bars in which a track has no cell on.

    "EB" of MuseGAN (arXiv 1709.06298). A note held over from the bar before counts as sound.
    """
    rolls = _phrases(rolls)
    bars = rolls.reshape(len(rolls), NUM_BARS, STEPS_PER_BAR, NUM_PITCHES, NUM_TRACKS)
    return 1 - np.any(bars.any(axis=2), axis=2).mean(axis=1)


def polyphony_rate(rolls: BinaryRolls, *, min_pitches: int = 2) -> Shares:
    """Share of all 192 steps, silent ones too, at which a track has at least `min_pitches` pitches on.

    MuseGAN's "polyphonicity" (arXiv 1709.06298). Its text says "more than" a number, its code "at least"; here it is
    at least, so the text's "more than two" is `min_pitches=3`.

    Args:
      rolls: phrases.
      min_pitches: pitches that must sound together.
    """
    # einsum sums over a middle axis five times faster than sum; 84 pitches do not overflow a byte.
    sounding = np.einsum("btpk->btk", _phrases(rolls).view(np.uint8))
    return (sounding >= min_pitches).mean(axis=1)


def qualified_note_rate(rolls: BinaryRolls, *, min_steps: int = 3) -> Shares:
    """Share of a track's notes that last long enough to be heard as notes and not as splinters.

    "QN" of MuseGAN (arXiv 1709.06298), there for notes of at least a 32nd: 3 steps of 24 a quarter. Three steps of the
    12 a quarter used here are a 16th, as in the tables of the WAE slides; `min_steps=2` is nearest to MuseGAN's.

    Args:
      rolls: phrases.
      min_steps: length in steps from which on a note qualifies.

    Returns:
      Shares, NaN where a track has no note.
    """
    return _share_of_notes(rolls, lambda found: found.length >= min_steps)


def one_step_share(rolls: BinaryRolls) -> Shares:
    """Share of a track's notes that last a single step; NaN where a track has no note."""
    return _share_of_notes(rolls, lambda found: found.length == 1)


def onset_grid_share(rolls: BinaryRolls, *, grid: int = 6) -> Shares:
    """Share of a track's notes that start on a multiple of `grid` steps.

    Args:
      rolls: phrases.
      grid: steps from one line of the grid to the next: 12 for quarter notes, 6 for eighths, 3 for sixteenths.

    Returns:
      Shares, NaN where a track has no note.
    """
    return _share_of_notes(rolls, lambda found: found.onset % grid == 0)


def notes_per_bar(rolls: BinaryRolls) -> Shares:
    """Notes of a track that start in a bar, on average over the four bars."""
    number, _ = _count_notes(rolls, lambda found: np.ones_like(found.length, bool))
    return number / NUM_BARS


def _as_bool(rolls: Shaped[np.ndarray, "*shape"]) -> Bool[np.ndarray, "*shape"]:
    """The rolls as bool; floats are refused, since any probability above 0 would read as a sounding cell."""
    rolls = np.asarray(rolls)
    if rolls.dtype.kind not in "bui":
        raise ValueError(f"rolls has type {rolls.dtype}; expected bool or 0/1 integers: binarise probabilities first")
    return rolls.astype(bool, copy=False)


def _phrases(rolls: BinaryRolls) -> Rolls:
    """The rolls as bool, checked."""
    rolls = _as_bool(rolls)
    check_rolls(rolls)
    return rolls


def _count_notes(rolls: BinaryRolls, condition: Callable[[Notes], Bool[np.ndarray, " notes"]]) -> tuple[Counts, Counts]:
    """Counts all notes, and those for which the condition holds."""
    rolls = _phrases(rolls)
    number = np.zeros((len(rolls), NUM_TRACKS), np.int64)
    fulfilling = np.zeros_like(number)
    for start in range(0, len(rolls), _CHUNK):
        chunk = rolls[start : start + _CHUNK]
        found = notes(chunk)
        place = found.phrase * NUM_TRACKS + found.track
        for counts, chosen in ((number, place), (fulfilling, place[condition(found)])):
            counts[start : start + _CHUNK] = np.bincount(chosen, minlength=chunk[:, 0, 0].size).reshape(-1, NUM_TRACKS)
    return number, fulfilling


def _share_of_notes(rolls: BinaryRolls, condition: Callable[[Notes], Bool[np.ndarray, " notes"]]) -> Shares:
    """Share of the notes for which the condition holds; NaN where there is no note."""
    number, fulfilling = _count_notes(rolls, condition)
    return np.divide(fulfilling, number, out=np.full(number.shape, np.nan), where=number > 0)
