"""Metrics of notes, computed from binary piano-rolls.

All functions take rolls [B, T, P, K] (192 steps, 12 a quarter note) and return one number a phrase, [B], or a phrase
and track, [B, K]; the caller averages. Properties of notes are NaN for a track without notes, quantities (cells and
their share, notes per bar, polyphony) are 0. `numpy.nanmean` over phrases weights every phrase alike; the share of all
notes together is the mean weighted by `notes_per_bar`. The two differ considerably, so a table should say which it
shows.

Most metrics are those of MuseGAN (arXiv 1709.06298, section 5.1). They follow the definitions in the paper;
`musegan.py` has the deviating ones of its published code. Notes are defined in `pianoroll.notes`.
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
# quarter (12), a half (24), a bar (48). One and two steps are no note values: such notes are artefacts, or drums.
LENGTH_BINS = (1, 2, 3, 6, 12, 24, 48)

# Weights of drum onsets on a sixteenth, and one and two steps after it.
DRUM_GRID_WEIGHTS = (1.0, 0.1, 0.1)

DRUMS = next(k for k, track in enumerate(TRACKS) if track.is_drum)


def cells(rolls: BinaryRolls) -> Int64[np.ndarray, " B"]:
    """Number of active cells of each phrase."""
    return np.count_nonzero(as_phrases(rolls), axis=(1, 2, 3))


def active_track_rate(rolls: BinaryRolls) -> TrackValues:
    """1 for a track with an active cell, 0 for a silent one."""
    return np.any(_pitches_used(rolls), axis=1).astype(np.float64)


def active_cell_rate(rolls: BinaryRolls) -> TrackValues:
    """Share of active cells among the 192 x 84 cells of a track."""
    # einsum sums over a middle axis many times faster than sum and count_nonzero; 192 steps fit into a byte.
    steps_on = np.einsum("btpk->bpk", as_phrases(rolls).view(np.uint8))
    return steps_on.sum(axis=1, dtype=np.int64) / (NUM_STEPS * NUM_PITCHES)


def empty_bar_rate(rolls: BinaryRolls) -> TrackValues:
    """Share of the four bars in which a track has no active cell: "EB" of MuseGAN (arXiv 1709.06298)."""
    rolls = as_phrases(rolls)
    bars = rolls.reshape(len(rolls), NUM_BARS, STEPS_PER_BAR, NUM_PITCHES, NUM_TRACKS)
    return 1 - np.any(bars.any(axis=2), axis=2).mean(axis=1)


def polyphony_rate(rolls: BinaryRolls, *, min_pitches: int = 2) -> TrackValues:
    """Share of all 192 steps, silent ones included, at which a track has at least `min_pitches` active pitches.

    "Polyphonicity" of MuseGAN (arXiv 1709.06298): "more than two" in its text, which is `min_pitches=3`; two in the
    first two versions of its code, three in the third.
    """
    # As above: einsum is five times faster, and 84 pitches fit into a byte.
    num_pitches = np.einsum("btpk->btk", as_phrases(rolls).view(np.uint8))
    return (num_pitches >= min_pitches).mean(axis=1)


def used_pitches(rolls: BinaryRolls) -> TrackValues:
    """Number of different pitches of a track, or drums of the kit; NaN for a silent track."""
    number = np.count_nonzero(_pitches_used(rolls), axis=1)
    return np.where(number > 0, number, np.nan)


def lowest_pitch(rolls: BinaryRolls) -> TrackValues:
    """MIDI number of a track's lowest note, NaN for a silent track."""
    used = _pitches_used(rolls)
    return np.where(used.any(axis=1), LOWEST_PITCH + used.argmax(axis=1), np.nan)


def highest_pitch(rolls: BinaryRolls) -> TrackValues:
    """MIDI number of a track's highest note, NaN for a silent track."""
    used = _pitches_used(rolls)
    return np.where(used.any(axis=1), LOWEST_PITCH + NUM_PITCHES - 1 - used[:, ::-1].argmax(axis=1), np.nan)


def pitch_range(rolls: BinaryRolls) -> TrackValues:
    """Semitones from a track's lowest note to its highest: 0 for a single pitch, NaN for a silent track."""
    return highest_pitch(rolls) - lowest_pitch(rolls)


def notes_per_bar(rolls: BinaryRolls) -> TrackValues:
    """Number of onsets of a track in a bar, averaged over the four bars."""
    number, _ = sum_over_notes(rolls, lambda found: found.length)
    return number / NUM_BARS


def note_length(rolls: BinaryRolls) -> TrackValues:
    """Mean length of a track's notes in steps, NaN for a silent track."""
    return mean_over_notes(rolls, lambda found: found.length)


def note_length_histogram(rolls: BinaryRolls, *, bins: Sequence[int] = LENGTH_BINS) -> Int64[np.ndarray, "B K=5 bins"]:
    """Number of a track's notes by length; `bins` are the shortest lengths in steps, ascending from 1."""
    counts = np.zeros((len(rolls), NUM_TRACKS, len(bins)), np.int64)
    for chunk, found in notes_in_chunks(rolls):
        index = np.ravel_multi_index((found.phrase, found.track, length_bins(found.length, bins)), counts[chunk].shape)
        counts[chunk] = np.bincount(index, minlength=counts[chunk].size).reshape(counts[chunk].shape)
    return counts


def length_bins(length: Int64[np.ndarray, " notes"], bins: Sequence[int] = LENGTH_BINS) -> Int64[np.ndarray, " notes"]:
    """Index of the bin of each length in steps."""
    return np.searchsorted(bins, length, side="right") - 1


def qualified_note_rate(rolls: BinaryRolls, *, min_steps: int = 3) -> TrackValues:
    """Share of a track's notes of at least `min_steps` steps, NaN without notes: "QN" of MuseGAN (arXiv 1709.06298).

    There it counts notes of at least a 32nd: 3 steps of 24 a quarter. Three steps of the 12 a quarter used here are a
    16th, as in the tables of the slides of `w00zie/wae_music`; `min_steps=2` is nearest to MuseGAN's.
    """
    return mean_over_notes(rolls, lambda found: found.length >= min_steps)


def one_step_share(rolls: BinaryRolls) -> TrackValues:
    """Share of a track's notes of a single step, NaN for a silent track."""
    return mean_over_notes(rolls, lambda found: found.length == 1)


def onset_grid_share(rolls: BinaryRolls, *, grid: int = 6) -> TrackValues:
    """Share of a track's notes that start on a multiple of `grid` steps: 12 are a quarter, 6 an eighth."""
    return mean_over_notes(rolls, lambda found: found.onset % grid == 0)


def reonset_gap_share(rolls: BinaryRolls, *, min_gap: int = 1, max_gap: int = 2) -> TrackValues:
    """Share of a track's notes that begin `min_gap` to `max_gap` silent steps after another note of the same pitch.

    A held note that a decoder interrupts for a step or two counts, but so do repeated notes of real music: one silent
    step separates touching notes in a piano-roll, and sixteenths played short, as drums are, leave two. So compare it
    with real music: a higher share means broken notes, a lower one that repeated notes have merged.
    """

    def follows_a_gap(found: Notes) -> Bool[np.ndarray, " notes"]:
        # Notes are ordered by phrase, pitch, track and onset.
        end = found.onset + found.length
        same_row = np.logical_and.reduce([part[1:] == part[:-1] for part in found[:3]])
        gap = found.onset[1:] - end[:-1]
        follows = np.zeros(len(end), bool)
        follows[1:] = same_row & (gap >= min_gap) & (gap <= max_gap)
        return follows

    return mean_over_notes(rolls, follows_a_gap)


def drum_pattern(rolls: BinaryRolls) -> Float64[np.ndarray, " B"]:
    """Mean of `DRUM_GRID_WEIGHTS` over drum onsets, NaN without drums: "DP" of MuseGAN (arXiv 1709.06298).

    An onset on one of the 16 sixteenths of a bar counts 1, any other .1, so that onsets at random score .4. These are
    the weights of MuseGAN's code for bars of 48 steps, which applies them to all active cells, not onsets. Its first
    version, for bars of 96 steps, counts onsets and takes the best of six shifts of the grid for each bar; here the
    grid is fixed.
    """
    weights = np.asarray(DRUM_GRID_WEIGHTS)
    return mean_over_notes(rolls, lambda found: weights[found.onset % len(weights)])[:, DRUMS]


def _pitches_used(rolls: BinaryRolls) -> Bool[np.ndarray, "B P=84 K=5"]:
    return np.any(as_phrases(rolls), axis=1)
