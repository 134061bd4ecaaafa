"""The objective of a Wasserstein autoencoder (Tolstikhin et al., arXiv 1711.01558, equation 4), in parts.

    minimise  E[ c(x, G(z)) ] + penalty_weight * D(Q_z, P_z),    P_z = N(0, prior_variance * I)

Costs are per phrase, `[B]`; the caller takes means. Latent penalties are scalars of the whole batch. The
discrepancies through kernels are in `mmd.py`.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp


def squared_error(x: jax.Array, x_hat: jax.Array) -> jax.Array:
    """||x - x_hat||^2 of each phrase, summed over its cells.

    Args:
      x: [B, T, P, K], 0 and 1.
      x_hat: [B, T, P, K], probabilities.

    Returns:
      [B].
    """
    if x.shape != x_hat.shape:
        raise ValueError(f"x has shape {x.shape} but x_hat {x_hat.shape}")
    return jnp.sum(jnp.square(x - x_hat), axis=tuple(range(1, x.ndim)))


def sample_prior(keys: jax.Array, *, latent_dim: int, prior_variance: float) -> jax.Array:
    """Draws of N(0, prior_variance * I), each from a key of its own: keys [B] to [B, Z]."""
    draws = jax.vmap(lambda key: jax.random.normal(key, (latent_dim,)))(keys)
    return jnp.sqrt(prior_variance) * draws


def non_saturating_penalty(logits: jax.Array) -> jax.Array:
    """-log D(z) at codes, from the discriminator's logits [B]: what the encoder descends. Returns [B].

    Arjovsky and Goodfellow's non-saturating form, as in algorithm 1 of arXiv 1711.01558.
    """
    return jax.nn.softplus(-logits)


def discriminator_loss(logits_prior: jax.Array, logits: jax.Array) -> jax.Array:
    """-log D(z_prior) - log(1 - D(z)), [B]: what the discriminator descends.

    Args:
      logits_prior: the discriminator's logits at draws of the prior, [B].
      logits: its logits at codes, [B].

    Returns:
      [B].
    """
    return jax.nn.softplus(-logits_prior) + jax.nn.softplus(logits)


def jensen_shannon_estimate(logits_prior: jax.Array, logits: jax.Array) -> jax.Array:
    """The discriminator's lower bound on D_JS(P_z, Q_z), in nats: log 2 minus half its mean loss.

    0 when it cannot tell codes from draws, log 2 = 0.693 when it always can; negative when it does worse than
    a coin. From Goodfellow et al. (arXiv 1406.2661), equation 4.
    """
    return jnp.log(2.0) - 0.5 * jnp.mean(discriminator_loss(logits_prior, logits))


def moment_gap(z: jax.Array, z_prior: jax.Array) -> jax.Array:
    """Squared differences of means and of covariances, averaged over their entries: the pretraining loss.

    Args:
      z: codes, [B, Z].
      z_prior: draws of the prior, [B, Z].

    Returns:
      A scalar. Source: `pretrain_loss` of tolstikhin/wae.

    Raises:
      ValueError: if B < 2.
    """
    if z.shape != z_prior.shape or z.ndim != 2 or z.shape[0] < 2:
        raise ValueError(f"z {z.shape} and z_prior {z_prior.shape} must both be [B, Z] with B >= 2")

    def moments(sample: jax.Array) -> tuple[jax.Array, jax.Array]:
        mean = jnp.mean(sample, axis=0)
        centred = sample - mean
        return mean, centred.T @ centred / (sample.shape[0] - 1)

    (mean, covariance), (mean_prior, covariance_prior) = moments(z), moments(z_prior)
    return jnp.mean(jnp.square(mean - mean_prior)) + jnp.mean(jnp.square(covariance - covariance_prior))


class CellCounts(NamedTuple):
    """Cells of a batch by what was predicted and what was true, per phrase, [B]."""

    true_positive: jax.Array
    predicted: jax.Array
    actual: jax.Array


def cell_counts(x: jax.Array, x_hat: jax.Array, *, threshold: float) -> CellCounts:
    """Counts per phrase, each [B], of cells on in both, in the prediction, and in the truth.

    Args:
      x: [B, T, P, K], 0 and 1.
      x_hat: [B, T, P, K], probabilities; a cell is predicted on above `threshold`.
      threshold: between 0 and 1.

    Returns:
      float32 counts: exact, a phrase has fewer than 2^24 cells.
    """
    axes = tuple(range(1, x.ndim))
    predicted = (x_hat > threshold).astype(jnp.float32)
    actual = x.astype(jnp.float32)
    return CellCounts(
        true_positive=jnp.sum(predicted * actual, axes),
        predicted=jnp.sum(predicted, axes),
        actual=jnp.sum(actual, axes),
    )
