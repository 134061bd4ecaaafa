"""Preferences, strengths and ratings of a survey, with confidence intervals.

Intervals come from the bootstrap over listeners, since the answers of one listener are not independent. Where an answer
is rare, and so in few resamples, exact binomial intervals are taken too. The intervals hold for the clips played.

Axes: L listeners, S sources, Q questions; R resamples of the listeners, or none.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
import scipy.stats
from jaxtyping import Float64, Int

from wae_jax.listening.survey.design import is_check
from wae_jax.listening.survey.results import QUESTIONS, Key, Result, count_failed_checks

NUM_RESAMPLES = 2000
LEVEL = 0.95
_TWO_SIDED = float(scipy.stats.norm.isf((1 - LEVEL) / 2))

_PSEUDO_WINS = 0.5
_TOLERANCE = 1e-8
_MAX_STEPS = 10_000
_FEW_ANSWERS = 10
# Numbers in the resamples computed at once, of listeners and pairs of sources: limits memory.
_BATCH = 10_000_000


@dataclasses.dataclass(frozen=True)
class Counts:
    """The answers of each listener, counted."""

    wins: Float64[np.ndarray, "L S S"]  # how often source i was preferred to source j
    compared: Float64[np.ndarray, "L S S"]  # how often sources i and j were compared, with a preference or without
    totals: Float64[np.ndarray, "L S Q"]  # sums of the ratings of each source
    rated: Float64[np.ndarray, "L S"]  # number of ratings in these sums, for each question


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Estimates with confidence intervals."""

    value: Float64[np.ndarray, "*shape"]  # estimate from all listeners
    low: Float64[np.ndarray, "*shape"]  # lower end of the interval; NaN where all resamples agree
    high: Float64[np.ndarray, "*shape"]  # upper end
    error: Float64[np.ndarray, "*shape"]  # standard error


@dataclasses.dataclass(frozen=True)
class Summary:
    """All statistics of a survey."""

    preferred: Estimate  # share `[S, S]` of the comparisons of i and j in which i was preferred; NaN on the diagonal
    undecided: Estimate  # share `[S, S]` without a preference
    scores: Estimate  # share `[S, S]` in which i was preferred, plus half of those without a preference
    strengths: Estimate  # logarithms `[S]` of the Bradley-Terry strengths, with mean 0
    ratings: Estimate  # mean ratings `[S, Q]`


def attentive(results: Sequence[Result], key: Key) -> list[Result]:
    """The results of the listeners who pass the attention checks."""
    return [result for result in results if count_failed_checks(result) <= key.max_failed_checks]


def tabulate(results: Sequence[Result], key: Key) -> Counts:
    """Counts the answers, without those to attention checks."""
    num, shape = len(key.sources), (len(results), len(key.sources))
    counts = Counts(
        wins=np.zeros((*shape, num)),
        compared=np.zeros((*shape, num)),
        totals=np.zeros((*shape, len(QUESTIONS))),
        rated=np.zeros(shape),
    )
    if not results:
        return counts
    preferred = np.array([[answer.preference for answer in result.answers] for result in results])
    ratings = np.array([[answer.ratings for answer in result.answers] for result in results])
    for i, pair in enumerate(key.pairs):
        if is_check(pair):
            continue
        for side, (one, other) in enumerate((pair, pair[::-1])):
            counts.compared[:, one, other] += 1
            counts.wins[:, one, other] += preferred[:, i] == "AB"[side]
            counts.totals[:, one] += ratings[:, i, side]
            counts.rated[:, one] += 1
    return counts


def bradley_terry(wins: Float64[np.ndarray, "*R S S"]) -> Float64[np.ndarray, "*R S"]:
    """Logarithms of Bradley-Terry strengths, with mean 0, by the MM algorithm of Hunter (2004, Ann. Statist. 32(1)).

    A source of strength p is preferred to one of strength q with probability p / (p + q), given that either is
    preferred, as in Davidson's model of ties (1970, J. Amer. Statist. Assoc. 65): comparisons without a preference are
    left out. Counting them as half a win for both would pull the strengths together.

    Half a win is added in both directions of each combination, so that a source that was never preferred has a low
    strength rather than minus infinity. For two sources this also removes most of the outward bias of the estimate
    (Firth 1993, Biometrika 80).

    Args:
      wins: how often source i was preferred to source j; the diagonal is ignored.
    """
    num = wins.shape[-1]
    wins = (wins + _PSEUDO_WINS) * (1 - np.eye(num))
    decided = wins + np.swapaxes(wins, -1, -2)
    num_wins = wins.sum(-1)
    strengths = np.ones(num_wins.shape)
    for _ in range(_MAX_STEPS):
        old = strengths
        strengths = num_wins / (decided / (old[..., :, None] + old[..., None, :])).sum(-1)
        if np.abs(strengths / old - 1).max() < _TOLERANCE:
            break
    logarithms = np.log(strengths)
    return logarithms - logarithms.mean(-1, keepdims=True)


def summarise(counts: Counts, *, num_resamples: int = NUM_RESAMPLES, seed: int = 0) -> Summary:
    """All statistics, with intervals.

    Args:
      counts: of the listeners that count.
      num_resamples: number of bootstrap resamples.
      seed: of the resamples.

    Raises:
      ValueError: if there are fewer than two listeners, which cannot be resampled.
    """
    num = len(counts.wins)
    if num < 2:
        raise ValueError(f"{num} listeners; expected at least 2")
    values = {name: value[0] for name, value in _statistics(counts, np.arange(num)[None]).items()}

    def statistic(indices: np.ndarray, axis: int) -> np.ndarray:
        """All statistics of resamples `[R, L]` as `[statistics, R]`; undefined ones are 0."""
        del axis  # the last one
        found = _statistics(counts, indices).values()
        return np.nan_to_num(np.concatenate([value.reshape(len(indices), -1) for value in found], axis=1).T)

    bootstrap = scipy.stats.bootstrap(
        (np.arange(num),),
        statistic,
        n_resamples=num_resamples,
        batch=max(1, _BATCH // counts.wins.size),
        confidence_level=percentile_level(num),
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    low, high = bootstrap.confidence_interval
    error = bootstrap.standard_error * np.sqrt(num / (num - 1))
    columns = [np.where(low == high, np.nan, low), np.where(low == high, np.nan, high), error]
    bounds = np.cumsum([value.size for value in values.values()])[:-1]
    estimates = {
        name: Estimate(value, *(each.reshape(value.shape) for each in parts))
        for (name, value), *parts in zip(values.items(), *(np.split(each, bounds) for each in columns), strict=True)
    }
    wins, compared = counts.wins.sum(axis=0), counts.compared.sum(axis=0)
    estimates["preferred"] = _widen(estimates["preferred"], wins, compared)
    estimates["undecided"] = _widen(estimates["undecided"], compared - wins - wins.T, compared)
    return Summary(**estimates)


def _statistics(counts: Counts, indices: Int[np.ndarray, "R L"]) -> dict[str, np.ndarray]:
    """The fields of `Summary` for each resample, `[R, ...]`."""
    wins, compared, totals, rated = (
        each[indices].sum(axis=1) for each in (counts.wins, counts.compared, counts.totals, counts.rated)
    )
    preferred = np.divide(wins, compared, out=np.full(wins.shape, np.nan), where=compared > 0)
    undecided = 1 - preferred - np.swapaxes(preferred, -1, -2)
    return {
        "preferred": preferred,
        "undecided": undecided,
        "scores": preferred + undecided / 2,
        "strengths": bradley_terry(wins),
        "ratings": totals / rated[..., None],
    }


def percentile_level(num_listeners: int) -> float:
    """The level of a percentile interval that contains the truth with probability `LEVEL`.

    Percentile intervals of few listeners are too short: the spread of resamples is that of n - 1 of n, and has the
    tails of a normal rather than Student's t distribution. A higher level makes up for both (Hesterberg 2015, arXiv
    1411.5279, section on expanded percentile intervals).

    Args:
      num_listeners: at least 2.
    """
    student = scipy.stats.t.isf((1 - LEVEL) / 2, num_listeners - 1)
    return float(1 - 2 * scipy.stats.norm.sf(np.sqrt(num_listeners / (num_listeners - 1)) * student))


def _widen(estimate: Estimate, successes: np.ndarray, trials: np.ndarray) -> Estimate:
    """Makes the intervals of shares near 0 or 1 at least as wide as Clopper and Pearson's (1934, Biometrika 26).

    Rare answers are in few resamples or in none, whose interval is then too short. The exact interval assumes
    independent answers.
    """
    low, high = estimate.low.copy(), estimate.high.copy()
    for i, j in itertools.permutations(range(len(trials)), 2):
        found, of = int(successes[i, j]), int(trials[i, j])
        if of and min(found, of - found) < _FEW_ANSWERS:
            exact = scipy.stats.binomtest(found, of).proportion_ci(LEVEL)
            low[i, j], high[i, j] = np.fmin(low[i, j], exact.low), np.fmax(high[i, j], exact.high)
    return dataclasses.replace(estimate, low=low, high=high)


def detectable_difference(error: float, *, power: float = 0.8) -> float:
    """The distance of a share from one half at which a two-sided test of level 1 - `LEVEL` has this power.

    Args:
      error: standard error of the share.
      power: probability to detect the difference.
    """
    return float(_TWO_SIDED + scipy.stats.norm.ppf(power)) * error


def listeners_needed(error: float, num_listeners: int, *, half_width: float = 0.05) -> int:
    """The number of listeners for which the interval of a share has this half-width.

    Args:
      error: standard error of the share.
      num_listeners: number of listeners it was estimated from.
      half_width: from the middle of the interval to either end.
    """
    return int(np.ceil(num_listeners * (_TWO_SIDED * error / half_width) ** 2))
