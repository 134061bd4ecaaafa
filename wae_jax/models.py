"""The networks: encoder, decoder and latent discriminator, with the convolutional nets as rows of one table.

`alt` and `new_alt` are those of `w00zie/wae_music` (its `models/` folder). All rows have its convolutions without
bias, each followed by batch normalisation with Keras' constants and ReLU; truncated normal kernels of deviation .05;
a last layer of five channels, one a track, whose sigmoid is the probability of a cell.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from wae_jax import layers
from wae_jax.pianoroll import NUM_TRACKS

BATCH_NORM_EPSILON = 1e-3
kernel_init = nn.initializers.truncated_normal(0.05)


@dataclasses.dataclass(frozen=True)
class ConvSpec:
    """One convolution, or transposed convolution, of a network.

    Attributes:
      filters: how many, as a multiple of `h_dim`; 0 stands for one a track.
      strides: along time and pitch.
      kernel_size: along time and pitch; None takes the configured size.
      use_bias: whether a bias is added.
    """

    filters: int
    strides: tuple[int, int]
    kernel_size: tuple[int, int] | None = None
    use_bias: bool = False

    def num_filters(self, h_dim: int) -> int:
        """The number of filters at a base width of `h_dim`."""
        return self.filters * h_dim or NUM_TRACKS


@dataclasses.dataclass(frozen=True)
class Network:
    """A row of the table.

    Attributes:
      encoder: its convolutions; each is followed by normalisation and ReLU. A dense layer gives the code.
      start: steps, pitches and filters (as a multiple of `h_dim`) that the decoder's dense layer is shaped to.
      decoder: its transposed convolutions; each but the last is followed by normalisation and ReLU.
    """

    encoder: tuple[ConvSpec, ...]
    start: tuple[int, int, int]
    decoder: tuple[ConvSpec, ...]


def _encoder(*strides: tuple[int, int]) -> tuple[ConvSpec, ...]:
    """Filters h, 2h, 4h, 8h and so on."""
    return tuple(ConvSpec(2**i, stride) for i, stride in enumerate(strides))


def _decoder(*strides: tuple[int, int]) -> tuple[ConvSpec, ...]:
    """Filters the other way round, and one a track at the end, with a bias."""
    *inner, last = strides
    halved = tuple(ConvSpec(2 ** (len(inner) - 1 - i), stride) for i, stride in enumerate(inner))
    return (*halved, ConvSpec(0, last, use_bias=True))


_REFERENCE_ENCODER = _encoder((2, 1), (2, 2), (2, 2), (3, 3))
_REFERENCE_DECODER = _decoder((3, 3), (2, 2), (2, 2), (2, 1))

NETWORKS = {
    "alt": Network(_REFERENCE_ENCODER, (8, 7, 8), _REFERENCE_DECODER),
    "new_alt": Network(_REFERENCE_ENCODER, (8, 7, 8), (*_REFERENCE_DECODER, ConvSpec(0, (1, 1), use_bias=True))),
    # Follows the meter: the encoder's layers end at eighth notes, quarters, halves and bars, and at whole octaves. A
    # third of the reference's arithmetic.
    "meter": Network(
        _encoder((6, 1), (2, 2), (2, 2), (2, 3)),
        (4, 7, 8),
        _decoder((2, 3), (2, 2), (2, 2), (6, 1)),
    ),
}


def full_precision(dtype: jnp.dtype) -> jnp.dtype:
    """The type of parameters, codes and logits where the computation is of `dtype`: at least float32."""
    return jnp.promote_types(dtype, jnp.float32)


def _dense(features: int, dtype: jnp.dtype, name: str) -> nn.Dense:
    return nn.Dense(features, kernel_init=kernel_init, dtype=dtype, param_dtype=full_precision(dtype), name=name)


class _Conv(nn.Module):
    """One row's convolution in either direction; kernels are [k_h, k_w, narrow side's channels, wide side's]."""

    filters: int
    strides: tuple[int, int]
    kernel_size: tuple[int, int]
    use_bias: bool
    transpose: bool
    dtype: jnp.dtype
    bias_init: nn.initializers.Initializer = nn.initializers.zeros

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        channels = (self.filters, x.shape[-1]) if self.transpose else (x.shape[-1], self.filters)
        kernel = self.param("kernel", kernel_init, (*self.kernel_size, *channels), full_precision(self.dtype))
        operation = layers.conv_transpose if self.transpose else layers.conv
        y = operation(x.astype(self.dtype), kernel.astype(self.dtype), self.strides)
        if self.use_bias:
            y += self.param("bias", self.bias_init, (self.filters,), full_precision(self.dtype)).astype(self.dtype)
        return y


def _norm_relu(
    x: jax.Array, *, train: bool, momentum: float, axis_name: str | None, dtype: jnp.dtype, name: str
) -> jax.Array:
    """Batch normalisation over all phrases of the mapped axis, then ReLU."""
    norm = nn.BatchNorm(
        use_running_average=not train,
        momentum=momentum,
        epsilon=BATCH_NORM_EPSILON,
        axis_name=axis_name,
        dtype=dtype,
        param_dtype=full_precision(dtype),
        name=name,
    )
    return nn.relu(norm(x))


class Encoder(nn.Module):
    """Q(z|x): piano-rolls [B, T, P, K] to codes [B, Z], deterministic."""

    network: Network
    h_dim: int
    z_dim: int
    kernel_size: tuple[int, int]
    dropout_rate: float
    batch_norm_momentum: float
    dtype: jnp.dtype
    axis_name: str | None

    @nn.compact
    def __call__(self, x: jax.Array, *, dropout_keys: jax.Array | None) -> jax.Array:
        """Codes of piano-rolls."""
        train = dropout_keys is not None
        for i, spec in enumerate(self.network.encoder):
            x = _Conv(
                filters=spec.num_filters(self.h_dim),
                strides=spec.strides,
                kernel_size=spec.kernel_size or self.kernel_size,
                use_bias=spec.use_bias,
                transpose=False,
                dtype=self.dtype,
                name=f"conv_{i}",
            )(x)
            x = _norm_relu(
                x,
                train=train,
                momentum=self.batch_norm_momentum,
                axis_name=self.axis_name,
                dtype=self.dtype,
                name=f"norm_{i}",
            )
        x = x.reshape(x.shape[0], -1)
        if dropout_keys is not None:
            x = layers.dropout(dropout_keys, x, self.dropout_rate)
        return _dense(self.z_dim, self.dtype, "code")(x).astype(full_precision(self.dtype))


class Decoder(nn.Module):
    """G(z): codes [B, Z] to the logits of the cells' probabilities, [B, T, P, K]."""

    network: Network
    h_dim: int
    kernel_size: tuple[int, int]
    dropout_rate: float
    batch_norm_momentum: float
    output_bias: tuple[float, ...]
    dtype: jnp.dtype
    axis_name: str | None

    @nn.compact
    def __call__(self, z: jax.Array, *, dropout_keys: jax.Array | None) -> jax.Array:
        """Logits of codes."""
        train = dropout_keys is not None
        rows, columns, multiple = self.network.start
        x = nn.relu(_dense(rows * columns * multiple * self.h_dim, self.dtype, "start")(z))
        if dropout_keys is not None:
            x = layers.dropout(dropout_keys, x, self.dropout_rate)
        x = x.reshape(-1, rows, columns, multiple * self.h_dim)
        last = len(self.network.decoder) - 1
        for i, spec in enumerate(self.network.decoder):
            x = _Conv(
                filters=spec.num_filters(self.h_dim),
                strides=spec.strides,
                kernel_size=spec.kernel_size or self.kernel_size,
                use_bias=spec.use_bias,
                transpose=True,
                dtype=self.dtype,
                bias_init=functools.partial(_constant, self.output_bias) if i == last else nn.initializers.zeros,
                name=f"conv_{i}",
            )(x)
            if i < last:
                x = _norm_relu(
                    x,
                    train=train,
                    momentum=self.batch_norm_momentum,
                    axis_name=self.axis_name,
                    dtype=self.dtype,
                    name=f"norm_{i}",
                )
        return x.astype(full_precision(self.dtype))


def _constant(
    values: Sequence[float], key: jax.Array, shape: Sequence[int], dtype: jnp.dtype = jnp.float32
) -> jax.Array:
    del key
    return jnp.asarray(values, dtype).reshape(shape)


class Autoencoder(nn.Module):
    """Encoder and decoder with one tree of parameters.

    Attributes:
      network: a key of `NETWORKS`.
      h_dim: base number of filters.
      z_dim: latent dimensions.
      kernel_size: of every convolution for which the network names none.
      dropout_rate: before the code's dense layer and after the decoder's.
      batch_norm_momentum: share of a moving average of batch statistics that a step keeps; Keras' default is .99.
      output_bias: initial biases of the last layer, one a track.
      dtype: of the computation; parameters, codes, logits and batch statistics are at least float32.
      axis_name: the mapped axis that batch statistics are taken over, or None.

    `dropout_keys` below are one random key a phrase, [B], when training; None means evaluation: no dropout,
    and the moving averages in place of the batch's statistics.
    """

    network: str
    h_dim: int
    z_dim: int
    kernel_size: tuple[int, int] = (6, 6)
    dropout_rate: float = 0.0
    batch_norm_momentum: float = 0.99
    output_bias: tuple[float, ...] = (0.0,) * NUM_TRACKS
    dtype: jnp.dtype = jnp.float32
    axis_name: str | None = None

    def setup(self) -> None:
        """Builds the two halves from the table's row."""
        if self.network not in NETWORKS:
            raise ValueError(f"no network called {self.network!r}; there are {', '.join(NETWORKS)}")
        common: dict[str, Any] = {
            "network": NETWORKS[self.network],
            "h_dim": self.h_dim,
            "kernel_size": tuple(self.kernel_size),
            "dropout_rate": self.dropout_rate,
            "batch_norm_momentum": self.batch_norm_momentum,
            "dtype": self.dtype,
            "axis_name": self.axis_name,
        }
        self.encoder = Encoder(z_dim=self.z_dim, **common)
        self.decoder = Decoder(output_bias=tuple(self.output_bias), **common)

    def encode(self, x: jax.Array, *, dropout_keys: jax.Array | None = None) -> jax.Array:
        """Codes [B, Z] of piano-rolls [B, T, P, K]."""
        return self.encoder(x, dropout_keys=dropout_keys)

    def decode(self, z: jax.Array, *, dropout_keys: jax.Array | None = None) -> jax.Array:
        """Logits [B, T, P, K] of codes [B, Z]."""
        return self.decoder(z, dropout_keys=dropout_keys)

    def __call__(
        self,
        x: jax.Array,
        *,
        encoder_keys: jax.Array | None = None,
        decoder_keys: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """Codes [B, Z] and logits [B, T, P, K] of piano-rolls [B, T, P, K]."""
        z = self.encode(x, dropout_keys=encoder_keys)
        return z, self.decode(z, dropout_keys=decoder_keys)


class Discriminator(nn.Module):
    """D(z): codes [B, Z] to the logit of "drawn from the prior", [B]. ReLU between dense layers.

    Attributes:
      widths: units of each hidden layer.
    """

    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, z: jax.Array) -> jax.Array:
        """Logits of codes or prior draws."""
        for i, width in enumerate(self.widths):
            z = nn.relu(_dense(width, z.dtype, f"hidden_{i}")(z))
        return _dense(1, z.dtype, "logit")(z)[:, 0]
