"""Codes against the prior: the test statistic and its level, moments, norms, dimensions, who is to blame."""

from __future__ import annotations

import math

import jax
import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from tests.checking import unchecked
from wae_jax.evaluation import latent_metrics
from wae_jax.objective import mmd


def normal(shape, *, seed=0, variance=1.0):
    return np.random.default_rng(seed).normal(size=shape) * math.sqrt(variance)


@pytest.mark.parametrize("variance", [0.5, 1.0, 4.0])
def test_statistic_is_the_penalty_of_the_training(variance):
    x, y = normal((40, 5), variance=variance) + 0.3, normal((40, 5), seed=1, variance=variance)
    with jax.enable_x64(True):
        expected = float(mmd.mmd_squared(x, y, prior_variance=variance))
    test = latent_metrics.mmd_permutation_test(x, y, prior_variance=variance, num_permutations=1, seed=0)
    assert test.statistic == pytest.approx(expected, abs=1e-10)


def by_loops(x, y):
    """The U-statistic of two samples of any sizes, for a prior of variance 1."""

    def kernel(a, b):
        return sum(c / (c + np.sum((a - b) ** 2)) for c in 2 * len(a) * np.array([0.1, 0.2, 0.5, 1, 2, 5, 10]))

    def within(points):
        pairs = [kernel(a, b) for i, a in enumerate(points) for j, b in enumerate(points) if i != j]
        return np.mean(pairs)

    return within(x) + within(y) - 2 * np.mean([kernel(a, b) for a in x for b in y])


def test_samples_of_two_sizes_and_all_their_permutations():
    """Five points have ten ways to be two and three: the mean and deviation over many permutations are theirs."""
    x, y = normal((2, 3)) + 1, normal((3, 3), seed=1)
    pooled = np.concatenate([x, y])
    every = []
    for i in range(5):
        for j in range(i):
            rest = [k for k in range(5) if k not in (i, j)]
            every.append(by_loops(pooled[[i, j]], pooled[rest]))
    test = latent_metrics.mmd_permutation_test(x, y, prior_variance=1.0, num_permutations=20_000, seed=0)
    assert test.statistic == pytest.approx(by_loops(x, y), abs=1e-12)
    assert test.null_mean == pytest.approx(np.mean(every), abs=4 * np.std(every) / 20_000**0.5)
    assert test.null_sd == pytest.approx(np.std(every), rel=0.03)
    as_large = np.mean(np.array(every) >= test.statistic - 1e-9)
    assert test.p_value == pytest.approx(as_large, abs=0.02)


def test_p_is_uniform_where_both_samples_are_of_the_prior():
    rng = np.random.default_rng(0)
    p = [
        latent_metrics.mmd_permutation_test(
            *rng.normal(size=(2, 20, 4)), prior_variance=1.0, num_permutations=199, seed=i
        )
        for i in range(200)
    ]
    assert scipy.stats.kstest([test.p_value for test in p], "uniform").pvalue > 0.05


def test_p_is_small_for_a_shift_and_for_a_shrunk_sample():
    x, y = normal((200, 8)), normal((200, 8), seed=1)
    for sample in (x + 0.4, 0.7 * x):
        test = latent_metrics.mmd_permutation_test(sample, y, prior_variance=1.0, num_permutations=199, seed=0)
        assert test.p_value == 1 / 200
        assert test.statistic > test.null_mean + 4 * test.null_sd
    assert abs(test.null_mean) < test.null_sd


def test_equal_points_are_as_large_as_each_other():
    points = np.full((6, 3), 0.1)
    test = latent_metrics.mmd_permutation_test(points, points, prior_variance=1.0, num_permutations=50, seed=0)
    assert test.p_value == 1
    assert test.statistic == pytest.approx(0, abs=1e-12)


def test_of_large_samples_some_points_are_taken():
    x, y = normal((3000, 2), seed=0).astype(np.float32), normal((500, 2), seed=1) + 0.2
    some, same, others = (
        latent_metrics.mmd_permutation_test(x, y, prior_variance=1.0, num_permutations=9, max_points=200, seed=seed)
        for seed in (0, 0, 1)
    )
    assert some == same != others
    # Not the first ones: codes lie in the order of songs.
    first = latent_metrics.mmd_permutation_test(x[:200], y[:200], prior_variance=1.0, num_permutations=9, seed=0)
    assert some.statistic != pytest.approx(first.statistic, abs=1e-9)
    assert some.null_sd == pytest.approx(first.null_sd, rel=0.9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_moments_by_their_definition(dtype):
    rng = np.random.default_rng(0)
    codes = np.stack([rng.normal(size=300), rng.exponential(size=300) - 3, rng.uniform(size=300)], 1).astype(dtype)
    found = latent_metrics.moments(codes, 4.0)
    z = codes.astype(np.float64)
    np.testing.assert_allclose(found.mean, z.mean(axis=0) / 2)
    np.testing.assert_allclose(found.variance, z.var(axis=0, ddof=1) / 4)
    standardized = (z - z.mean(axis=0)) / z.std(axis=0)
    np.testing.assert_allclose(found.skewness, np.mean(standardized**3, axis=0))
    np.testing.assert_allclose(found.excess_kurtosis, np.mean(standardized**4, axis=0) - 3)


def test_a_dimension_that_does_not_vary_has_no_shape():
    codes = normal((50, 3))
    codes[:, 1] = 0.1  # whose mean over 50 is not exactly .1
    codes[:, 2] = 0
    found = latent_metrics.moments(codes, 1.0)
    assert found.variance[1:] == pytest.approx(0, abs=1e-30)
    assert np.isnan(found.skewness).tolist() == np.isnan(found.excess_kurtosis).tolist() == [False, True, True]


@pytest.mark.parametrize("latent_dim", [1, 3, 16])
def test_norms_against_the_integral_of_the_density(latent_dim):
    codes = normal((400, latent_dim), variance=2.25)
    found = latent_metrics.norm_histogram(codes, 2.25, 12)
    norms = np.sqrt(np.sum(codes**2, axis=1)) / 1.5
    places = np.minimum((norms / found.edges[1]).astype(int), 11)
    np.testing.assert_allclose(found.share, np.bincount(places, minlength=12) / 400)

    def density(r):
        return 2 ** (1 - latent_dim / 2) / math.gamma(latent_dim / 2) * r ** (latent_dim - 1) * math.exp(-(r**2) / 2)

    expected = [scipy.integrate.quad(density, a, b)[0] for a, b in zip(found.edges, found.edges[1:], strict=False)]
    np.testing.assert_allclose(found.expected, expected, atol=1e-9)
    assert found.edges[0] == 0
    assert 1 - 1e-4 <= found.expected.sum() + 1e-12 <= 1 + 1e-9
    # P(norm <= r) is that of norm^2 under chi-squared.
    below = scipy.stats.chi2(latent_dim).cdf(np.sort(norms) ** 2)
    steps = np.arange(401) / 400
    distance = max(np.abs(below - steps[1:]).max(), np.abs(below - steps[:-1]).max())
    assert found.distance == pytest.approx(distance, abs=1e-12)
    assert found.distance < 0.08


def test_all_norms_are_counted_however_far():
    found = latent_metrics.norm_histogram(np.full((10, 2), 30.0), 1.0, 5)
    assert found.share.tolist() == [0, 0, 0, 0, 1]
    assert found.distance == pytest.approx(1)
    collapsed = latent_metrics.norm_histogram(np.zeros((10, 2)), 1.0, 5)
    assert collapsed.share.tolist() == [1, 0, 0, 0, 0]
    assert collapsed.distance == 1


def test_active_dimensions_are_counted_in_units_of_the_prior():
    spread = np.array([2.0, 1.0, 0.21, 0.19, 0.0])
    codes = np.concatenate([spread * normal((5000, 5)), [np.zeros(5)]])
    found = latent_metrics.active_dimensions(codes, 4.0)
    assert found.is_active.tolist() == [True, True, True, False, False]
    assert found.number == 3
    np.testing.assert_allclose(found.variance, codes.var(axis=0, ddof=1) / 4)
    assert latent_metrics.active_dimensions(codes, 4.0, min_variance=0.5).number == 1


def test_ranks_by_hand_whatever_the_axes():
    # Variances 3 and 1 in a plane of three dimensions, uncorrelated: shares 3/4 and 1/4.
    corners = np.array([(a * math.sqrt(3), b, 0) for a in (-1, 1) for b in (-1, 1)])
    turn, _ = np.linalg.qr(normal((3, 3)))
    for codes in (corners, corners @ turn.T + 7):
        found = latent_metrics.active_dimensions(codes, 1.0)
        assert found.participation_ratio == pytest.approx(16 / 10)
        assert found.effective_rank == pytest.approx(math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25))))
    collapsed = latent_metrics.active_dimensions(np.ones((4, 3)), 1.0)
    assert (collapsed.number, collapsed.effective_rank, collapsed.participation_ratio) == (0, 0, 0)
    assert latent_metrics.active_dimensions(corners[:, :1], 1.0).participation_ratio == pytest.approx(1)


@pytest.mark.parametrize("dimension", [1, 2, 4])
def test_the_intrinsic_dimension_is_that_of_the_manifold_not_of_the_space(dimension):
    rng = np.random.default_rng(dimension)
    inside = rng.uniform(size=(1500, dimension))
    turned = inside @ np.linalg.qr(normal((10, 10)))[0][:dimension] + 3
    found = latent_metrics.intrinsic_dimension(turned)
    # The standard error of d is d / sqrt(n); the edges of a cube take a little away.
    assert found == pytest.approx(dimension, rel=4 / 1500**0.5 + 0.02)
    assert latent_metrics.intrinsic_dimension(1e-4 * turned) == pytest.approx(found, rel=1e-6)
    bent = np.concatenate([np.sin(3 * inside), np.cos(3 * inside)], axis=1)
    assert latent_metrics.intrinsic_dimension(bent) == pytest.approx(dimension, rel=4 / 1500**0.5 + 0.02)


def test_the_intrinsic_dimension_by_hand():
    # On a line at 0, 1, 3 and 7 the ratios are 3, 2, 3/2 and 6/4, of which the three smallest are fitted.
    x, y = np.log([1.5, 1.5, 2]), -np.log([3 / 4, 2 / 4, 1 / 4])
    line = np.array([[0.0], [1], [3], [7]])
    for points in (line, line[[0, 1, 1, 2, 3, 3, 3]], np.float32(line)):
        assert latent_metrics.intrinsic_dimension(points) == pytest.approx(np.sum(x * y) / np.sum(x * x))


def test_points_without_neighbors_have_no_dimension():
    grid = np.stack(np.meshgrid(np.arange(5) / 3, np.arange(5) / 3), axis=-1).reshape(-1, 2)
    nearly_equal = 1e-170 * np.arange(6.0)[:, None]
    pair = np.eye(2)
    for points in (np.zeros((9, 2)), pair, pair[[0, 1, 1, 0]], pair[:0], np.eye(3), grid, nearly_equal):
        assert math.isnan(latent_metrics.intrinsic_dimension(points))
    with pytest.raises(ValueError, match="not finite"):
        latent_metrics.intrinsic_dimension(np.array([[0.0], [np.nan], [1]]))


GAPS = {
    "a failed decoder": ((0.5, 0.5, 0.1), (0.4, 0.0, 1.0, 0.0)),
    "a failed regularizer": ((0.1, 0.5, 0.1), (0.0, 0.4, 0.0, 1.0)),
    "both": ((0.2, 0.5, 0.1), (0.1, 0.3, 0.25, 0.75)),
    "samples nearer than reconstructions": ((0.5, 0.3, 0.1), (0.4, 0.0, 1.0, 0.0)),
    "codes below the floor": ((0.05, 0.3, 0.1), (0.0, 0.2, 0.0, 1.0)),
    "nothing wrong": ((0.1, 0.05, 0.1), (0.0, 0.0, math.nan, math.nan)),
    "nothing at all": ((0.0, 0.0, 0.0), (0.0, 0.0, math.nan, math.nan)),
}


@pytest.mark.parametrize("case", GAPS)
def test_the_gap_is_divided_between_decoder_and_regularizer(case):
    (at_codes, at_samples, floor), expected = GAPS[case]
    assert tuple(latent_metrics.quality_gap(at_codes, at_samples, floor)) == pytest.approx(expected, nan_ok=True)


FUNCTIONS = {
    "mmd_permutation_test": lambda z, v: latent_metrics.mmd_permutation_test(
        z, np.zeros((3, 2)), prior_variance=v, seed=0
    ),
    "moments": latent_metrics.moments,
    "norm_histogram": latent_metrics.norm_histogram,
    "active_dimensions": latent_metrics.active_dimensions,
}


@unchecked()
@pytest.mark.parametrize("name", FUNCTIONS)
def test_codes_that_cannot_be_judged_are_refused(name):
    function = FUNCTIONS[name]
    for wrong in (np.zeros((1, 2)), np.zeros(4), np.zeros((3, 0)), np.zeros((2, 2, 2))):
        with pytest.raises(ValueError, match=r"codes has shape .*expected \[n, Z\]"):
            function(wrong, 1.0)
    with pytest.raises(ValueError, match="1 of 3 codes are not finite"):
        function(np.array([(0, 1), (np.inf, np.nan), (1, 1)]), 1.0)
    for variance in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="prior_variance is"):
            function(np.zeros((3, 2)), variance)


def test_arguments_that_cannot_be_are_refused():
    points = normal((4, 2))
    with pytest.raises(ValueError, match="1 of 4 samples are not finite"):
        latent_metrics.mmd_permutation_test(
            points, np.array([(0, 1), (1, np.nan), (1, 1), (2, 1)]), prior_variance=1.0, seed=0
        )
    with unchecked(), pytest.raises(ValueError, match="codes have 2 dimensions and samples 3"):
        latent_metrics.mmd_permutation_test(points, normal((4, 3)), prior_variance=1.0, seed=0)
