"""Discrepancies between codes and the prior N(0, prior_variance * I), besides MMD and the adversarial penalty.

Sliced Wasserstein and Cramer-Wold are scalars of a whole sample of codes, [n, Z], near 0 if codes and prior agree. The
last two functions, [n], are penalties of random encoders.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import scipy.special
from jaxtyping import Array, Float, Int, Key

from wae_jax.array_types import AnyArray
from wae_jax.objective import mmd

# Latent dimensions from which on the approximate kernel of `cramer_wold` is within .002 of the exact one.
_LARGE_DIMENSION = 20
# Up to this argument 1F1 is its power series, beyond it the asymptotic one; at it both are exact in float64.
_SERIES_ENDS = 40.0
_SERIES_TERMS = 120
_ASYMPTOTIC_TERMS = 20


def sliced_wasserstein(
    z: Float[AnyArray, "n Z"], z_prior: Float[AnyArray, "n Z"], directions: Float[AnyArray, "L Z"]
) -> Float[Array, ""]:
    """Squared 2-Wasserstein distance of projections to a line, averaged over directions.

    Source: Kolouri et al., arXiv 1804.01947, equation 13, with L directions in place of the sphere. Biased upwards:
    two samples of one distribution differ.

    Args:
      z: codes.
      z_prior: samples of the prior.
      directions: of unit length; see `random_directions`.

    Raises:
      ValueError: if the numbers of codes and samples differ.
    """
    if z.shape != z_prior.shape:
        raise ValueError(f"z {z.shape} and z_prior {z_prior.shape} must have one shape: they are compared in pairs")
    projected, projected_prior = (jnp.sort(points @ directions.T, axis=0) for points in map(jnp.asarray, (z, z_prior)))
    return jnp.mean(jnp.square(projected - projected_prior))


def random_directions(key: Key[Array, ""], *, num: int, latent_dim: int) -> Float[Array, "{num} {latent_dim}"]:
    """Points distributed uniformly over the unit sphere."""
    normal = jax.random.normal(key, (num, latent_dim))
    return normal / jnp.linalg.norm(normal, axis=1, keepdims=True)


def cramer_wold(z: Float[AnyArray, "n Z"], *, prior_variance: float) -> Float[Array, ""]:
    """The Cramer-Wold distance of codes to the prior, which needs neither samples of the prior nor a discriminator.

    The squared L2 distance between smoothed densities of projections, averaged over all directions. Source: Knop et
    al., arXiv 1805.09235, theorem 4.1, for z / sqrt(prior_variance) and without the constant factor 1 / (2 sqrt(pi)):

        1 / sqrt(1 + g) + mean_ij p(|z_i - z_j|^2, g) - 2 mean_i p(|z_i|^2, g + 1/2),
        p(d2, w) = 1F1(1/2; Z/2; -d2 / (4 w)) / sqrt(w),    g = (4 / (3 n))^(2/5)

    From Z = 20 on p is their approximation 1 / sqrt(w + d2 / (2 Z - 3)). A V-statistic: never negative, and positive
    under the null. The authors minimize its logarithm.

    Args:
      z: codes.
      prior_variance: positive.
    """
    z = jnp.asarray(z) / jnp.sqrt(prior_variance)
    n, latent_dim = z.shape
    width = (4.0 / (3.0 * n)) ** 0.4

    def kernel(d2: Float[Array, "*shape"], width: float) -> Float[Array, "*shape"]:
        if latent_dim >= _LARGE_DIMENSION:
            return 1.0 / jnp.sqrt(width + d2 / (2.0 * latent_dim - 3.0))
        return kummer(0.5, 0.5 * latent_dim, d2 / (4.0 * width)) / width**0.5

    within = jnp.mean(kernel(mmd.squared_distances(z, z), width))
    to_prior = jnp.mean(kernel(jnp.sum(jnp.square(z), axis=1), width + 0.5))
    return 1.0 / (1.0 + width) ** 0.5 + within - 2.0 * to_prior


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def kummer(a: float, b: float, s: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Kummer's function 1F1(a; b; -s) for s >= 0, to all digits; `jax.scipy.special.hyp1f1` is wrong from s = 50 on.

    Up to s = 40 the series of exp(-s) 1F1(b - a; b; s), whose terms are all positive; beyond it the asymptotic series.
    Source: Abramowitz and Stegun, 13.1.27 and 13.5.1.

    Args:
      a: positive, as small as 1/2 or 3/2.
      b: at least a, and at most some ten.
      s: any shape.
    """
    small, large = jnp.minimum(s, _SERIES_ENDS), jnp.maximum(s, _SERIES_ENDS)

    def add_term(i: Int[Array, ""], total: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        k = _SERIES_TERMS - 1 - i
        return 1.0 + total * small * ((b - a + k) / ((b + k) * (k + 1.0))).astype(small.dtype)

    power_series = jnp.exp(-small) * jax.lax.fori_loop(0, _SERIES_TERMS, add_term, jnp.ones_like(small))

    total, term = jnp.zeros_like(large), jnp.ones_like(large)
    for k in range(_ASYMPTOTIC_TERMS):
        total += term
        term *= (a + k) * (a - b + 1.0 + k) / ((k + 1.0) * large)
    factor = float(scipy.special.gamma(b) * scipy.special.rgamma(b - a))
    return jnp.where(s <= _SERIES_ENDS, power_series, factor * large**-a * total)


@kummer.defjvp
def _kummer_jvp(a: float, b: float, primals: Any, tangents: Any) -> Any:
    (s,), (ds,) = primals, tangents
    return kummer(a, b, s), -(a / b) * kummer(a + 1.0, b + 1.0, s) * ds


def kl_divergence(
    mean: Float[AnyArray, "n Z"], log_variance: Float[AnyArray, "n Z"], *, prior_variance: float
) -> Float[Array, " n"]:
    """KL divergence of each code's N(mean, exp(log_variance)) from the prior, in nats: the penalty of VAEs.

    Source: Kingma and Welling, arXiv 1312.6114, appendix B, for a prior of any variance.
    """
    squares = (jnp.exp(log_variance) + jnp.square(mean)) / prior_variance
    return 0.5 * jnp.sum(squares - 1.0 - log_variance + jnp.log(prior_variance), axis=-1)


def log_variance_penalty(log_variance: Float[AnyArray, "n Z"]) -> Float[Array, " n"]:
    """Sum over dimensions of |log variance|: keeps the variances of a random encoder from vanishing or diverging.

    Source: Rubenstein et al., arXiv 1802.03761, section 4.
    """
    return jnp.sum(jnp.abs(log_variance), axis=-1)
