"""The latent discriminator of WAE-GAN."""

from __future__ import annotations

import flax.linen as nn
from jaxtyping import Array, Float

from wae_jax.array_types import AnyArray
from wae_jax.models.modules import dense


class Discriminator(nn.Module):
    """Logits, [B], of the probabilities D(z) that codes [B, Z] are samples of the prior.

    Attributes:
      widths: units of each hidden layer; they are dense, with ReLU.
    """

    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, z: Float[AnyArray, "B Z"]) -> Float[Array, " B"]:
        """Logits of codes or samples of the prior."""
        for i, width in enumerate(self.widths):
            z = nn.relu(dense(width, z.dtype, f"hidden_{i}")(z))
        return dense(1, z.dtype, "logit")(z)[:, 0]
