"""A kernel density estimate of codes: a learned prior, sampled in place of the prior.

The penalty pulls the codes of the training data towards the prior, but seldom all the way: where the prior has mass and
no code lies, the decoder was never trained. A density estimated from the codes of training phrases samples where they
lie, as the mixture of ten Gaussians of arXiv 1903.12436 does. A run fits it whenever it evaluates or saves, and keeps
it in its state.

It has a Gaussian kernel at each of these codes: the distribution of codes that the penalty compares with the prior,
made smooth. The covariance of a kernel is that of all codes times the square of a bandwidth. The bandwidth is the one
under which the codes of each song are most likely, given the kernels of the other songs: so it is wide where songs
differ, and nothing has to be tuned.
"""

from __future__ import annotations

import math
from typing import Any

import flax.struct
import jax
import numpy as np
import scipy.linalg
import scipy.optimize
import scipy.special
from jaxtyping import Float, Float64, Int64, Key, Shaped

from wae_jax.data.dataset import spread
from wae_jax.pianoroll import Codes

MAX_PHRASES = 4096  # whose codes are kernels, spread over the training split; encoding them takes seconds on a CPU
_BANDWIDTHS = (0.1, 2.0)
_BANDWIDTH_TOLERANCE = 0.01
_MAX_COMPARED = 1024  # codes whose likelihood chooses the bandwidth
_BLOCKS = 64  # contiguous parts of the phrases, in place of songs where these are unknown
_RAISED_VARIANCE = 1e-3  # added to each dimension, as a share of its variance: codes may lie in a subspace
# The smallest deviation of a dimension, as a share of the root mean square of all: codes may be constant in one.
_MIN_DEVIATION = 1e-3

Points = Float64[np.ndarray, "B Z"]
Songs = Int64[np.ndarray, " B"]


@flax.struct.dataclass
class KernelDensity:
    """Equally weighted Gaussians with one covariance.

    In the state of a run it has `MAX_PHRASES` centers, so that its shapes are known; its leaves are whatever jax puts
    in their stead.

    Attributes:
      centers: `[N, Z]`; only the first `count` are kernels.
      factor: lower triangle L of the covariance L Lᵀ of each kernel, `[Z, Z]`, with a positive diagonal.
      count: int32 scalar.
    """

    centers: Any
    factor: Any
    count: Any

    def __str__(self) -> str:
        if self.count > 1:
            return f"a kernel density estimate of the codes of {self.count:,} training phrases"
        # A fit takes two codes, so this is `normal`.
        return f"N(0, {self.factor[0, 0] ** 2:g} I), since a density estimate takes at least two training phrases"

    def padded(self) -> KernelDensity:
        """The estimate with its centers padded with zeros to `MAX_PHRASES`; `count` stays."""
        centers = np.zeros((MAX_PHRASES, self.centers.shape[1]))
        centers[: self.count] = self.centers
        return KernelDensity(centers, self.factor, self.count)

    def unpadded(self) -> KernelDensity:
        """The estimate without padding, float64."""
        count = np.int32(self.count)
        centers, factor = (np.asarray(each, np.float64) for each in (self.centers, self.factor))
        return KernelDensity(centers[:count], factor, count)


def normal(latent_dim: int, variance: float) -> KernelDensity:
    """N(0, variance * I), as one kernel."""
    return KernelDensity(np.zeros((1, latent_dim)), math.sqrt(variance) * np.eye(latent_dim), np.int32(1))


def fit_kernel_density(codes: Codes, *, songs: Songs | None = None) -> KernelDensity:
    """Estimates the density of codes.

    Args:
      codes: of training phrases, at least 2; each becomes a kernel.
      songs: the song of each code. None takes contiguous parts of the codes for songs.

    Raises:
      ValueError: if there are fewer than 2 codes, or one is not finite.
    """
    if len(codes) < 2 or codes.shape[1] < 1:
        raise ValueError(f"codes have shape {codes.shape}; expected [B, Z] with B >= 2 and Z >= 1")
    if wrong := np.count_nonzero(~np.isfinite(codes).all(axis=1)):
        raise ValueError(f"{wrong} of {len(codes)} codes are not finite; expected those of a run that did not diverge")
    points = codes.astype(np.float64)
    factor = _covariance_factor(points)
    whitened = scipy.linalg.solve_triangular(factor, (points - points.mean(axis=0)).T, lower=True).T
    return KernelDensity(points, _choose_bandwidth(whitened, songs) * factor, np.int32(len(points)))


def sample_kernel_density(density: KernelDensity, keys: Key[jax.Array, " B"]) -> Codes:
    """Codes sampled from a density estimate without padding, float32, each with a key of its own."""
    num, latent_dim = density.centers.shape
    uniform, noise = jax.vmap(_random_numbers, in_axes=(0, None))(keys, latent_dim)
    # float32 numbers below 1 can round up to the number of kernels.
    chosen = np.minimum((np.asarray(uniform, np.float64) * num).astype(np.int64), num - 1)
    return (density.centers[chosen] + np.asarray(noise, np.float64) @ density.factor.T).astype(np.float32)


def _random_numbers(
    key: Key[jax.Array, ""], latent_dim: int
) -> tuple[Float[jax.Array, ""], Float[jax.Array, " {latent_dim}"]]:
    kernel_key, noise_key = jax.random.split(key)
    return jax.random.uniform(kernel_key), jax.random.normal(noise_key, (latent_dim,))


def log_density(density: KernelDensity, codes: Codes) -> Float64[np.ndarray, " B"]:
    """The logarithm of an estimate without padding at codes, in nats."""
    mean = density.centers.mean(axis=0)
    centers, points = (
        scipy.linalg.solve_triangular(density.factor, (each - mean).T, lower=True).T
        for each in (density.centers, codes.astype(np.float64))
    )
    constant = np.log(np.diag(density.factor)).sum() + points.shape[1] / 2 * math.log(2 * math.pi)
    exponents = -_squared_distances(points, centers) / 2
    return scipy.special.logsumexp(exponents, axis=1) - np.log(len(centers)) - constant


def _covariance_factor(points: Points) -> Float64[np.ndarray, "Z Z"]:
    """The lower triangle of the covariance, slightly raised so that it has one."""
    deviation = points.std(axis=0)
    # If all codes are the same, the size of their numbers is used instead.
    scale = math.sqrt(np.square(deviation).mean()) or float(np.abs(points).max()) or 1.0
    deviation = np.maximum(deviation, _MIN_DEVIATION * scale)
    scaled = (points - points.mean(axis=0)) / deviation
    correlation = scaled.T @ scaled / len(points)
    return deviation[:, None] * np.linalg.cholesky(correlation + _RAISED_VARIANCE * np.eye(len(deviation)))


def _choose_bandwidth(whitened: Points, songs: Songs | None) -> float:
    """The bandwidth under which codes are most likely, given the kernels of other songs."""
    num, latent_dim = whitened.shape
    if songs is None:
        songs = np.arange(num) * _BLOCKS // max(num, _BLOCKS)
    if len(np.unique(songs)) == 1:
        songs = np.arange(num)
    compared = spread(num, _MAX_COMPARED)
    distances = _squared_distances(whitened[compared], whitened)
    distances[songs[compared][:, None] == songs] = np.inf
    # The nearest kernel counts most. Relative to it float32 is enough, and exponentials are several times as fast.
    nearest = distances.min(axis=1)
    further = (distances - nearest[:, None]).astype(np.float32)

    def cost(bandwidth: float) -> float:
        precision = 1 / (2 * bandwidth**2)
        kernels = np.exp(further * np.float32(-precision)).sum(axis=1, dtype=np.float64)
        likelihood = (np.log(kernels) - precision * nearest).mean()
        return float(latent_dim * math.log(bandwidth) - likelihood)

    found = scipy.optimize.minimize_scalar(
        cost, bounds=_BANDWIDTHS, method="bounded", options={"xatol": _BANDWIDTH_TOLERANCE}
    )
    return float(found.x)


def _squared_distances(one: Shaped[np.ndarray, "n Z"], other: Shaped[np.ndarray, "m Z"]) -> Float64[np.ndarray, "n m"]:
    distances = np.square(one).sum(axis=1)[:, None] + np.square(other).sum(axis=1) - 2 * one @ other.T
    return np.maximum(distances, 0.0)  # which rounding may miss
