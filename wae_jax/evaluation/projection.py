"""The plane in which codes look least like a Gaussian: a picture of what the prior's own axes may hide."""

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
# E -exp(-u^2 / 2) for u of N(0, 1).
_OF_NORMAL = -(0.5**0.5)


class Projection(NamedTuple):
    """The plane in which codes look least like a Gaussian.

    Attributes:
      directions: two of them, the least Gaussian first; `points` is (codes - mean) @ directions.
      points: the codes in that plane, uncorrelated and of variance 1.
      negentropy: contrast of each direction, 0 for a Gaussian.
      null_negentropy: 95th percentile of what the same search finds in as many draws of a Gaussian. It is far from 0
        where dimensions are many and codes few; only what exceeds it says something of the codes.
    """

    directions: Float64[np.ndarray, "Z directions=2"]
    points: Float64[np.ndarray, "n directions=2"]
    negentropy: Pair
    null_negentropy: Pair


def least_gaussian_projection(codes: Codes, *, seed: int, max_points: int = 2000, num_null: int = 20) -> Projection:
    """Looks for the plane in which codes are least Gaussian: clusters, holes and heavy tails show there if anywhere.

    The contrast is Hyvarinen's approximation of negentropy, (E G(u) - E G(normal))^2 with G(u) = -exp(-u^2 / 2), for u
    of mean 0 and variance 1. It is maximised with the fixed point of FastICA (IEEE Transactions on Neural Networks 10,
    1999) from many random directions of the whitened codes; the second direction is sought among those orthogonal to
    the first. G is even: a direction that is skewed and nothing else is not seen. And in a hundred
    dimensions a few thousand codes have planes that look odd by chance, among which only a gross one stands out.

    Args:
      codes: more than 2, not scaled in any way: the result does not depend on their scale.
      seed: for first directions, the choice of points and the Gaussian samples.
      max_points: codes that the search uses; of more, this many are chosen at random. All are projected.
      num_null: Gaussian samples that are searched for `null_negentropy`.

    Raises:
      ValueError: if codes are not [n, Z] with finite numbers, or vary in fewer than two dimensions.
    """
    z = in_prior_units(codes, 1.0)
    rng = np.random.default_rng(seed)
    centred = z - z.mean(axis=0)
    _, scales, axes = np.linalg.svd(centred, full_matrices=False)
    # What is left of dimensions that do not vary is rounding.
    rank = int(np.count_nonzero(scales > 1e-8 * scales[0])) if np.ptp(z) > 0 else 0
    if rank < 2:
        raise ValueError(f"codes vary in {rank} dimensions; expected at least 2 for a plane")
    whitening = axes[:rank].T * (math.sqrt(len(z)) / scales[:rank])
    white = centred @ whitening
    plane = _search(at_most(white, max_points, rng), rng)
    points = white @ plane
    null = [_null_contrast(min(len(z), max_points), rank, rng) for _ in range(num_null)]
    return Projection(whitening @ plane, points, _contrast(points), np.percentile(null, 95, axis=0))


def _contrast(u: Points) -> Float64[np.ndarray, " d"]:
    """Hyvarinen's negentropy of columns of mean 0 and variance 1."""
    return (-np.mean(np.exp(-(u**2) / 2), axis=0) - _OF_NORMAL) ** 2


def _fixed_point(white: Points, rng: np.random.Generator) -> Float64[np.ndarray, " d"]:
    """The direction of largest contrast among those that FastICA passes from random ones, all at once."""
    w = rng.normal(size=(white.shape[1], _RESTARTS))
    w /= np.linalg.norm(w, axis=0)
    best, best_contrast = w[:, 0], -1.0
    for _ in range(_ITERATIONS):
        u = white @ w
        bell = np.exp(-(u**2) / 2)
        # The iteration may pass by a maximum or swing around it, so that the last need not be the best.
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
    # An orthonormal basis of what is orthogonal to the first.
    others = np.linalg.svd(first[None], full_matrices=True)[2][1:].T
    return np.stack([first, others @ _fixed_point(white @ others, rng)], axis=1)


def _null_contrast(n: int, d: int, rng: np.random.Generator) -> Pair:
    """What the search finds in n draws of a Gaussian in d dimensions, whitened as codes are."""
    draws = rng.normal(size=(n, d))
    left, _, _ = np.linalg.svd(draws - draws.mean(axis=0), full_matrices=False)
    white = left * math.sqrt(n)
    return _contrast(white @ _search(white, rng))
