"""Encoder and decoder: convolutions after a row of `networks.NETWORKS`.

As in `w00zie/wae_music`, the last layer has a channel for each track, whose sigmoid is the probability of a cell. Its
networks have batch normalization and ReLU; layer normalization and leaky ReLU, alternatives in its
`models/func_model.py`, are available for every network here.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key, Num

from wae_jax.array_types import AnyArray
from wae_jax.config import ModelSpec
from wae_jax.models.modules import (
    ACTIVATIONS,
    NORM_EPSILON,
    Convolution,
    Filtered,
    Images,
    Units,
    batch_norm,
    dense,
    dropout,
    full_precision,
)
from wae_jax.models.networks import TRACKS, Conv, Network, find_network
from wae_jax.pianoroll import NUM_TRACKS

Codes = Float[AnyArray, "B Z"]
Rolls = Num[AnyArray, "B T P K"]
Logits = Float[Array, "B T=192 P=84 K=5"]
Keys = Key[Array, " B"]


class Encoded(NamedTuple):
    """The codes of phrases.

    Attributes:
      z: codes; samples of each phrase's distribution if the encoder is random.
      mean: means of these distributions; the codes themselves if the encoder is deterministic.
      log_variance: log variances of each dimension; None for a deterministic encoder.
    """

    z: Codes
    mean: Codes
    log_variance: Codes | None


def sample_codes(mean: Codes, log_variance: Codes | None, keys: Keys) -> Encoded:
    """Codes sampled from the normal distribution of each phrase, one key a phrase; the means without a variance."""
    mean = jnp.asarray(mean)
    if log_variance is None:
        return Encoded(mean, mean, None)
    noise = _standard_normal(keys, mean.shape[1:], mean.dtype)
    return Encoded(mean + jnp.exp(0.5 * log_variance) * noise, mean, log_variance)


def _standard_normal(keys: Keys, shape: tuple[int, ...], dtype: DTypeLike) -> Units:
    return jax.vmap(lambda key: jax.random.normal(key, shape, dtype))(keys)


class _Half(nn.Module):
    """Layers that encoder and decoder share; the attributes are those of `Autoencoder`."""

    spec: ModelSpec
    dtype: DTypeLike
    axis_name: str | None

    @property
    def network(self) -> Network:
        """The row of the table."""
        return find_network(self.spec.network, dropout_rate=self.spec.dropout_rate)

    def _conv(
        self, conv: Conv, name: str, *, transpose: bool, bias_init: nn.initializers.Initializer = nn.initializers.zeros
    ) -> Convolution:
        return Convolution(
            filters=NUM_TRACKS if conv.filters == TRACKS else conv.filters * self.spec.h_dim,
            strides=conv.strides,
            kernel_size=conv.kernel or self.spec.kernel_size,
            use_bias=conv.use_bias,
            transpose=transpose,
            dtype=self.dtype,
            bias_init=bias_init,
            name=name,
        )

    def _normalize(self, x: Units, name: str, *, train: bool) -> Units:
        """Normalizes each channel over the batch of the mapped axis and all cells, or each cell over its channels."""
        if self.spec.normalization == "layer":
            param_dtype = full_precision(self.dtype)
            return nn.LayerNorm(epsilon=NORM_EPSILON, dtype=self.dtype, param_dtype=param_dtype, name=name)(x)
        momentum = self.spec.batch_norm_momentum
        return batch_norm(name, train=train, momentum=momentum, dtype=self.dtype, axis_name=self.axis_name)(x)

    def _activate(self, x: Units) -> Units:
        return ACTIVATIONS[self.spec.activation](x)

    def _drop(self, x: Units, keys: Keys | None) -> Units:
        return x if keys is None else dropout(keys, x, self.spec.dropout_rate)

    def _convs(self, x: Images, convs: Sequence[Conv], *, transpose: bool, train: bool) -> Filtered:
        """Convolutions, each followed by normalization and activation."""
        for i, conv in enumerate(convs):
            x = self._conv(conv, f"conv_{i}", transpose=transpose)(x)
            x = self._activate(self._normalize(x, f"norm_{i}", train=train))
        return x


class Encoder(_Half):
    """Q(z|x): phrases [B, T, P, K] to codes [B, Z], or to normal distributions of codes."""

    @nn.compact
    def __call__(self, x: Rolls, *, dropout_keys: Keys | None, noise_keys: Keys | None) -> Encoded:
        """Codes of phrases."""
        x, dtype = jnp.asarray(x), full_precision(self.dtype)
        if self.spec.encoder == "additive_noise" and noise_keys is not None:
            x = x + self.spec.encoder_noise * _standard_normal(noise_keys, x.shape[1:], dtype)
        x = self._convs(x, self.network.encoder, transpose=False, train=dropout_keys is not None)
        x = self._drop(x.reshape(x.shape[0], -1), dropout_keys)
        mean = dense(self.spec.z_dim, self.dtype, "code")(x).astype(dtype)
        if self.spec.encoder != "gaussian":
            return Encoded(mean, mean, None)
        log_variance = dense(self.spec.z_dim, self.dtype, "log_variance")(x).astype(dtype)
        return Encoded(mean, mean, log_variance) if noise_keys is None else sample_codes(mean, log_variance, noise_keys)


class Decoder(_Half):
    """G(z): codes [B, Z] to logits of cells, [B, T, P, K]."""

    output_bias: tuple[float, ...]

    @nn.compact
    def __call__(self, z: Codes, *, dropout_keys: Keys | None) -> Logits:
        """Logits of codes."""
        *hidden, output = self.network.decoder
        x = self._start(jnp.asarray(z), dropout_keys)
        x = self._convs(x, hidden, transpose=True, train=dropout_keys is not None)
        bias_init = functools.partial(_constant, self.output_bias)
        logits = self._conv(output, f"conv_{len(hidden)}", transpose=True, bias_init=bias_init)(x)
        return logits.astype(full_precision(self.dtype))

    def _start(self, z: Float[Array, "B Z"], dropout_keys: Keys | None) -> Float[Array, "B rows columns F"]:
        """The input of the first transposed convolution, [B, steps, pitches, filters]."""
        network = self.network
        if network.start is None:
            return z[:, None, None, :]
        steps, pitches, multiple = network.start
        filters = multiple * self.spec.h_dim
        x = dense(steps * pitches * filters, self.dtype, "start")(z)
        if network.normalize_start:
            x = self._normalize(x, "norm_start", train=dropout_keys is not None)
        return self._drop(self._activate(x), dropout_keys).reshape(-1, steps, pitches, filters)


def _constant(
    values: Sequence[float], key: Key[Array, ""], shape: Sequence[int], dtype: DTypeLike = jnp.float32
) -> Float[Array, " filters"]:
    del key
    return jnp.asarray(values, dtype).reshape(shape)
