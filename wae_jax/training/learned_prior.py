"""A mixture of Gaussians fitted to codes: a learned prior, sampled in place of the prior.

The penalty pulls the codes of the training data towards the prior, but seldom all the way: where the prior has mass and
no code lies, the decoder was never trained. A mixture fitted to the codes of training phrases samples where they lie
(arXiv 1903.12436). With one component it is the Gaussian of their mean and covariance. A run fits it whenever it
evaluates or saves, and keeps it in its state.

Covariances are full. A component may have fewer codes than a covariance has entries, so that the diagonal is raised by
a share of the variance of all codes. How many components there are follows from the number of codes. The likelihood of
held-out codes would choose 16 for a default WAE-GAN, whose samples then covered .49 of held-out music; those of 32
cover .59.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import flax.struct
import jax
import numpy as np
import scipy.linalg
import scipy.special
from jaxtyping import Float, Float64, Key

from wae_jax.pianoroll import Codes

MAX_PHRASES = 4096  # whose codes it is fitted to, spread over the training split; encoding them takes seconds on a CPU
MAX_COMPONENTS = 32
_CODES_PER_COMPONENT = 100
_MAX_STEPS = 50
_TOLERANCE = 1e-2  # EM ends when the likelihood gains less, in nats a code
_RAISED_VARIANCE = 0.03  # added to each component, as a share of the variance of all codes in each dimension
# The smallest deviation of a dimension, as a share of the root mean square of all: codes may be constant in one.
_MIN_DEVIATION = 1e-3

Points = Float64[np.ndarray, "B Z"]


@flax.struct.dataclass
class Mixture:
    """A mixture of Gaussians.

    In the state of a run it has `MAX_COMPONENTS`, of which some may have a weight of 0, so that its shapes are known;
    and its leaves are whatever jax puts in their stead.

    Attributes:
      weights: of the components, `[C]`, with a sum of 1.
      means: `[C, Z]`.
      factors: lower triangles L of covariances L Lᵀ, `[C, Z, Z]`, with a positive diagonal.
    """

    weights: Any
    means: Any
    factors: Any

    def __str__(self) -> str:
        num = len(self.weights)
        if num > 1:
            return f"a mixture of {num} Gaussians fitted to the codes of training phrases"
        means, factor = np.asarray(self.means), np.asarray(self.factors)[0]
        if not means.any() and (factor == factor[0, 0] * np.eye(len(factor))).all():
            return f"N(0, {factor[0, 0] ** 2:.3g} I), since fitting a mixture takes at least two training phrases"
        return "a Gaussian fitted to the codes of training phrases"

    def padded(self) -> Mixture:
        """The mixture with `MAX_COMPONENTS`: the added ones have a weight of 0."""
        num, latent_dim = self.means.shape
        more = MAX_COMPONENTS - num
        return Mixture(
            np.append(self.weights, np.zeros(more)),
            np.append(self.means, np.zeros((more, latent_dim)), axis=0),
            np.append(self.factors, np.broadcast_to(np.eye(latent_dim), (more, latent_dim, latent_dim)), axis=0),
        )

    def unpadded(self) -> Mixture:
        """The mixture without components of weight 0, float64."""
        weights = np.asarray(self.weights, np.float64)
        used = weights > 0
        means, factors = (np.asarray(each, np.float64)[used] for each in (self.means, self.factors))
        return Mixture(weights[used] / weights.sum(), means, factors)


def normal(latent_dim: int, variance: float) -> Mixture:
    """N(0, variance * I), as a mixture of one component."""
    factor = math.sqrt(variance) * np.eye(latent_dim)
    return Mixture(np.ones(1), np.zeros((1, latent_dim)), factor[None])


def fit_mixture(codes: Codes, *, components: int = 0, seed: int = 0) -> Mixture:
    """Fits a mixture to codes of training phrases, at least 2, by expectation and maximization.

    Args:
      codes: of training phrases.
      components: their number; 0 for one a hundred codes, at least 1 and at most 32.
      seed: of the initial means.

    Raises:
      ValueError: if there are fewer than 2 codes or fewer than components, or one is not finite.
    """
    if len(codes) < 2 or codes.shape[1] < 1:
        raise ValueError(f"codes have shape {codes.shape}; expected [B, Z] with B >= 2 and Z >= 1")
    if wrong := np.count_nonzero(~np.isfinite(codes).all(axis=1)):
        raise ValueError(f"{wrong} of {len(codes)} codes are not finite; expected those of a run that did not diverge")
    if not 0 <= components <= len(codes):
        raise ValueError(f"components is {components}; expected 1 to {len(codes)}, the number of codes, or 0 to choose")
    chosen = components or min(max(len(codes) // _CODES_PER_COMPONENT, 1), MAX_COMPONENTS)
    return _fit(codes.astype(np.float64), chosen, seed)


def sample_mixture(mixture: Mixture, keys: Key[jax.Array, " B"]) -> Codes:
    """Codes sampled from a mixture, float32, each with a key of its own."""
    uniform, noise = jax.vmap(_random_numbers, in_axes=(0, None))(keys, mixture.means.shape[1])
    chosen = np.searchsorted(np.cumsum(mixture.weights)[:-1], np.asarray(uniform, np.float64), side="right")
    codes = mixture.means[chosen]
    for component, factor in enumerate(mixture.factors):
        codes[chosen == component] += np.asarray(noise, np.float64)[chosen == component] @ factor.T
    return codes.astype(np.float32)


def _random_numbers(
    key: Key[jax.Array, ""], latent_dim: int
) -> tuple[Float[jax.Array, ""], Float[jax.Array, " {latent_dim}"]]:
    component_key, noise_key = jax.random.split(key)
    return jax.random.uniform(component_key), jax.random.normal(noise_key, (latent_dim,))


def log_density(mixture: Mixture, codes: Codes) -> Float64[np.ndarray, " B"]:
    """The logarithm of the density at codes, in nats."""
    points = codes.astype(np.float64)
    columns = []
    for weight, mean, factor in zip(mixture.weights, mixture.means, mixture.factors, strict=True):
        whitened = scipy.linalg.solve_triangular(factor, (points - mean).T, lower=True)
        constant = np.log(weight) - np.log(np.diag(factor)).sum() - len(mean) / 2 * math.log(2 * math.pi)
        columns.append(constant - np.square(whitened).sum(axis=0) / 2)
    return scipy.special.logsumexp(np.stack(columns, axis=1), axis=1)


def _fit(points: Points, components: int, seed: int) -> Mixture:
    # Not at the top, since it takes a second to import.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    # In units of each dimension's deviation, in which one number can raise the variances of all.
    mean, deviation = points.mean(axis=0), points.std(axis=0)
    # If all codes are the same, the size of their numbers is used instead.
    scale = math.sqrt(np.square(deviation).mean()) or float(np.abs(mean).max()) or 1.0
    deviation = np.maximum(deviation, _MIN_DEVIATION * scale)
    mixture = GaussianMixture(
        components,
        reg_covar=_RAISED_VARIANCE,
        tol=_TOLERANCE,
        max_iter=_MAX_STEPS,
        init_params="k-means++",
        random_state=seed,
    )
    with warnings.catch_warnings():
        # After `_MAX_STEPS` steps a mixture is good enough, and there may be fewer different codes than components.
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit((points - mean) / deviation)
    factors = np.linalg.cholesky(mixture.covariances_)
    return Mixture(mixture.weights_, mean + deviation * mixture.means_, deviation[:, None] * factors)
