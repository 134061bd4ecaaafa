"""A mixture of Gaussians fitted to codes, to draw new codes from where the decoder was trained.

The prior is where an autoencoder is told to put its codes; the aggregate posterior is where it puts them. What is drawn
from the one where the other has nothing is decoded by chance. A mixture fitted to the codes of training phrases stands
for the aggregate posterior; with one component, it is the Gaussian of their mean and covariance.

Covariances are full, which takes more codes a component than there may be: a code has up to some hundred dimensions. So
what is found is not the likelihood's maximum but that of likelihood and conjugate prior together, in closed form within
EM, as Fraley and Raftery have it (Bayesian regularization for normal mixture estimation and model-based clustering,
Journal of Classification 24, 2007). Each covariance is the mean of what its codes say and of what all codes say, and
the latter counts as Z + 2 codes. It is itself shrunk as its number of codes demands (oracle approximating shrinkage,
arXiv 0907.4698, equation 23), in units of each dimension's deviation.

Own code, since scikit-learn's GaussianMixture maximises the likelihood alone: fitted to 3,368 codes of 32 dimensions it
makes held-out codes less likely from 8 components on than one Gaussian does, where this makes them likelier up to 32.
"""

from __future__ import annotations

import dataclasses
import math

import jax
import numpy as np
import scipy.linalg
import scipy.special
from jaxtyping import Float, Float64, Key

from wae_jax.pianoroll import Codes

# What is tried where the number of components is not given.
CANDIDATES = (1, 2, 4, 8, 16, 32)
_MAX_STEPS = 50
_TOLERANCE = 1e-2  # nats a code
_MEAN_WEIGHT = 0.01  # how many codes at the mean of all a component's mean counts besides its own
# A dimension in which codes are alike, or nearly, has this deviation, as a share of the root mean square of all.
_LEAST_DEVIATION = 1e-3

Points = Float64[np.ndarray, "B Z"]
Square = Float64[np.ndarray, "Z Z"]
Shares = Float64[np.ndarray, "B C"]


@dataclasses.dataclass(frozen=True)
class Mixture:
    """A mixture of Gaussians.

    Attributes:
      weights: of the components; positive, and 1 in sum.
      means: of each.
      factors: of each the lower triangle L, with a positive diagonal; the covariance is L Lᵀ.
    """

    weights: Float64[np.ndarray, " C"]
    means: Float64[np.ndarray, "C Z"]
    factors: Float64[np.ndarray, "C Z Z"]

    def __str__(self) -> str:
        return f"a mixture of {len(self.weights)} Gaussians fitted to the codes of training phrases"


def normal(latent_dim: int, variance: float) -> Mixture:
    """N(0, variance * I) as a mixture of one."""
    factor = math.sqrt(variance) * np.eye(latent_dim)
    return Mixture(np.ones(1), np.zeros((1, latent_dim)), factor[None])


def fit_mixture(codes: Codes, *, components: int = 0, seed: int = 0, max_steps: int = _MAX_STEPS) -> Mixture:
    """Fits a mixture by EM.

    Args:
      codes: of training phrases, at least 2; neighbours may be of one song.
      components: their number. 0 chooses it: of 1, 2, 4, 8, 16 and 32 up to where the next no longer raises the
        likelihood of every fifth part of the codes, which are held out for it; then all codes are fitted.
      seed: of where the components begin.
      max_steps: of EM, which ends before where a step adds less than a hundredth of a nat a code.

    Raises:
      ValueError: if there are fewer than 2 codes or fewer than components, or one is not finite.
    """
    if len(codes) < 2 or codes.shape[1] < 1:
        raise ValueError(f"codes have shape {codes.shape}; expected [B, Z] with B >= 2 and Z >= 1")
    if wrong := np.count_nonzero(~np.isfinite(codes).all(axis=1)):
        raise ValueError(f"{wrong} of {len(codes)} codes are not finite; a run that diverged has none to draw like")
    if not 0 <= components <= len(codes):
        raise ValueError(f"components is {components}; expected 1 to {len(codes)}, as many as codes, or 0 to choose")
    points = codes.astype(np.float64)
    components = components or _choose_components(points, seed, max_steps)
    return _fit(points, components, seed, max_steps)


def sample_mixture(mixture: Mixture, keys: Key[jax.Array, " B"]) -> Codes:
    """Codes from a mixture, float32, each from a key of its own."""
    uniform, noise = jax.vmap(_random_numbers, in_axes=(0, None))(keys, mixture.means.shape[1])
    chosen = np.searchsorted(np.cumsum(mixture.weights)[:-1], np.asarray(uniform, np.float64), side="right")
    codes = mixture.means[chosen]
    for component, factor in enumerate(mixture.factors):
        codes[chosen == component] += np.asarray(noise, np.float64)[chosen == component] @ factor.T
    return codes.astype(np.float32)


def _random_numbers(
    key: Key[jax.Array, ""], latent_dim: int
) -> tuple[Float[jax.Array, ""], Float[jax.Array, " {latent_dim}"]]:
    of_component, of_noise = jax.random.split(key)
    return jax.random.uniform(of_component), jax.random.normal(of_noise, (latent_dim,))


def log_density(mixture: Mixture, codes: Codes) -> Float64[np.ndarray, " B"]:
    """The logarithm of the density at codes, in nats."""
    return scipy.special.logsumexp(_log_joint(mixture, codes.astype(np.float64)), axis=1)


def _log_joint(mixture: Mixture, points: Points) -> Shares:
    """The logarithm of weight times density, of each component."""
    columns = []
    for weight, mean, factor in zip(mixture.weights, mixture.means, mixture.factors, strict=True):
        whitened = scipy.linalg.solve_triangular(factor, (points - mean).T, lower=True)
        constant = np.log(weight) - np.log(np.diag(factor)).sum() - len(mean) / 2 * math.log(2 * math.pi)
        columns.append(constant - np.square(whitened).sum(axis=0) / 2)
    return np.stack(columns, axis=1)


def _choose_components(points: Points, seed: int, max_steps: int) -> int:
    """The number of components under which held-out codes are likeliest."""
    # Tenths rather than codes at random: neighbours are often of one song, and alike.
    is_held_out = np.arange(len(points)) * 10 // len(points) % 5 == 2
    kept, held_out = points[~is_held_out], points[is_held_out]
    best, best_density = 1, -math.inf
    for components in CANDIDATES:
        if 2 * components > len(kept) or not len(held_out):
            break
        density = log_density(_fit(kept, components, seed, max_steps), held_out).mean()
        if density <= best_density:
            break
        best, best_density = components, density
    return best


def _fit(points: Points, components: int, seed: int, max_steps: int) -> Mixture:
    mean, deviation = points.mean(axis=0), points.std(axis=0)
    # All codes alike: a number that no code is near to in size, and a density still.
    scale = math.sqrt(np.square(deviation).mean()) or float(np.abs(mean).max()) or 1.0
    deviation = np.maximum(deviation, _LEAST_DEVIATION * scale)
    found = _expectation_maximisation((points - mean) / deviation, components, seed, max_steps)
    return Mixture(found.weights, mean + deviation * found.means, deviation[:, None] * found.factors)


def _expectation_maximisation(points: Points, components: int, seed: int, max_steps: int) -> Mixture:
    """EM on codes of mean 0 and, unless they are alike, deviation 1."""
    pooled = _shrunk_covariance(points) / components ** (2 / points.shape[1])
    nearest = np.argmin(_distances(points, _seeds(points, components, seed)), axis=1)
    mixture = _maximise(points, np.eye(components)[nearest], pooled)
    before = -math.inf
    for _ in range(max_steps):
        joint = _log_joint(mixture, points)
        densities = scipy.special.logsumexp(joint, axis=1)
        reached = densities.sum() + _log_prior(mixture, pooled)
        if reached - before < _TOLERANCE * len(points):
            break
        before = reached
        mixture = _maximise(points, np.exp(joint - densities[:, None]), pooled)
    return mixture


def _maximise(points: Points, shares: Shares, pooled: Square) -> Mixture:
    """The components to which codes belong by these shares; `_log_prior` is the prior."""
    num, dim = points.shape
    sizes = shares.sum(axis=0)
    weights = (sizes + 1 / len(sizes)) / (num + 1)
    means = shares.T @ points / (sizes + _MEAN_WEIGHT)[:, None]
    factors = []
    for share, size, mean in zip(shares.T, sizes, means, strict=True):
        centred = (points - mean) * np.sqrt(share)[:, None]
        scatter = centred.T @ centred + _MEAN_WEIGHT * np.outer(mean, mean) + (dim + 2) * pooled
        factors.append(np.linalg.cholesky(scatter / (size + dim + 2)))
    return Mixture(weights, means, np.stack(factors))


def _log_prior(mixture: Mixture, pooled: Square) -> float:
    """The logarithm of the conjugate prior: Dirichlet of weights, normal and inverse Wishart of means and covariances.

    Without its constant.
    """
    total = np.log(mixture.weights).mean()
    for mean, factor in zip(mixture.means, mixture.factors, strict=True):
        precision = scipy.linalg.cho_solve((factor, True), np.eye(len(mean)))
        log_determinant = 2 * np.log(np.diag(factor)).sum()
        total -= (len(mean) + 2) / 2 * (log_determinant + np.sum(precision * pooled))
        total -= _MEAN_WEIGHT / 2 * mean @ precision @ mean
    return float(total)


def _shrunk_covariance(points: Points) -> Square:
    """The covariance of codes of mean 0, on its way to a multiple of the identity: the further, the fewer there are."""
    num, dim = points.shape
    covariance = points.T @ points / num
    trace, square = np.trace(covariance), np.sum(covariance**2)
    numerator = (1 - 2 / dim) * square + trace**2
    denominator = (num + 1 - 2 / dim) * (square - trace**2 / dim)
    share = 1.0 if denominator <= numerator else numerator / denominator
    # Codes that are alike have no covariance to shrink to; dimensions that are have none but this.
    level = trace / dim if trace > 0 else 1.0
    return (1 - share) * covariance + share * level * np.eye(dim)


def _seeds(points: Points, components: int, seed: int) -> Float64[np.ndarray, "C Z"]:
    """Codes far from each other: each by chance, as the square of its distance to the nearest before (k-means++)."""
    rng = np.random.default_rng(seed)
    chosen = [int(rng.integers(len(points)))]
    while len(chosen) < components:
        nearest = _distances(points, points[chosen]).min(axis=1)
        total = nearest.sum()
        chosen.append(int(rng.choice(len(points), p=nearest / total if total > 0 else None)))
    return points[chosen]


def _distances(points: Points, centres: Float64[np.ndarray, "C Z"]) -> Shares:
    """Squared distances."""
    return np.stack([np.square(points - centre).sum(axis=1) for centre in centres], axis=1)
