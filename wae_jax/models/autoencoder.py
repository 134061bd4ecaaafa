"""The autoencoder: encoder, decoder and refiner with one tree of parameters."""

from __future__ import annotations

from collections.abc import Sequence

import flax.linen as nn
import jax.numpy as jnp
from jax.typing import DTypeLike

from wae_jax.config import ModelSpec, RefinerSpec
from wae_jax.models.encoder_decoder import Codes, Decoder, Encoded, Encoder, Keys, Logits, Rolls
from wae_jax.models.modules import density_logit
from wae_jax.models.refiner import Refiner
from wae_jax.pianoroll import NUM_TRACKS


class Autoencoder(nn.Module):
    """Encoder, decoder and refiner; see `make_autoencoder`.

    Attributes:
      spec: of the encoder and the decoder.
      refiner_spec: of the refiner after the decoder; a `num_units` of 0 means none.
      dtype: of the computation; parameters, codes, logits and batch statistics are at least float32.
      output_bias: initial logits of cells, one a track: the initial biases of the last layer.
      axis_name: the mapped axis over which batch statistics are taken, or None.

    `encoder_keys` and `decoder_keys` are one random key a phrase, [B], in training, for dropout. None means evaluation:
    no dropout, and moving averages in place of the batch's statistics. `noise_keys` are the keys of a random encoder;
    without them its codes are means.
    """

    spec: ModelSpec
    refiner_spec: RefinerSpec = RefinerSpec()
    dtype: DTypeLike = jnp.float32
    output_bias: tuple[float, ...] = (0.0,) * NUM_TRACKS
    axis_name: str | None = None

    def setup(self) -> None:
        """Creates the parts."""
        self.encoder = Encoder(self.spec, self.dtype, self.axis_name)
        self.decoder = Decoder(self.spec, self.dtype, self.axis_name, output_bias=self.output_bias)
        if self.refiner_spec.num_units:
            self.refiner = Refiner(self.refiner_spec, self.spec, self.dtype, self.axis_name)

    def encode(self, x: Rolls) -> Codes:
        """Codes [B, Z] of phrases, in evaluation; means if the encoder is random."""
        return self.encoder(x, dropout_keys=None, noise_keys=None).z

    def decode(self, z: Codes) -> Logits:
        """Logits of cells from codes, in evaluation."""
        return self.refine(self.decoder(z, dropout_keys=None), train=False)

    def refine(self, logits: Logits, *, train: bool) -> Logits:
        """Refined logits; the logits themselves without a refiner."""
        return self.refiner(logits, train=train) if self.refiner_spec.num_units else logits

    def autoencode(
        self,
        x: Rolls,
        *,
        encoder_keys: Keys | None = None,
        decoder_keys: Keys | None = None,
        noise_keys: Keys | None = None,
    ) -> tuple[Encoded, Logits]:
        """The encoded phrases, and the logits of their reconstructions' cells."""
        encoded = self.encoder(x, dropout_keys=encoder_keys, noise_keys=noise_keys)
        logits = self.decoder(encoded.z, dropout_keys=decoder_keys)
        return encoded, self.refine(logits, train=decoder_keys is not None)

    def __call__(
        self,
        x: Rolls,
        *,
        encoder_keys: Keys | None = None,
        decoder_keys: Keys | None = None,
        noise_keys: Keys | None = None,
    ) -> tuple[Codes, Logits]:
        """Codes [B, Z] of phrases and logits of their reconstructions' cells."""
        encoded, logits = self.autoencode(
            x, encoder_keys=encoder_keys, decoder_keys=decoder_keys, noise_keys=noise_keys
        )
        return encoded.z, logits


def make_autoencoder(
    model: ModelSpec,
    refiner: RefinerSpec,
    *,
    dtype: DTypeLike,
    track_densities: Sequence[float] = (0.5,) * NUM_TRACKS,
    axis_name: str | None = None,
) -> Autoencoder:
    """Returns the module that a configuration describes.

    Args:
      model: the encoder and the decoder.
      refiner: the refiner after the decoder; a `num_units` of 0 means none.
      dtype: the type to compute in, such as "float32".
      track_densities: share of active cells in the training data, one number a track. Used only for fresh parameters,
        and only if `model.output_bias` is "density".
      axis_name: the mapped axis over which batch statistics are taken.
    """
    zero = model.output_bias == "zero"
    bias = tuple(0.0 if zero else density_logit(density) for density in track_densities)
    return Autoencoder(model, refiner, jnp.dtype(dtype), bias, axis_name)
