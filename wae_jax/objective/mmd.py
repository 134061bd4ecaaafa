"""The squared maximum mean discrepancy (MMD) of two samples, as an unbiased U-statistic: the penalty of WAE-MMD.

    MMD^2_U = 1/(n(n-1)) * [ sum_{i != j} k(x_i, x_j) + sum_{i != j} k(y_i, y_j) ] - 2/n^2 * sum_{ij} k(x_i, y_j)

Gretton et al. (JMLR 13, 2012) with equal sample sizes, as in algorithm 2 of Tolstikhin et al. (arXiv 1711.01558). The
estimate is unbiased for a fixed kernel, and may therefore be negative.

`mmd_squared` is the estimator. `mmd_squared_share` divides it among devices, `mmd_squared_tiled` computes it for a
sample of any size. Codes are x, samples of the prior y, both [n, Z].
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from wae_jax.array_types import AnyArray

SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)

Distances = Float[Array, "n m"]
Similarities = Float[Array, "n m"]
# From the squared distances within x, within y and between both to three matrices of similarities.
Kernel = Callable[[Distances, Distances, Distances], tuple[Similarities, ...]]


@functools.partial(jax.jit, static_argnames=("prior_variance", "scales"))
def mmd_squared(
    x: Float[AnyArray, "n Z"], y: Float[AnyArray, "n Z"], *, prior_variance: float, scales: tuple[float, ...] = SCALES
) -> Float[Array, ""]:
    """MMD^2 with the inverse multiquadratic kernel of `imq_kernel`, of seven scales unless others are given.

    Args:
      x: codes.
      y: samples of N(0, prior_variance * I).
      prior_variance: positive; sets the unit of the scales.
      scales: of the kernels that are summed.

    Returns:
      A number near 0 if both samples are from one distribution, possibly negative.

    Raises:
      ValueError: if the shapes differ, are not [n, Z], or n < 2.
    """
    kernel = functools.partial(imq_kernel, prior_variance=prior_variance, latent_dim=x.shape[-1], scales=scales)
    return u_statistic(x, y, kernel)


@jax.jit
def mmd_squared_rbf(x: Float[AnyArray, "n Z"], y: Float[AnyArray, "n Z"]) -> Float[Array, ""]:
    """MMD^2 with the Gaussian kernel of `rbf_kernel`; arguments, result and errors as in `mmd_squared`."""
    return u_statistic(x, y, rbf_kernel)


def u_statistic(x: Float[AnyArray, "n Z"], y: Float[AnyArray, "n Z"], kernel: Kernel) -> Float[Array, ""]:
    """The U-statistic for any kernel of squared distances; arguments and errors as in `mmd_squared`."""
    _check_samples(x, y)
    n = x.shape[0]
    k_xx, k_yy, k_xy = kernel(squared_distances(x, x), squared_distances(y, y), squared_distances(x, y))
    within = jnp.sum(k_xx + k_yy, where=~jnp.eye(n, dtype=bool)) / (n * (n - 1))
    return within - 2.0 * jnp.mean(k_xy)


def squared_distances(a: Float[AnyArray, "n Z"], b: Float[AnyArray, "m Z"]) -> Distances:
    """All squared Euclidean distances between the rows of `a` and those of `b`.

    Differences are formed before they are squared: the expansion into norms and inner products loses all digits in
    float32 if the points lie far from the origin.
    """
    return jnp.sum(jnp.square(a[:, None, :] - b[None, :, :]), axis=-1)


def imq_kernel(
    *distances: Distances, prior_variance: float, latent_dim: int, scales: Sequence[float] = SCALES
) -> tuple[Similarities, ...]:
    """Inverse multiquadratics C / (C + d^2), summed over C = 2 * Z * prior_variance * s for s in `scales`.

    The sum over seven scales is that of tolstikhin/wae; 2 * Z * prior_variance is the expected squared distance of two
    samples of the prior.
    """
    constants = [2.0 * latent_dim * prior_variance * scale for scale in scales]
    return tuple(_sum_of_fractions(d2, constants) for d2 in distances)


def _sum_of_fractions(d2: Distances, constants: Sequence[float]) -> Similarities:
    """The sum of C / (C + d^2). Two fractions share one division, which takes most of the time."""
    total = jnp.zeros_like(d2)
    for a, b in zip(constants[::2], constants[1::2], strict=False):
        total += (2.0 * a * b + (a + b) * d2) / ((a + d2) * (b + d2))
    if len(constants) % 2:
        total += constants[-1] / (constants[-1] + d2)
    return total


def rbf_kernel(within_x: Distances, within_y: Distances, between: Distances) -> tuple[Similarities, ...]:
    """Gaussian kernel exp(-d^2 / (2 s^2)) with s^2 = median of `between` + median of `within_x`.

    The bandwidth follows the data, as in tolstikhin/wae, and the gradient flows through it, so that the estimate is no
    longer exactly unbiased. The median there is the (n^2 - n)/2-th largest of all n^2 entries.
    """
    half = (between.size - between.shape[0]) // 2
    variance = sum(jnp.sort(d2, axis=None)[-half] for d2 in (between, within_x))
    return tuple(jnp.exp(-d2 / (2.0 * variance)) for d2 in (within_x, within_y, between))


def u_statistic_share(
    x: Float[AnyArray, "m Z"],
    y: Float[AnyArray, "m Z"],
    all_x: Float[AnyArray, "n Z"],
    all_y: Float[AnyArray, "n Z"],
    offset: Int[AnyArray, ""] | int,
    kernel: Kernel,
) -> Float[Array, ""]:
    """One device's share of the estimate: the mean over equal shares of the points is the estimate.

    Each device computes the m n distances of its own points instead of all n^2.

    Args:
      x: the device's codes.
      y: the device's samples of the prior.
      all_x: the codes of all devices.
      all_y: the samples of all devices.
      offset: index of the first of `x` in `all_x`; the others follow it, and likewise `y` in `all_y`.
      kernel: one that depends on more than single distances, such as `rbf_kernel`, needs all points in one share.

    Raises:
      ValueError: if the shapes differ, are not [n, Z], or n < 2.
    """
    _check_samples(all_x, all_y)
    m, n = x.shape[0], all_x.shape[0]
    k_xx, k_yy, k_xy = kernel(squared_distances(x, all_x), squared_distances(y, all_y), squared_distances(x, all_y))
    is_other_point = (offset + jnp.arange(m))[:, None] != jnp.arange(n)[None, :]
    within = jnp.sum(k_xx + k_yy, where=is_other_point) / (m * (n - 1))
    return within - 2.0 * jnp.mean(k_xy)


@functools.partial(jax.jit, static_argnames=("prior_variance", "scales"))
def mmd_squared_share(
    x: Float[AnyArray, "m Z"],
    y: Float[AnyArray, "m Z"],
    all_x: Float[AnyArray, "n Z"],
    all_y: Float[AnyArray, "n Z"],
    offset: Int[AnyArray, ""] | int,
    *,
    prior_variance: float,
    scales: tuple[float, ...] = SCALES,
) -> Float[Array, ""]:
    """One device's share of `mmd_squared`; arguments, result and errors as in `u_statistic_share`."""
    kernel = functools.partial(imq_kernel, prior_variance=prior_variance, latent_dim=x.shape[-1], scales=scales)
    return u_statistic_share(x, y, all_x, all_y, offset, kernel)


@functools.partial(jax.jit, static_argnames=("prior_variance", "scales", "tile"))
def mmd_squared_tiled(
    x: Float[AnyArray, "n Z"],
    y: Float[AnyArray, "n Z"],
    *,
    prior_variance: float,
    scales: tuple[float, ...] = SCALES,
    tile: int = 1024,
) -> Float[Array, ""]:
    """`mmd_squared` tile by tile, in memory that does not grow with n: for evaluation, not for gradients.

    Args:
      x: codes.
      y: samples of N(0, prior_variance * I).
      prior_variance: positive; sets the unit of the scales.
      scales: of the kernels that are summed.
      tile: rows and columns of a tile of the matrix of distances.

    Raises:
      ValueError: if the shapes differ, are not [n, Z], or n < 2.
    """
    _check_samples(x, y)
    n, latent_dim = x.shape
    tile = min(tile, n)
    num_tiles = -(-n // tile)
    kernel = functools.partial(imq_kernel, prior_variance=prior_variance, latent_dim=latent_dim, scales=scales)

    def mean(a: AnyArray, b: AnyArray, *, is_within: bool) -> Float[Array, ""]:
        num_pairs = float(n * (n - 1 if is_within else n))  # too large for the integers of XLA
        a, b = (jnp.pad(points, ((0, num_tiles * tile - n), (0, 0))) for points in (a, b))

        def add_tile(i: jax.Array, j: jax.Array, total: jax.Array) -> jax.Array:
            row, column = tile * i + jnp.arange(tile), tile * j + jnp.arange(tile)
            distances = squared_distances(a[row], b[column])
            (similarity,) = kernel(distances)
            is_pair = (row < n)[:, None] & (column < n)[None, :]
            if is_within:
                is_pair &= row[:, None] != column[None, :]
            # Within a sample the matrix is symmetric: only tiles on and above the diagonal are computed.
            count = jnp.where(i < j, 2.0, 1.0) if is_within else 1.0
            return total + count * jnp.sum(similarity, where=is_pair) / num_pairs

        def add_row(i: jax.Array, total: jax.Array) -> jax.Array:
            return jax.lax.fori_loop(i if is_within else 0, num_tiles, functools.partial(add_tile, i), total)

        return jax.lax.fori_loop(0, num_tiles, add_row, jnp.zeros((), a.dtype))

    return mean(x, x, is_within=True) + mean(y, y, is_within=True) - 2.0 * mean(x, y, is_within=False)


def _check_samples(x: AnyArray, y: AnyArray) -> None:
    """Raises ValueError unless the U-statistic of the two samples exists."""
    if x.ndim != 2 or x.shape != y.shape:
        raise ValueError(f"x {x.shape} and y {y.shape} must both be [n, Z], with the same n and Z")
    if x.shape[0] < 2:
        raise ValueError(f"the U-statistic averages over pairs of distinct points and needs n >= 2; n is {x.shape[0]}")
