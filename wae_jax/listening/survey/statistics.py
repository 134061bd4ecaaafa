"""What listeners preferred, and how sure one can be of it.

All intervals come from drawing listeners again with replacement, since the answers of one listener are not independent
of each other; where an answer is rare, which such draws hardly notice, exact intervals are taken too. They say nothing
of clips other than those played.

L listeners, S sources, Q questions; R is one estimate from all listeners or many from as many draws of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import scipy.special
import scipy.stats
from jaxtyping import Float64

from wae_jax.listening.survey.design import is_check
from wae_jax.listening.survey.results import QUESTIONS, Key, Result, failed_checks

NUM_RESAMPLES = 2000
LEVEL = 0.95

_PSEUDO_WINS = 0.5
_TOLERANCE = 1e-8
_MAX_STEPS = 10_000
_FEW_ANSWERS = 10
# Resamples by listeners at a time, so that memory does not grow with the number of listeners.
_MAX_WEIGHTS = 1_000_000


@dataclasses.dataclass(frozen=True)
class Counts:
    """What each of some listeners said; listeners can be drawn again by weighting the first axis.

    Attributes:
      wins: how often source i was preferred to source j.
      met: how often sources i and j were compared, with a preference or without.
      totals: sums of the ratings of each source.
      rated: how many ratings these are, for each question.
    """

    wins: Float64[np.ndarray, "L S S"]
    met: Float64[np.ndarray, "L S S"]
    totals: Float64[np.ndarray, "L S Q"]
    rated: Float64[np.ndarray, "L S"]


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Numbers and where they may lie.

    Attributes:
      value: estimated from all listeners.
      low: lower end of the interval, NaN where all draws of listeners agree and there is no interval to be had.
      high: upper end.
      error: the standard error.
    """

    value: Float64[np.ndarray, "*shape"]
    low: Float64[np.ndarray, "*shape"]
    high: Float64[np.ndarray, "*shape"]
    error: Float64[np.ndarray, "*shape"]


@dataclasses.dataclass(frozen=True)
class Summary:
    """All statistics of a survey.

    Attributes:
      preferred: shares [S, S] of the meetings of i and j in which i was preferred; NaN on the diagonal.
      undecided: shares [S, S] without a preference.
      scores: shares [S, S] in which i was preferred, with half of those without a preference.
      strengths: logarithms [S] of Bradley-Terry strengths, of mean 0.
      ratings: means [S, Q] of the answers to each question.
    """

    preferred: Estimate
    undecided: Estimate
    scores: Estimate
    strengths: Estimate
    ratings: Estimate


def attentive(results: Sequence[Result], key: Key) -> list[Result]:
    """The results of those who pass the rule of the key."""
    return [result for result in results if failed_checks(result) <= key.max_failed_checks]


def tabulate(results: Sequence[Result], key: Key) -> Counts:
    """Counts what listeners said of music; checks are not counted."""
    num = len(key.sources)
    counts = Counts(
        wins=np.zeros((len(results), num, num)),
        met=np.zeros((len(results), num, num)),
        totals=np.zeros((len(results), num, len(QUESTIONS))),
        rated=np.zeros((len(results), num)),
    )
    if not results:
        return counts
    preferred = np.array([[answer.preference for answer in result.answers] for result in results])
    ratings = np.array([[answer.ratings for answer in result.answers] for result in results])
    for place, pair in enumerate(key.pairs):
        if is_check(pair):
            continue
        for side, (one, other) in enumerate((pair, pair[::-1])):
            counts.met[:, one, other] += 1
            counts.wins[:, one, other] += preferred[:, place] == "AB"[side]
            counts.totals[:, one] += ratings[:, place, side]
            counts.rated[:, one] += 1
    return counts


def preference_shares(
    wins: Float64[np.ndarray, "*R S S"], met: Float64[np.ndarray, "*R S S"]
) -> Float64[np.ndarray, "*R S S"]:
    """How often source i was preferred to source j, of their meetings; NaN where they never met."""
    return np.divide(wins, met, out=np.full(wins.shape, np.nan), where=met > 0)


def bradley_terry(wins: Float64[np.ndarray, "*R S S"]) -> Float64[np.ndarray, "*R S"]:
    """Logarithms of Bradley-Terry strengths, of mean 0, by the MM algorithm of Hunter (2004, Ann. Statist. 32(1)).

    A source of strength p is preferred to one of strength q with probability p / (p + q), given that either is
    preferred: so it is in Davidson's model of ties (1970, J. Amer. Statist. Assoc. 65), and pairs without a preference
    are left out. To count them as half a win for either would draw strengths together.

    Half a win in either direction is added to each two sources. A source that was never preferred then has a low
    strength rather than minus infinity; for two sources this takes away most of the estimate's bias, which is otherwise
    outward (Firth 1993, Biometrika 80). What remains draws strengths together where answers are few and one-sided.

    Args:
      wins: how often source i was preferred to source j; the diagonal is not looked at.
    """
    num = wins.shape[-1]
    wins = (wins + _PSEUDO_WINS) * (1 - np.eye(num))
    met = wins + np.swapaxes(wins, -1, -2)
    strengths = np.ones(wins.shape[:-1])
    for _ in range(_MAX_STEPS):
        old = strengths
        strengths = wins.sum(-1) / (met / (old[..., :, None] + old[..., None, :])).sum(-1)
        strengths /= np.exp(np.log(strengths).mean(-1, keepdims=True))
        if np.abs(np.log(strengths / old)).max() < _TOLERANCE:
            break
    return np.log(strengths)


def interval_tails(num_listeners: int, level: float = LEVEL) -> float:
    """The share of resamples to leave out on either side, so that an interval has its level.

    Percentile intervals are too short for few listeners: the spread of resamples is that of n - 1 of n, and its tails
    are those of the normal distribution rather than of Student's. Quantiles further out make up for both (Hesterberg
    2015, arXiv 1411.5279, section on expanded percentile intervals).

    Args:
      num_listeners: at least 2.
      level: share of intervals that contain the truth.
    """
    student = scipy.stats.t.ppf((1 - level) / 2, num_listeners - 1)
    return float(scipy.stats.norm.cdf(np.sqrt(num_listeners / (num_listeners - 1)) * student))


def _estimate(value: np.ndarray, samples: np.ndarray, num_listeners: int) -> Estimate:
    """An estimate from all listeners, with the interval that draws of them give."""
    tail = interval_tails(num_listeners)
    low, high = np.quantile(samples, [tail, 1 - tail], axis=0)
    nowhere = low == high
    error = samples.std(axis=0) * np.sqrt(num_listeners / (num_listeners - 1))
    return Estimate(value, np.where(nowhere, np.nan, low), np.where(nowhere, np.nan, high), error)


def summarise(counts: Counts, *, num_resamples: int = NUM_RESAMPLES, seed: int = 0) -> Summary:
    """All statistics, each with its interval.

    Args:
      counts: of the listeners that count.
      num_resamples: draws of as many listeners as there are.
      seed: of the draws.

    Raises:
      ValueError: if there are fewer than two listeners, who cannot be drawn again.
    """
    num_listeners = len(counts.wins)
    if num_listeners < 2:
        raise ValueError(f"{num_listeners} listeners; expected at least 2")
    fields = {field.name: getattr(counts, field.name) for field in dataclasses.fields(counts)}
    whole = _statistics(**{name: value.sum(axis=0) for name, value in fields.items()})
    generator = np.random.default_rng(seed)
    parts = []
    size = max(1, _MAX_WEIGHTS // num_listeners)
    for start in range(0, num_resamples, size):
        weights = _resample(num_listeners, min(size, num_resamples - start), generator)
        parts.append(_statistics(**{name: np.tensordot(weights, value, 1) for name, value in fields.items()}))
    samples = {name: np.concatenate([part[name] for part in parts]) for name in whole}
    estimates = {name: _estimate(value, samples[name], num_listeners) for name, value in whole.items()}
    wins, met = counts.wins.sum(axis=0), counts.met.sum(axis=0)
    estimates["preferred"] = _widen(estimates["preferred"], wins, met)
    estimates["undecided"] = _widen(estimates["undecided"], met - wins - wins.T, met)
    return Summary(**estimates)


def _widen(estimate: Estimate, successes: np.ndarray, trials: np.ndarray) -> Estimate:
    """Makes intervals of shares near 0 or 1 at least as wide as Clopper and Pearson's (1934, Biometrika 26).

    What hardly anybody answered is in few draws of listeners or in none, which then say too little. The exact interval
    supposes independent answers.
    """
    failures, tail = trials - successes, (1 - LEVEL) / 2
    low = scipy.special.betaincinv(np.maximum(successes, 1), failures + 1, tail) * (successes > 0)
    high = 1 - scipy.special.betaincinv(np.maximum(failures, 1), successes + 1, tail) * (failures > 0)
    few = (np.minimum(successes, failures) < _FEW_ANSWERS) & (trials > 0)
    return dataclasses.replace(
        estimate,
        low=np.where(few, np.fmin(estimate.low, low), estimate.low),
        high=np.where(few, np.fmax(estimate.high, high), estimate.high),
    )


def _resample(num_listeners: int, num: int, generator: np.random.Generator) -> np.ndarray:
    """How often each listener is in each of so many draws, [num, L]."""
    chances = np.full(num_listeners, 1 / num_listeners)
    return generator.multinomial(num_listeners, chances, size=num).astype(np.float64)


def _statistics(
    wins: Float64[np.ndarray, "*R S S"],
    met: Float64[np.ndarray, "*R S S"],
    totals: Float64[np.ndarray, "*R S Q"],
    rated: Float64[np.ndarray, "*R S"],
) -> dict[str, np.ndarray]:
    """The fields of `Summary`, from sums over listeners."""
    preferred = preference_shares(wins, met)
    undecided = 1 - preferred - np.swapaxes(preferred, -1, -2)
    return {
        "preferred": preferred,
        "undecided": undecided,
        "scores": preferred + undecided / 2,
        "strengths": bradley_terry(wins),
        "ratings": totals / rated[..., None],
    }


def detectable_difference(error: float, *, power: float = 0.8, level: float = LEVEL) -> float:
    """How far from one half a share must be to be told from it with this power, two-sided, by the normal distribution.

    Args:
      error: the standard error of the share.
      power: chance to tell.
      level: one minus the chance to see a difference where there is none.
    """
    return float(scipy.special.ndtri((1 + level) / 2) + scipy.special.ndtri(power)) * error


def listeners_needed(error: float, num_listeners: int, *, half_width: float = 0.05) -> int:
    """How many listeners make the interval of a share this narrow, if the others are like those there are.

    Args:
      error: the standard error of the share.
      num_listeners: whose answers it is from.
      half_width: from the middle of the interval to either end.
    """
    return int(np.ceil(num_listeners * (scipy.special.ndtri((1 + LEVEL) / 2) * error / half_width) ** 2))
