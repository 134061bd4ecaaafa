"""The prior's samples and density, and the gap of moments, against NumPy and SciPy."""

import jax
import numpy as np
import pytest

from wae_jax.objective import prior


def test_prior_has_its_variance_and_depends_on_keys_alone():
    keys = jax.random.split(jax.random.key(0), 4000)
    z = np.asarray(prior.sample_prior(keys, latent_dim=6, prior_variance=2.5))
    assert z.shape == (4000, 6)
    # 24,000 values: the variance has a relative deviation of sqrt(2 / 24000) = .009.
    assert z.var() == pytest.approx(2.5, rel=0.04)
    assert abs(z.mean()) < 5 * (2.5 / 24000) ** 0.5
    np.testing.assert_array_equal(z[7:9], prior.sample_prior(keys[7:9], latent_dim=6, prior_variance=2.5))


def test_moment_gap_is_numpys():
    rng = np.random.default_rng(1)
    z, z_prior = rng.normal(size=(20, 4)) * 2 + 1, rng.normal(size=(20, 4))
    mean = np.mean((z.mean(0) - z_prior.mean(0)) ** 2)
    covariance = np.mean((np.cov(z.T) - np.cov(z_prior.T)) ** 2)
    assert float(prior.moment_gap(z, z_prior)) == pytest.approx(mean + covariance, rel=1e-4)
    with pytest.raises(ValueError, match="B >= 2"):
        prior.moment_gap(z[:1], z_prior[:1])
