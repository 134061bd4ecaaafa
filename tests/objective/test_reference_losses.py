"""The losses of whole batches against the formulas of the two reference implementations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wae_jax.config import DiscriminatorSpec, ObjectiveSpec
from wae_jax.models.encoder_decoder import Encoded
from wae_jax.objective import adversarial
from wae_jax.objective.reconstruction import squared_error
from wae_jax.training.latent_penalties import GlobalBatch, make_penalty

# One device, whose share is the whole batch.
ALONE = GlobalBatch(lambda z: z, 0, jax.random.key(0))


def encoded(z):
    return Encoded(z, z, None)


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
    penalty = make_penalty(ObjectiveSpec(), DiscriminatorSpec(widths=(4,)), latent_dim=3, dtype="float64")
    rng = np.random.default_rng(9)
    params = jax.tree.map(lambda leaf: rng.normal(size=leaf.shape), penalty.init(jax.random.key(0)))

    def discriminator(z):
        hidden = np.maximum(z @ params["hidden_0"]["kernel"] + params["hidden_0"]["bias"], 0)
        return 1 / (1 + np.exp(-(hidden @ params["logit"]["kernel"] + params["logit"]["bias"])))[:, 0]

    cost = np.square(x - x_hat).sum((1, 2, 3)).mean()
    autoencoder = cost_weight * cost + penalty_weight * crossentropy(1, discriminator(q_z)).mean()
    player = penalty_weight * (crossentropy(0, discriminator(q_z)).mean() + crossentropy(1, discriminator(p_z)).mean())

    ours = cost_weight * jnp.mean(squared_error(x, x_hat))
    ours += penalty_weight * penalty.penalty(params, encoded(q_z), p_z, ALONE)
    assert float(ours) == pytest.approx(autoencoder, rel=1e-10)
    assert float(penalty_weight * penalty.discriminator_loss(params, q_z, p_z)[0]) == pytest.approx(player, rel=1e-10)
    assert float(penalty.evaluate(params, encoded(q_z), p_z, jax.random.key(0))["penalty"]) == pytest.approx(
        crossentropy(1, discriminator(q_z)).mean(), rel=1e-10
    )


def test_loss_of_wae_mmd_is_the_references(float64):
    """`total_loss` of w00zie/wae_music, train_wae_mmd.py."""
    x, x_hat, q_z, p_z = fixed_batch()
    expected = np.square(x - x_hat).sum((1, 2, 3)).mean() + 100 * mmd_of_the_reference(p_z, q_z, 2.0)
    objective = ObjectiveSpec(penalty="mmd", prior_variance=2.0)
    penalty = make_penalty(objective, DiscriminatorSpec(), latent_dim=3, dtype="float64")
    ours = jnp.mean(squared_error(x, x_hat)) + 100 * penalty.penalty({}, encoded(q_z), p_z, ALONE)
    assert float(ours) == pytest.approx(expected, rel=1e-10)
    assert float(penalty.evaluate({}, encoded(q_z), p_z, jax.random.key(0))["penalty"]) == pytest.approx(
        mmd_of_the_reference(p_z, q_z, 2.0), rel=1e-10
    )
    assert float(penalty.discriminator_loss({}, q_z, p_z)[0]) == 0


def test_probabilities_that_the_reference_clips_stay_exact_here(float64):
    """Keras clips from logits of 16 on; the penalty here keeps its slope."""
    logits = np.array([-10.0, -16.0, -30.0])
    clipped = crossentropy(1, 1 / (1 + np.exp(-logits)))
    ours = np.asarray(adversarial.non_saturating_penalty(logits))
    np.testing.assert_allclose(ours[:2], clipped[:2], rtol=1e-6)
    assert clipped[2] == pytest.approx(16.118, abs=1e-3)
    assert ours[2] == pytest.approx(30.0, abs=1e-9)
