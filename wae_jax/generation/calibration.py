"""Fits the open parts of a binarization rule, so that samples of a model are like its training data.

A decoder of blurred probabilities seldom reaches one half where music has a note: with that threshold samples have too
few notes. Fitted thresholds are those at which samples are as dense, track by track, as the training data. Such a
decoder also seldom leaves a track silent. Fitted track gates silence each track in the phrases with the fewest expected
cells, so that its bars are as often empty as in the training data. Short notes are mostly fragments; fitted short-note
thresholds keep those with the highest probabilities, as many as the training data have.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

from wae_jax.config import FIT, BinarizationRule
from wae_jax.data.statistics import TrackStatistics
from wae_jax.generation.binarization import Lines, TrackRule, drop_short_notes, expected_cells, track_rule
from wae_jax.pianoroll import NUM_BARS, NUM_PITCHES, NUM_TRACKS, STEPS_PER_BAR, Probabilities

_HALVINGS = 16
# The three parts depend on each other; fitted in turn, they hardly change after two rounds.
_MAX_ROUNDS = 2


def fit_rule(probabilities: Probabilities, statistics: TrackStatistics, rule: BinarizationRule) -> BinarizationRule:
    """The rule with its open parts fitted, so that phrases binarized by it have the given statistics of other music.

    Thresholds are the lowest at which a track's share of active cells, after the whole rule, is at most the density.
    With track gates, the share of empty bars is as large as it can be without exceeding that of the other music; a gate
    is 0 where the share is as large without one. With short-note thresholds, the share of short notes, as the mean over
    phrases, is as large as it can be in the same sense.

    Raises:
      ValueError: if the rule is not of method "hard".
    """
    if rule.method != "hard":
        raise ValueError(f"method is {rule.method!r}; only a hard rule has parts to be fitted")
    fits_short_notes = rule.short_note_thresholds == FIT
    expected = expected_cells(probabilities)
    rules, gates = [], []
    for k in range(NUM_TRACKS):
        # No note is shorter than a step.
        short_note_shares = (0.0, *statistics.short_note_shares[k])
        targets = _Targets(
            density=statistics.densities[k] if rule.thresholds == FIT else None,
            empty_bar_rate=statistics.empty_bar_rates[k] if rule.track_gates == FIT else None,
            short_note_share=short_note_shares[rule.min_note_length - 1] if fits_short_notes else None,
        )
        gate = 0.0 if rule.track_gates == FIT else rule.track_gates[k]
        track = _Track.of(probabilities[..., k], expected[:, k])
        fitted, gate = _fit_track(track, track_rule(rule, k), float(gate), targets)
        rules.append(fitted)
        gates.append(gate)
    short = tuple(each.short_note_threshold for each in rules) if fits_short_notes else rule.short_note_thresholds
    thresholds = tuple(each.threshold for each in rules if each.threshold is not None)
    return dataclasses.replace(rule, thresholds=thresholds, short_note_thresholds=short, track_gates=tuple(gates))


class _Targets(NamedTuple):
    """Statistics of one track of the other music; None for a part of the rule that is given."""

    density: float | None
    empty_bar_rate: float | None
    short_note_share: float | None


class _Track(NamedTuple):
    """One track of some phrases.

    Most pitches have no active cell: lines with the largest probabilities come first, so that only the first ones need
    to be looked at for a threshold.
    """

    lines: Float[np.ndarray, "N T"]  # probabilities of each pitch of each phrase along time
    largest: Float[np.ndarray, " N"]  # the largest of each line
    phrase: Int64[np.ndarray, " N"]  # index of the phrase of each line
    expected: Float64[np.ndarray, " B"]  # expected number of active cells of each phrase

    @classmethod
    def of(cls, probabilities: Float[np.ndarray, "B T P"], expected: Float64[np.ndarray, " B"]) -> _Track:
        lines = np.ascontiguousarray(probabilities.transpose(0, 2, 1)).reshape(-1, probabilities.shape[1])
        largest = lines.max(axis=1)
        order = np.argsort(-largest)
        return cls(lines[order], largest[order], order // NUM_PITCHES, expected)

    def gated(self, gate: float) -> _Track:
        """The track without the lines of phrases whose expected number of active cells is below `gate`."""
        if not gate:
            return self
        plays = (self.expected >= gate)[self.phrase]
        return self._replace(lines=self.lines[plays], largest=self.largest[plays], phrase=self.phrase[plays])

    def active(self, rule: TrackRule) -> Lines:
        """The active cells of the first lines; the other lines have none."""
        assert rule.threshold is not None
        threshold = self.lines.dtype.type(rule.threshold)
        lines = self.lines[: np.count_nonzero(self.largest > threshold)]
        cells = lines > threshold
        return drop_short_notes(cells, lines, rule) if rule.min_note_length > 1 else cells

    def active_bars(self, rule: TrackRule) -> Bool[np.ndarray, "B bars=4"]:
        """The bars of each phrase that have an active cell."""
        cells = self.active(rule)
        in_bars = cells.reshape(len(cells), NUM_BARS, STEPS_PER_BAR).any(axis=2)
        found = np.zeros((len(self.expected), NUM_BARS), bool)
        np.logical_or.at(found, self.phrase[: len(cells)], in_bars)
        return found


def _fit_track(track: _Track, rule: TrackRule, gate: float, targets: _Targets) -> tuple[TrackRule, float]:
    """The rule of a track and its gate, with the parts fitted that have a target."""

    def with_threshold(rule: TrackRule, gate: float) -> TrackRule:
        if targets.density is None:
            return rule
        num_cells = int(targets.density * len(track.expected) * NUM_PITCHES * track.lines.shape[1])
        return rule._replace(threshold=_fit_threshold(track.gated(gate), rule, num_cells))

    rule = with_threshold(rule, gate)
    for _ in range(_MAX_ROUNDS):
        before = rule.short_note_threshold, gate
        if targets.empty_bar_rate is not None:
            num_bars = int(targets.empty_bar_rate * len(track.expected) * NUM_BARS)
            gate = _fit_gate(track.active_bars(rule), track.expected, num_bars)
        if targets.short_note_share is not None and rule.min_note_length > 1:
            threshold = _fit_short_note_threshold(track.gated(gate), rule, targets.short_note_share)
            rule = rule._replace(short_note_threshold=threshold)
        if (rule.short_note_threshold, gate) == before:
            break
        rule = with_threshold(rule, gate)
    return rule, gate


def _fit_threshold(track: _Track, rule: TrackRule, num_cells: int) -> float:
    """The lowest threshold at which at most `num_cells` cells are active, by bisection."""
    return _bisect(lambda at: int(track.active(rule._replace(threshold=at)).sum()) > num_cells, 0.0, 1.0)


def _bisect(is_too_low: Callable[[float], bool], low: float, high: float) -> float:
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if is_too_low(middle) else (low, middle)
    return high


def _fit_gate(active: Bool[np.ndarray, "B bars=4"], expected: Float64[np.ndarray, " B"], num_bars: int) -> float:
    """The gate at which as many bars are empty as can be without exceeding `num_bars`.

    It lies halfway between the expected cells of the last phrase below it and of the first above.
    """
    order = np.argsort(expected, kind="stable")
    # The number of empty bars with the first 0, 1, 2 ... phrases silent.
    empty = np.concatenate([[0], np.cumsum(active[order].sum(axis=1))]) + np.count_nonzero(~active)
    if empty[0] >= num_bars:
        return 0.0
    most = empty[np.searchsorted(empty, num_bars, side="right") - 1]
    # As few phrases as will do: those without an active cell need no gate.
    num = np.searchsorted(empty, most, side="left")
    if num == 0:
        return 0.0
    last = expected[order[num - 1]]
    following = expected[order[num]] if num < len(order) else last + 1
    return float(last + following) / 2


def _find_notes(
    track: _Track, threshold: float
) -> tuple[Int64[np.ndarray, " notes"], Int64[np.ndarray, " notes"], Float[np.ndarray, " notes"]]:
    """Index of the phrase, length in steps, and largest probability of each note of a track, short ones too."""
    cells = track.active(TrackRule(threshold))
    edges = np.diff(np.pad(cells, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    (row, start), (_, end) = np.nonzero(edges == 1), np.nonzero(edges == -1)
    # Every second part of those that `reduceat` takes is a note, and what lies between two notes is skipped.
    bounds = (row * cells.shape[1])[:, None] + np.stack([start, end], axis=1)
    flat = np.append(track.lines[: len(cells)].ravel(), 0)
    largest = np.maximum.reduceat(flat, bounds.ravel())[::2] if len(row) else flat[:0]
    return track.phrase[row], end - start, largest


def _fit_short_note_threshold(track: _Track, rule: TrackRule, share: float) -> float:
    """The lowest short-note threshold at which the mean share of short notes is at most `share`, by bisection.

    It is 0, which drops all short notes, where the share allows none.
    """
    threshold = rule.threshold or 0.0
    phrase, length, largest = _find_notes(track, threshold)
    is_short = length < rule.min_note_length

    def share_at(factor: float) -> float:
        is_kept = is_short & (largest > threshold * factor)
        kept, total = (
            np.bincount(phrase[which], minlength=len(track.expected)) for which in (is_kept, is_kept | ~is_short)
        )
        return float((kept[total > 0] / total[total > 0]).mean()) if total.any() else 0.0

    # At 1 all short notes stay, since each has a cell above the threshold.
    if not threshold or share_at(1.0) <= share:
        return 1.0 if is_short.any() else 0.0
    lowest = _bisect(lambda factor: share_at(factor) > share, 1.0, 1 / threshold)
    return lowest if share_at(lowest) else 0.0
