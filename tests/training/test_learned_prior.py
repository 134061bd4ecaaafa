import dataclasses

import jax
import numpy as np
import pytest
import scipy.stats

from wae_jax.training.learned_prior import (
    MAX_PHRASES,
    KernelDensity,
    fit_kernel_density,
    log_density,
    normal,
    sample_kernel_density,
)

CENTRES = np.array([[-6.0, 0.0, 1.0], [5.0, 4.0, 0.0], [0.0, -7.0, 3.0]])


def clusters(num=600, seed=0):
    """Codes around `CENTRES`, in random order."""
    rng = np.random.default_rng(seed)
    return (CENTRES[rng.integers(3, size=num)] + rng.standard_normal((num, 3)) * [1.0, 0.5, 0.2]).astype(np.float32)


def keys(num, seed=0):
    return jax.vmap(lambda i: jax.random.fold_in(jax.random.key(seed), i))(np.arange(num))


def bandwidth(density, codes):
    """The bandwidth of an estimate: its kernels' deviations in units of those of all codes."""
    return np.sqrt(np.diag(density.factor @ density.factor.T) / codes.astype(np.float64).var(axis=0))


def likelihood(codes, songs, bandwidth):
    """The mean log-density of each code under the kernels of other songs, one kernel at a time by SciPy."""
    covariance = bandwidth**2 * np.cov(codes.T, ddof=0)
    found = [
        np.mean([scipy.stats.multivariate_normal(center, covariance).pdf(code) for center in codes[songs != song]])
        for code, song in zip(codes, songs, strict=True)
    ]
    return np.log(found).mean()


def test_kernels_have_the_shape_of_all_codes():
    codes = clusters()
    found = fit_kernel_density(codes)
    np.testing.assert_array_equal(found.centers, codes)
    assert found.count == 600
    widths = bandwidth(found, codes)
    np.testing.assert_allclose(widths, widths[0], rtol=1e-6)
    covariance = np.cov(codes.astype(np.float64).T, ddof=0)
    np.testing.assert_allclose(found.factor @ found.factor.T, widths[0] ** 2 * covariance, rtol=2e-3, atol=1e-4)


def test_the_bandwidth_makes_each_song_likely_given_the_others():
    rng = np.random.default_rng(1)
    # Phrases of a song are alike, so that a bandwidth that ignores songs would be narrow.
    songs = np.repeat(np.arange(20), 4)
    codes = rng.standard_normal((20, 2))[songs] + 0.05 * rng.standard_normal((80, 2))
    found = bandwidth(fit_kernel_density(codes, songs=songs), codes)[0]
    grid = np.geomspace(0.1, 2.0, 25)
    best = grid[np.argmax([likelihood(codes, songs, each) for each in grid])]
    assert found == pytest.approx(best, rel=0.13)  # a step of the grid
    assert found > 3 * bandwidth(fit_kernel_density(codes, songs=np.arange(80)), codes)[0]


def test_unknown_songs_are_contiguous_parts():
    codes = clusters(640)
    parts = np.repeat(np.arange(64), 10)
    expected = fit_kernel_density(codes, songs=parts)
    np.testing.assert_array_equal(fit_kernel_density(codes).factor, expected.factor)
    # One song alone cannot be left out.
    alone = fit_kernel_density(codes, songs=np.zeros(640, int))
    np.testing.assert_array_equal(alone.factor, fit_kernel_density(codes, songs=np.arange(640)).factor)


def test_density_is_scipys():
    codes = clusters(50)
    found = fit_kernel_density(codes)
    parts = [scipy.stats.multivariate_normal(each, found.factor @ found.factor.T).pdf(codes) for each in found.centers]
    np.testing.assert_allclose(log_density(found, codes), np.log(np.mean(parts, axis=0)))
    expected = scipy.stats.norm(scale=1.5).logpdf(codes.astype(np.float64)).sum(axis=1)
    np.testing.assert_allclose(log_density(normal(3, 2.25), codes), expected)


def test_samples_lie_around_all_centers_alike_with_the_covariance_of_a_kernel():
    factor = np.array([[0.5, 0.0, 0.0], [0.3, 0.4, 0.0], [-0.2, 0.1, 0.3]])
    samples = sample_kernel_density(KernelDensity(CENTRES, factor, np.int32(3)), keys(6000)).astype(np.float64)
    nearest = np.argmin(np.linalg.norm(samples[:, None] - CENTRES, axis=2), axis=1)
    np.testing.assert_allclose(np.bincount(nearest) / 6000, 1 / 3, atol=0.02)
    for i, center in enumerate(CENTRES):
        np.testing.assert_allclose(samples[nearest == i].mean(axis=0), center, atol=0.05)
        np.testing.assert_allclose(np.cov(samples[nearest == i].T), factor @ factor.T, atol=0.03)


def test_first_samples_do_not_depend_on_how_many_there_are():
    density = fit_kernel_density(clusters())
    many = sample_kernel_density(density, keys(40))
    assert many.dtype == np.float32
    np.testing.assert_allclose(sample_kernel_density(density, keys(7)), many[:7], rtol=1e-6)
    assert not np.allclose(many[:7], sample_kernel_density(density, keys(7, seed=1)))


def test_shift_and_scale_of_a_dimension_carry_over():
    codes = clusters(200).astype(np.float64)
    shift, scale = np.array([3.0, -1.0, 0.5]), np.array([4.0, 0.25, 2.0])
    one, other = fit_kernel_density(codes), fit_kernel_density(codes * scale + shift)
    np.testing.assert_allclose(other.factor, one.factor * scale[:, None], atol=1e-9)


@pytest.mark.parametrize(
    "codes",
    [
        np.ones((5, 4)),
        np.zeros((3, 2)),
        np.array([[0.0, 1.0], [1.0, 1.0]]),
        np.random.default_rng(0).standard_normal((12, 64)),
        np.random.default_rng(0).standard_normal((30, 1)),
        np.random.default_rng(0).standard_normal((100, 6)) * [1, 1, 1, 1, 0, 0],
        np.repeat(np.random.default_rng(0).standard_normal((3, 4)), 10, axis=0),
        np.random.default_rng(0).standard_normal((5000, 2)),
    ],
    ids=["alike", "zeros", "two", "few", "one dimension", "constant dimensions", "duplicates", "many"],
)
def test_degenerate_codes_have_an_estimate_near_them(codes):
    found = fit_kernel_density(codes.astype(np.float32))
    samples = sample_kernel_density(found, keys(50))
    assert np.isfinite(samples).all()
    assert np.isfinite(log_density(found, codes)).all()
    constant = np.ptp(codes, axis=0) == 0
    allowed = 0.05 * max(1.0, np.abs(codes).max())
    np.testing.assert_allclose(
        samples[:, constant], np.broadcast_to(codes[0, constant], samples[:, constant].shape), atol=allowed
    )


def test_what_cannot_be_fitted_is_refused():
    codes = clusters(20)
    for wrong in (codes[:1], codes[:, :0]):
        with pytest.raises(ValueError, match="expected"):
            fit_kernel_density(wrong)
    broken = codes.copy()
    broken[3, 1] = np.nan
    with pytest.raises(ValueError, match="1 of 20 codes are not finite"):
        fit_kernel_density(broken)


@pytest.mark.parametrize(
    ("density", "text"),
    [
        (fit_kernel_density(np.eye(5)), "a kernel density estimate of the codes of 5 training phrases"),
        (normal(3, 0.25), "N(0, 0.25 I), since a density estimate takes at least two training phrases"),
    ],
)
def test_an_estimate_says_what_it_is(density, text):
    assert str(density) == text
    assert str(density.padded().unpadded()) == text


def test_padding_changes_no_sample():
    density = fit_kernel_density(clusters())
    padded = density.padded()
    assert padded.centers.shape == (MAX_PHRASES, 3)
    for before, after in zip(dataclasses.astuple(density), dataclasses.astuple(padded.unpadded()), strict=True):
        np.testing.assert_array_equal(before, after)
