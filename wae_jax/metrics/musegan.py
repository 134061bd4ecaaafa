"""The measures of music as MuseGAN's published program reads them, its slips included.

For comparison with numbers that come from that program, and for nothing else: `music.py` and `harmony.py` follow the
definitions. What is reproduced is the third version, the one in use, `src/musegan/metrics.py` of
github.com/salu133445/musegan. pypianoroll 1.0.4 has most of its slips. The first version, of the time of arXiv
1709.06298, and the second, of arXiv 1804.09399, look at bars of 96 steps one by one and leave empty ones out; they fold
pitch classes in a like way, but pair notes rightly, count empty bars rightly, and call two pitches polyphonic.

That program gives one number for all phrases of a batch. Here are the numbers of batches of one phrase each, [B, K],
[B, 6] or [B]. Its own are their means; for shares of notes or of cells, means weighted by what they are shares of. A
share of nothing is NaN, as there, but for drums.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float64, Int64

from wae_jax.metrics import music
from wae_jax.metrics.harmony import NUM_CLASSES, Pairs, cells_per_beat, pair_distances, scales
from wae_jax.pianoroll import NUM_BARS, NUM_PITCHES, NUM_STEPS, NUM_TRACKS, BinaryRolls
from wae_jax.pianoroll.notes import Notes, TrackValues, as_phrases, mean_over_notes

# Pitches side by side that are taken for one class.
_FOLDED = NUM_PITCHES // NUM_CLASSES


def empty_bar_rate(rolls: BinaryRolls) -> TrackValues:
    """Its `empty_bar_rate`: the share of bars in which a track sounds, which is 1 less the share of empty ones."""
    return 1 - music.empty_bar_rate(rolls)


def used_pitches(rolls: BinaryRolls) -> TrackValues:
    """Its `n_pitches_used`: not the number of different pitches but that of the cells on, in a bar on average."""
    return music.density(rolls) * (NUM_STEPS * NUM_PITCHES / NUM_BARS)


def used_pitch_classes(rolls: BinaryRolls) -> TrackValues:
    """Its `n_pitch_classes_used`: classes that are on, added up over the 48 steps of a bar, on average over the bars.

    So a class that sounds all bar counts 48 times; and a class is seven pitches side by side, from C up: C4 and C#4
    are in one, C4 and C5 are not. Drums are counted like the rest.
    """
    rolls = as_phrases(rolls)
    # einsum for speed, as in `music.py`; seven pitches do not overflow a byte.
    rows = rolls.view(np.uint8).reshape(len(rolls), NUM_STEPS * NUM_CLASSES, _FOLDED, NUM_TRACKS)
    return np.count_nonzero(np.einsum("brfk->brk", rows), axis=1) / NUM_BARS


def in_scale_share(rolls: BinaryRolls) -> TrackValues:
    """Its `in_scale_rate`: the share of cells in C major, if classes were pitches modulo 12.

    They are seven pitches side by side, so what is measured is whether a note is in one of seven registers. No key is
    looked for, and drums are measured like the rest.
    """
    duration = _fold(rolls).sum(axis=1)
    in_scale = duration[:, scales()[0]].sum(axis=1)
    total = duration.sum(axis=1)
    return np.divide(in_scale, total, out=np.full(total.shape, np.nan), where=total > 0)


def qualified_note_rate(rolls: BinaryRolls, *, threshold: int = 2) -> TrackValues:
    """Its `qualified_note_rate`: 1 for every track that has a note, whatever the notes are.

    Starts and ends of notes are put in order by step and then by pitch, and the nth start is paired with the nth end,
    be it of another note; how far apart they are is counted in cells of that order, 84 a step. That is 84 at least, so
    every threshold up to 84 calls all notes qualified. (The program also fails to count one note of a batch, if it is
    on the lowest pitch at the very first step. That is not reproduced.)

    Args:
      rolls: phrases.
      threshold: cells that a start and the end paired with it must be apart.
    """
    cells = (NUM_STEPS + 1) * NUM_PITCHES

    def far_apart(found: Notes) -> Bool[np.ndarray, " notes"]:
        # Phrase and track come first in the order: within each there are as many starts as ends.
        before = (found.phrase * NUM_TRACKS + found.track) * cells + found.pitch
        start = before + found.onset * NUM_PITCHES
        end = before + (found.onset + found.length) * NUM_PITCHES
        order = np.argsort(start)
        far = np.zeros(len(start), bool)
        far[order] = np.sort(end) - start[order] >= threshold
        return far

    return mean_over_notes(rolls, far_apart)


def polyphony_rate(rolls: BinaryRolls) -> TrackValues:
    """Its `polyphonic_rate`: the share of steps with more than two pitches; the versions before count two as well."""
    return music.polyphony_rate(rolls, min_pitches=3)


def drum_pattern(rolls: BinaryRolls) -> Float64[np.ndarray, " B"]:
    """Its `drum_in_pattern_rate`: the weights of the grid over all cells of the drums, not over their onsets.

    The rest of a drum note that is held counts as drum notes off the grid. Without drums it is 0.
    """
    weights = np.asarray(music.DRUM_GRID_WEIGHTS)
    cells = np.count_nonzero(as_phrases(rolls)[..., music.DRUMS], axis=2)
    by_place = cells.reshape(len(cells), NUM_STEPS // len(weights), len(weights)).sum(axis=1)
    return by_place @ weights / np.maximum(by_place.sum(axis=1), 1)


def tonal_distance(rolls: BinaryRolls) -> Pairs:
    """Its `harmonicity`: as `harmony.tonal_distance`, but undefined where a track of the pair rests for a beat.

    And its classes are seven pitches side by side, so that an octave is a distance and a semitone mostly none. The
    first version folds in this way too: what the tables of arXiv 1709.06298 print is to be compared with this.

    Returns:
      Distances in the order of `harmony.TRACK_PAIRS`, NaN if one of the 16 beats is without one of the two tracks.
    """
    return pair_distances(_fold(rolls)).mean(axis=1)


def _fold(rolls: BinaryRolls) -> Int64[np.ndarray, "B beats=16 classes=12 K=5"]:
    """Cells that are on in each beat, by what is taken for the pitch class."""
    beats = cells_per_beat(rolls)
    classes = beats.reshape(*beats.shape[:2], NUM_CLASSES, _FOLDED, NUM_TRACKS)
    return np.einsum("bncfk->bnck", classes, dtype=np.int64)
