"""Turns the probabilities of cells into notes.

Comparing each cell with one half, or sampling each at random, breaks notes into fragments: where a decoder is unsure
along a note, some of its cells are above a threshold and some below. A `BinarizationRule` compares each cell with the
threshold of its track, and drops short notes of pitched tracks except those with a high probability; drum notes are
onsets, one step long. A gate silences a track in phrases in which it has few expected active cells, where it would
otherwise play a few stray notes. Parts of a rule may be fitted on samples of a model: see `calibration.py`.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Float64, Key

from wae_jax.config import FIT, BinarizationRule, PerTrack
from wae_jax.pianoroll import PITCHED_TRACKS, TRACK_NAMES, Probabilities, Rolls

# Cells along time, each row a single pitch of a single phrase and track.
Lines = Bool[np.ndarray, "N T"]


class TrackRule(NamedTuple):
    """The part of a `BinarizationRule` that applies to one track; the fields are described there."""

    threshold: float | None  # None where cells are sampled at random
    min_note_length: int = 1  # steps
    short_note_threshold: float = 0.0  # in units of the threshold; 0 drops all short notes


def track_rule(rule: BinarizationRule, track: int) -> TrackRule:
    """The rule of one track, without the parts that are still to be fitted."""
    threshold = rule.thresholds[track] if rule.method == "hard" and rule.thresholds != FIT else None
    if track not in PITCHED_TRACKS:
        return TrackRule(threshold)
    short = 0.0 if rule.short_note_thresholds == FIT else rule.short_note_thresholds[track]
    return TrackRule(threshold, rule.min_note_length, short)


def describe(rule: BinarizationRule) -> str:
    """The rule in words that follow "active cells are"."""
    is_hard = rule.method == "hard"
    if not is_hard:
        words = ["sampled at random with their probability"]
    elif rule.thresholds == FIT:
        words = ["above thresholds at which samples are as dense as the training data"]
    else:
        words = [f"above {_by_track(rule.thresholds)}"]
    if rule.min_note_length > 1:
        words.append(f"without notes shorter than {rule.min_note_length} steps")
        if is_hard and rule.short_note_thresholds == FIT:
            words[-1] += ", but for as many as the training data have"
        elif is_hard and any(rule.short_note_thresholds):
            words[-1] += f" that stay below {_by_track(rule.short_note_thresholds)} times the threshold"
    if is_hard and rule.track_gates == FIT:
        words.append("with tracks silent so that samples have as many empty bars as the training data")
    elif is_hard and any(rule.track_gates):
        words.append(f"with tracks silent where fewer active cells are expected than {_by_track(rule.track_gates)}")
    return ", ".join(words)


def _by_track(numbers: PerTrack) -> str:
    """One number where it is the same for all tracks; else each with the name of its track, without zeros."""
    if len(set(numbers)) == 1:
        return f"{numbers[0]:g}"
    named = zip(map(float, numbers), TRACK_NAMES, strict=True)
    return ", ".join(f"{each:.3g} ({name})" for each, name in named if each)


def binarize(probabilities: Probabilities, rule: BinarizationRule, *, seed: int = 0) -> Rolls:
    """Phrases from the probabilities of their cells.

    The seed is for "bernoulli"; each phrase has a key of its own, which does not depend on the number of phrases.

    Raises:
      ValueError: if a part of the rule is still to be fitted.
    """
    if rule.method == "bernoulli":
        cells = np.array(_sample_cells(jax.random.key(seed), np.arange(len(probabilities)), probabilities))
    else:
        if rule.fitted_parts:
            raise ValueError(
                f"{' and '.join(rule.fitted_parts)} of the rule are still to be fitted; expected numbers, such as "
                "`Model.calibrated` finds"
            )
        cells = probabilities > np.asarray(rule.thresholds, probabilities.dtype)
        if any(rule.track_gates):
            cells &= (expected_cells(probabilities) >= rule.track_gates)[:, None, None]
    if rule.min_note_length > 1:
        for k in PITCHED_TRACKS:
            # Most pitches have no active cell, and need no work.
            phrases, pitches = np.nonzero(cells[..., k].any(axis=1))
            lines, values = cells[phrases, :, pitches, k], probabilities[phrases, :, pitches, k]
            cells[phrases, :, pitches, k] = drop_short_notes(lines, values, track_rule(rule, k))
    return cells


@jax.jit
def _sample_cells(key: Key[Array, ""], index: Array, probabilities: Float[Array, "B T P K"]) -> Bool[Array, "B T P K"]:
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(index)
    return jax.vmap(jax.random.bernoulli)(keys, probabilities)


def drop_short_notes(cells: Lines, probabilities: Float[np.ndarray, "N T"], rule: TrackRule) -> Lines:
    """The active cells without short notes, except those with a probability above the short-note threshold."""
    kept = keep_long_notes(cells, rule.min_note_length)
    if rule.threshold is not None and rule.short_note_threshold:
        lost = (cells > kept).any(axis=1)
        is_high = probabilities[lost] > rule.threshold * rule.short_note_threshold
        kept[lost] |= keep_notes_with(cells[lost], is_high)
    return kept


def expected_cells(probabilities: Probabilities) -> Float64[np.ndarray, "B K=5"]:
    """The expected number of active cells by phrase and track: the sum of their probabilities."""
    return np.asarray(probabilities.sum(axis=(1, 2), dtype=np.float64))


def keep_long_notes(cells: Lines, min_length: int) -> Lines:
    """The notes of at least `min_length` steps: a morphological opening along time."""
    kept = np.zeros_like(cells)
    num_windows = cells.shape[1] - min_length + 1
    if num_windows < 1:
        return kept
    is_whole = np.ones((len(cells), num_windows), bool)
    for i in range(min_length):
        is_whole &= cells[:, i : i + num_windows]
    for i in range(min_length):
        kept[:, i : i + num_windows] |= is_whole
    return kept


def keep_notes_with(cells: Lines, marked: Lines) -> Lines:
    """The notes that have a marked cell."""
    marked = cells & marked
    return _from_mark_on(cells, marked) | _from_mark_on(cells[:, ::-1], marked[:, ::-1])[:, ::-1]


def _from_mark_on(cells: Lines, marked: Lines) -> Lines:
    """The cells of each note from its first marked cell on."""
    steps = np.arange(cells.shape[1], dtype=np.int16)
    last_mark = np.maximum.accumulate(np.where(marked, steps, np.int16(-1)), axis=1)
    last_silence = np.maximum.accumulate(np.where(cells, np.int16(-1), steps), axis=1)
    return last_mark > last_silence
