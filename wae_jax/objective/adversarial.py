"""The adversarial penalty of WAE-GAN: D(Q_z, P_z) through a discriminator of codes (arXiv 1711.01558, algorithm 1).

All functions take the discriminator's logits, D(z) = sigmoid(logit), and stay finite where probabilities would not.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from wae_jax.array_types import AnyArray


def discriminator_loss(logits_prior: Float[AnyArray, " B"], logits: Float[AnyArray, " B"]) -> Float[Array, " B"]:
    """-log D(z_prior) - log(1 - D(z)): the loss of the discriminator.

    Args:
      logits_prior: the discriminator's logits at samples of the prior.
      logits: its logits at codes.
    """
    return jax.nn.softplus(-logits_prior) + jax.nn.softplus(logits)


def non_saturating_penalty(logits: Float[AnyArray, " B"]) -> Float[Array, " B"]:
    """-log D(z) at codes: the penalty of the encoder, in the non-saturating form of arXiv 1406.2661, section 3."""
    return jax.nn.softplus(-logits)


def jensen_shannon_estimate(logits_prior: Float[AnyArray, " B"], logits: Float[AnyArray, " B"]) -> Float[Array, ""]:
    """Log 2 minus half the mean discriminator loss: a lower bound on the Jensen-Shannon divergence of Q_z and P_z.

    Source: arXiv 1406.2661, equation 4.

    Returns:
      Nats: 0 if the discriminator cannot tell codes from samples of the prior, log 2 = 0.693 if it always can, negative
      if it does worse than chance.
    """
    return jnp.log(2.0) - 0.5 * jnp.mean(discriminator_loss(logits_prior, logits))
