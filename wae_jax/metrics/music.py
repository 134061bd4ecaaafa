"""Measures of music, computed from binary piano-rolls with NumPy.

Every function takes rolls [B, T, P, K] (T = 192 steps of 12 a quarter note) and returns one number a phrase, [B], or
a phrase and track, [B, K]. Averaging is left to the caller. What describes notes is NaN where a track has none, which
`numpy.nanmean` leaves out; that mean counts every phrase alike. A share of all notes together, where long phrases of
many notes count for more, is the mean weighted by `notes_per_bar`; the two differ a good deal, so a table should say
which it shows. What counts or fills the time of a phrase (cells, density, notes per bar, polyphony) is 0 in silence.

What a note is, `notes.py` says. The measures of pitch classes, scales and intervals are in `harmony.py`.

The measures go back to MuseGAN (arXiv 1709.06298, section 5.1). Its published code, and the metrics of pypianoroll
after it, are wrong in places; the functions here follow the definitions, `musegan.py` has that code's readings.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float64, Int64

from wae_jax.pianoroll import (
    LOWEST_PITCH,
    NUM_BARS,
    NUM_PITCHES,
    NUM_STEPS,
    NUM_TRACKS,
    STEPS_PER_BAR,
    TRACKS,
    BinaryRolls,
)
from wae_jax.pianoroll.notes import Notes, TrackValues, as_phrases, mean_over_notes, notes_in_chunks, sum_over_notes

# The shortest note of each bin of `note_length_histogram`, in steps: 1, 2, from a sixteenth (3), an eighth (6), a
# quarter (12), a half (24), a bar (48). One and two steps are no note values: what falls there is splinters, or drums.
LENGTH_BINS = (1, 2, 3, 6, 12, 24, 48)

# A drum onset on a sixteenth of the bar counts in full, one beside it a tenth.
DRUM_GRID_WEIGHTS = (1.0, 0.1, 0.1)

DRUMS = next(k for k, track in enumerate(TRACKS) if track.is_drum)


def cells(rolls: BinaryRolls) -> Int64[np.ndarray, " B"]:
    """Number of cells that are on in each phrase."""
    return np.count_nonzero(as_phrases(rolls), axis=(1, 2, 3))


def track_sounds(rolls: BinaryRolls) -> Bool[np.ndarray, "B K=5"]:
    """Whether a track has any cell on."""
    return np.any(_pitches_used(rolls), axis=1)


def density(rolls: BinaryRolls) -> TrackValues:
    """Share of a track's 192 x 84 cells that are on."""
    # einsum sums over a middle axis many times faster than sum and count_nonzero; 192 steps do not overflow a byte.
    steps_on = np.einsum("btpk->bpk", as_phrases(rolls).view(np.uint8))
    return steps_on.sum(axis=1, dtype=np.int64) / (NUM_STEPS * NUM_PITCHES)


def empty_bar_rate(rolls: BinaryRolls) -> TrackValues:
    """Share of the four bars in which a track has no cell on.

    "EB" of MuseGAN (arXiv 1709.06298). A note held over from the bar before counts as sound.
    """
    rolls = as_phrases(rolls)
    bars = rolls.reshape(len(rolls), NUM_BARS, STEPS_PER_BAR, NUM_PITCHES, NUM_TRACKS)
    return 1 - np.any(bars.any(axis=2), axis=2).mean(axis=1)


def polyphony_rate(rolls: BinaryRolls, *, min_pitches: int = 2) -> TrackValues:
    """Share of all 192 steps, silent ones too, at which a track has at least `min_pitches` pitches on.

    MuseGAN's "polyphonicity" (arXiv 1709.06298). Its text says "more than two", its first two programs count two, its
    third three. Here it is at least so many, so the text's "more than two" is `min_pitches=3`.

    Args:
      rolls: phrases.
      min_pitches: pitches that must sound together.
    """
    # As above: einsum is five times faster, and 84 pitches do not overflow a byte.
    sounding = np.einsum("btpk->btk", as_phrases(rolls).view(np.uint8))
    return (sounding >= min_pitches).mean(axis=1)


def used_pitches(rolls: BinaryRolls) -> TrackValues:
    """Number of different pitches of a track, or pieces of the drum kit; NaN where a track has no note."""
    number = np.count_nonzero(_pitches_used(rolls), axis=1)
    return np.where(number > 0, number, np.nan)


def lowest_pitch(rolls: BinaryRolls) -> TrackValues:
    """MIDI number of a track's lowest note, NaN where it has none."""
    used = _pitches_used(rolls)
    return np.where(used.any(axis=1), LOWEST_PITCH + used.argmax(axis=1), np.nan)


def highest_pitch(rolls: BinaryRolls) -> TrackValues:
    """MIDI number of a track's highest note, NaN where it has none."""
    used = _pitches_used(rolls)
    return np.where(used.any(axis=1), LOWEST_PITCH + NUM_PITCHES - 1 - used[:, ::-1].argmax(axis=1), np.nan)


def pitch_range(rolls: BinaryRolls) -> TrackValues:
    """Semitones from a track's lowest note to its highest: 0 for a single pitch, NaN where it has no note."""
    return highest_pitch(rolls) - lowest_pitch(rolls)


def notes_per_bar(rolls: BinaryRolls) -> TrackValues:
    """Notes of a track that start in a bar, on average over the four bars."""
    number, _ = sum_over_notes(rolls, lambda found: found.length)
    return number / NUM_BARS


def note_length(rolls: BinaryRolls) -> TrackValues:
    """Mean length of a track's notes in steps, NaN where it has none."""
    return mean_over_notes(rolls, lambda found: found.length)


def note_length_histogram(rolls: BinaryRolls, *, bins: Sequence[int] = LENGTH_BINS) -> Int64[np.ndarray, "B K=5 bins"]:
    """Number of a track's notes by length.

    Args:
      rolls: phrases.
      bins: the shortest length of each bin in steps, in ascending order, the first of them 1.

    Returns:
      Counts in the bins, those of `LENGTH_BINS` being 1, 2, 3-5, 6-11, 12-23, 24-47 and 48-192 steps. A track's counts
      add up to its notes.
    """
    counts = np.zeros((len(rolls), NUM_TRACKS, len(bins)), np.int64)
    for chunk, found in notes_in_chunks(rolls):
        place = np.ravel_multi_index((found.phrase, found.track, length_bins(found.length, bins)), counts[chunk].shape)
        counts[chunk] = np.bincount(place, minlength=counts[chunk].size).reshape(counts[chunk].shape)
    return counts


def length_bins(length: Int64[np.ndarray, " notes"], bins: Sequence[int] = LENGTH_BINS) -> Int64[np.ndarray, " notes"]:
    """Which of the bins each length in steps, of at least 1, belongs to."""
    return np.searchsorted(bins, length, side="right") - 1


def qualified_note_rate(rolls: BinaryRolls, *, min_steps: int = 3) -> TrackValues:
    """Share of a track's notes that last long enough to be heard as notes and not as splinters.

    "QN" of MuseGAN (arXiv 1709.06298), there for notes of at least a 32nd: 3 steps of 24 a quarter. Three steps of the
    12 a quarter used here are a 16th, as in the tables of the WAE slides; `min_steps=2` is nearest to MuseGAN's.

    Args:
      rolls: phrases.
      min_steps: length in steps from which on a note qualifies.

    Returns:
      TrackValues, NaN where a track has no note.
    """
    return mean_over_notes(rolls, lambda found: found.length >= min_steps)


def one_step_share(rolls: BinaryRolls) -> TrackValues:
    """Share of a track's notes that last a single step; NaN where a track has no note."""
    return mean_over_notes(rolls, lambda found: found.length == 1)


def onset_grid_share(rolls: BinaryRolls, *, grid: int = 6) -> TrackValues:
    """Share of a track's notes that start on a multiple of `grid` steps.

    Args:
      rolls: phrases.
      grid: steps from one line of the grid to the next: 12 for quarter notes, 6 for eighths, 3 for sixteenths.

    Returns:
      TrackValues, NaN where a track has no note.
    """
    return mean_over_notes(rolls, lambda found: found.onset % grid == 0)


def reonset_gap_share(rolls: BinaryRolls, *, min_gap: int = 1, max_gap: int = 2) -> TrackValues:
    """Share of a track's notes that take up again, after a short gap, the pitch that has just stopped.

    The gap is the number of silent steps between the last step of a note and the first of the next one of the same
    pitch. A held note that a decoder drops for a step or two shows here, and so does a repeated note of real music:
    since a piano-roll cannot tell a repeated note from a held one, one silent step is left between two that touch;
    and sixteenths played short, as drums are, leave two. So the figure is not to be read alone but beside real
    music's: more than that means broken notes, less that repeated notes have grown together.

    Args:
      rolls: phrases.
      min_gap: shortest gap that counts, in steps, at least 1.
      max_gap: longest gap that counts.

    Returns:
      TrackValues of all notes, the first of each pitch among them; NaN where a track has no note.
    """

    def follows_a_gap(found: Notes) -> Bool[np.ndarray, " notes"]:
        # The notes of one row come one after another.
        end = found.onset + found.length
        same_row = np.logical_and.reduce([part[1:] == part[:-1] for part in found[:3]])
        gap = found.onset[1:] - end[:-1]
        follows = np.zeros(len(end), bool)
        follows[1:] = same_row & (gap >= min_gap) & (gap <= max_gap)
        return follows

    return mean_over_notes(rolls, follows_a_gap)


def drum_pattern(rolls: BinaryRolls) -> Float64[np.ndarray, " B"]:
    """How much of the drums is on the grid of sixteenths: the mean of `DRUM_GRID_WEIGHTS` over their onsets.

    "DP" of MuseGAN (arXiv 1709.06298): an onset on one of the 16 sixteenths of a bar counts 1, one that is a step
    off counts .1. Those are the weights of its program for bars of 48 steps, where no step is further off, so that
    onsets anywhere score .4 and none less than .1. That program counts all cells that are on, though, not onsets. The
    first one, of bars of 96 steps, counts onsets and takes for each bar the best of the grid's six shifts; here the
    grid stays where the beat is.

    Returns:
      Means, NaN where a phrase has no drum note.
    """
    weights = np.asarray(DRUM_GRID_WEIGHTS)
    return mean_over_notes(rolls, lambda found: weights[found.onset % len(weights)])[:, DRUMS]


def _pitches_used(rolls: BinaryRolls) -> Bool[np.ndarray, "B P=84 K=5"]:
    """Which pitches a track has a note of."""
    return np.any(as_phrases(rolls), axis=1)
