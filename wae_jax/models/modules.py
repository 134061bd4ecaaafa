"""The layers of the networks: convolutions, dense layers, normalization, activations and dropout.

As in `w00zie/wae_music`, normalization has the constants of Keras, and initial kernels are truncated normal with
standard deviation .05.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key

from wae_jax.models import conv

NORM_EPSILON = 1e-3
LEAKY_RELU_SLOPE = 0.3  # the default of Keras; that of jax is .01
Units = Float[Array, "B *shape"]
Images = Float[Array, "B H W C"]
Filtered = Float[Array, "B rows columns F"]
ACTIVATIONS: dict[str, Callable[[Units], Units]] = {
    "relu": nn.relu,
    "leaky_relu": functools.partial(nn.leaky_relu, negative_slope=LEAKY_RELU_SLOPE),
}
kernel_init = nn.initializers.truncated_normal(0.05)


def full_precision(dtype: DTypeLike) -> jnp.dtype:
    """The type of parameters, codes and logits of a computation in `dtype`: at least float32."""
    return jnp.promote_types(dtype, jnp.float32)


def dense(features: int, dtype: DTypeLike, name: str) -> nn.Dense:
    """A dense layer that computes in `dtype`."""
    return nn.Dense(features, kernel_init=kernel_init, dtype=dtype, param_dtype=full_precision(dtype), name=name)


def batch_norm(name: str, *, train: bool, momentum: float, dtype: DTypeLike, axis_name: str | None) -> nn.BatchNorm:
    """Returns a layer that normalizes channels over the mapped axis's batch and all cells, or by moving averages."""
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
    """A convolution or transposed convolution.

    The kernel is [k_h, k_w, I, O], in a transposed convolution [k_h, k_w, O, I]. Filters and input channels are divided
    into equal groups that do not see each other. Groups are computed one by one: XLA's grouped convolution is several
    times slower on CPUs.
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
        """Filtered examples."""
        inputs_per_group = x.shape[-1] // self.groups
        channels = (self.filters, inputs_per_group) if self.transpose else (inputs_per_group, self.filters)
        kernel = self.param("kernel", self.kernel_init, (*self.kernel_size, *channels), full_precision(self.dtype))
        operation = conv.conv_transpose if self.transpose else conv.conv
        inputs = jnp.split(x.astype(self.dtype), self.groups, axis=-1)
        kernels = jnp.split(kernel.astype(self.dtype), self.groups, axis=2 if self.transpose else 3)
        outputs = [operation(x, kernel, self.strides) for x, kernel in zip(inputs, kernels, strict=True)]
        y = jnp.concatenate(outputs, axis=-1)
        if self.use_bias:
            # In full precision, since the gradient of a bias is a sum over all cells of a batch.
            y = y + self.param("bias", self.bias_init, (self.filters,), full_precision(self.dtype))
        return y


def dropout(keys: Key[Array, " B"], x: Float[Array, " B *shape"], rate: float) -> Float[Array, " B *shape"]:
    """Sets each unit to 0 with probability `rate`, and scales the others by 1 / (1 - rate).

    Args:
      keys: one for each example, so that a mask does not depend on the device of the example.
      x: examples.
      rate: at least 0, below 1.
    """
    if rate == 0.0:
        return x
    keep = jax.vmap(lambda key: jax.random.bernoulli(key, 1.0 - rate, x.shape[1:]))(keys)
    return jnp.where(keep, x / (1.0 - rate), jnp.zeros_like(x))


def density_logit(density: float) -> float:
    """The logit of a probability, finite for 0 and 1 too."""
    clipped = min(max(density, 1e-6), 1.0 - 1e-6)
    return math.log(clipped / (1.0 - clipped))
