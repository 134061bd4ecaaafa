"""Confidence intervals of means by resampling songs, and the differences to expect between samples of real music.

Phrases of one song resemble each other, so whole songs are resampled or divided: the cluster bootstrap (Davison and
Hinkley, *Bootstrap Methods and their Application*, 1997, section 3.8). Means are over phrases: long songs count more.

Values are [B, C], one number a phrase and column, NaN if undefined, such as the share of a silent track's notes. Means
omit NaN; an interval is NaN if fewer than two songs have a value. Groups are the songs of phrases; None means that
every phrase is a song of its own.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.stats
from jaxtyping import Float64, Int64, Integer

Values = Float64[np.ndarray, "B C"]
PerColumn = Float64[np.ndarray, " C"]
Groups = Integer[np.ndarray, " ids"]

LEVEL = 0.95  # of confidence
# Weights of songs in memory at a time: 8 MB, whatever the number of resamples.
_MAX_WEIGHTS = 1_000_000


class Interval(NamedTuple):
    """A mean over phrases, or a difference of two means, with the ends of its confidence interval."""

    mean: PerColumn
    low: PerColumn
    high: PerColumn


class Floor(NamedTuple):
    """Median and 95th percentile of the absolute difference of the means of two random halves of one set."""

    median: PerColumn
    p95: PerColumn


class _Sums(NamedTuple):
    """Sum and number of the values of each song: the mean of a resample is a quotient of their sums."""

    total: Float64[np.ndarray, "songs C"]
    number: Float64[np.ndarray, "songs C"]


def bootstrap_interval(
    values: Values,
    groups: Groups | None = None,
    *,
    num_resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """The mean over phrases with its percentile bootstrap interval, which is a little too short below twenty songs.

    Raises:
      ValueError: if groups and values differ in length, or a number is out of range.
    """
    sums = _sums(values, groups)
    means = _resampled_means(sums, num_resamples, np.random.default_rng(seed))
    return _interval(_mean(sums), means, _several_songs(sums))


def bootstrap_difference(
    a: Float64[np.ndarray, "A columns"],
    b: Float64[np.ndarray, "B others"],
    groups_a: Integer[np.ndarray, " ids_a"] | None = None,
    groups_b: Integer[np.ndarray, " ids_b"] | None = None,
    *,
    num_resamples: int = 1000,
    seed: int = 0,
) -> Interval:
    """The mean of `a` minus the mean of `b`, an independent set, with its percentile bootstrap interval.

    Raises:
      ValueError: if the columns differ in number, or as in `bootstrap_interval`.
    """
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"a has {a.shape[1]} columns and b has {b.shape[1]}; expected the same ones")
    sums_a, sums_b = _sums(a, groups_a), _sums(b, groups_b)
    # Two generators: one would resample sets of equal size alike, and understate the spread.
    rng_a, rng_b = np.random.default_rng(seed).spawn(2)
    differences = _resampled_means(sums_a, num_resamples, rng_a) - _resampled_means(sums_b, num_resamples, rng_b)
    enough = _several_songs(sums_a) & _several_songs(sums_b)
    return _interval(_mean(sums_a) - _mean(sums_b), differences, enough)


def paired_difference(differences: Float64[np.ndarray, "S C"]) -> Interval:
    """The mean difference of two configurations over common seeds, with Student's t interval; NaN for a single seed.

    Differences are one run's value minus the other's, for each seed and column.
    """
    sums = _sums(differences, None)
    mean, number = _mean(sums), sums.number.sum(axis=0)
    squares = np.nansum((differences - mean) ** 2, axis=0)
    several = number > 1
    freedom = np.where(several, number - 1, np.nan)
    reach = scipy.stats.t.ppf((1 + LEVEL) / 2, freedom) * np.sqrt(squares / freedom / np.where(several, number, np.nan))
    return Interval(mean, mean - reach, mean + reach)


def real_floor(values: Values, groups: Groups | None = None, *, num_splits: int = 1000, seed: int = 0) -> Floor:
    """Differences between random halves of one set: a model this close to real music is as close as can be measured.

    Songs are divided at random into halves. Halves are smaller than the set and differ more than two sets of its size
    would, so the floor is conservative.

    Raises:
      ValueError: if there are fewer than two songs, groups and values differ in length, or there are no splits.
    """
    sums = _sums(values, groups)
    num_songs = len(sums.total)
    if num_songs < 2:
        raise ValueError(f"values are of {num_songs} songs; expected at least 2 to divide")
    rng = np.random.default_rng(seed)
    differences = []
    for number in _chunk_sizes(num_splits, num_songs):
        side = rng.permuted(np.broadcast_to(np.arange(num_songs) % 2, (number, num_songs)), axis=1)
        differences.append(np.abs(_weighted_means(side, sums) - _weighted_means(1 - side, sums)))
    return Floor(*_quantiles(np.concatenate(differences), _several_songs(sums), (0.5, 0.95)))


def _sums(values: Float64[np.ndarray, "phrases C"], groups: Integer[np.ndarray, " ids"] | None) -> _Sums:
    defined = ~np.isnan(values)
    filled = np.where(defined, values, 0.0)
    if groups is None:
        return _Sums(filled, defined.astype(np.float64))
    if len(groups) != len(values):
        raise ValueError(
            f"groups name the songs of {len(groups)} phrases, values are of {len(values)}; expected one each"
        )
    songs, song = np.unique(groups, return_inverse=True)
    shape = len(songs), values.shape[1]
    sums = _Sums(np.zeros(shape), np.zeros(shape))
    np.add.at(sums.total, song, filled)
    np.add.at(sums.number, song, defined)
    return sums


def _mean(sums: _Sums) -> PerColumn:
    return _weighted_means(np.ones((1, len(sums.total)), np.int64), sums)[0]


def _weighted_means(weights: Int64[np.ndarray, "resamples songs"], sums: _Sums) -> Float64[np.ndarray, "resamples C"]:
    """Means over phrases, with each song repeated by its weight; NaN without values."""
    as_float = weights.astype(np.float64)
    total, count = as_float @ sums.total, as_float @ sums.number
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def _several_songs(sums: _Sums) -> np.ndarray:
    return (sums.number > 0).sum(axis=0) > 1  # in each column


def _resampled_means(sums: _Sums, num_resamples: int, rng: np.random.Generator) -> Float64[np.ndarray, "resamples C"]:
    num_songs = len(sums.total)
    if not num_songs:
        return np.full((num_resamples, sums.total.shape[1]), np.nan)
    equal = np.full(num_songs, 1 / num_songs)
    sizes = _chunk_sizes(num_resamples, num_songs)
    return np.concatenate([_weighted_means(rng.multinomial(num_songs, equal, size=size), sums) for size in sizes])


def _chunk_sizes(number: int, num_songs: int) -> list[int]:
    if number < 1:
        raise ValueError(f"the number of resamples is {number}; expected at least 1")
    most = max(1, _MAX_WEIGHTS // num_songs)
    return [min(most, number - start) for start in range(0, number, most)]


def _interval(mean: PerColumn, resampled: Float64[np.ndarray, "resamples C"], enough: np.ndarray) -> Interval:
    low, high = _quantiles(resampled, enough, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Interval(mean, low, high)


def _quantiles(
    resampled: Float64[np.ndarray, "resamples C"], enough: np.ndarray, shares: tuple[float, float]
) -> Float64[np.ndarray, "ends=2 C"]:
    """Quantiles of each column, omitting NaN; NaN in columns with too few songs."""
    # NumPy warns of columns of NaN alone.
    usable = enough & ~np.isnan(resampled).all(axis=0)
    ends = np.full((2, resampled.shape[1]), np.nan)
    ends[:, usable] = np.nanquantile(resampled[:, usable], shares, axis=0)
    return ends
