"""The three operations of `conv` as single operations of XLA.

"Same" padding is that of TensorFlow for sizes that the stride divides: of max(k - s, 0) rows, half, rounded down, are
in front.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

LAYOUT = ("NHWC", "HWIO", "NHWC")


def same_padding(kernel_size: int, stride: int) -> tuple[int, int]:
    """Numbers of zeros in front of and behind the input along one axis."""
    total = max(kernel_size - stride, 0)
    return total // 2, total - total // 2


def conv_plain(
    x: Float[Array, "B H W I"], kernel: Float[Array, "k_h k_w I O"], strides: tuple[int, int]
) -> Float[Array, "B H//{strides[0]} W//{strides[1]} O"]:
    """Strided convolution with "same" padding."""
    padding = [same_padding(k, s) for k, s in zip(kernel.shape[:2], strides, strict=True)]
    return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=LAYOUT)


def adjoint_plain(
    y: Float[Array, "B H W O"], kernel: Float[Array, "k_h k_w I O"], strides: tuple[int, int]
) -> Float[Array, "B H*{strides[0]} W*{strides[1]} I"]:
    """The adjoint of `conv_plain` in its input: one convolution of `y` dilated by the strides.

    XLA recognizes the gradient of a convolution's input, for which cuDNN has kernels, by a dilated input and a kernel
    that is a reversal. Channels are therefore swapped by the layout: a transpose in between would have to be folded
    first, and a convolution that is not recognized multiplies the zeros between the rows of `y` too.
    """
    k_h, k_w = kernel.shape[:2]
    padding = []
    for k, s in ((k_h, strides[0]), (k_w, strides[1])):
        before, after = same_padding(k, s)
        # With a kernel shorter than the stride, the last cells of each stride have no input.
        padding.append((k - 1 - before, k - 1 - after + max(s - k, 0)))
    return lax.conv_general_dilated(
        y,
        lax.rev(kernel, (0, 1)),
        (1, 1),
        padding,
        lhs_dilation=strides,
        dimension_numbers=("NHWC", "HWOI", "NHWC"),
    )


def kernel_gradient_plain(
    x: Float[Array, "B H W I"],
    y: Float[Array, "B H//{strides[0]} W//{strides[1]} O"],
    kernel_size: tuple[int, int],
    strides: tuple[int, int],
) -> Float[Array, "{kernel_size[0]} {kernel_size[1]} I O"]:
    """The gradient of the kernel of `conv_plain(x, kernel, strides)` for the output gradient `y`."""
    kernel = jnp.zeros((*kernel_size, x.shape[-1], y.shape[-1]), x.dtype)
    (transposed,) = jax.linear_transpose(lambda kernel: conv_plain(x, kernel, strides), kernel)(y)
    return transposed
