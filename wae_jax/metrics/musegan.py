"""Metrics as MuseGAN's published code computes them, errors included, to compare with numbers of that code.

The functions reproduce its third version, `src/musegan/metrics.py` of github.com/salu133445/musegan; pypianoroll 1.0.4
has most of its errors. The first two versions (arXiv 1709.06298 and 1804.09399) process single bars of 96 steps without
empty ones; they fold pitch classes in a similar way, but pair notes and count empty bars correctly, and call two
pitches polyphonic. That code returns one number for a batch of phrases; here a phrase is a batch, and the numbers are
[B, K], [B, 6] or [B]. Shares without a denominator are NaN, as there, except of drums.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float64, Int64

from wae_jax.metrics import music
from wae_jax.metrics.harmony import NUM_CLASSES, Pairs, cells_per_beat, pair_distances, scales
from wae_jax.pianoroll import NUM_BARS, NUM_PITCHES, NUM_STEPS, NUM_TRACKS, BinaryRolls
from wae_jax.pianoroll.notes import Notes, TrackValues, as_phrases, mean_over_notes, ratio

# Number of adjacent pitches folded into one class.
_FOLDED = NUM_PITCHES // NUM_CLASSES


def empty_bar_rate(rolls: BinaryRolls) -> TrackValues:
    """`empty_bar_rate` of MuseGAN: the share of bars that are not empty."""
    return 1 - music.empty_bar_rate(rolls)


def used_pitches(rolls: BinaryRolls) -> TrackValues:
    """`n_pitches_used` of MuseGAN: the number of active cells in a bar, averaged over bars."""
    return music.active_cell_rate(rolls) * (NUM_STEPS * NUM_PITCHES / NUM_BARS)


def used_pitch_classes(rolls: BinaryRolls) -> TrackValues:
    """`n_pitch_classes_used` of MuseGAN: active classes summed over the 48 steps of a bar, averaged over bars.

    A class that is active throughout a bar counts 48 times, and a class is seven adjacent pitches, from C up: C4 and
    C#4 are in one, C4 and C5 are not. Drums are included.
    """
    rolls = as_phrases(rolls)
    # einsum for speed, as in `music.py`.
    rows = rolls.view(np.uint8).reshape(len(rolls), NUM_STEPS * NUM_CLASSES, _FOLDED, NUM_TRACKS)
    return np.count_nonzero(np.einsum("brfk->brk", rows), axis=1) / NUM_BARS


def in_scale_share(rolls: BinaryRolls) -> TrackValues:
    """`in_scale_rate` of MuseGAN: the share of active cells in the classes of C major.

    Since classes are seven adjacent pitches, it is the share of cells in seven of twelve registers. Drums are included.
    """
    duration = _fold(rolls).sum(axis=1)
    in_scale = duration[:, scales()[0]].sum(axis=1)
    return ratio(in_scale, duration.sum(axis=1))


def qualified_note_rate(rolls: BinaryRolls, *, threshold: int = 2) -> TrackValues:
    """`qualified_note_rate` of MuseGAN: 1 for every track with a note, whatever the notes are.

    Onsets and ends of notes are ordered by step, then pitch, and the nth onset is paired with the nth end, possibly of
    another note. Their distance is counted in cells in that order, 84 a step. It is at least 84, so that all notes
    qualify for any threshold up to 84. (The code also omits one note of a batch, if it is on the lowest pitch at the
    very first step. That is not reproduced.)
    """
    cells = (NUM_STEPS + 1) * NUM_PITCHES

    def far_apart(found: Notes) -> Bool[np.ndarray, " notes"]:
        # Phrase and track come first in the order: each has as many starts as ends.
        before = (found.phrase * NUM_TRACKS + found.track) * cells + found.pitch
        start = before + found.onset * NUM_PITCHES
        end = before + (found.onset + found.length) * NUM_PITCHES
        order = np.argsort(start)
        far = np.zeros(len(start), bool)
        far[order] = np.sort(end) - start[order] >= threshold
        return far

    return mean_over_notes(rolls, far_apart)


def polyphony_rate(rolls: BinaryRolls) -> TrackValues:
    """`polyphonic_rate` of MuseGAN: the share of steps with at least three pitches; earlier versions count two."""
    return music.polyphony_rate(rolls, min_pitches=3)


def drum_pattern(rolls: BinaryRolls) -> Float64[np.ndarray, " B"]:
    """`drum_in_pattern_rate` of MuseGAN: the mean weight of all active drum cells, not only onsets; 0 without drums."""
    weights = np.asarray(music.DRUM_GRID_WEIGHTS)
    cells = np.count_nonzero(as_phrases(rolls)[..., music.DRUMS], axis=2)
    by_offset = cells.reshape(len(cells), NUM_STEPS // len(weights), len(weights)).sum(axis=1)
    return by_offset @ weights / np.maximum(by_offset.sum(axis=1), 1)


def tonal_distance(rolls: BinaryRolls) -> Pairs:
    """`harmonicity` of MuseGAN: tonal distance for classes of seven adjacent pitches, by `harmony.TRACK_PAIRS`.

    An octave is a distance and a semitone mostly none. The first version folds pitches in this way too: compare the
    tables of arXiv 1709.06298 with these numbers. NaN if a track of the pair is silent in one of the 16 beats.
    """
    return pair_distances(_fold(rolls)).mean(axis=1)


def _fold(rolls: BinaryRolls) -> Int64[np.ndarray, "B beats=16 classes=12 K=5"]:
    beats = cells_per_beat(rolls)
    classes = beats.reshape(*beats.shape[:2], NUM_CLASSES, _FOLDED, NUM_TRACKS)
    return np.einsum("bncfk->bnck", classes, dtype=np.int64)
