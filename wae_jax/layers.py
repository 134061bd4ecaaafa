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
from jaxtyping import Array, Float, Key

_LAYOUT = ("NHWC", "HWIO", "NHWC")
_Images = Float[Array, "B H W C"]
_Kernel = Float[Array, "k_h k_w I O"]
_Saved = tuple[_Images, _Kernel]


def _same_padding(kernel_size: int, stride: int) -> tuple[int, int]:
    total = max(kernel_size - stride, 0)
    return total // 2, total - total // 2


def _check(x: Array, kernel: Array, strides: tuple[int, int], channel_axis: int) -> None:
    if x.ndim != 4 or kernel.ndim != 4 or x.shape[-1] != kernel.shape[channel_axis]:
        raise ValueError(
            f"input {x.shape} does not go with kernel {kernel.shape}: expected [B, H, W, C] "
            f"and {kernel.shape[channel_axis]} channels"
        )
    if channel_axis == 2 and (x.shape[1] % strides[0] or x.shape[2] % strides[1]):
        raise ValueError(f"strides {strides} do not divide the input's size {x.shape[1:3]}")


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def conv(
    x: Float[Array, "B H W I"], kernel: _Kernel, strides: tuple[int, int]
) -> Float[Array, "B H//{strides[0]} W//{strides[1]} O"]:
    """Strided convolution with "same" padding.

    Args:
      x: examples.
      kernel: of one type with `x`.
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
def conv_transpose(
    y: Float[Array, "B H W O"], kernel: _Kernel, strides: tuple[int, int]
) -> Float[Array, "B H*{strides[0]} W*{strides[1]} I"]:
    """The adjoint of `conv` in its input: what Keras calls Conv2DTranspose with "same" padding.

    Args:
      y: examples.
      kernel: in the layout of Keras, which is that of the convolution this is the adjoint of.
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


def _kernel_gradient(
    x: Float[Array, "B H W I"], y: Float[Array, "B rows columns O"], kernel: _Kernel, strides: tuple[int, int]
) -> _Kernel:
    size = (kernel.shape[0], kernel.shape[1])
    return lax.platform_dependent(
        x,
        y,
        cpu=functools.partial(kernel_gradient_by_products, kernel_size=size, strides=strides),
        default=functools.partial(kernel_gradient_plain, kernel_size=size, strides=strides),
    ).astype(kernel.dtype)


def _conv_forward(x: _Images, kernel: _Kernel, strides: tuple[int, int]) -> tuple[Array, _Saved]:
    return conv(x, kernel, strides), (x, kernel)


def _conv_backward(strides: tuple[int, int], saved: _Saved, dy: Float[Array, "B rows columns O"]) -> _Saved:
    x, kernel = saved
    return conv_transpose(dy, kernel, strides), _kernel_gradient(x, dy, kernel, strides)


def _conv_transpose_forward(y: _Images, kernel: _Kernel, strides: tuple[int, int]) -> tuple[Array, _Saved]:
    return conv_transpose(y, kernel, strides), (y, kernel)


def _conv_transpose_backward(strides: tuple[int, int], saved: _Saved, dx: Float[Array, "B rows columns I"]) -> _Saved:
    y, kernel = saved
    return conv(dx, kernel, strides), _kernel_gradient(dx, y, kernel, strides)


conv.defvjp(_conv_forward, _conv_backward)
conv_transpose.defvjp(_conv_transpose_forward, _conv_transpose_backward)


def adjoint_plain(
    y: Float[Array, "B H W O"], kernel: _Kernel, strides: tuple[int, int]
) -> Float[Array, "B H*{strides[0]} W*{strides[1]} I"]:
    """`conv_transpose` as one convolution over the input spread out by the strides."""
    k_h, k_w = kernel.shape[:2]
    padding = []
    for k, s in ((k_h, strides[0]), (k_w, strides[1])):
        before, after = _same_padding(k, s)
        # A kernel shorter than the stride leaves the last cells of each block without any input.
        padding.append((k - 1 - before, k - 1 - after + max(s - k, 0)))
    flipped = jnp.flip(kernel, (0, 1)).swapaxes(2, 3)
    return lax.conv_general_dilated(y, flipped, (1, 1), padding, lhs_dilation=strides, dimension_numbers=_LAYOUT)


def adjoint_by_phases(
    y: Float[Array, "B H W O"], kernel: _Kernel, strides: tuple[int, int]
) -> Float[Array, "B H*{strides[0]} W*{strides[1]} I"]:
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
    x: Float[Array, "B H W I"],
    y: Float[Array, "B H//{strides[0]} W//{strides[1]} O"],
    kernel_size: tuple[int, int],
    strides: tuple[int, int],
) -> Float[Array, "{kernel_size[0]} {kernel_size[1]} I O"]:
    """The kernel's gradient where `conv(x, kernel, strides)` has the output gradient `y`."""
    padding = [_same_padding(k, s) for k, s in zip(kernel_size, strides, strict=True)]

    def convolve(kernel: Array) -> Array:
        return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=_LAYOUT)

    (transposed,) = jax.linear_transpose(convolve, jnp.zeros((*kernel_size, x.shape[-1], y.shape[-1]), x.dtype))(y)
    return transposed


def kernel_gradient_by_products(
    x: Float[Array, "B H W I"],
    y: Float[Array, "B H//{strides[0]} W//{strides[1]} O"],
    kernel_size: tuple[int, int],
    strides: tuple[int, int],
) -> Float[Array, "{kernel_size[0]} {kernel_size[1]} I O"]:
    """The same as `kernel_gradient_plain`, as products of `x` with shifted copies of `y`, a few phrases at a time.

    The strides are turned into channels first, so that one product serves a block of the kernel's cells. Where
    channels are few, neighbouring columns are joined into one wider column, for larger matrices; the kernel's columns
    are then spread over several products, and are summed at the end. `y` gets as many columns as the padded `x`, the
    additional ones zero: a shift by rows and columns is then one shift in memory.
    """
    batch, height, width, outputs = y.shape
    inputs = x.shape[3]
    join = _columns_to_join(width, inputs, outputs, kernel_size, strides)
    block = (strides[0], strides[1] * join)
    taps, grid = _blocks(height, width, kernel_size, strides, join)
    depth = block[0] * block[1] * inputs

    before = [_same_padding(kernel_size[i], strides[i])[0] for i in (0, 1)]
    after = [grid[i] * block[i] - before[i] - x.shape[1 + i] for i in (0, 1)]
    x = jnp.pad(x, [(0, 0), (before[0], max(after[0], 0)), (before[1], max(after[1], 0)), (0, 0)])
    x = x[:, : grid[0] * block[0], : grid[1] * block[1]]

    # As many phrases at a time as keep the operands near a megabyte: large products that stay in cache.
    wanted = max(1, 2**18 // ((taps[0] * taps[1] * join * outputs + depth) * grid[0] * grid[1]))
    chunk = next(c for c in range(min(wanted, batch), 0, -1) if batch % c == 0)
    cells = chunk * grid[0] * grid[1]
    x = x.reshape(batch // chunk, chunk, grid[0], block[0], grid[1], block[1] * inputs)
    x = x.transpose(0, 3, 5, 1, 2, 4).reshape(batch // chunk, depth, cells)
    y = y.reshape(batch, height, width // join, join * outputs)
    y = jnp.pad(y, ((0, 0), (0, grid[0] - height), (0, grid[1] - width // join), (0, 0)))
    shifts = [i * grid[1] + j for i in range(taps[0]) for j in range(taps[1])]
    y = jnp.pad(y.reshape(batch // chunk, cells, join * outputs), ((0, 0), (shifts[-1], 0), (0, 0)))

    accumulate = jnp.promote_types(x.dtype, jnp.float32)

    def add(total: Array, some: tuple[Array, Array]) -> tuple[Array, None]:
        x_some, y_some = some
        shifted = [y_some[shifts[-1] - shift : shifts[-1] - shift + cells] for shift in shifts]
        return total + jnp.stack([jnp.dot(x_some, one, preferred_element_type=accumulate) for one in shifted]), None

    total, _ = lax.scan(add, jnp.zeros((len(shifts), depth, join * outputs), accumulate), (x, y))

    total = total.reshape(taps[0], taps[1], block[0], block[1], inputs, join, outputs)
    total = total.transpose(0, 2, 1, 3, 4, 5, 6).reshape(taps[0] * block[0], taps[1] * block[1], inputs, join, outputs)
    parts = [total[: kernel_size[0], strides[1] * j : strides[1] * j + kernel_size[1], :, j] for j in range(join)]
    return sum(parts[1:], parts[0]).astype(x.dtype)


def _blocks(
    height: int, width: int, kernel_size: tuple[int, int], strides: tuple[int, int], join: int
) -> tuple[tuple[int, int], tuple[int, int]]:
    """How many blocks of s_h by s_w * join cells the kernel reaches over, and how many the padded input has."""
    rows = -(-kernel_size[0] // strides[0])
    columns = -(-(kernel_size[1] + strides[1] * (join - 1)) // (strides[1] * join))
    return (rows, columns), (height + rows - 1, width // join + columns - 1)


def _columns_to_join(
    width: int, inputs: int, outputs: int, kernel_size: tuple[int, int], strides: tuple[int, int]
) -> int:
    """The number of columns that makes for the least work, where a matrix narrower than 64 costs as if it were 64."""

    def work(join: int) -> int:
        taps, grid = _blocks(1, width, kernel_size, strides, join)
        depth = strides[0] * strides[1] * join * inputs
        return taps[0] * taps[1] * grid[1] * max(depth, 64) * max(join * outputs, 64)

    return min((join for join in range(1, width + 1) if width % join == 0), key=work)


def dropout(keys: Key[Array, " B"], x: Float[Array, " B *shape"], rate: float) -> Float[Array, " B *shape"]:
    """Sets each unit to 0 with probability `rate` and scales the others by 1 / (1 - rate).

    Args:
      keys: one for each example: a mask must not depend on which device an example is on.
      x: examples.
      rate: probability, 0 <= rate < 1.

    Returns:
      An array of the type of `x`.
    """
    if rate == 0.0:
        return x
    keep = jax.vmap(lambda key: jax.random.bernoulli(key, 1.0 - rate, x.shape[1:]))(keys)
    return jnp.where(keep, x / (1.0 - rate), jnp.zeros_like(x))


def density_logit(density: float) -> float:
    """The logit of a probability, kept finite for tracks that never sound."""
    clipped = min(max(density, 1e-6), 1.0 - 1e-6)
    return math.log(clipped / (1.0 - clipped))
