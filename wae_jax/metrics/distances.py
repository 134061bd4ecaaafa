"""Distances between the distributions of one metric in two sets of phrases. NaN is dropped.

Overlapping area and Kullback-Leibler divergence are those of Yang and Lerch, *On the evaluation of generative models in
music* (2018, doi 10.1007/s00521-018-3849-7; code: RichardYang40148/mgeval): of densities estimated with Gaussian
kernels, the bandwidth by Scott's rule. Unlike that code, both densities are evaluated on one grid, and constant
samples, for which `scipy.stats.gaussian_kde` has no density, get the other sample's bandwidth, or the grid's step.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.special
import scipy.stats
from jaxtyping import Float64

Sample = Float64[np.ndarray, " values"]

_GRID_POINTS = 1000


class DensityDistances(NamedTuple):
    """Distances of two estimated densities."""

    overlapping_area: float  # under the lower one of the two: 1 for equal samples, 0 for samples far apart
    kl_divergence: float  # of the second from the first, in nats; large but finite for different constants


def wasserstein_1(a: Float64[np.ndarray, " A"], b: Float64[np.ndarray, " B"]) -> float:
    """Wasserstein-1 distance, in the unit of the values; NaN if a sample is empty."""
    a, b = _defined(a), _defined(b)
    return float(scipy.stats.wasserstein_distance(a, b)) if len(a) and len(b) else float("nan")


def density_distances(a: Float64[np.ndarray, " A"], b: Float64[np.ndarray, " B"]) -> DensityDistances:
    """Overlapping area and divergence of the densities of two samples; NaN if a sample is empty."""
    a, b = _defined(a), _defined(b)
    if not len(a) or not len(b):
        return DensityDistances(float("nan"), float("nan"))
    low, high = min(a.min(), b.min()), max(a.max(), b.max())
    if low == high:
        return DensityDistances(1.0, 0.0)
    width_a, width_b = _scott_bandwidth(a), _scott_bandwidth(b)
    width_a, width_b = width_a or width_b, width_b or width_a
    margin = max(4 * width_a, 4 * width_b, (high - low) / 100)
    grid, step = np.linspace(low - margin, high + margin, _GRID_POINTS, retstep=True)
    # Kernels as wide as the step sum to one on the grid up to 1e-8, wherever they stand between its points.
    log_a, log_b = (_log_density(x, max(width, float(step)), grid) for x, width in ((a, width_a), (b, width_b)))
    # Rounding can leave a divergence of equal samples at a few -1e-17.
    divergence = max(0.0, float(np.exp(log_a) @ (log_a - log_b)))
    return DensityDistances(float(np.exp(np.minimum(log_a, log_b)).sum()), divergence)


def _defined(values: Float64[np.ndarray, " given"]) -> Sample:
    return values[~np.isnan(values)]


def _scott_bandwidth(sample: Sample) -> float:
    """Standard deviation times n^(-1/5), exactly 0 for a constant sample."""
    if sample.min() == sample.max():
        return 0.0
    return float(sample.std(ddof=1)) * len(sample) ** (-1 / 5)


def _log_density(sample: Sample, width: float, grid: Float64[np.ndarray, " grid"]) -> Float64[np.ndarray, " grid"]:
    """Log density on the grid, where the density sums to one; finite even where the density would underflow."""
    # Metrics often have few different values: one kernel for each, weighted by its count.
    values, counts = np.unique(sample, return_counts=True)
    density = np.empty_like(grid)
    rows = max(1, 2_000_000 // len(values))
    for start in range(0, len(grid), rows):
        apart = (grid[start : start + rows, None] - values) / width
        density[start : start + rows] = scipy.special.logsumexp(np.log(counts) - apart**2 / 2, axis=1)
    return density - scipy.special.logsumexp(density)
