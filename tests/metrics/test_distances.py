"""Distances between distributions against SciPy, closed forms of Gaussians and distributions of two values."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from wae_jax.metrics.distances import density_distances, wasserstein_1


def overlapping_area(a, b):
    return density_distances(a, b).overlapping_area


def kl_divergence(a, b):
    return density_distances(a, b).kl_divergence


def test_wasserstein_is_the_mean_difference_of_sorted_values():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=30), rng.integers(-2, 3, 30).astype(float)
    expected = np.abs(np.sort(a) - np.sort(b)).mean()
    assert wasserstein_1(np.append(a, np.nan), b) == pytest.approx(expected)
    assert wasserstein_1(a, a) == 0


def quantiles(mean, spread, number=4000):
    """A sample that is as normal as one of its size can be."""
    return scipy.stats.norm(mean, spread).ppf((np.arange(number) + 0.5) / number)


@pytest.mark.parametrize(("mean", "spread"), [(0, 1), (1, 1), (0.5, 2), (-0.5, 1.5)])
def test_gaussians_have_their_closed_forms(mean, spread):
    a, b = quantiles(0, 1), quantiles(mean, spread)
    # A kernel of Scott's width makes a Gaussian wider by this factor.
    wider = np.sqrt(1 + 4000 ** (-2 / 5))
    s, t = wider * 1, wider * spread
    kl = np.log(t / s) + (s**2 + mean**2) / (2 * t**2) - 0.5
    assert kl_divergence(a, b) == pytest.approx(kl, rel=0.03, abs=1e-9)
    x = np.linspace(-20, 20, 200_001)
    overlap = np.minimum(scipy.stats.norm(0, s).pdf(x), scipy.stats.norm(mean, t).pdf(x)).sum() * (x[1] - x[0])
    assert overlapping_area(a, b) == pytest.approx(overlap, abs=0.003)


def test_densities_are_those_of_scipys_kernels():
    rng = np.random.default_rng(1)
    a, b = rng.gamma(2, 1, 50), np.round(rng.normal(3, 1, 80), 1)
    x = np.linspace(-10, 20, 20_001)
    p, q = scipy.stats.gaussian_kde(a)(x), scipy.stats.gaussian_kde(b)(x)
    assert overlapping_area(a, b) == pytest.approx(np.minimum(p, q).sum() * (x[1] - x[0]), abs=1e-3)
    near = (x > a.min() - 2) & (x < a.max() + 2)
    assert kl_divergence(a, b) == pytest.approx(scipy.stats.entropy(p[near], q[near]), rel=0.02)


def test_constant_samples():
    same, other, mixed = np.full(7, 0.1), np.full(3, 0.6), np.repeat([0.1, 0.6], 500)
    assert (overlapping_area(same, same[:2]), kl_divergence(same, same[:2])) == (1, 0)
    assert overlapping_area(same, other) < 1e-6
    assert 100 < kl_divergence(same, other) < np.inf
    # Half of the values are equal, and the other half is far away for the width of the kernels.
    assert overlapping_area(same, mixed) == pytest.approx(0.5, abs=0.03)
    assert kl_divergence(same, mixed) == pytest.approx(np.log(2), abs=0.05)
    assert wasserstein_1(same, mixed) == pytest.approx(0.25)


def test_nearly_constant_samples_keep_their_weight():
    rare = np.append(np.zeros(99_999), 1.0)
    assert overlapping_area(rare, np.zeros(5)) == pytest.approx(1, abs=1e-3)


def test_undefined_values_are_dropped_and_nothing_else_is_nan():
    a = np.array([0.0, 1, 2, np.nan, 3])
    b = np.array([2.0, np.nan, 2.5, 4])
    for distance in (wasserstein_1, overlapping_area, kl_divergence):
        assert distance(a, b) == distance(a[~np.isnan(a)], b[~np.isnan(b)])
        assert np.isnan(distance(a, np.full(3, np.nan)))
        assert np.isnan(distance(np.zeros(0), b))


def test_divergence_is_not_symmetric_and_overlap_is():
    a, b = quantiles(0, 1, 300), quantiles(1, 3, 200)
    assert kl_divergence(a, b) < 0.7 * kl_divergence(b, a)
    assert overlapping_area(a, b) == pytest.approx(overlapping_area(b, a), abs=1e-12)
