"""From the probabilities of cells to notes.

A decoder says how probable each cell is. Looking at each cell alone, above one half or at random, breaks notes into
splinters: where a decoder is unsure along a note, its cells fall on one side of a threshold and then on the other. A
`BinarizationRule` lets a note begin above one threshold and last while it stays above a lower one (hysteresis, as in
Canny's edge detector, doi 10.1109/TPAMI.1986.4767851), closes gaps and drops short notes, except those that the decoder
is surer of. These parts apply to pitched tracks: drum notes are onsets, one step long. A track whose expected number of
active cells in a phrase is small is silent throughout, as tracks of music are, where it would otherwise play a few
stray notes in every phrase.

Thresholds, short-note thresholds and track gates may be fitted on samples of a model: see `calibration.py`.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Float64, Int16, Key

from wae_jax.config import FIT, BinarizationRule, PerTrack
from wae_jax.pianoroll import PITCHED_TRACKS, TRACK_NAMES, Probabilities, Rolls

# Single pitches of single phrases.
Lines = Bool[np.ndarray, "N T"]


class TrackRule(NamedTuple):
    """The part of a `BinarizationRule` that applies to one track; the attributes are described there.

    Attributes:
      threshold: None where cells are chosen at random.
      hysteresis_ratio: share of the threshold.
      close_gaps: steps.
      min_note_length: steps.
      short_note_threshold: in thresholds; 0 drops all short notes.
    """

    threshold: float | None
    hysteresis_ratio: float = 1.0
    close_gaps: int = 0
    min_note_length: int = 1
    short_note_threshold: float = 0.0

    @property
    def cleans(self) -> bool:
        """Whether more is done than to choose cells one by one."""
        return self.hysteresis_ratio < 1 or self.close_gaps > 0 or self.min_note_length > 1


def track_rule(rule: BinarizationRule, track: int) -> TrackRule:
    """The rule of one track; parts that are still to be fitted do nothing. Drum notes are onsets, one step long."""
    threshold = rule.thresholds[track] if rule.method == "hard" and rule.thresholds != FIT else None
    if track not in PITCHED_TRACKS:
        return TrackRule(threshold)
    short = 0.0 if rule.short_note_thresholds == FIT else rule.short_note_thresholds[track]
    return TrackRule(threshold, rule.hysteresis_ratio, rule.close_gaps, rule.min_note_length, short)


def describe(rule: BinarizationRule) -> str:
    """The rule in words, to follow "active cells are"."""
    is_hard = rule.method == "hard"
    if not is_hard:
        words = ["chosen at random with their probability"]
    elif rule.thresholds == FIT:
        words = ["above thresholds at which samples are as dense as the training data"]
    else:
        words = [f"above {_by_track(rule.thresholds)}"]
    if is_hard and rule.hysteresis_ratio < 1:
        words.append(f"and then, in one note, above {rule.hysteresis_ratio:g} times that")
    if rule.close_gaps:
        words.append(f"with gaps of up to {rule.close_gaps} steps closed")
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

    Args:
      probabilities: of each cell.
      rule: with all its parts fitted.
      seed: for "bernoulli"; each phrase has a key of its own, which does not depend on the number of phrases.

    Raises:
      ValueError: if a part of the rule is still to be fitted.
    """
    if rule.method == "bernoulli":
        cells = np.array(_sample_cells(jax.random.key(seed), np.arange(len(probabilities)), probabilities))
    else:
        if rule.fitted_parts:
            raise ValueError(
                f"{' and '.join(rule.fitted_parts)} of the rule are still to be fitted; expected a rule from "
                "`calibration.calibrate`"
            )
        cells = probabilities > np.asarray(rule.thresholds, probabilities.dtype)
        if any(rule.track_gates):
            cells &= (expected_cells(probabilities) >= rule.track_gates)[:, None, None]
    for k in PITCHED_TRACKS:
        part = track_rule(rule, k)
        if part.cleans:
            # Most pitches have no active cell, and then there is nothing to clean.
            phrases, pitches = np.nonzero(cells[..., k].any(axis=1))
            lines, likely = cells[phrases, :, pitches, k], probabilities[phrases, :, pitches, k]
            cells[phrases, :, pitches, k] = clean(lines, likely, part)
    return cells


@jax.jit
def _sample_cells(key: Key[Array, ""], index: Array, probabilities: Float[Array, "B T P K"]) -> Bool[Array, "B T P K"]:
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(index)
    return jax.vmap(jax.random.bernoulli)(keys, probabilities)


def clean(lines: Lines, probabilities: Float[np.ndarray, "N T"], rule: TrackRule) -> Lines:
    """Notes of active cells, after hysteresis, closed gaps and dropped short notes; the rows are pitches of phrases."""
    if rule.threshold is not None and rule.hysteresis_ratio < 1:
        lines = hold(lines, probabilities > rule.threshold * rule.hysteresis_ratio)
    if rule.close_gaps:
        lines = close_gaps(lines, rule.close_gaps)
    if rule.min_note_length > 1:
        long = remove_short(lines, rule.min_note_length)
        if rule.threshold is not None and rule.short_note_threshold:
            some = (lines > long).any(axis=1)
            sure = probabilities[some] > rule.threshold * rule.short_note_threshold
            long[some] |= keep_sure(lines[some], sure)
        return long
    return lines


def expected_cells(probabilities: Probabilities) -> Float64[np.ndarray, "B K=5"]:
    """The expected number of active cells by phrase and track: the sum of their probabilities."""
    return np.asarray(probabilities.sum(axis=(1, 2), dtype=np.float64))


def hold(start: Lines, stay: Lines) -> Lines:
    """Notes that begin where `start` says and last while `stay` says so.

    Args:
      start: where a note begins, or goes on; a part of `stay`.
      stay: where a note may last.
    """
    steps = np.arange(start.shape[1], dtype=np.int16)
    last_start = np.maximum.accumulate(np.where(start, steps, np.int16(-1)), axis=1)
    last_break = np.maximum.accumulate(np.where(stay, np.int16(-1), steps), axis=1)
    return last_start > last_break


def close_gaps(on: Lines, longest: int) -> Lines:
    """Fills silences of up to `longest` steps between two notes of one pitch."""
    before, after = _nearest(on)
    is_between = (before >= 0) & (after < on.shape[1])
    return on | (is_between & (after - before - 1 <= longest))


def remove_short(on: Lines, shortest: int) -> Lines:
    """Leaves out notes of fewer than `shortest` steps."""
    before, after = _nearest(~on)
    return on & (after - before - 1 >= shortest)


def keep_sure(on: Lines, sure: Lines) -> Lines:
    """Leaves out the notes that have no sure cell."""
    found = on & sure
    return hold(found, on) | hold(found[:, ::-1], on[:, ::-1])[:, ::-1]


def _nearest(here: Lines) -> tuple[Int16[np.ndarray, "N T"], Int16[np.ndarray, "N T"]]:
    """For each step the last before it, or itself, where something is, and the first after; -1 and T for none."""
    num_steps = here.shape[1]
    steps = np.arange(num_steps, dtype=np.int16)
    before = np.maximum.accumulate(np.where(here, steps, np.int16(-1)), axis=1)
    backwards = np.where(here, steps, np.int16(num_steps))[:, ::-1]
    return before, np.minimum.accumulate(backwards, axis=1)[:, ::-1]
