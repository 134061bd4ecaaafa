"""Strided "same" convolutions and their transposes, in the form that is fast on the platform.

A strided convolution and the transposed convolution with the same kernel are adjoints of each other. Three operations
make both and their gradients: the convolution, its adjoint, and the gradient with respect to the kernel. CPUs use those
of `conv_cpu`, other platforms those of `conv_plain`; tests check that both give the same numbers.
"""

from __future__ import annotations

import functools

import jax
from jax import lax
from jaxtyping import Array, Float

from wae_jax.models import conv_cpu, conv_plain

_Images = Float[Array, "B H W C"]
_Kernel = Float[Array, "k_h k_w I O"]
_Saved = tuple[_Images, _Kernel]


def _check(x: Array, kernel: Array, strides: tuple[int, int], channel_axis: int) -> None:
    if x.ndim != 4 or kernel.ndim != 4 or x.shape[-1] != kernel.shape[channel_axis]:
        raise ValueError(
            f"input {x.shape} does not match kernel {kernel.shape}; "
            f"expected [B, H, W, {kernel.shape[channel_axis]}] and [k_h, k_w, I, O]"
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
      kernel: of the type of `x`.
      strides: (s_h, s_w); they must divide H and W.

    Raises:
      ValueError: if shapes or strides do not match.
    """
    _check(x, kernel, strides, 2)
    return lax.platform_dependent(
        x,
        kernel,
        cpu=functools.partial(conv_cpu.conv_by_blocks, strides=strides),
        default=functools.partial(conv_plain.conv_plain, strides=strides),
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def conv_transpose(
    y: Float[Array, "B H W O"], kernel: _Kernel, strides: tuple[int, int]
) -> Float[Array, "B H*{strides[0]} W*{strides[1]} I"]:
    """The adjoint of `conv` in its input: Conv2DTranspose of Keras with "same" padding.

    Args:
      y: examples.
      kernel: in the layout of Keras, which is that of `conv`.
      strides: (s_h, s_w).

    Raises:
      ValueError: if shapes do not match.
    """
    _check(y, kernel, strides, 3)
    return lax.platform_dependent(
        y,
        kernel,
        cpu=functools.partial(conv_cpu.adjoint_by_blocks, strides=strides),
        default=functools.partial(conv_plain.adjoint_plain, strides=strides),
    )


def _kernel_gradient(
    x: Float[Array, "B H W I"], y: Float[Array, "B rows columns O"], kernel: _Kernel, strides: tuple[int, int]
) -> _Kernel:
    size = (kernel.shape[0], kernel.shape[1])
    return lax.platform_dependent(
        x,
        y,
        cpu=functools.partial(conv_cpu.kernel_gradient_by_products, kernel_size=size, strides=strides),
        default=functools.partial(conv_plain.kernel_gradient_plain, kernel_size=size, strides=strides),
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
