"""The numbers of a rule that are left to be found: those at which draws of a run are like the music it learnt from.

A decoder of blurred probabilities seldom reaches one half where it ought to: cut there, its music is thin. So
thresholds may be left open: they are then those at which draws are as dense, track by track, as the training data. A
decoder is as seldom sure that a track is silent, and so may rests be left open: the phrases in which least is expected
of a track go without it, so many of them that its bars are as often empty as in the training data.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

from wae_jax.decision import Decision, Lines, expected_cells, mended, mends
from wae_jax.pianoroll import NUM_BARS, NUM_PITCHES, NUM_TRACKS, PITCHED_TRACKS, STEPS_PER_BAR, Probabilities
from wae_jax.sampling import Sampler
from wae_jax.track_statistics import TrackStatistics

_HALVINGS = 16
# Thresholds and rests depend on each other; they are found in turn, and soon stay as they are.
_LARGEST_NUM_ROUNDS = 4
_CALIBRATION_DRAWS = 128
_CALIBRATION_SEED = 0  # whatever the seed of what is decided then, so that a run has one calibration


def calibrate(decision: Decision, sampler: Sampler, statistics: Callable[[], TrackStatistics]) -> Decision:
    """The rule with thresholds and rests, which are found on draws where it has none.

    Args:
      decision: a rule.
      sampler: of the run.
      statistics: gives those of the training data; called where they are needed.
    """
    if decision.method != "hard" or not (decision.thresholds is None or decision.rests is None):
        return decision
    draws = sampler.decode(sampler.draw(_CALIBRATION_SEED, _CALIBRATION_DRAWS))
    return fit_decision(draws, statistics(), decision)


def fit_decision(probabilities: Probabilities, statistics: TrackStatistics, decision: Decision) -> Decision:
    """The rule with the thresholds and rests that it lacks, such that phrases become like other music.

    Args:
      probabilities: of the phrases: draws of the prior, say.
      statistics: of the other music.
      decision: a hard rule.

    Returns:
      The rule, with thresholds for None: the lowest at which a track's share of cells that sound, after the whole rule,
      is at most the density. With rests for None: the largest at which a track's share of empty bars is at most that of
      the other music; 0 where it is no less without any.

    Raises:
      ValueError: if the rule is not a hard one.
    """
    if decision.method != "hard":
        raise ValueError(f"method is {decision.method!r}; only a hard decision has thresholds and rests")
    expected = expected_cells(probabilities)
    found = [
        _fit_track(
            _Track.of(probabilities[..., k], expected[:, k], decision if k in PITCHED_TRACKS else None),
            threshold=None if decision.thresholds is None else decision.thresholds[k],
            rest=None if decision.rests is None else decision.rests[k],
            density=statistics.densities[k],
            empty_bar_rate=statistics.empty_bar_rates[k],
        )
        for k in range(NUM_TRACKS)
    ]
    thresholds, rests = zip(*found, strict=True)
    return dataclasses.replace(decision, thresholds=thresholds, rests=rests)


class _Track(NamedTuple):
    """A track of some phrases.

    Attributes:
      lines: probabilities of the pitches of all phrases. Most never sound: the likeliest come first, so that at each
        threshold only those that do are looked at.
      largest: probability of each line.
      phrase: of each line.
      expected: number of cells in each phrase.
      rule: what else is done to cells above a threshold; None for nothing.
    """

    lines: Float[np.ndarray, "N T"]
    largest: Float[np.ndarray, " N"]
    phrase: Int64[np.ndarray, " N"]
    expected: Float64[np.ndarray, " B"]
    rule: Decision | None

    @classmethod
    def of(
        cls, probabilities: Float[np.ndarray, "B T P"], expected: Float64[np.ndarray, " B"], rule: Decision | None
    ) -> _Track:
        lines = np.ascontiguousarray(probabilities.transpose(0, 2, 1)).reshape(-1, probabilities.shape[1])
        largest = lines.max(axis=1)
        order = np.argsort(-largest)
        is_used = rule if rule is not None and mends(rule) else None
        return cls(lines[order], largest[order], order // NUM_PITCHES, expected, is_used)

    def without(self, rest: float) -> _Track:
        """What is left of it where it rests in phrases of which less is expected; they keep their numbers."""
        if not rest:
            return self
        plays = (self.expected >= rest)[self.phrase]
        return self._replace(lines=self.lines[plays], largest=self.largest[plays], phrase=self.phrase[plays])

    def decide(self, threshold: float) -> Lines:
        """The cells of its first lines that sound, as `decide` has it; in the other lines none does."""
        as_number = self.lines.dtype.type(threshold)
        likely = self.lines[: np.count_nonzero(self.largest > as_number)]
        cells = likely > as_number
        return cells if self.rule is None else mended(cells, likely, threshold, self.rule)

    def sounding_bars(self, threshold: float) -> Bool[np.ndarray, "B bars=4"]:
        """In which bars of each phrase it sounds."""
        cells = self.decide(threshold)
        found = np.zeros((len(self.expected), NUM_BARS), bool)
        np.logical_or.at(
            found, self.phrase[: len(cells)], cells.reshape(len(cells), NUM_BARS, STEPS_PER_BAR).any(axis=2)
        )
        return found


def _fit_track(
    track: _Track, *, threshold: float | None, rest: float | None, density: float, empty_bar_rate: float
) -> tuple[float, float]:
    """The threshold and the rest of a track; what is given stays as it is."""
    wanted_cells = int(density * len(track.expected) * NUM_PITCHES * track.lines.shape[1])
    wanted_bars = int(empty_bar_rate * len(track.expected) * NUM_BARS)

    def threshold_with(rest: float) -> float:
        return _find_threshold(track.without(rest), wanted_cells) if threshold is None else threshold

    if rest is not None:
        return threshold_with(rest), rest
    found, found_rest = threshold_with(0.0), 0.0
    for _ in range(_LARGEST_NUM_ROUNDS):
        before, found_rest = found_rest, _find_rest(track.sounding_bars(found), track.expected, wanted_bars)
        if found_rest == before:
            break
        found = threshold_with(found_rest)
    return found, found_rest


def _find_threshold(track: _Track, wanted: int) -> float:
    """The lowest threshold at which no more than `wanted` cells sound, by halving intervals."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if np.count_nonzero(track.decide(middle)) > wanted:
            low = middle
        else:
            high = middle
    return high


def _find_rest(sounding: Bool[np.ndarray, "B bars=4"], expected: Float64[np.ndarray, " B"], wanted: int) -> float:
    """The number of expected cells below which phrases rest, so that no more than `wanted` bars are empty.

    It lies halfway between what is expected of the last phrase that rests and of the first that does not.
    """
    order = np.argsort(expected, kind="stable")
    filled = sounding[order].sum(axis=1)
    # With 0, 1, 2 ... phrases at rest.
    empty = np.concatenate([[0], np.cumsum(filled)]) + np.count_nonzero(~sounding)
    if empty[0] >= wanted:
        return 0.0
    most = empty[np.searchsorted(empty, wanted, side="right") - 1]
    # As few phrases as will do: those of which nothing sounds need no rest.
    num = np.searchsorted(empty, most, side="left")
    if num == 0:
        return 0.0
    last = expected[order[num - 1]]
    following = expected[order[num]] if num < len(order) else last + 1
    return float(last + following) / 2
