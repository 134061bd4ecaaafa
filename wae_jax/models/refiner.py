"""A refiner after the decoder: residual units that see a track whole and mend what the decoder made of it.

A decoder's last layer makes every cell of what it knows of the place; whether the cells around it sound is not part of
that, and so notes are torn and specks appear. As in Dong and Yang (arXiv 1804.09399), who put binary neurons after it,
the refiner takes the decoder's outputs for its input, and each track has units of its own. A unit normalises, activates
and convolves twice and adds the result to its input (He et al., arXiv 1603.05027). Theirs have kernels of 3 x 12 cells
and 64 filters; here the first convolution may have strides, and the second is then its transpose: the filters of a unit
then belong to places of the meter, and there are fewer of them to compute.

The last kernel of each unit starts at 0: until training moves it, the refiner changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from wae_jax.models.modules import ACTIVATIONS, Convolution, Filtered, Images, batch_norm, kernel_init
from wae_jax.models.networks import RefinerUnits
from wae_jax.pianoroll import NUM_TRACKS
from wae_jax.pianoroll.note_planes import Outputs


class _OfUnits(nn.Module):
    """What units and the refiner that they make up have in common; the attributes are those of `Refiner`."""

    units: RefinerUnits
    activation: str
    batch_norm_momentum: float
    dtype: DTypeLike
    axis_name: str | None


class ResidualUnit(_OfUnits):
    """One unit of all tracks, whose channels lie together."""

    @nn.compact
    def __call__(self, x: Float[Array, "B T P C"], *, train: bool) -> Float[Array, "B T P C"]:
        """The input, and what the unit makes of it, together."""
        y = self._activated(x, "norm_in", train=train)
        y = self._convolved(y, NUM_TRACKS * self.units.filters, "conv_in")
        y = self._activated(y, "norm_out", train=train)
        return x + self._convolved(y, x.shape[-1], "conv_out").astype(x.dtype)

    def _activated(self, x: Images, name: str, *, train: bool) -> Images:
        norm = batch_norm(
            name, train=train, momentum=self.batch_norm_momentum, dtype=self.dtype, axis_name=self.axis_name
        )
        return ACTIVATIONS[self.activation](norm(x))

    def _convolved(self, x: Images, filters: int, name: str) -> Filtered:
        is_last = name == "conv_out"
        return Convolution(
            filters=filters,
            strides=self.units.strides,
            kernel_size=self.units.kernel,
            use_bias=False,
            transpose=is_last,
            groups=NUM_TRACKS,
            kernel_init=nn.initializers.zeros if is_last else kernel_init,
            dtype=self.dtype,
            name=name,
        )(x)


class Refiner(_OfUnits):
    """The decoder's outputs, logits of cells or of planes, to others of that kind.

    Attributes:
      units: how many and of what size.
      activation: a key of `blocks.ACTIVATIONS`.
      batch_norm_momentum: as of `models.Autoencoder`.
      dtype: of the computation but for the sums with the inputs, which are of these' type.
      axis_name: the mapped axis that batch statistics are taken over, or None.
    """

    @nn.compact
    def __call__(self, outputs: Outputs, *, train: bool) -> Outputs:
        """Refined outputs."""
        # A track's planes are channels of its own, next to each other.
        x = jnp.asarray(outputs).reshape(*outputs.shape[:3], -1)
        for i in range(self.units.num):
            x = ResidualUnit(
                self.units, self.activation, self.batch_norm_momentum, self.dtype, self.axis_name, name=f"unit_{i}"
            )(x, train=train)
        return x.reshape(outputs.shape)


def make_refine(
    autoencoder: nn.Module, *, first_step: int
) -> Callable[[Any, Any, Outputs, Int[Array, ""]], tuple[Outputs, Any]]:
    """How the decoder's outputs are refined while training.

    Args:
      autoencoder: with a method `refine`.
      first_step: from which on they are; until then nothing of it is computed.

    Returns:
      A function of the autoencoder's parameters, its batch statistics, the decoder's outputs and the step, to refined
      outputs and new batch statistics.
    """

    def refine(params: Any, batch_stats: Any, outputs: Outputs, step: Int[Array, ""]) -> tuple[Outputs, Any]:
        def refined(outputs: Outputs) -> tuple[Outputs, Any]:
            variables = {"params": params, "batch_stats": batch_stats}
            found: Any = autoencoder.apply(variables, outputs, train=True, mutable=["batch_stats"], method="refine")
            return found[0], found[1].get("batch_stats", {})

        if not first_step:
            return refined(outputs)
        return lax.cond(step < first_step, lambda outputs: (outputs, batch_stats), refined, outputs)

    return refine
