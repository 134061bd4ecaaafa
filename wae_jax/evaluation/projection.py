"""The plane in which codes are least Gaussian, which the axes of the latent space may hide."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from wae_jax.evaluation.latent_metrics import at_most, in_prior_units
from wae_jax.pianoroll import Codes

Pair = Float64[np.ndarray, "directions=2"]
Points = Float64[np.ndarray, "n d"]

_ITERATIONS = 25
_RESTARTS = 16
_TOO_SHORT = 1e-12
# Mean of -exp(-u² / 2) for u from N(0, 1).
_OF_NORMAL = -(0.5**0.5)


class Projection(NamedTuple):
    """The plane in which codes are least Gaussian.

    Attributes:
      directions: the least Gaussian first; `points` is (codes - mean) @ directions.
      points: the codes in that plane, uncorrelated and of variance 1.
      negentropy: contrast of each direction, 0 for a Gaussian.
      null_negentropy: 95th percentile of the contrast that the same search finds in as many samples of a Gaussian, far
        from 0 where dimensions are many and codes few; only a larger contrast is a property of the codes.
    """

    directions: Float64[np.ndarray, "Z directions=2"]
    points: Float64[np.ndarray, "n directions=2"]
    negentropy: Pair
    null_negentropy: Pair


def least_gaussian_projection(codes: Codes, *, seed: int, max_points: int = 2000, num_null: int = 20) -> Projection:
    """Searches the plane in which clusters, holes and heavy tails of the codes show most.

    The contrast is Hyvärinen's approximation of negentropy, (E G(u) - E G(normal))² with G(u) = -exp(-u² / 2), for u of
    mean 0 and variance 1. It is maximized with the fixed point of FastICA (IEEE Transactions on Neural Networks 10,
    1999) from many random directions of the whitened codes; the second direction is orthogonal to the first. G is even:
    mere skewness is not found.

    Args:
      codes: more than 2; their scale does not matter.
      seed: of initial directions, the choice of points and the Gaussian samples.
      max_points: codes that the search uses; of more, this many are chosen at random. All are projected.
      num_null: Gaussian sets that are searched for `null_negentropy`.

    Raises:
      ValueError: if codes are not [n, Z] with finite numbers, or vary in fewer than two dimensions.
    """
    z = in_prior_units(codes, 1.0)
    rng = np.random.default_rng(seed)
    centered = z - z.mean(axis=0)
    _, scales, axes = np.linalg.svd(centered, full_matrices=False)
    # Dimensions that do not vary are left with rounding errors.
    rank = int(np.count_nonzero(scales > 1e-8 * scales[0])) if np.ptp(z) > 0 else 0
    if rank < 2:
        raise ValueError(f"codes vary in {rank} dimensions; expected at least 2 for a plane")
    whitening = axes[:rank].T * (math.sqrt(len(z)) / scales[:rank])
    white = centered @ whitening
    plane = _search(at_most(white, max_points, rng), rng)
    points = white @ plane
    null = [_null_contrast(min(len(z), max_points), rank, rng) for _ in range(num_null)]
    return Projection(whitening @ plane, points, _contrast(points), np.percentile(null, 95, axis=0))


def _contrast(u: Points) -> Float64[np.ndarray, " d"]:
    """Negentropy of columns of mean 0 and variance 1."""
    return (-np.mean(np.exp(-(u**2) / 2), axis=0) - _OF_NORMAL) ** 2


def _fixed_point(white: Points, rng: np.random.Generator) -> Float64[np.ndarray, " d"]:
    """The direction of largest contrast that FastICA reaches from random directions, all at once."""
    w = rng.normal(size=(white.shape[1], _RESTARTS))
    w /= np.linalg.norm(w, axis=0)
    best, best_contrast = w[:, 0], -1.0
    for _ in range(_ITERATIONS):
        u = white @ w
        bell = np.exp(-(u**2) / 2)
        # The iteration may overshoot a maximum, so that the last direction need not be the best.
        found = (-bell.mean(axis=0) - _OF_NORMAL) ** 2
        if found.max() > best_contrast:
            best, best_contrast = w[:, found.argmax()].copy(), found.max()
        new = white.T @ (u * bell) / len(white) - w * np.mean((1 - u**2) * bell, axis=0)
        length = np.linalg.norm(new, axis=0)
        w = np.divide(new, length, out=w, where=length > _TOO_SHORT)
    return best


def _search(white: Points, rng: np.random.Generator) -> Float64[np.ndarray, "d directions=2"]:
    """Two orthogonal directions: the best, and the best of the others."""
    first = _fixed_point(white, rng)
    # An orthonormal basis of the space orthogonal to the first.
    others = np.linalg.svd(first[None], full_matrices=True)[2][1:].T
    return np.stack([first, others @ _fixed_point(white @ others, rng)], axis=1)


def _null_contrast(n: int, d: int, rng: np.random.Generator) -> Pair:
    """Contrast that the search finds in n samples of a Gaussian in d dimensions, whitened as codes are."""
    samples = rng.normal(size=(n, d))
    left, _, _ = np.linalg.svd(samples - samples.mean(axis=0), full_matrices=False)
    white = left * math.sqrt(n)
    return _contrast(white @ _search(white, rng))
