"""What the networks' modules are made of: convolutions, dense layers, normalisation and activations.

As in `w00zie/wae_music`, normalisation has Keras' constants, and kernels start as truncated normal draws of deviation
.05.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from wae_jax.models import conv

NORM_EPSILON = 1e-3
LEAKY_RELU_SLOPE = 0.3  # Keras' default; that of jax and of others is .01
Units = Float[Array, "B *shape"]
Images = Float[Array, "B H W C"]
Filtered = Float[Array, "B rows columns F"]
ACTIVATIONS: dict[str, Callable[[Units], Units]] = {
    "relu": nn.relu,
    "leaky_relu": functools.partial(nn.leaky_relu, negative_slope=LEAKY_RELU_SLOPE),
}
kernel_init = nn.initializers.truncated_normal(0.05)


def full_precision(dtype: DTypeLike) -> jnp.dtype:
    """The type of parameters, codes and logits where the computation is of `dtype`: at least float32."""
    return jnp.promote_types(dtype, jnp.float32)


def dense(features: int, dtype: DTypeLike, name: str) -> nn.Dense:
    """A dense layer that computes in `dtype`."""
    return nn.Dense(features, kernel_init=kernel_init, dtype=dtype, param_dtype=full_precision(dtype), name=name)


def batch_norm(name: str, *, train: bool, momentum: float, dtype: DTypeLike, axis_name: str | None) -> nn.BatchNorm:
    """Normalises each channel over the batch of the mapped axis and all cells; by moving averages when not training."""
    return nn.BatchNorm(
        use_running_average=not train,
        momentum=momentum,
        epsilon=NORM_EPSILON,
        dtype=dtype,
        param_dtype=full_precision(dtype),
        axis_name=axis_name,
        name=name,
    )


class Convolution(nn.Module):
    """One convolution in either direction; kernels are [k_h, k_w, narrow side's channels, wide side's].

    In several groups, each has its equal share of the filters, which see its share of the input's channels alone. They
    are computed one after the other: on CPUs XLA's grouped convolution takes several times as long.
    """

    filters: int
    strides: tuple[int, int]
    kernel_size: tuple[int, int]
    use_bias: bool
    transpose: bool
    dtype: DTypeLike
    groups: int = 1
    kernel_init: nn.initializers.Initializer = kernel_init
    bias_init: nn.initializers.Initializer = nn.initializers.zeros

    @nn.compact
    def __call__(self, x: Images) -> Filtered:
        """What the filters make of examples."""
        seen = x.shape[-1] // self.groups
        channels = (self.filters, seen) if self.transpose else (seen, self.filters)
        kernel = self.param("kernel", self.kernel_init, (*self.kernel_size, *channels), full_precision(self.dtype))
        operation = conv.conv_transpose if self.transpose else conv.conv
        inputs = jnp.split(x.astype(self.dtype), self.groups, axis=-1)
        kernels = jnp.split(kernel.astype(self.dtype), self.groups, axis=2 if self.transpose else 3)
        outputs = [operation(one, own, self.strides) for one, own in zip(inputs, kernels, strict=True)]
        y = jnp.concatenate(outputs, axis=-1)
        if self.use_bias:
            # The sum, and so the result, is in full precision: the gradient of a bias is a sum over a batch's cells.
            y = y + self.param("bias", self.bias_init, (self.filters,), full_precision(self.dtype))
        return y
