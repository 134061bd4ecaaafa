"""Codes against the prior N(0, prior_variance * I): where they differ, and whether they or the decoder are at fault.

Codes are [n, Z], one a phrase, in any type of float; all is computed in float64 with NumPy and SciPy. Lengths and
variances come in units of the prior's: a coordinate of 1 is one standard deviation of the prior.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import scipy.spatial.distance
import scipy.stats
from jaxtyping import Bool, Float, Float64

from wae_jax.objective.mmd import SCALES

Codes = Float[np.ndarray, "n Z"]
PerDimension = Float64[np.ndarray, " Z"]
Square = Float64[np.ndarray, "N N"]

_ROWS = 256  # Rows of a kernel matrix computed at once: 8 MB of distances to 4,000 points.
_ROUNDING = 1e-12


class PermutationTest(NamedTuple):
    """Whether two samples could be of one distribution.

    Attributes:
      statistic: MMD^2 of the samples.
      p_value: share of permutations, the given order among them, whose MMD^2 is as large or larger.
      null_mean: mean of MMD^2 over the permutations.
      null_sd: their standard deviation: a statistic of many of these is far from the prior, whatever p is.
    """

    statistic: float
    p_value: float
    null_mean: float
    null_sd: float


class Moments(NamedTuple):
    """Moments of each dimension; those of the prior are 0, 1, 0 and 0.

    Attributes:
      mean: in standard deviations of the prior.
      variance: in units of the prior's, unbiased.
      skewness: third central moment over the standard deviation cubed; NaN where all codes are alike.
      excess_kurtosis: fourth central moment over the variance squared, less 3; NaN where all codes are alike.
    """

    mean: PerDimension
    variance: PerDimension
    skewness: PerDimension
    excess_kurtosis: PerDimension


class NormHistogram(NamedTuple):
    """Norms of codes against those of the prior.

    Attributes:
      edges: of the bins, in standard deviations of the prior, from 0.
      share: of the codes in each bin; they add up to 1.
      expected: share of the prior's draws in each bin, exact; the last edge leaves out at most 1e-4 of them.
      distance: largest difference of the two distribution functions (Kolmogorov and Smirnov), between 0 and 1.
    """

    edges: Float64[np.ndarray, " edges"]
    share: Float64[np.ndarray, " bins"]
    expected: Float64[np.ndarray, " bins"]
    distance: float


class ActiveDimensions(NamedTuple):
    """How many dimensions the codes use.

    Attributes:
      number: of dimensions that are active.
      is_active: for each dimension.
      variance: of each dimension over phrases, in units of the prior's.
      effective_rank: exp of the entropy of the covariance's eigenvalues as shares (Roy and Vetterli, EUSIPCO 2007).
      participation_ratio: (sum of eigenvalues)^2 / sum of their squares. Both do not depend on how the axes lie, are Z
        for a sphere, 1 for a line and 0 for a point.
    """

    number: int
    is_active: Bool[np.ndarray, " Z"]
    variance: PerDimension
    effective_rank: float
    participation_ratio: float


class QualityGap(NamedTuple):
    """What of a metric's distance to real music is the decoder's fault, and what the regulariser's.

    Attributes:
      decoder: distance at codes of real phrases, less the floor; at least 0, in the metric's unit.
      regulariser: what the step from codes to draws of the prior adds to it; at least 0.
      decoder_share: of the sum of both; NaN where the draws are as close to real music as real music is to itself.
      regulariser_share: the rest of the sum.
    """

    decoder: float
    regulariser: float
    decoder_share: float
    regulariser_share: float


def mmd_permutation_test(
    codes: Float[np.ndarray, "n Z"],
    draws: Float[np.ndarray, "m Z"],
    *,
    prior_variance: float,
    num_permutations: int = 500,
    max_points: int = 2000,
    seed: int,
) -> PermutationTest:
    """Tests codes against draws of the prior with the MMD^2 that WAE-MMD descends.

    The statistic is `objective.mmd.mmd_squared`, which for samples of two sizes averages over the pairs of each; the
    test is that of Gretton et al. (JMLR 13, 2012), over permutations of the pooled sample. It takes codes to be
    independent: those of phrases of one song are alike, so that p is too small unless each song gives one phrase.

    Args:
      codes: at least 2.
      draws: of the prior, at least 2.
      prior_variance: positive; sets the kernel's scales.
      num_permutations: p is never less than 1 / (num_permutations + 1).
      max_points: of each sample; of more, this many are chosen at random, since time and memory grow with the square
        (128 MB for twice 2,000).
      seed: for permutations and choice.

    Raises:
      ValueError: if the samples are not [n, Z] and [m, Z] with n, m >= 2 and finite numbers, `prior_variance` is not
        positive, or there are no permutations.
    """
    x, y = in_prior_units(codes, prior_variance), in_prior_units(draws, prior_variance, "draws")
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"codes have {x.shape[1]} dimensions and draws {y.shape[1]}; expected as many")
    if num_permutations < 1 or max_points < 2:
        raise ValueError(
            f"num_permutations is {num_permutations} and max_points {max_points}; expected at least 1 and at least 2"
        )
    rng = np.random.default_rng(seed)
    x, y = at_most(x, max_points, rng), at_most(y, max_points, rng)
    n, m = len(x), len(y)
    # One column a permutation, 1 where a point belongs to the first sample; the first column is the true one.
    is_first = np.zeros((n + m, num_permutations + 1))
    is_first[:n] = 1
    is_first[:, 1:] = rng.permuted(is_first[:, 1:], axis=0)
    similar = _imq_matrix(np.concatenate([x, y]))
    np.fill_diagonal(similar, 0)
    to_first = similar @ is_first
    within_first = np.sum(is_first * to_first, axis=0)
    between = to_first.sum(axis=0) - within_first
    within_second = similar.sum() - within_first - 2 * between
    statistics = within_first / (n * (n - 1)) + within_second / (m * (m - 1)) - 2 * between / (n * m)
    statistic, permuted = statistics[0], statistics[1:]
    # Rounding must not decide between equals.
    reached = np.count_nonzero(permuted >= statistic - _ROUNDING)
    return PermutationTest(
        float(statistic), (1 + int(reached)) / (1 + num_permutations), float(permuted.mean()), float(permuted.std())
    )


def moments(codes: Codes, prior_variance: float) -> Moments:
    """Mean, variance, skewness and excess kurtosis of each dimension.

    Of n draws of the prior the standard errors are near sqrt(1/n), sqrt(2/n), sqrt(6/n) and sqrt(24/n).

    Raises:
      ValueError: if codes are not [n, Z] with n >= 2 and finite numbers, or `prior_variance` is not positive.
    """
    z = in_prior_units(codes, prior_variance)
    mean = z.mean(axis=0)
    central = z - mean
    second, third, fourth = (np.mean(central**power, axis=0) for power in (2, 3, 4))
    # Where all codes are alike, what is left of them is rounding.
    is_spread = np.sqrt(second) > _ROUNDING * np.abs(z).max(axis=0)
    nothing = np.full(mean.shape, np.nan)
    skewness = np.divide(third, second**1.5, out=nothing.copy(), where=is_spread)
    kurtosis = np.divide(fourth, second**2, out=nothing.copy(), where=is_spread)
    return Moments(mean, second * (len(z) / (len(z) - 1)), skewness, kurtosis - 3)


def norm_histogram(codes: Codes, prior_variance: float, bins: int = 40) -> NormHistogram:
    """Histogram of the codes' norms beside the chi distribution with Z degrees of freedom, which is the prior's.

    Args:
      codes: at least 2.
      prior_variance: positive.
      bins: of equal width, up to the largest norm or the prior's 99.99 %, whichever is larger.

    Raises:
      ValueError: if codes are not [n, Z] with n >= 2 and finite numbers, `prior_variance` is not positive, or there is
        no bin.
    """
    if bins < 1:
        raise ValueError(f"bins is {bins}; expected at least 1")
    norms = np.linalg.norm(in_prior_units(codes, prior_variance), axis=1)
    law = scipy.stats.chi(codes.shape[1])
    edges = np.linspace(0, max(norms.max(), law.ppf(0.9999)), bins + 1)
    counts, _ = np.histogram(norms, edges)
    distance = scipy.stats.kstest(norms, law.cdf, method="asymp").statistic
    return NormHistogram(edges, counts / len(norms), np.diff(law.cdf(edges)), float(distance))


def active_dimensions(codes: Codes, prior_variance: float, *, share: float = 0.01) -> ActiveDimensions:
    """Counts the dimensions that vary with the phrase.

    A dimension is active where the variance of its codes over phrases exceeds .01, as in Burda et al. (arXiv
    1509.00519, section 5.1), there with a prior of variance 1. For a random encoder, give the means of its codes: the
    noise of a dimension that says nothing has the prior's variance.

    Args:
      codes: at least 2.
      prior_variance: positive.
      share: of the prior's variance from which on a dimension is active.

    Raises:
      ValueError: if codes are not [n, Z] with n >= 2 and finite numbers, or `prior_variance` is not positive.
    """
    z = in_prior_units(codes, prior_variance)
    covariance = np.cov(z, rowvar=False).reshape(z.shape[1], z.shape[1])
    variance = np.diag(covariance).copy()
    eigenvalues = np.clip(np.linalg.eigvalsh(covariance), 0, None)
    rank, ratio = 0.0, 0.0
    if eigenvalues.sum() > 0:
        shares = eigenvalues / eigenvalues.sum()
        rank, ratio = math.exp(scipy.stats.entropy(shares)), 1 / np.sum(shares**2)
    is_active = variance > share
    return ActiveDimensions(int(is_active.sum()), is_active, variance, float(rank), float(ratio))


def quality_gap(
    at_codes: Mapping[str, float], at_draws: Mapping[str, float], floor: Mapping[str, float]
) -> dict[str, QualityGap]:
    """Divides each metric's distance to real music between the decoder and the regulariser.

    The aggregate posterior is sampled by encoding real phrases that were not trained on; what is decoded from these
    codes has every fault of the decoder (and of the encoder that feeds it) and none of a mismatch between codes and
    prior. What is decoded from the prior has both. So where `decoder_share` is near 1, codes nearer to the prior would
    not help; where `regulariser_share` is, the decoder is good where there are codes, and the prior's draws fall
    elsewhere. Where draws are nearer to real music than reconstructions are, the regulariser's part is 0.

    Args:
      at_codes: by metric, the distance (Wasserstein-1, or any that is 0 for equal sets) from held-out phrases to
        their reconstructions.
      at_draws: the same from held-out phrases to decoded draws of the prior, as many.
      floor: the same between halves of the real phrases: what sampling alone makes of no difference.

    Returns:
      One entry a metric; NaN throughout where one of its distances is NaN.

    Raises:
      ValueError: if the metrics are not the same in all three, or a distance is negative.
    """
    if not at_codes.keys() == at_draws.keys() == floor.keys():
        raise ValueError(
            f"at_codes has the metrics {sorted(at_codes)}, at_draws {sorted(at_draws)} and floor {sorted(floor)}; "
            "expected the same in all"
        )
    return {name: _divide(name, at_codes[name], at_draws[name], floor[name]) for name in at_codes}


def _divide(name: str, at_codes: float, at_draws: float, floor: float) -> QualityGap:
    """The gap of one metric."""
    if min(at_codes, at_draws, floor) < 0:
        raise ValueError(
            f"{name} has the distances {at_codes}, {at_draws} and the floor {floor}; expected none below 0"
        )
    if math.isnan(at_codes + at_draws + floor):
        return QualityGap(math.nan, math.nan, math.nan, math.nan)
    decoder = max(at_codes - floor, 0.0)
    regulariser = max(at_draws - max(at_codes, floor), 0.0)
    whole = decoder + regulariser
    if whole == 0:
        return QualityGap(decoder, regulariser, math.nan, math.nan)
    return QualityGap(decoder, regulariser, decoder / whole, regulariser / whole)


def in_prior_units(codes: Codes, prior_variance: float, name: str = "codes") -> Float64[np.ndarray, "n Z"]:
    """The codes over the prior's standard deviation, checked."""
    if codes.ndim != 2 or len(codes) < 2 or codes.shape[1] < 1:
        raise ValueError(f"{name} has shape {codes.shape}; expected [n, Z] with n >= 2 and Z >= 1")
    wrong = np.count_nonzero(~np.isfinite(codes).all(axis=1))
    if wrong:
        raise ValueError(f"{wrong} of {len(codes)} {name} are not finite; a run that diverged has no codes to judge")
    if not (prior_variance > 0 and math.isfinite(prior_variance)):
        raise ValueError(f"prior_variance is {prior_variance}; expected a positive number")
    return codes.astype(np.float64) / math.sqrt(prior_variance)


def at_most(points: Float64[np.ndarray, "n Z"], number: int, rng: np.random.Generator) -> Float64[np.ndarray, "some Z"]:
    """All points, or as many chosen at random."""
    return points if len(points) <= number else points[rng.choice(len(points), number, replace=False)]


def _imq_matrix(points: Float64[np.ndarray, "N Z"]) -> Square:
    """`wae_jax.objective.mmd.imq_kernel` of all pairs, in units of the prior, some rows at a time."""
    constants = [2.0 * points.shape[1] * scale for scale in SCALES]
    similar = np.empty((len(points), len(points)))
    for start in range(0, len(points), _ROWS):
        distances = scipy.spatial.distance.cdist(points[start : start + _ROWS], points, "sqeuclidean")
        similar[start : start + _ROWS] = sum(constant / (constant + distances) for constant in constants)
    return similar
