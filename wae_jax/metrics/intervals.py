"""How sure one can be of a mean: intervals by resampling songs, and how far real music differs from real music.

Phrases of one song resemble one another, so that a thousand phrases of fifty songs tell less than a thousand phrases of
as many songs. Whatever is drawn or divided here is whole songs: the cluster bootstrap (Davison and Hinkley, *Bootstrap
Methods and their Application*, 1997, section 3.8). Means are over phrases, so a song of many phrases counts for more.

Values are [B, C]: one number a phrase and column, NaN where it is undefined, as the share of a silent track's notes.
NaN is left out of every mean. A column that too few songs define has a NaN where a number would be a guess.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import scipy.stats
from jaxtyping import Float64, Int64, Integer

Values = Float64[np.ndarray, "B C"]
PerColumn = Float64[np.ndarray, " C"]
Groups = Integer[np.ndarray, " ids"]

# Weights of songs held at once: 8 MB, whatever the number of resamples.
_MAX_WEIGHTS = 1_000_000


class Interval(NamedTuple):
    """A mean and where it may lie.

    Attributes:
      mean: mean over all phrases, or the difference of two such means.
      low: lower end of the interval.
      high: upper end.
    """

    mean: PerColumn
    low: PerColumn
    high: PerColumn


class Floor(NamedTuple):
    """How far the means of two random halves of the same music lie apart.

    Attributes:
      median: of the absolute differences.
      p95: their 95th percentile.
    """

    median: PerColumn
    p95: PerColumn


class _Sums(NamedTuple):
    """What is needed of each song: the mean of a draw of songs is that of sums by that of counts."""

    total: Float64[np.ndarray, "songs C"]
    number: Float64[np.ndarray, "songs C"]


def bootstrap_interval(
    values: Values,
    groups: Groups | None = None,
    *,
    num_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """The mean over phrases with its percentile interval when songs are drawn again with replacement.

    With few songs (below some twenty) such an interval is a little too short.

    Args:
      values: one number a phrase and column, NaN where undefined.
      groups: the song of each phrase; without, every phrase is a song of its own.
      num_resamples: draws of as many songs as there are.
      level: share of such intervals that are to contain the truth.
      seed: of the draws.

    Returns:
      Mean and interval; the mean is NaN where no phrase has a value, the interval where fewer than two songs have one.

    Raises:
      ValueError: if groups and values differ in length, or a number is out of range.
    """
    sums = _sums(values, groups)
    drawn = _resampled_means(sums, num_resamples, np.random.default_rng(seed))
    return _interval(_mean(sums), drawn, _several_songs(sums), level)


def bootstrap_difference(
    a: Float64[np.ndarray, "A columns"],
    b: Float64[np.ndarray, "B others"],
    groups_a: Integer[np.ndarray, " ids_a"] | None = None,
    groups_b: Integer[np.ndarray, " ids_b"] | None = None,
    *,
    num_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """The mean of `a` less the mean of `b`, two sets that have nothing to do with one another, with its interval.

    Args:
      a: one number a phrase and column, NaN where undefined.
      b: the same columns of another set, of any number of phrases.
      groups_a: the song of each phrase of `a`; without, every phrase is a song of its own.
      groups_b: the same for `b`.
      num_resamples: draws of songs, from each set on its own.
      level: share of such intervals that are to contain the truth.
      seed: of the draws.

    Returns:
      Difference and interval, NaN under the same conditions as `bootstrap_interval`'s for either set.

    Raises:
      ValueError: if the columns differ in number, and as `bootstrap_interval`.
    """
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"a has {a.shape[1]} columns and b has {b.shape[1]}; expected the same ones")
    sums_a, sums_b = _sums(a, groups_a), _sums(b, groups_b)
    # Two streams: one and the same would draw alike from sets of one size, and understate the spread.
    rng_a, rng_b = np.random.default_rng(seed).spawn(2)
    drawn = _resampled_means(sums_a, num_resamples, rng_a) - _resampled_means(sums_b, num_resamples, rng_b)
    enough = _several_songs(sums_a) & _several_songs(sums_b)
    return _interval(_mean(sums_a) - _mean(sums_b), drawn, enough, level)


def paired_difference(differences: Float64[np.ndarray, "S C"], *, level: float = 0.95) -> Interval:
    """The mean difference of two runs over seeds that both used, with Student's t interval.

    Args:
      differences: one run's figure less the other's, for each seed and column; NaN where undefined.
      level: share of such intervals that are to contain the truth, where differences are normal.

    Returns:
      Mean and interval. One seed tells nothing about the spread over seeds: its interval is NaN.

    Raises:
      ValueError: if `level` is out of range.
    """
    _check_level(level)
    sums = _sums(differences, None)
    mean, number = _mean(sums), sums.number.sum(axis=0)
    squares = np.nansum((differences - mean) ** 2, axis=0)
    several = number > 1
    freedom = np.where(several, number - 1, np.nan)
    reach = scipy.stats.t.ppf((1 + level) / 2, freedom) * np.sqrt(squares / freedom / np.where(several, number, np.nan))
    return Interval(mean, mean - reach, mean + reach)


def real_floor(values: Values, groups: Groups | None = None, *, num_splits: int = 1000, seed: int = 0) -> Floor:
    """How far the means of two random halves of one set lie apart: no model can be asked to come nearer.

    The songs are divided at random into halves (of an odd number, one half has one more). Halves are smaller than the
    set and differ more than two whole sets of its size would, so the floor is on the cautious side.

    Args:
      values: one number a phrase and column, NaN where undefined.
      groups: the song of each phrase; without, every phrase is a song of its own.
      num_splits: divisions.
      seed: of the divisions.

    Returns:
      Median and 95th percentile of the absolute differences; NaN where fewer than two songs have a value.

    Raises:
      ValueError: if there are fewer than two songs, groups and values differ in length, or there are no splits.
    """
    sums = _sums(values, groups)
    num_songs = len(sums.total)
    if num_songs < 2:
        raise ValueError(f"values are of {num_songs} songs; expected at least 2 to divide")
    rng = np.random.default_rng(seed)

    def halves(number: int) -> Int64[np.ndarray, "draws songs"]:
        return rng.permuted(np.broadcast_to(np.arange(num_songs) % 2, (number, num_songs)), axis=1)

    def difference(side: Int64[np.ndarray, "draws songs"]) -> Float64[np.ndarray, "draws C"]:
        return np.abs(_weighted_means(side, sums) - _weighted_means(1 - side, sums))

    differences = _in_chunks(halves, difference, num_splits, num_songs)
    median, p95 = _quantiles(differences, _several_songs(sums), (0.5, 0.95))
    return Floor(median, p95)


def _sums(values: Float64[np.ndarray, "phrases C"], groups: Integer[np.ndarray, " ids"] | None) -> _Sums:
    """Sum and number of the defined values of each song."""
    defined = ~np.isnan(values)
    filled = np.where(defined, values, 0.0)
    if groups is None:
        return _Sums(filled, defined.astype(np.float64))
    if len(groups) != len(values):
        raise ValueError(
            f"groups name the songs of {len(groups)} phrases, values are of {len(values)}; expected one each"
        )
    songs, place = np.unique(groups, return_inverse=True)
    shape = len(songs), values.shape[1]
    sums = _Sums(np.zeros(shape), np.zeros(shape))
    np.add.at(sums.total, place, filled)
    np.add.at(sums.number, place, defined)
    return sums


def _mean(sums: _Sums) -> PerColumn:
    return _weighted_means(np.ones((1, len(sums.total)), np.int64), sums)[0]


def _weighted_means(weights: Int64[np.ndarray, "draws songs"], sums: _Sums) -> Float64[np.ndarray, "draws C"]:
    """The mean over phrases, every song taken as often as its weight says; NaN where that leaves no value."""
    as_float = weights.astype(np.float64)
    total, count = as_float @ sums.total, as_float @ sums.number
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def _several_songs(sums: _Sums) -> np.ndarray:
    """Which columns at least two songs define."""
    return (sums.number > 0).sum(axis=0) > 1


def _resampled_means(sums: _Sums, num_resamples: int, rng: np.random.Generator) -> Float64[np.ndarray, "draws C"]:
    num_songs = len(sums.total)
    if not num_songs:
        return np.full((num_resamples, sums.total.shape[1]), np.nan)
    equal = np.full(num_songs, 1 / num_songs)
    return _in_chunks(
        lambda number: rng.multinomial(num_songs, equal, size=number),
        lambda weights: _weighted_means(weights, sums),
        num_resamples,
        num_songs,
    )


def _in_chunks(
    draw: Callable[[int], Int64[np.ndarray, "draws songs"]],
    figure: Callable[[Int64[np.ndarray, "draws songs"]], Float64[np.ndarray, "draws C"]],
    number: int,
    num_songs: int,
) -> Float64[np.ndarray, "all C"]:
    """The figures of so many draws, the weights of only some of which are held at once."""
    if number < 1:
        raise ValueError(f"the number of draws is {number}; expected at least 1")
    return np.concatenate([figure(draw(size)) for size in _sizes(number, max(1, _MAX_WEIGHTS // num_songs))])


def _sizes(number: int, most: int) -> Iterator[int]:
    for start in range(0, number, most):
        yield min(most, number - start)


def _interval(mean: PerColumn, drawn: Float64[np.ndarray, "draws C"], enough: np.ndarray, level: float) -> Interval:
    _check_level(level)
    low, high = _quantiles(drawn, enough, ((1 - level) / 2, (1 + level) / 2))
    return Interval(mean, low, high)


def _quantiles(
    drawn: Float64[np.ndarray, "draws C"], enough: np.ndarray, shares: tuple[float, float]
) -> Float64[np.ndarray, "ends=2 C"]:
    """Quantiles of the draws in which a column is defined; NaN in columns that too few songs define."""
    # NumPy warns of columns of nothing but NaN.
    usable = enough & ~np.isnan(drawn).all(axis=0)
    ends = np.full((2, drawn.shape[1]), np.nan)
    ends[:, usable] = np.nanquantile(drawn[:, usable], shares, axis=0)
    return ends


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; expected a share between 0 and 1, such as 0.95")
