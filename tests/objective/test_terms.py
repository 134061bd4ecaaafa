"""Every term against NumPy or by hand, and the losses of whole batches against the formulas of the two references."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.checking import unchecked
from wae_jax.models.autoencoder import Encoded
from wae_jax.objective import terms
from wae_jax.training.latent_penalties import WholeBatch, adversarial_penalty, mmd_penalty

# One device, whose share is the whole batch.
ALONE = WholeBatch(lambda z: z, 0, jax.random.key(0))


def encoded(z):
    return Encoded(z, z, None)


def test_squared_error_sums_over_cells_of_each_phrase():
    rng = np.random.default_rng(0)
    x, x_hat = rng.integers(0, 2, (3, 4, 5, 2)), rng.random((3, 4, 5, 2))
    expected = [np.sum((x[i] - x_hat[i]) ** 2) for i in range(3)]
    np.testing.assert_allclose(terms.squared_error(x, x_hat), expected, rtol=1e-5)
    with unchecked(), pytest.raises(ValueError, match="shape"):
        terms.squared_error(x, x_hat[:1])


def test_adversarial_terms_are_the_papers_with_probabilities():
    logits, logits_prior = np.array([-2.0, 0.3, 5.0]), np.array([1.0, -0.5, 2.0])
    d, d_prior = (1 / (1 + np.exp(-values)) for values in (logits, logits_prior))
    np.testing.assert_allclose(terms.non_saturating_penalty(logits), -np.log(d), rtol=1e-5)
    expected = -np.log(d_prior) - np.log(1 - d)
    np.testing.assert_allclose(terms.discriminator_loss(logits_prior, logits), expected, rtol=1e-5)
    # Minus the log of four, plus twice the divergence, is the value of the discriminator's game.
    value = np.mean(np.log(d_prior) + np.log(1 - d))
    assert float(terms.jensen_shannon_estimate(logits_prior, logits)) == pytest.approx(
        (value + np.log(4)) / 2, rel=1e-5
    )


def test_adversarial_terms_stay_finite_where_probabilities_would_not():
    for value in (-200.0, 200.0):
        logits = jnp.array([value])
        assert np.isfinite(terms.non_saturating_penalty(logits)).all()
        assert np.isfinite(jax.grad(lambda x: jnp.sum(terms.discriminator_loss(x, -x)))(logits)).all()


def test_jensen_shannon_at_its_ends():
    zeros, sure = jnp.zeros(4), jnp.full(4, 50.0)
    assert float(terms.jensen_shannon_estimate(zeros, zeros)) == pytest.approx(0.0, abs=1e-6)
    assert float(terms.jensen_shannon_estimate(sure, -sure)) == pytest.approx(np.log(2), abs=1e-6)


def test_prior_has_its_variance_and_depends_on_keys_alone():
    keys = jax.random.split(jax.random.key(0), 4000)
    z = np.asarray(terms.sample_prior(keys, latent_dim=6, prior_variance=2.5))
    assert z.shape == (4000, 6)
    # 24,000 values: the variance has a relative deviation of sqrt(2 / 24000) = .009.
    assert z.var() == pytest.approx(2.5, rel=0.04)
    assert abs(z.mean()) < 5 * (2.5 / 24000) ** 0.5
    np.testing.assert_array_equal(z[7:9], terms.sample_prior(keys[7:9], latent_dim=6, prior_variance=2.5))


def test_moment_gap_is_numpys():
    rng = np.random.default_rng(1)
    z, z_prior = rng.normal(size=(20, 4)) * 2 + 1, rng.normal(size=(20, 4))
    mean = np.mean((z.mean(0) - z_prior.mean(0)) ** 2)
    covariance = np.mean((np.cov(z.T) - np.cov(z_prior.T)) ** 2)
    assert float(terms.moment_gap(z, z_prior)) == pytest.approx(mean + covariance, rel=1e-4)
    with pytest.raises(ValueError, match="B >= 2"):
        terms.moment_gap(z[:1], z_prior[:1])


def test_cell_counts_by_hand():
    x = np.zeros((2, 2, 2, 1), np.float32)
    x[0, 0, 0, 0] = x[0, 1, 1, 0] = 1
    x_hat = np.full((2, 2, 2, 1), 0.1, np.float32)
    x_hat[0, 0, 0, 0] = x_hat[0, 0, 1, 0] = x_hat[1, 0, 0, 0] = 0.6
    counts = terms.cell_counts(x, x_hat, threshold=0.5)
    np.testing.assert_array_equal(counts.true_positive, [1, 0])
    np.testing.assert_array_equal(counts.predicted, [2, 1])
    np.testing.assert_array_equal(counts.actual, [2, 0])


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


def crossentropy(label, probability):
    """As Keras computes it: of probabilities, kept 1e-7 away from 0 and 1."""
    probability = np.clip(probability, 1e-7, 1 - 1e-7)
    return -(label * np.log(probability) + (1 - label) * np.log(1 - probability))


def mmd_of_the_reference(p_z, q_z, variance):
    """Distances through norms and products, and one scale after the other: `mmd_penalty` of both references."""
    n, latent_dim = q_z.shape

    def distances(a, b):
        return (a**2).sum(1)[:, None] + (b**2).sum(1)[None, :] - 2 * a @ b.T

    total = 0.0
    for scale in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0):
        c = 2 * latent_dim * variance * scale
        within = c / (c + distances(q_z, q_z)) + c / (c + distances(p_z, p_z))
        between = c / (c + distances(q_z, p_z))
        total += (within * (1 - np.eye(n))).sum() / (n * n - n) - 2 * between.sum() / n**2
    return total


def fixed_batch():
    rng = np.random.default_rng(8)
    x = (rng.random((6, 12, 4, 5)) < 0.2).astype(np.float64)
    return x, rng.random(x.shape), 1.5 * rng.normal(size=(6, 3)) + 0.4, rng.normal(size=(6, 3)) * 2.0**0.5


def test_losses_of_wae_gan_are_the_references(float64):
    """`ae_loss` and `disc_loss` of w00zie/wae_music, train_wae_gan.py: there on probabilities, here on logits."""
    x, x_hat, q_z, p_z = fixed_batch()
    cost_weight, penalty_weight = 0.5, 100.0
    penalty = adversarial_penalty(latent_dim=3, widths=(4,), dtype=jnp.float64)
    rng = np.random.default_rng(9)
    params = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), penalty.init(jax.random.key(0)))

    def discriminator(z):
        hidden = np.maximum(z @ params["hidden_0"]["kernel"] + params["hidden_0"]["bias"], 0)
        return 1 / (1 + np.exp(-(hidden @ params["logit"]["kernel"] + params["logit"]["bias"])))[:, 0]

    cost = np.square(x - x_hat).sum((1, 2, 3)).mean()
    autoencoder = cost_weight * cost + penalty_weight * crossentropy(1, discriminator(q_z)).mean()
    player = penalty_weight * (crossentropy(0, discriminator(q_z)).mean() + crossentropy(1, discriminator(p_z)).mean())

    ours = cost_weight * jnp.mean(terms.squared_error(x, x_hat))
    ours += penalty_weight * penalty.penalty(params, encoded(q_z), p_z, ALONE)
    assert float(ours) == pytest.approx(autoencoder, rel=1e-10)
    assert float(penalty_weight * penalty.player_loss(params, q_z, p_z)) == pytest.approx(player, rel=1e-10)
    assert float(penalty.evaluate(params, encoded(q_z), p_z, jax.random.key(0))["penalty"]) == pytest.approx(
        crossentropy(1, discriminator(q_z)).mean(), rel=1e-10
    )


def test_loss_of_wae_mmd_is_the_references(float64):
    """`total_loss` of w00zie/wae_music, train_wae_mmd.py."""
    x, x_hat, q_z, p_z = fixed_batch()
    expected = np.square(x - x_hat).sum((1, 2, 3)).mean() + 100 * mmd_of_the_reference(p_z, q_z, 2.0)
    penalty = mmd_penalty(kernel="imq", prior_variance=2.0)
    ours = jnp.mean(terms.squared_error(x, x_hat)) + 100 * penalty.penalty({}, encoded(q_z), p_z, ALONE)
    assert float(ours) == pytest.approx(expected, rel=1e-10)
    assert float(penalty.evaluate({}, encoded(q_z), p_z, jax.random.key(0))["penalty"]) == pytest.approx(
        mmd_of_the_reference(p_z, q_z, 2.0), rel=1e-10
    )
    assert float(penalty.player_loss({}, q_z, p_z)) == 0


def test_probabilities_that_the_reference_clips_stay_exact_here(float64):
    """Where Keras' clipping sets in, at logits of 16, the penalty goes on and keeps its slope."""
    logits = np.array([-10.0, -16.0, -30.0])
    clipped = crossentropy(1, 1 / (1 + np.exp(-logits)))
    ours = np.asarray(terms.non_saturating_penalty(logits))
    np.testing.assert_allclose(ours[:2], clipped[:2], rtol=1e-6)
    assert clipped[2] == pytest.approx(16.118, abs=1e-3)
    assert ours[2] == pytest.approx(30.0, abs=1e-9)
