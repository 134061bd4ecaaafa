"""Distances between the distributions of one number in two sets of phrases.

Overlapping area and Kullback-Leibler divergence are those of Yang and Lerch, *On the evaluation of generative models in
music* (2018, doi 10.1007/s00521-018-3849-7; code: RichardYang40148/mgeval): of densities estimated with Gaussian
kernels, the bandwidth by Scott's rule, a sample's standard deviation times n^(-1/5). Two things differ from that code.
Both densities are evaluated on one grid, where mgeval's divergence takes a grid of its own for each and so compares the
densities of different values. And samples of few values do not fail: a constant sample has the bandwidth 0 and is given
that of the other sample, and no bandwidth is below the step of the grid. Of two constant samples, equal ones have the
distance 0 and the overlap 1; different ones nearly no overlap and a divergence that is finite, but says no more than
"large".

NaN is dropped. Where a sample has no other value, the distance is NaN.
"""

from __future__ import annotations

import numpy as np
import scipy.special
from jaxtyping import Float64

Sample = Float64[np.ndarray, " values"]
_Sample = Float64[np.ndarray, " these"]

_GRID_POINTS = 1000


def wasserstein_1(a: Float64[np.ndarray, " A"], b: Float64[np.ndarray, " B"]) -> float:
    """The area between the distribution functions: how far values have to be moved on average, in their unit."""
    a, b = _defined(a), _defined(b)
    if not len(a) or not len(b):
        return float("nan")
    values = np.sort(np.concatenate([a, b]))
    # The share of each sample up to every value but the last, and the way to the next.
    share_a, share_b = (np.searchsorted(np.sort(sample), values[:-1], side="right") / len(sample) for sample in (a, b))
    return float(np.abs(share_a - share_b) @ np.diff(values))


def overlapping_area(a: Float64[np.ndarray, " A"], b: Float64[np.ndarray, " B"]) -> float:
    """The area under the lower one of the two densities: 1 for equal samples, 0 for samples far apart."""
    return overlap_and_divergence(a, b)[0]


def kl_divergence(a: Float64[np.ndarray, " A"], b: Float64[np.ndarray, " B"]) -> float:
    """The divergence of `b`'s density from `a`'s, in nats: the mean under `a` of log density of `a` less that of `b`.

    It is not symmetric. Gaussian kernels never quite vanish, so it is finite, but it grows with the square of how far
    the values of `a` lie outside those of `b`.
    """
    return overlap_and_divergence(a, b)[1]


def overlap_and_divergence(a: Float64[np.ndarray, " A"], b: Float64[np.ndarray, " B"]) -> tuple[float, float]:
    """`overlapping_area` and `kl_divergence`, from densities that are estimated once."""
    densities = _log_densities(a, b)
    if densities is None:
        return float("nan"), float("nan")
    log_a, log_b = densities
    # Rounding can leave a few 1e-17 below 0 where the samples are equal.
    divergence = max(0.0, float(np.exp(log_a) @ (log_a - log_b)))
    return float(np.exp(np.minimum(log_a, log_b)).sum()), divergence


def _defined(values: _Sample) -> Float64[np.ndarray, " kept"]:
    return values[~np.isnan(values)]


def _log_densities(
    a: Float64[np.ndarray, " A"], b: Float64[np.ndarray, " B"]
) -> tuple[Float64[np.ndarray, " grid"], Float64[np.ndarray, " grid"]] | None:
    """Logarithms of both densities on one grid, on which each sums to one; None where a sample is empty."""
    a, b = _defined(a), _defined(b)
    if not len(a) or not len(b):
        return None
    low, high = min(a.min(), b.min()), max(a.max(), b.max())
    if low == high:
        return np.zeros(1), np.zeros(1)
    width_a, width_b = _scott_bandwidth(a), _scott_bandwidth(b)
    width_a, width_b = width_a or width_b, width_b or width_a
    margin = max(4 * width_a, 4 * width_b, (high - low) / 100)
    grid, step = np.linspace(low - margin, high + margin, _GRID_POINTS, retstep=True)
    # Kernels as wide as the step sum to one on the grid up to 1e-8, wherever they stand between its points.
    return _log_density(a, max(width_a, float(step)), grid), _log_density(b, max(width_b, float(step)), grid)


def _scott_bandwidth(sample: _Sample) -> float:
    """Zero for a constant sample, also where the mean of many equal values is not quite that value."""
    if sample.min() == sample.max():
        return 0.0
    return float(sample.std(ddof=1)) * len(sample) ** (-1 / 5)


def _log_density(sample: _Sample, width: float, grid: Float64[np.ndarray, " grid"]) -> Float64[np.ndarray, " grid"]:
    """The logarithm of the density, which stays finite where the density itself would be 0."""
    # TrackValues have few different values: a kernel each, as heavy as it is frequent.
    values, counts = np.unique(sample, return_counts=True)
    log_weights = np.log(counts)
    density = np.empty_like(grid)
    rows = max(1, 2_000_000 // len(values))
    for start in range(0, len(grid), rows):
        apart = (grid[start : start + rows, None] - values) / width
        density[start : start + rows] = scipy.special.logsumexp(log_weights - apart**2 / 2, axis=1)
    return density - scipy.special.logsumexp(density)
