"""Codes compared with the prior N(0, prior_variance * I), and how much of a metric's error the decoder explains.

Codes are [n, Z], one a phrase; all is computed in float64. Lengths and variances are in units of the prior: a
coordinate of 1 is one standard deviation of the prior.
"""

from __future__ import annotations

import math
import warnings
from typing import NamedTuple

import numpy as np
import scipy.spatial.distance
import scipy.stats
from jaxtyping import Bool, Float, Float64

from wae_jax.objective.mmd import SCALES

Codes = Float[np.ndarray, "n Z"]
PerDimension = Float64[np.ndarray, " Z"]
Square = Float64[np.ndarray, "N N"]

_ROWS = 256  # rows of a kernel matrix computed at once: 8 MB of distances to 4,000 points
_ROUNDING = 1e-12
_FITTED_RATIOS = 0.9


class PermutationTest(NamedTuple):
    """A test of whether two samples come from one distribution."""

    statistic: float  # MMD² of the samples
    p_value: float  # share of permutations, the given order among them, whose MMD² is as large or larger
    null_mean: float  # of MMD² over the permutations
    null_sd: float  # many of these separate a statistic from the null, whatever p is


class Moments(NamedTuple):
    """Moments of each dimension; under the prior they are 0, 1, 0 and 0."""

    mean: PerDimension  # in standard deviations of the prior
    variance: PerDimension  # in units of the prior's, unbiased
    skewness: PerDimension  # NaN where all codes are equal
    excess_kurtosis: PerDimension  # NaN where all codes are equal


class NormHistogram(NamedTuple):
    """Norms of codes beside those of the prior."""

    edges: Float64[np.ndarray, " edges"]  # in standard deviations of the prior, from 0
    share: Float64[np.ndarray, " bins"]  # of the codes in each bin
    expected: Float64[np.ndarray, " bins"]  # of the prior, exact; at most 1e-4 lies beyond the last edge
    distance: float  # Kolmogorov-Smirnov, of the two distributions


class ActiveDimensions(NamedTuple):
    """Number and identity of the dimensions that codes use, and their effective number.

    `effective_rank` is exp of the entropy of the covariance's normalized eigenvalues (Roy and Vetterli, EUSIPCO 2007),
    `participation_ratio` (sum of eigenvalues)² / sum of their squares. Both are invariant to rotation, Z for a sphere,
    1 for a line and 0 for a point.
    """

    number: int  # of active dimensions
    is_active: Bool[np.ndarray, " Z"]
    variance: PerDimension  # over phrases, in units of the prior's
    effective_rank: float
    participation_ratio: float


class QualityGap(NamedTuple):
    """Distance of a metric to real music, divided between decoder and regularizer."""

    decoder: float  # distance at codes of real phrases, less the floor; at least 0, in the metric's unit
    regularizer: float  # distance added by sampling the prior; at least 0
    decoder_share: float  # of the sum; NaN where samples are as close to real music as that is to itself
    regularizer_share: float


def mmd_permutation_test(
    codes: Float[np.ndarray, "n Z"],
    samples: Float[np.ndarray, "m Z"],
    *,
    prior_variance: float,
    num_permutations: int = 500,
    max_points: int = 2000,
    seed: int,
) -> PermutationTest:
    """Tests codes against samples of the prior with the MMD² that WAE-MMD minimizes.

    The statistic is `objective.mmd.mmd_squared`, which for samples of two sizes averages over the pairs of each; the
    test is that of Gretton et al. (JMLR 13, 2012), over permutations of the pooled sample. It assumes independent
    codes; those of phrases of one song are not, so that p is too small unless each song contributes one phrase. Of more
    than `max_points` a sample, this many are chosen at random, since time and memory grow with the square (128 MB for
    twice 2,000).

    Raises:
      ValueError: as `in_prior_units`, or if the samples differ in dimension.
    """
    x, y = in_prior_units(codes, prior_variance), in_prior_units(samples, prior_variance, "samples")
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"codes have {x.shape[1]} dimensions and samples {y.shape[1]}; expected equal numbers")
    rng = np.random.default_rng(seed)
    x, y = _at_most(x, max_points, rng), _at_most(y, max_points, rng)
    n, m = len(x), len(y)
    # One column a permutation, 1 where a point belongs to the first sample; the first column is the given order.
    is_first = np.zeros((n + m, num_permutations + 1))
    is_first[:n] = 1
    is_first[:, 1:] = rng.permuted(is_first[:, 1:], axis=0)
    kernel = _imq_matrix(np.concatenate([x, y]))
    np.fill_diagonal(kernel, 0)
    to_first = kernel @ is_first
    within_first = np.sum(is_first * to_first, axis=0)
    between = to_first.sum(axis=0) - within_first
    within_second = kernel.sum() - within_first - 2 * between
    statistics = within_first / (n * (n - 1)) + within_second / (m * (m - 1)) - 2 * between / (n * m)
    statistic, permuted = statistics[0], statistics[1:]
    # Rounding must not decide between equals.
    reached = np.count_nonzero(permuted >= statistic - _ROUNDING)
    return PermutationTest(
        float(statistic), (1 + int(reached)) / (1 + num_permutations), float(permuted.mean()), float(permuted.std())
    )


def moments(codes: Codes, prior_variance: float) -> Moments:
    """Mean, variance, skewness and excess kurtosis of each dimension.

    For n samples of the prior the standard errors are near sqrt(1/n), sqrt(2/n), sqrt(6/n) and sqrt(24/n).

    Raises:
      ValueError: as `in_prior_units`.
    """
    z = in_prior_units(codes, prior_variance)
    with warnings.catch_warnings():
        # Of equal numbers, which the mask below takes out.
        warnings.simplefilter("ignore", RuntimeWarning)
        shape = np.stack([scipy.stats.skew(z), scipy.stats.kurtosis(z)])
    varies = z.std(axis=0) > _ROUNDING * np.abs(z).max(axis=0)
    return Moments(z.mean(axis=0), z.var(axis=0, ddof=1), *np.where(varies, shape, np.nan))


def norm_histogram(codes: Codes, prior_variance: float, bins: int = 40) -> NormHistogram:
    """Histogram of the codes' norms beside the chi distribution with Z degrees of freedom, which is the prior's.

    The bins have equal width, up to the largest norm or the prior's 99.99 %, whichever is larger.

    Raises:
      ValueError: as `in_prior_units`.
    """
    norms = np.linalg.norm(in_prior_units(codes, prior_variance), axis=1)
    chi = scipy.stats.chi(codes.shape[1])
    edges = np.linspace(0, max(norms.max(), chi.ppf(0.9999)), bins + 1)
    counts, _ = np.histogram(norms, edges)
    distance = scipy.stats.kstest(norms, chi.cdf, method="asymp").statistic
    return NormHistogram(edges, counts / len(norms), np.diff(chi.cdf(edges)), float(distance))


def active_dimensions(codes: Codes, prior_variance: float, *, min_variance: float = 0.01) -> ActiveDimensions:
    """Counts the dimensions that vary with the phrase.

    A dimension is active where the variance of its codes over phrases exceeds `min_variance`, .01 as in Burda et al.
    (arXiv 1509.00519, section 5.1), as a share of the prior's. For a random encoder, pass the means of its codes: the
    noise of an unused dimension has the prior's variance.

    Raises:
      ValueError: as `in_prior_units`.
    """
    z = in_prior_units(codes, prior_variance)
    covariance = np.cov(z, rowvar=False).reshape(z.shape[1], z.shape[1])
    variance = np.diag(covariance).copy()
    eigenvalues = np.clip(np.linalg.eigvalsh(covariance), 0, None)
    rank, ratio = 0.0, 0.0
    if eigenvalues.sum() > 0:
        shares = eigenvalues / eigenvalues.sum()
        rank, ratio = math.exp(scipy.stats.entropy(shares)), 1 / np.sum(shares**2)
    is_active = variance > min_variance
    return ActiveDimensions(int(is_active.sum()), is_active, variance, float(rank), float(ratio))


def intrinsic_dimension(points: Codes) -> float:
    """Estimated dimension of the manifold that the points lie on; NaN for fewer than three distinct points.

    TwoNN: the ratios of the distances to a point's second and first neighbor are distributed as 1 - ratio^-d where the
    density is constant within these distances. d is the slope of -log(1 - F) over log(ratio), through the origin and
    without the tenth of the largest ratios. Source: Facco et al., Scientific Reports 7, 12140 (2017), steps 1 to 5.
    Equal points count once. Invariant to rotation and scale. The standard error is near d / sqrt(n). Too low where
    there are many dimensions for so few points: of normal samples in 8, 32 and 128 dimensions, 400 give 7.7, 22 and 52,
    50 give 7.3, 19 and 43. Time grows with the square of n.

    Raises:
      ValueError: if a number is not finite.
    """
    if not np.isfinite(points).all():
        raise ValueError("points are not finite; their neighbors cannot be found")
    distinct = np.unique(points.astype(np.float64), axis=0)
    if len(distinct) < 3:
        return math.nan
    neighbors = np.empty((len(distinct), 2))
    for start in range(0, len(distinct), _ROWS):
        distances = scipy.spatial.distance.cdist(distinct[start : start + _ROWS], distinct)
        # The nearest point is the point itself.
        neighbors[start : start + _ROWS] = np.partition(distances, (1, 2), axis=1)[:, 1:3]
    nearest, second = neighbors.T
    # Distances of distinct points that are nearly equal can still round to 0.
    log_ratios = np.sort(np.log(second[nearest > 0] / nearest[nearest > 0]))
    num = len(log_ratios)
    fitted = log_ratios[: int(_FITTED_RATIOS * num)]
    if not np.any(fitted > _ROUNDING):
        return math.nan
    log_shares = -np.log1p(-np.arange(1, len(fitted) + 1) / num)
    return float(fitted @ log_shares / (fitted @ fitted))


def quality_gap(at_codes: float, at_samples: float, floor: float) -> QualityGap:
    """Divides a metric's distance to real music between the decoder and the regularizer.

    Phrases decoded from codes of real phrases that were not trained on have every error of the decoder (and of the
    encoder) and none of a mismatch between codes and prior; samples have both. Where `decoder_share` is near 1, codes
    nearer to the prior would not help; where `regularizer_share` is, the decoder is good where there are codes, and the
    prior's samples lie elsewhere.

    Args:
      at_codes: distance (any that is 0 for equal sets) from held-out phrases to their reconstructions.
      at_samples: distance from held-out phrases to samples, as many.
      floor: distance between halves of the real phrases, which sampling alone explains.
    """
    decoder = max(at_codes - floor, 0.0)
    regularizer = max(at_samples - max(at_codes, floor), 0.0)
    total = decoder + regularizer
    if total == 0:
        return QualityGap(decoder, regularizer, math.nan, math.nan)
    return QualityGap(decoder, regularizer, decoder / total, regularizer / total)


def in_prior_units(codes: Codes, prior_variance: float, name: str = "codes") -> Float64[np.ndarray, "n Z"]:
    """The codes divided by the prior's standard deviation.

    Raises:
      ValueError: if the codes are not [n, Z] with n >= 2 and finite numbers, or `prior_variance` is not positive.
    """
    if codes.ndim != 2 or len(codes) < 2 or codes.shape[1] < 1:
        raise ValueError(f"{name} has shape {codes.shape}; expected [n, Z] with n >= 2 and Z >= 1")
    wrong = np.count_nonzero(~np.isfinite(codes).all(axis=1))
    if wrong:
        raise ValueError(f"{wrong} of {len(codes)} {name} are not finite; the training has probably diverged")
    if not (prior_variance > 0 and math.isfinite(prior_variance)):
        raise ValueError(f"prior_variance is {prior_variance}; expected a positive number")
    return codes.astype(np.float64) / math.sqrt(prior_variance)


def _at_most(
    points: Float64[np.ndarray, "n Z"], number: int, rng: np.random.Generator
) -> Float64[np.ndarray, "some Z"]:
    return points if len(points) <= number else points[rng.choice(len(points), number, replace=False)]


def _imq_matrix(points: Float64[np.ndarray, "N Z"]) -> Square:
    """`objective.mmd.imq_kernel` of all pairs, in units of the prior, some rows at a time."""
    constants = [2.0 * points.shape[1] * scale for scale in SCALES]
    kernel = np.empty((len(points), len(points)))
    for start in range(0, len(points), _ROWS):
        distances = scipy.spatial.distance.cdist(points[start : start + _ROWS], points, "sqeuclidean")
        kernel[start : start + _ROWS] = sum(constant / (constant + distances) for constant in constants)
    return kernel
