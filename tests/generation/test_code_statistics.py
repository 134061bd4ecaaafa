"""Principal components of codes, against codes that were made with known ones."""

import numpy as np
import pytest

from wae_jax.generation.code_statistics import MIN_CORRELATION, principal_components


def spread_out(num=400):
    """Codes whose principal components are the axes 2, 0 and 1, with deviations 3, 2 and 1, and their sources."""
    rng = np.random.default_rng(0)
    sources = np.linalg.qr(rng.normal(size=(num, 4)))[0]
    sources = sources - sources.mean(axis=0)
    sources /= sources.std(axis=0)
    # Whitened, so that deviations and correlations are what they are said to be.
    sources = sources @ np.linalg.inv(np.linalg.cholesky(np.cov(sources.T, bias=True))).T
    codes = np.zeros((num, 3))
    codes[:, 2], codes[:, 0], codes[:, 1] = 3 * sources[:, 0], 2 * sources[:, 1], sources[:, 2]
    return codes + np.array([5.0, -7.0, 1.0]), sources


# Which way round a decomposition gives its components is left to chance.
@pytest.mark.parametrize("way", [1, -1])
def test_a_direction_is_named_after_what_grows_along_it(way):
    codes, sources = spread_out()
    codes = codes * [1, way, 1]
    mixed = way * (-0.5 * sources[:, 0] - 0.7 * sources[:, 1] + (1 - 0.25 - 0.49) ** 0.5 * sources[:, 3])
    measured = np.stack([mixed, 0.3 * sources[:, 1] + (1 - 0.09) ** 0.5 * sources[:, 3]], axis=1)
    found = principal_components(codes, measured)
    # Nothing is measured along the third, so it points to where its largest entry is positive.
    np.testing.assert_allclose(found.direction, [[0, 0, -way], [-way, 0, 0], [0, 1, 0]], atol=1e-9)
    np.testing.assert_allclose(found.correlation[:, 0], [0.5, 0.7, 0], atol=1e-9)
    np.testing.assert_allclose(found.correlation[:, 1], [0, -way * 0.3, 0], atol=1e-9)
    np.testing.assert_allclose(found.deviation, [3, 2, 1])
    np.testing.assert_allclose(found.share, [9 / 14, 4 / 14, 1 / 14])


@pytest.mark.parametrize(("correlation", "grows"), [(MIN_CORRELATION - 0.01, False), (MIN_CORRELATION + 0.01, True)])
def test_below_the_bound_the_sign_is_that_of_the_largest_entry(correlation, grows):
    codes, sources = spread_out()
    # The first source is along the third axis, and the attribute falls along it.
    values = -correlation * sources[:, 0] + (1 - correlation**2) ** 0.5 * sources[:, 3]
    found = principal_components(codes, values[:, None])
    np.testing.assert_allclose(found.direction[0], [0, 0, -1 if grows else 1], atol=1e-9)
    assert found.correlation[0, 0] == pytest.approx(correlation if grows else -correlation)


def test_phrases_without_a_value_do_not_count_and_constants_do_not_correlate():
    codes, sources = spread_out()
    values = sources[:, 0].copy()
    values[::3] = np.nan
    constants = np.full(len(codes), 4.0), np.full(len(codes), np.nan)
    found = principal_components(codes, np.stack([constants[0], values, constants[1]], axis=1))
    np.testing.assert_allclose(found.correlation[0], [0, 1, 0], atol=1e-9)


def test_there_are_eight_components_at_most_and_equal_codes_have_no_deviation():
    rng = np.random.default_rng(0)
    assert principal_components(rng.normal(size=(50, 20)), rng.normal(size=(50, 2))).direction.shape == (8, 20)
    found = principal_components(np.ones((5, 3)), np.arange(5.0)[:, None])
    np.testing.assert_array_equal([found.deviation, found.share], 0)
    assert np.isfinite(found.direction).all()
    assert np.isfinite(found.correlation).all()
