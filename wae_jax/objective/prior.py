"""The prior P_z = N(0, prior_variance * I) of the latent codes: samples, density, and the gap of the codes' moments."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from wae_jax.array_types import AnyArray


def sample_prior(keys: Key[Array, " B"], *, latent_dim: int, prior_variance: float) -> Float[Array, "B {latent_dim}"]:
    """Samples of the prior, one from each key."""
    standard = jax.vmap(lambda key: jax.random.normal(key, (latent_dim,)))(keys)
    return jnp.sqrt(prior_variance) * standard


def prior_log_density(z: Float[AnyArray, "n Z"], *, prior_variance: float) -> Float[Array, " n"]:
    """Log density of the prior at each code, in nats."""
    constant = z.shape[-1] * jnp.log(2.0 * jnp.pi * prior_variance)
    return -0.5 * (jnp.sum(jnp.square(z), axis=-1) / prior_variance + constant)


def moment_gap(z: Float[AnyArray, "B Z"], z_prior: Float[AnyArray, "B Z"]) -> Float[Array, ""]:
    """Squared differences of means and of covariances, each averaged over its entries: the loss of pretraining.

    Source: `pretrain_loss` of tolstikhin/wae.

    Args:
      z: codes.
      z_prior: samples of the prior.

    Raises:
      ValueError: if the shapes differ, are not [B, Z], or B < 2.
    """
    if z.shape != z_prior.shape or z.ndim != 2 or z.shape[0] < 2:
        raise ValueError(f"z {z.shape} and z_prior {z_prior.shape} must both be [B, Z] with B >= 2")

    def moments(sample: Float[Array, "B Z"]) -> tuple[Float[Array, " Z"], Float[Array, "Z Z"]]:
        mean = jnp.mean(sample, axis=0)
        centered = sample - mean
        return mean, centered.T @ centered / (sample.shape[0] - 1)

    (mean, covariance), (mean_prior, covariance_prior) = map(moments, (jnp.asarray(z), jnp.asarray(z_prior)))
    return jnp.mean(jnp.square(mean - mean_prior)) + jnp.mean(jnp.square(covariance - covariance_prior))
