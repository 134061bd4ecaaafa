"""The adversarial terms against their formulas in probabilities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wae_jax.objective import adversarial


def test_adversarial_terms_are_the_papers_with_probabilities():
    logits, logits_prior = np.array([-2.0, 0.3, 5.0]), np.array([1.0, -0.5, 2.0])
    d, d_prior = (1 / (1 + np.exp(-values)) for values in (logits, logits_prior))
    np.testing.assert_allclose(adversarial.non_saturating_penalty(logits), -np.log(d), rtol=1e-5)
    expected = -np.log(d_prior) - np.log(1 - d)
    np.testing.assert_allclose(adversarial.discriminator_loss(logits_prior, logits), expected, rtol=1e-5)
    # Minus the log of four, plus twice the divergence, is the value of the discriminator's game.
    value = np.mean(np.log(d_prior) + np.log(1 - d))
    assert float(adversarial.jensen_shannon_estimate(logits_prior, logits)) == pytest.approx(
        (value + np.log(4)) / 2, rel=1e-5
    )


def test_adversarial_terms_stay_finite_where_probabilities_would_not():
    for value in (-200.0, 200.0):
        logits = jnp.array([value])
        assert np.isfinite(adversarial.non_saturating_penalty(logits)).all()
        assert np.isfinite(jax.grad(lambda x: jnp.sum(adversarial.discriminator_loss(x, -x)))(logits)).all()


def test_jensen_shannon_at_its_ends():
    zeros, sure = jnp.zeros(4), jnp.full(4, 50.0)
    assert float(adversarial.jensen_shannon_estimate(zeros, zeros)) == pytest.approx(0.0, abs=1e-6)
    assert float(adversarial.jensen_shannon_estimate(sure, -sure)) == pytest.approx(np.log(2), abs=1e-6)
