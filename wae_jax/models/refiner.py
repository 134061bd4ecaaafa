"""A refiner after the decoder: residual units that see a whole track and correct broken notes and very short ones.

The decoder's last layer computes a cell without knowing whether the cells around it are active. The refiner takes the
decoder's logits as input, with filters of each track's own, as in Dong and Yang (arXiv 1804.09399). A unit normalizes,
activates and convolves twice and adds the result to its input (He et al., arXiv 1603.05027). Theirs have kernels of
3 x 12 cells and 64 filters. Here the first convolution may have strides, and the second is then its transpose, so that
filters belong to positions in the meter, and there are fewer of them to compute.

The last kernel of each unit is initially 0: the refiner changes nothing until training moves it.
"""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from wae_jax.config import ModelSpec, RefinerSpec
from wae_jax.models.encoder_decoder import Logits
from wae_jax.models.modules import ACTIVATIONS, Convolution, Filtered, Images, batch_norm, kernel_init
from wae_jax.pianoroll import NUM_TRACKS


class ResidualUnit(nn.Module):
    """One unit, for all tracks at once; the attributes are those of `Refiner`."""

    spec: RefinerSpec
    model: ModelSpec
    dtype: DTypeLike
    axis_name: str | None

    @nn.compact
    def __call__(self, x: Float[Array, "B T P C"], *, train: bool) -> Float[Array, "B T P C"]:
        """The input plus the unit's correction."""
        y = self._activate(x, "norm_in", train=train)
        y = self._convolve(y, NUM_TRACKS * self.spec.filters, "conv_in", kernel_init)
        y = self._activate(y, "norm_out", train=train)
        return x + self._convolve(y, x.shape[-1], "conv_out", nn.initializers.zeros, transpose=True).astype(x.dtype)

    def _activate(self, x: Images, name: str, *, train: bool) -> Images:
        momentum = self.model.batch_norm_momentum
        norm = batch_norm(name, train=train, momentum=momentum, dtype=self.dtype, axis_name=self.axis_name)
        return ACTIVATIONS[self.model.activation](norm(x))

    def _convolve(
        self, x: Images, filters: int, name: str, init: nn.initializers.Initializer, *, transpose: bool = False
    ) -> Filtered:
        return Convolution(
            filters=filters,
            strides=self.spec.strides,
            kernel_size=self.spec.kernel_size,
            use_bias=False,
            transpose=transpose,
            groups=NUM_TRACKS,
            kernel_init=init,
            dtype=self.dtype,
            name=name,
        )(x)


class Refiner(nn.Module):
    """Logits of the decoder to refined logits.

    Attributes:
      spec: number and size of the units.
      model: has the activation and the momentum of batch normalization, which the refiner always uses.
      dtype: of the computation, except the sums with the inputs.
      axis_name: the mapped axis over which batch statistics are taken, or None.
    """

    spec: RefinerSpec
    model: ModelSpec
    dtype: DTypeLike
    axis_name: str | None

    @nn.compact
    def __call__(self, logits: Logits, *, train: bool) -> Logits:
        """Refined logits."""
        x = jnp.asarray(logits)
        for i in range(self.spec.num_units):
            x = ResidualUnit(self.spec, self.model, self.dtype, self.axis_name, name=f"unit_{i}")(x, train=train)
        return x
