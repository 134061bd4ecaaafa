"""The networks as modules: encoder and decoder after a row of `networks.NETWORKS`, and the latent discriminator.

As in `w00zie/wae_music`, the last layer has five channels, one a track, whose sigmoid is the probability of a cell. Its
five networks have batch normalisation and ReLU; layer normalisation and leaky ReLU are the choices of its
`models/func_model.py`, which are open to every network here, as are ten channels, of which the probabilities of cells
are made as `note_planes.py` says.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key, Num

from wae_jax.array_types import AnyArray
from wae_jax.config import ModelSpec, RefinerSpec
from wae_jax.models import conv
from wae_jax.models.conv import density_logit
from wae_jax.models.modules import (
    ACTIVATIONS,
    NORM_EPSILON,
    Convolution,
    Filtered,
    Images,
    Units,
    batch_norm,
    dense,
    full_precision,
)
from wae_jax.models.networks import TRACKS, Conv, Network, RefinerUnits, find_network
from wae_jax.models.refiner import Refiner
from wae_jax.pianoroll import NUM_TRACKS, PHRASE_SHAPE
from wae_jax.pianoroll.note_planes import CELLS, OUTPUT_PLANES, Outputs, cell_logits

NORMALIZATIONS = ("batch", "layer")
ENCODERS = ("deterministic", "gaussian", "additive_noise")
_Codes = Float[AnyArray, "B Z"]
_Rolls = Num[AnyArray, "B T P K"]
_Logits = Float[Array, "B T=192 P=84 K=5"]
_Outputs = Float[Array, "B T=192 P=84 K=5"] | Float[Array, "B T=192 P=84 K=5 planes=2"]
_Keys = Key[Array, " B"]


class Encoded(NamedTuple):
    """What an encoder says of phrases.

    Attributes:
      z: the codes; draws of each phrase's distribution where that is random.
      mean: of each code's distribution; where it is a point, that point.
      log_variance: of each code's dimensions, or None where there is no such thing.
    """

    z: _Codes
    mean: _Codes
    log_variance: _Codes | None


def _normal(keys: _Keys, shape: tuple[int, ...], dtype: DTypeLike) -> Units:
    """Standard normal values of one shape, from each key."""
    return jax.vmap(lambda key: jax.random.normal(key, shape, dtype))(keys)


def draw_codes(mean: _Codes, log_variance: _Codes | None, keys: _Keys) -> Encoded:
    """A code of each phrase's distribution, from a key of its own; the mean, where there is no variance."""
    mean = jnp.asarray(mean)
    if log_variance is None:
        return Encoded(mean, mean, None)
    return Encoded(mean + jnp.exp(0.5 * log_variance) * _normal(keys, mean.shape[1:], mean.dtype), mean, log_variance)


class _Half(nn.Module):
    """What encoder and decoder have in common; the attributes are those of `Autoencoder`."""

    network: Network
    h_dim: int
    kernel_size: tuple[int, int]
    normalization: str
    activation: str
    dropout_rate: float
    batch_norm_momentum: float
    output_planes: str
    dtype: DTypeLike
    axis_name: str | None

    def _conv(
        self, spec: Conv, name: str, *, transpose: bool, bias_init: nn.initializers.Initializer = nn.initializers.zeros
    ) -> Convolution:
        tracks = NUM_TRACKS * OUTPUT_PLANES[self.output_planes]
        return Convolution(
            filters=tracks if spec.filters == TRACKS else spec.filters * self.h_dim,
            strides=spec.strides,
            kernel_size=spec.kernel or self.kernel_size,
            use_bias=spec.use_bias,
            transpose=transpose,
            dtype=self.dtype,
            groups=spec.groups,
            bias_init=bias_init,
            name=name,
        )

    def _normalize(self, x: Units, name: str, *, train: bool) -> Units:
        """Each channel over all phrases of the mapped axis, or each phrase's cell over its channels."""
        if self.normalization == "layer":
            param_dtype = full_precision(self.dtype)
            return nn.LayerNorm(epsilon=NORM_EPSILON, dtype=self.dtype, param_dtype=param_dtype, name=name)(x)
        norm = batch_norm(
            name, train=train, momentum=self.batch_norm_momentum, dtype=self.dtype, axis_name=self.axis_name
        )
        return norm(x)

    def _activate(self, x: Units) -> Units:
        return ACTIVATIONS[self.activation](x)

    def _drop(self, x: Units, keys: _Keys | None) -> Units:
        return x if keys is None else conv.dropout(keys, x, self.dropout_rate)

    def _convs(self, x: Images, specs: Sequence[Conv], *, transpose: bool, train: bool) -> Filtered:
        """Convolutions, each with its normalisation and activation."""
        for i, spec in enumerate(specs):
            x = self._conv(spec, f"conv_{i}", transpose=transpose)(x)
            x = self._activate(self._normalize(x, f"norm_{i}", train=train))
        return x


class Encoder(_Half):
    """Q(z|x): piano-rolls [B, T, P, K] to codes [B, Z], or to normal distributions of these."""

    z_dim: int
    kind: str
    input_noise: float

    @nn.compact
    def __call__(self, x: _Rolls, *, dropout_keys: _Keys | None, noise_keys: _Keys | None) -> Encoded:
        """Codes of piano-rolls."""
        x, dtype = jnp.asarray(x), full_precision(self.dtype)
        if self.kind == "additive_noise" and noise_keys is not None:
            x = x + self.input_noise * _normal(noise_keys, x.shape[1:], dtype)
        x = self._convs(x, self.network.encoder, transpose=False, train=dropout_keys is not None)
        x = self._drop(x.reshape(x.shape[0], -1), dropout_keys)
        mean = dense(self.z_dim, self.dtype, "code")(x).astype(dtype)
        if self.kind != "gaussian":
            return Encoded(mean, mean, None)
        log_variance = dense(self.z_dim, self.dtype, "log_variance")(x).astype(dtype)
        return Encoded(mean, mean, log_variance) if noise_keys is None else draw_codes(mean, log_variance, noise_keys)


class Decoder(_Half):
    """G(z): codes [B, Z] to the logits of the cells' probabilities, [B, T, P, K], or of planes, [B, T, P, K, 2]."""

    output_bias: tuple[float, ...]

    @nn.compact
    def __call__(self, z: _Codes, *, dropout_keys: _Keys | None) -> _Outputs:
        """Logits of codes."""
        *hidden, output = self.network.decoder
        z = jnp.asarray(z)
        x = self._start(z, dropout_keys)
        x = self._convs(x, hidden, transpose=True, train=dropout_keys is not None)
        # A cell's odds are the sum of its planes', and each begins with its share.
        planes = OUTPUT_PLANES[self.output_planes]
        biases = tuple(bias - math.log(planes) for bias in self.output_bias for _ in range(planes))
        bias_init = functools.partial(_constant, biases)
        outputs = self._conv(output, f"conv_{len(hidden)}", transpose=True, bias_init=bias_init)(x)
        # The bars one after the other again.
        outputs = outputs.astype(full_precision(self.dtype)).reshape(len(z), *PHRASE_SHAPE, planes)
        return outputs[..., 0] if self.output_planes == CELLS else outputs

    def _start(self, z: Float[Array, "B Z"], dropout_keys: _Keys | None) -> Float[Array, "parts rows columns F"]:
        """What the first transposed convolution sees, [B, steps, pitches, filters]; bars as if they were phrases."""
        train = dropout_keys is not None
        x: Units = z
        if self.network.bars is not None:
            bars, multiple = self.network.bars
            x = dense(bars * multiple * self.h_dim, self.dtype, "bars")(x).reshape(len(z), bars, -1)
            x = self._activate(self._normalize(x, "norm_bars", train=train))
        if self.network.start is None:
            return x.reshape(-1, 1, 1, x.shape[-1])
        steps, pitches, multiple = self.network.start
        filters = multiple * self.h_dim
        x = dense(steps * pitches * filters, self.dtype, "start")(x)
        if self.network.normalize_start:
            x = self._normalize(x, "norm_start", train=train)
        return self._drop(self._activate(x), dropout_keys).reshape(-1, steps, pitches, filters)


def _constant(
    values: Sequence[float], key: Key[Array, ""], shape: Sequence[int], dtype: DTypeLike = jnp.float32
) -> Float[Array, " filters"]:
    del key
    return jnp.asarray(values, dtype).reshape(shape)


class Autoencoder(nn.Module):
    """Encoder and decoder with one tree of parameters.

    Attributes:
      network: a key of `networks.NETWORKS`.
      h_dim: base number of filters.
      z_dim: latent dimensions.
      kernel_size: of every convolution for which the network names none.
      normalization: one of `NORMALIZATIONS`: "batch" normalises each channel over the batch, steps and pitches, and
        each unit of a dense layer over the batch; "layer" each cell over its channels, and a dense layer over its
        units, so that phrases do not see each other and there are no batch statistics.
      activation: a key of `ACTIVATIONS`.
      dropout_rate: before the code's dense layer and after the decoder's; 0 for networks without dropout.
      batch_norm_momentum: share of a moving average of batch statistics that a step keeps; Keras' default is .99.
      output_bias: initial logits of the cells' probabilities, one a track: what the last layer's biases make.
      output_planes: a key of `note_planes.OUTPUT_PLANES`: what the last layer's channels are the logits of.
      dtype: of the computation; parameters, codes, logits and batch statistics are at least float32.
      axis_name: the mapped axis that batch statistics are taken over, or None.
      encoder_kind: one of `ENCODERS`: "deterministic"; "gaussian" with a mean and a log variance for each dimension of
        a code; "additive_noise" is deterministic but for normal noise on its input while training, as in
        tolstikhin/wae.
      input_noise: deviation of that noise.
      refiner_units: of a refiner after the decoder, which normalises by the batch whatever the others do; or None.

    `dropout_keys` below are one random key a phrase, [B], when training; None means evaluation: no dropout,
    and the moving averages in place of the batch's statistics. `noise_keys` are likewise what a random encoder draws
    from; None means that it does not: codes are means.
    """

    network: str
    h_dim: int
    z_dim: int
    kernel_size: tuple[int, int] = (6, 6)
    normalization: str = "batch"
    activation: str = "relu"
    dropout_rate: float = 0.0
    batch_norm_momentum: float = 0.99
    output_bias: tuple[float, ...] = (0.0,) * NUM_TRACKS
    output_planes: str = CELLS
    dtype: DTypeLike = jnp.float32
    axis_name: str | None = None
    encoder_kind: str = "deterministic"
    input_noise: float = 0.0
    refiner_units: RefinerUnits | None = None

    def setup(self) -> None:
        """Builds the two halves from the table's row."""
        for name, value, options in (
            ("normalization", self.normalization, NORMALIZATIONS),
            ("activation", self.activation, ACTIVATIONS),
            ("encoder", self.encoder_kind, ENCODERS),
            ("choice of output planes", self.output_planes, OUTPUT_PLANES),
        ):
            if value not in options:
                raise ValueError(f"no {name} called {value!r}; there are {', '.join(options)}")
        common: dict[str, Any] = {
            "network": find_network(self.network, dropout_rate=self.dropout_rate),
            "h_dim": self.h_dim,
            "kernel_size": tuple(self.kernel_size),
            "normalization": self.normalization,
            "activation": self.activation,
            "dropout_rate": self.dropout_rate,
            "batch_norm_momentum": self.batch_norm_momentum,
            "output_planes": self.output_planes,
            "dtype": self.dtype,
            "axis_name": self.axis_name,
        }
        self.encoder = Encoder(z_dim=self.z_dim, kind=self.encoder_kind, input_noise=self.input_noise, **common)
        self.decoder = Decoder(output_bias=tuple(self.output_bias), **common)
        if self.refiner_units is not None:
            self.refiner = Refiner(
                self.refiner_units, self.activation, self.batch_norm_momentum, self.dtype, self.axis_name
            )

    def encode(self, x: _Rolls, *, dropout_keys: _Keys | None = None) -> _Codes:
        """Codes [B, Z] of piano-rolls [B, T, P, K]; means, where the encoder is random."""
        return self.encoder(x, dropout_keys=dropout_keys, noise_keys=None).z

    def decode(self, z: _Codes, *, dropout_keys: _Keys | None = None) -> _Logits:
        """Logits [B, T, P, K] of codes [B, Z], whatever the planes."""
        outputs = self.decoder(z, dropout_keys=dropout_keys)
        return cell_logits(self.refine(outputs, train=dropout_keys is not None))

    def refine(self, outputs: Outputs, *, train: bool) -> Outputs:
        """What the refiner makes of the decoder's outputs; these themselves, where there is none."""
        return outputs if self.refiner_units is None else self.refiner(outputs, train=train)

    def autoencode(
        self,
        x: _Rolls,
        *,
        encoder_keys: _Keys | None = None,
        decoder_keys: _Keys | None = None,
        noise_keys: _Keys | None = None,
        refined: bool = True,
    ) -> tuple[Encoded, Outputs]:
        """What the encoder says of piano-rolls [B, T, P, K], and the decoder's outputs for its codes.

        These are logits of cells [B, T, P, K], or of planes [B, T, P, K, 2]; `refined`, if there is a refiner.
        """
        encoded = self.encoder(x, dropout_keys=encoder_keys, noise_keys=noise_keys)
        outputs = self.decoder(encoded.z, dropout_keys=decoder_keys)
        return encoded, self.refine(outputs, train=decoder_keys is not None) if refined else outputs

    def __call__(
        self,
        x: _Rolls,
        *,
        encoder_keys: _Keys | None = None,
        decoder_keys: _Keys | None = None,
        noise_keys: _Keys | None = None,
    ) -> tuple[_Codes, _Logits]:
        """Codes [B, Z] and logits [B, T, P, K] of piano-rolls [B, T, P, K]."""
        encoded, outputs = self.autoencode(
            x, encoder_keys=encoder_keys, decoder_keys=decoder_keys, noise_keys=noise_keys
        )
        return encoded.z, cell_logits(outputs)


class Discriminator(nn.Module):
    """D(z): codes [B, Z] to the logit of "drawn from the prior", [B]. ReLU between dense layers.

    Attributes:
      widths: units of each hidden layer.
    """

    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, z: _Codes) -> Float[Array, " B"]:
        """Logits of codes or prior draws."""
        for i, width in enumerate(self.widths):
            z = nn.relu(dense(width, z.dtype, f"hidden_{i}")(z))
        return dense(1, z.dtype, "logit")(z)[:, 0]


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
      dtype: the type to compute in, such as "float32"; see `Autoencoder.dtype`.
      track_densities: share of active cells in the training data, one number a track. Used only for fresh parameters,
        and only if `model.output_bias` is "density".
      axis_name: the mapped axis over which batch statistics are taken.
    """
    zero = model.output_bias == "zero"
    return Autoencoder(
        network=model.network,
        h_dim=model.h_dim,
        z_dim=model.z_dim,
        kernel_size=model.kernel_size,
        normalization=model.normalization,
        activation=model.activation,
        dropout_rate=model.dropout_rate,
        batch_norm_momentum=model.batch_norm_momentum,
        output_bias=tuple(0.0 if zero else density_logit(density) for density in track_densities),
        output_planes=model.output_planes,
        dtype=jnp.dtype(dtype),
        axis_name=axis_name,
        encoder_kind=model.encoder,
        input_noise=model.encoder_noise,
        refiner_units=RefinerUnits(refiner.num_units, refiner.filters, refiner.kernel_size, refiner.strides)
        if refiner.num_units
        else None,
    )
