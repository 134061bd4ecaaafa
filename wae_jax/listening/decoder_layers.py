"""A trained decoder as a list of plain layers that can be computed without flax, as by a page's script.

Each layer maps a flat array, values in the order row, column, channel, to another one. Batch normalization with its
moving averages is a factor and a summand for each channel, and becomes part of the layer before it. They are kept
beside the kernel rather than multiplied into it, so that a kernel stored with 16 bits is rounded once only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float32

from wae_jax.config import ModelSpec, RefinerSpec
from wae_jax.models.conv_plain import same_padding
from wae_jax.models.modules import LEAKY_RELU_SLOPE, NORM_EPSILON
from wae_jax.models.networks import find_network
from wae_jax.pianoroll import NUM_PITCHES, NUM_STEPS, NUM_TRACKS

Vector = Float32[np.ndarray, " F"]


@dataclasses.dataclass(frozen=True)
class Layer:
    """Base class of the layers; `kind` is their name in JSON."""

    kind: ClassVar[str]


@dataclasses.dataclass(frozen=True)
class Dense(Layer):
    """`(x @ kernel) * scale + offset`."""

    kind = "dense"
    kernel: Float32[np.ndarray, "I F"]
    scale: Vector
    offset: Vector


@dataclasses.dataclass(frozen=True)
class Conv(Layer):
    """A convolution with zero padding, then `* scale + offset` by output channel.

    The output at (row, column) is the sum of the kernel times the input from `row * strides[0] - front[0]` and
    `column * strides[1] - front[1]` on. The input has `strides` times the rows and columns of the output.

    Attributes:
      kernel: weights by row, column, output channel and input channel within the group.
      scale: factor of each output channel.
      offset: summand of each output channel.
      size: rows and columns of the input.
      strides: along rows and columns.
      front: rows and columns of padding before the first.
      groups: the channels of input and output are divided into this many equal groups; each sees only its own.
    """

    kind = "conv"
    kernel: Float32[np.ndarray, "k_h k_w F I"]
    scale: Vector
    offset: Vector
    size: tuple[int, int]
    strides: tuple[int, int]
    front: tuple[int, int]
    groups: int


class ConvTranspose(Conv):
    """A transposed convolution, then `* scale + offset` by output channel; the fields are those of `Conv`.

    The input at (row, column) times the kernel is added to the output from `row * strides[0] - front[0]` and
    `column * strides[1] - front[1]` on; what falls outside is dropped. The output has `strides` times the rows and
    columns of the input.
    """

    kind = "conv_transpose"


@dataclasses.dataclass(frozen=True)
class Affine(Layer):
    """`x * scale + offset`, repeated along the array: a batch normalization without a layer before it."""

    kind = "affine"
    scale: Vector
    offset: Vector


@dataclasses.dataclass(frozen=True)
class LayerNorm(Layer):
    """`(x - mean) / sqrt(variance + epsilon) * scale + offset` over each run of len(scale) values."""

    kind = "layer_norm"
    scale: Vector
    offset: Vector
    epsilon: float


@dataclasses.dataclass(frozen=True)
class LeakyRelu(Layer):
    """Negative values times `slope`, which is 0 for the ReLU."""

    kind = "leaky_relu"
    slope: float


@dataclasses.dataclass(frozen=True)
class Residual(Layer):
    """The input plus the output of `layers`, applied in order."""

    kind = "residual"
    layers: list[Layer]


def decoder_layers(model: ModelSpec, refiner: RefinerSpec, variables: Mapping[str, Any]) -> list[Layer]:
    """The layers from a code `[Z]` to the logits of the cells, `[T * P * K]`, without dropout.

    Args:
      model: the model's specification.
      refiner: the refiner's.
      variables: {"params": ..., "batch_stats": ...} of the autoencoder.
    """
    activation = LeakyRelu({"relu": 0.0, "leaky_relu": LEAKY_RELU_SLOPE}[model.activation])
    layers = list(_network_layers(model, _Variables(variables, "decoder"), activation))
    for i in range(refiner.num_units):
        unit = _Variables(variables, "refiner", f"unit_{i}")
        layers.append(Residual(list(_unit_layers(unit, refiner.strides, activation))))
    return layers


class _Variables:
    """The variables of one module, read by the names of its submodules, as float32."""

    def __init__(self, variables: Mapping[str, Any], *path: str) -> None:
        self._params = variables["params"]
        self._averages = variables.get("batch_stats", {})
        for name in path:
            self._params, self._averages = self._params[name], self._averages.get(name, {})

    def param(self, module: str, name: str) -> Float32[np.ndarray, "*shape"]:
        return np.asarray(self._params[module][name], np.float32)

    def bias(self, module: str, size: int) -> Vector:
        return self.param(module, "bias") if "bias" in self._params[module] else np.zeros(size, np.float32)

    def scale_and_offset(self, norm: str, bias: Vector) -> tuple[Vector, Vector]:
        """A bias and the batch normalization after it, if any, as a factor and a summand of each channel."""
        if norm not in self._averages:
            return np.ones_like(bias), bias
        mean, variance = (np.asarray(self._averages[norm][name], np.float64) for name in ("mean", "var"))
        scale = self.param(norm, "scale") / np.sqrt(variance + NORM_EPSILON)
        offset = self.param(norm, "bias") + (bias - mean) * scale
        return scale.astype(np.float32), offset.astype(np.float32)

    def layer_norm(self, norm: str) -> Iterator[LayerNorm]:
        """The layer normalization of this name; nothing if there is none."""
        if norm in self._params and norm not in self._averages:
            yield LayerNorm(self.param(norm, "scale"), self.param(norm, "bias"), NORM_EPSILON)


def _network_layers(model: ModelSpec, decoder: _Variables, activation: LeakyRelu) -> Iterator[Layer]:
    """The decoder of a row of `NETWORKS`."""
    network = find_network(model.network, dropout_rate=model.dropout_rate)
    if network.start is not None:
        kernel = decoder.param("start", "kernel")
        yield Dense(kernel, *decoder.scale_and_offset("norm_start", decoder.param("start", "bias")))
        yield from decoder.layer_norm("norm_start")
        yield activation
    size = network.start[:2] if network.start is not None else (1, 1)
    for i, conv in enumerate(network.decoder):
        kernel = decoder.param(f"conv_{i}", "kernel")
        scale, offset = decoder.scale_and_offset(f"norm_{i}", decoder.bias(f"conv_{i}", kernel.shape[2]))
        yield ConvTranspose(kernel, scale, offset, size, conv.strides, _front(kernel, conv.strides), 1)
        if i < len(network.decoder) - 1:
            yield from decoder.layer_norm(f"norm_{i}")
            yield activation
        size = (size[0] * conv.strides[0], size[1] * conv.strides[1])


def _unit_layers(unit: _Variables, strides: tuple[int, int], activation: LeakyRelu) -> Iterator[Layer]:
    """A residual unit of the refiner."""
    kernel, last = unit.param("conv_in", "kernel").swapaxes(2, 3), unit.param("conv_out", "kernel")
    front = _front(kernel, strides)
    zeros = np.zeros(last.shape[2], np.float32)
    yield Affine(*unit.scale_and_offset("norm_in", zeros))
    yield activation
    scale, offset = unit.scale_and_offset("norm_out", np.zeros(kernel.shape[2], np.float32))
    yield Conv(kernel, scale, offset, (NUM_STEPS, NUM_PITCHES), strides, front, NUM_TRACKS)
    yield activation
    size = (NUM_STEPS // strides[0], NUM_PITCHES // strides[1])
    yield ConvTranspose(last, zeros + 1, zeros, size, strides, front, NUM_TRACKS)


def _front(kernel: Float32[np.ndarray, "k_h k_w F I"], strides: Sequence[int]) -> tuple[int, int]:
    """Rows and columns of "same" padding before the first."""
    rows, columns = (same_padding(k, s)[0] for k, s in zip(kernel.shape[:2], strides, strict=True))
    return rows, columns
