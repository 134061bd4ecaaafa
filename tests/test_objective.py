"""Every term against NumPy or by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wae_jax import objective


def test_squared_error_sums_over_cells_of_each_phrase():
    rng = np.random.default_rng(0)
    x, x_hat = rng.integers(0, 2, (3, 4, 5, 2)), rng.random((3, 4, 5, 2))
    expected = [np.sum((x[i] - x_hat[i]) ** 2) for i in range(3)]
    np.testing.assert_allclose(objective.squared_error(x, x_hat), expected, rtol=1e-5)
    with pytest.raises(ValueError, match="shape"):
        objective.squared_error(x, x_hat[:1])


def test_adversarial_terms_are_the_papers_with_probabilities():
    logits, logits_prior = np.array([-2.0, 0.3, 5.0]), np.array([1.0, -0.5, 2.0])
    d, d_prior = (1 / (1 + np.exp(-values)) for values in (logits, logits_prior))
    np.testing.assert_allclose(objective.non_saturating_penalty(logits), -np.log(d), rtol=1e-5)
    expected = -np.log(d_prior) - np.log(1 - d)
    np.testing.assert_allclose(objective.discriminator_loss(logits_prior, logits), expected, rtol=1e-5)
    # Minus the log of four, plus twice the divergence, is the value of the discriminator's game.
    value = np.mean(np.log(d_prior) + np.log(1 - d))
    assert float(objective.jensen_shannon_estimate(logits_prior, logits)) == pytest.approx(
        (value + np.log(4)) / 2, rel=1e-5
    )


def test_adversarial_terms_stay_finite_where_probabilities_would_not():
    for value in (-200.0, 200.0):
        logits = jnp.array([value])
        assert np.isfinite(objective.non_saturating_penalty(logits)).all()
        assert np.isfinite(jax.grad(lambda x: jnp.sum(objective.discriminator_loss(x, -x)))(logits)).all()


def test_jensen_shannon_at_its_ends():
    zeros, sure = jnp.zeros(4), jnp.full(4, 50.0)
    assert float(objective.jensen_shannon_estimate(zeros, zeros)) == pytest.approx(0.0, abs=1e-6)
    assert float(objective.jensen_shannon_estimate(sure, -sure)) == pytest.approx(np.log(2), abs=1e-6)


def test_prior_has_its_variance_and_depends_on_keys_alone():
    keys = jax.random.split(jax.random.key(0), 4000)
    z = np.asarray(objective.sample_prior(keys, latent_dim=6, prior_variance=2.5))
    assert z.shape == (4000, 6)
    # 24,000 values: the variance has a relative deviation of sqrt(2 / 24000) = .009.
    assert z.var() == pytest.approx(2.5, rel=0.04)
    assert abs(z.mean()) < 5 * (2.5 / 24000) ** 0.5
    np.testing.assert_array_equal(z[7:9], objective.sample_prior(keys[7:9], latent_dim=6, prior_variance=2.5))


def test_moment_gap_is_numpys():
    rng = np.random.default_rng(1)
    z, z_prior = rng.normal(size=(20, 4)) * 2 + 1, rng.normal(size=(20, 4))
    mean = np.mean((z.mean(0) - z_prior.mean(0)) ** 2)
    covariance = np.mean((np.cov(z.T) - np.cov(z_prior.T)) ** 2)
    assert float(objective.moment_gap(z, z_prior)) == pytest.approx(mean + covariance, rel=1e-4)
    with pytest.raises(ValueError, match="B >= 2"):
        objective.moment_gap(z[:1], z_prior[:1])


def test_cell_counts_by_hand():
    x = np.zeros((2, 2, 2, 1), np.float32)
    x[0, 0, 0, 0] = x[0, 1, 1, 0] = 1
    x_hat = np.full((2, 2, 2, 1), 0.1, np.float32)
    x_hat[0, 0, 0, 0] = x_hat[0, 0, 1, 0] = x_hat[1, 0, 0, 0] = 0.6
    counts = objective.cell_counts(x, x_hat, threshold=0.5)
    np.testing.assert_array_equal(counts.true_positive, [1, 0])
    np.testing.assert_array_equal(counts.predicted, [2, 1])
    np.testing.assert_array_equal(counts.actual, [2, 0])
