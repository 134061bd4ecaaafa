"""The objective of a Wasserstein autoencoder (Tolstikhin et al., arXiv 1711.01558, equation 4), in parts.

    minimise  E[ c(x, G(z)) ] + penalty_weight * D(Q_z, P_z),    P_z = N(0, prior_variance * I)

Costs are per phrase, `[B]`; the caller takes means. Latent penalties are scalars of the whole batch. The
discrepancies through kernels are in `mmd.py`.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Float32, Key, Num, Shaped

from wae_jax.array_types import AnyArray


def squared_error(x: Num[AnyArray, "B T P K"], x_hat: Float[AnyArray, "B T P K"]) -> Float[Array, " B"]:
    """||x - x_hat||^2 of each phrase, summed over its cells.

    Args:
      x: 0 and 1.
      x_hat: probabilities.

    Raises:
      ValueError: if the shapes differ.
    """
    if x.shape != x_hat.shape:
        raise ValueError(f"x has shape {x.shape} but x_hat {x_hat.shape}")
    return jnp.sum(jnp.square(x - x_hat), axis=tuple(range(1, x.ndim)))


def sample_prior(keys: Key[Array, " B"], *, latent_dim: int, prior_variance: float) -> Float[Array, "B {latent_dim}"]:
    """Draws of N(0, prior_variance * I), each from a key of its own."""
    draws = jax.vmap(lambda key: jax.random.normal(key, (latent_dim,)))(keys)
    return jnp.sqrt(prior_variance) * draws


def non_saturating_penalty(logits: Float[AnyArray, " B"]) -> Float[Array, " B"]:
    """-log D(z) at codes, from the discriminator's logits: what the encoder descends.

    Arjovsky and Goodfellow's non-saturating form, as in algorithm 1 of arXiv 1711.01558.
    """
    return jax.nn.softplus(-logits)


def discriminator_loss(logits_prior: Float[AnyArray, " B"], logits: Float[AnyArray, " B"]) -> Float[Array, " B"]:
    """-log D(z_prior) - log(1 - D(z)): what the discriminator descends.

    Args:
      logits_prior: the discriminator's logits at draws of the prior.
      logits: its logits at codes.
    """
    return jax.nn.softplus(-logits_prior) + jax.nn.softplus(logits)


def jensen_shannon_estimate(logits_prior: Float[AnyArray, " B"], logits: Float[AnyArray, " B"]) -> Float[Array, ""]:
    """The discriminator's lower bound on D_JS(P_z, Q_z), in nats: log 2 minus half its mean loss.

    0 when it cannot tell codes from draws, log 2 = 0.693 when it always can; negative when it does worse than
    a coin. From Goodfellow et al. (arXiv 1406.2661), equation 4.
    """
    return jnp.log(2.0) - 0.5 * jnp.mean(discriminator_loss(logits_prior, logits))


def moment_gap(z: Float[AnyArray, "B Z"], z_prior: Float[AnyArray, "B Z"]) -> Float[Array, ""]:
    """Squared differences of means and of covariances, averaged over their entries: the pretraining loss.

    Source: `pretrain_loss` of tolstikhin/wae.

    Args:
      z: codes.
      z_prior: draws of the prior.

    Raises:
      ValueError: if the shapes differ, are not [B, Z], or B < 2.
    """
    if z.shape != z_prior.shape or z.ndim != 2 or z.shape[0] < 2:
        raise ValueError(f"z {z.shape} and z_prior {z_prior.shape} must both be [B, Z] with B >= 2")

    def moments(sample: Float[Array, "B Z"]) -> tuple[Float[Array, " Z"], Float[Array, "Z Z"]]:
        mean = jnp.mean(sample, axis=0)
        centred = sample - mean
        return mean, centred.T @ centred / (sample.shape[0] - 1)

    (mean, covariance), (mean_prior, covariance_prior) = map(moments, (jnp.asarray(z), jnp.asarray(z_prior)))
    return jnp.mean(jnp.square(mean - mean_prior)) + jnp.mean(jnp.square(covariance - covariance_prior))


class CellCounts(NamedTuple):
    """Cells of a batch by what was predicted and what was true, per phrase."""

    true_positive: Float32[Array, " B"]
    predicted: Float32[Array, " B"]
    actual: Float32[Array, " B"]


def cell_counts(x: Shaped[AnyArray, "B T P K"], x_hat: Float[AnyArray, "B T P K"], *, threshold: float) -> CellCounts:
    """Counts per phrase of cells on in both, in the prediction, and in the truth.

    Args:
      x: 0 and 1, of any type.
      x_hat: probabilities; a cell is predicted on above `threshold`.
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
