"""Strided "same" convolutions, their transposes, and dropout that does not depend on how a batch is sharded.

A strided convolution and the transposed convolution with the same kernel are each other's adjoints. Both
therefore are made of three operations, each given the gradient of the others: the convolution, its adjoint,
and the gradient with respect to the kernel. "Same" padding is TensorFlow's, for sizes that the stride divides:
of the max(k - s, 0) rows of padding the first half, rounded down, goes in front.

On CPU, XLA runs a dilated convolution and the plain kernel gradient many times slower than a stride-1
convolution and a matrix product, so there the adjoint is computed by phases and the kernel gradient as matrix
products. Other platforms get the plain forms. `tests/test_layers.py` holds both to the same numbers.
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
from jax import lax

_LAYOUT = ("NHWC", "HWIO", "NHWC")


def _same_padding(kernel_size: int, stride: int) -> tuple[int, int]:
    total = max(kernel_size - stride, 0)
    return total // 2, total - total // 2


def _check(x: jax.Array, kernel: jax.Array, strides: tuple[int, int], channel_axis: int) -> None:
    if x.ndim != 4 or kernel.ndim != 4 or x.shape[-1] != kernel.shape[channel_axis]:
        raise ValueError(
            f"input {x.shape} does not go with kernel {kernel.shape}: expected [B, H, W, C] "
            f"and {kernel.shape[channel_axis]} channels"
        )
    if channel_axis == 2 and (x.shape[1] % strides[0] or x.shape[2] % strides[1]):
        raise ValueError(f"strides {strides} do not divide the input's size {x.shape[1:3]}")


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def conv(x: jax.Array, kernel: jax.Array, strides: tuple[int, int]) -> jax.Array:
    """Strided convolution with "same" padding.

    Args:
      x: [B, H, W, I].
      kernel: [k_h, k_w, I, O].
      strides: (s_h, s_w); they must divide H and W.

    Returns:
      [B, H / s_h, W / s_w, O].

    Raises:
      ValueError: if shapes or strides do not go together.
    """
    _check(x, kernel, strides, 2)
    padding = [_same_padding(k, s) for k, s in zip(kernel.shape[:2], strides, strict=True)]
    return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=_LAYOUT)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def conv_transpose(y: jax.Array, kernel: jax.Array, strides: tuple[int, int]) -> jax.Array:
    """The adjoint of `conv` in its input: what Keras calls Conv2DTranspose with "same" padding.

    Args:
      y: [B, H, W, O].
      kernel: [k_h, k_w, I, O]: the layout of Keras, which is that of the convolution this is the adjoint of.
      strides: (s_h, s_w).

    Returns:
      [B, H * s_h, W * s_w, I].

    Raises:
      ValueError: if shapes do not go together.
    """
    _check(y, kernel, strides, 3)
    return lax.platform_dependent(
        y,
        kernel,
        cpu=functools.partial(adjoint_by_phases, strides=strides),
        default=functools.partial(adjoint_plain, strides=strides),
    )


def _kernel_gradient(x: jax.Array, y: jax.Array, kernel: jax.Array, strides: tuple[int, int]) -> jax.Array:
    size = kernel.shape[:2]
    return lax.platform_dependent(
        x,
        y,
        cpu=functools.partial(kernel_gradient_by_products, kernel_size=size, strides=strides),
        default=functools.partial(kernel_gradient_plain, kernel_size=size, strides=strides),
    ).astype(kernel.dtype)


def _conv_forward(x, kernel, strides):  # noqa: ANN001, ANN202
    return conv(x, kernel, strides), (x, kernel)


def _conv_backward(strides, saved, dy):  # noqa: ANN001, ANN202
    x, kernel = saved
    return conv_transpose(dy, kernel, strides), _kernel_gradient(x, dy, kernel, strides)


def _conv_transpose_forward(y, kernel, strides):  # noqa: ANN001, ANN202
    return conv_transpose(y, kernel, strides), (y, kernel)


def _conv_transpose_backward(strides, saved, dx):  # noqa: ANN001, ANN202
    y, kernel = saved
    return conv(dx, kernel, strides), _kernel_gradient(dx, y, kernel, strides)


conv.defvjp(_conv_forward, _conv_backward)
conv_transpose.defvjp(_conv_transpose_forward, _conv_transpose_backward)


def adjoint_plain(y: jax.Array, kernel: jax.Array, strides: tuple[int, int]) -> jax.Array:
    """`conv_transpose` as one convolution over the input spread out by the strides."""
    k_h, k_w = kernel.shape[:2]
    padding = []
    for k, s in ((k_h, strides[0]), (k_w, strides[1])):
        before, after = _same_padding(k, s)
        # A kernel shorter than the stride leaves the last cells of each block without any input.
        padding.append((k - 1 - before, k - 1 - after + max(s - k, 0)))
    flipped = jnp.flip(kernel, (0, 1)).swapaxes(2, 3)
    return lax.conv_general_dilated(y, flipped, (1, 1), padding, lhs_dilation=strides, dimension_numbers=_LAYOUT)


def adjoint_by_phases(y: jax.Array, kernel: jax.Array, strides: tuple[int, int]) -> jax.Array:
    """`conv_transpose` as one stride-1 convolution with s_h * s_w * I outputs, which are then laid side by side.

    Output row o = s * q + r - c of phase r needs the kernel's rows r, r + s, r + 2s, ...; the crop c aligns the
    phases with the padding, so that no phase kernel is longer than ceil(k / s).
    """
    batch, *size = y.shape[:3]
    k = kernel.shape[:2]
    channels = kernel.shape[2]
    taps = [-(-k[i] // strides[i]) for i in (0, 1)]
    before = [_same_padding(k[i], strides[i])[0] for i in (0, 1)]
    crop = [before[i] % strides[i] for i in (0, 1)]
    blocks = [before[i] // strides[i] for i in (0, 1)]

    kernel = jnp.pad(kernel, [(0, taps[i] * strides[i] - k[i]) for i in (0, 1)] + [(0, 0), (0, 0)])
    phases = kernel.reshape(taps[0], strides[0], taps[1], strides[1], channels, -1)
    phases = jnp.flip(phases, (0, 2)).transpose(0, 2, 5, 1, 3, 4)
    phases = phases.reshape(taps[0], taps[1], y.shape[3], -1)
    padding = [(taps[i] - 1 - blocks[i], blocks[i] + (crop[i] > 0)) for i in (0, 1)]
    z = lax.conv_general_dilated(y, phases, (1, 1), padding, dimension_numbers=_LAYOUT)

    rows, columns = z.shape[1:3]
    z = z.reshape(batch, rows, columns, strides[0], strides[1], channels).transpose(0, 1, 3, 2, 4, 5)
    z = z.reshape(batch, rows * strides[0], columns * strides[1], channels)
    return z[:, crop[0] : crop[0] + size[0] * strides[0], crop[1] : crop[1] + size[1] * strides[1]]


def kernel_gradient_plain(
    x: jax.Array, y: jax.Array, kernel_size: tuple[int, int], strides: tuple[int, int]
) -> jax.Array:
    """The kernel's gradient where `conv(x, kernel, strides)` has the output gradient `y`: [k_h, k_w, I, O]."""
    padding = [_same_padding(k, s) for k, s in zip(kernel_size, strides, strict=True)]

    def convolve(kernel: jax.Array) -> jax.Array:
        return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=_LAYOUT)

    (transposed,) = jax.linear_transpose(convolve, jnp.zeros((*kernel_size, x.shape[-1], y.shape[-1]), x.dtype))(y)
    return transposed


def kernel_gradient_by_products(
    x: jax.Array, y: jax.Array, kernel_size: tuple[int, int], strides: tuple[int, int]
) -> jax.Array:
    """The same as `kernel_gradient_plain`, as a matrix product of shifted inputs with `y` for each few phrases.

    The strides are turned into channels first. A `y` of few channels has neighbouring columns joined into one
    wider column, for larger matrices and fewer copies; the kernel's columns are then spread over several
    shifts, and are summed at the end.
    """
    batch, height, width, outputs = y.shape
    inputs = x.shape[3]
    join = next(j for j in (*range(max(1, 64 // outputs), 0, -1), 1) if width % j == 0)
    block = (strides[0], strides[1] * join)
    reach = (kernel_size[0], kernel_size[1] + strides[1] * (join - 1))
    taps = [-(-reach[i] // block[i]) for i in (0, 1)]
    grid = (height, width // join)

    before = [_same_padding(kernel_size[i], strides[i])[0] for i in (0, 1)]
    after = [(grid[i] + taps[i] - 1) * block[i] - before[i] - x.shape[1 + i] for i in (0, 1)]
    x = jnp.pad(x, [(0, 0), (before[0], max(after[0], 0)), (before[1], max(after[1], 0)), (0, 0)])
    x = x[:, : (grid[0] + taps[0] - 1) * block[0], : (grid[1] + taps[1] - 1) * block[1]]

    # As many phrases at a time as keep the shifted inputs near a megabyte: large products that stay in cache.
    depth = block[0] * block[1] * inputs
    wanted = max(1, 2**18 // (taps[0] * taps[1] * depth * grid[0] * grid[1]))
    chunk = next(c for c in range(min(wanted, batch), 0, -1) if batch % c == 0)

    x = x.reshape(batch // chunk, chunk, grid[0] + taps[0] - 1, block[0], grid[1] + taps[1] - 1, block[1] * inputs)
    x = x.transpose(0, 3, 5, 1, 2, 4).reshape(batch // chunk, depth, chunk, *(grid[i] + taps[i] - 1 for i in (0, 1)))
    y = y.reshape(batch // chunk, chunk * grid[0] * grid[1], join * outputs)

    def add(total: jax.Array, some: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        x_some, y_some = some
        shifted = [
            x_some[:, :, i : i + grid[0], j : j + grid[1]].reshape(depth, -1)
            for i in range(taps[0])
            for j in range(taps[1])
        ]
        product = jnp.dot(jnp.concatenate(shifted), y_some, preferred_element_type=total.dtype)
        return total + product, None

    accumulate = jnp.promote_types(x.dtype, jnp.float32)
    total = jnp.zeros((taps[0] * taps[1] * depth, join * outputs), accumulate)
    total, _ = lax.scan(add, total, (x, y))

    total = total.reshape(taps[0], taps[1], block[0], block[1], inputs, join, outputs)
    total = total.transpose(0, 2, 1, 3, 4, 5, 6).reshape(taps[0] * block[0], taps[1] * block[1], inputs, join, outputs)
    parts = [total[: kernel_size[0], strides[1] * j : strides[1] * j + kernel_size[1], :, j] for j in range(join)]
    return sum(parts[1:], parts[0]).astype(x.dtype)


def dropout(keys: jax.Array, x: jax.Array, rate: float) -> jax.Array:
    """Sets each unit to 0 with probability `rate` and scales the others by 1 / (1 - rate).

    Args:
      keys: one random key for each example, [B]: a mask must not depend on which device an example is on.
      x: [B, ...].
      rate: probability, 0 <= rate < 1.

    Returns:
      An array like `x`.
    """
    if rate == 0.0:
        return x
    keep = jax.vmap(lambda key: jax.random.bernoulli(key, 1.0 - rate, x.shape[1:]))(keys)
    return jnp.where(keep, x / (1.0 - rate), jnp.zeros_like(x))


def density_logit(density: float) -> float:
    """The logit of a probability, kept finite for tracks that never sound."""
    clipped = min(max(density, 1e-6), 1.0 - 1e-6)
    return math.log(clipped / (1.0 - clipped))
