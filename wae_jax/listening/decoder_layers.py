"""A trained decoder as a list of plain layers, for whoever has no flax: a page's script, or twenty lines of NumPy.

Every layer takes and gives one flat array, a phrase's values in the order row, column, channel, and says by itself all
that it needs to know. Where the array is several times as long as a layer's input, as that of bars one after the other
is, the layer does the same to each part. Batch normalisation after a layer is none of its own: with its moving averages
it is a factor and a summand a channel, and joins the layer before it. They stay beside the kernel, which may so be
stored as it was trained: a kernel of 16 bits that is multiplied and rounded again would be further from the model than
need be.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32

from wae_jax.config import Config
from wae_jax.models.conv_plain import same_padding
from wae_jax.models.modules import LEAKY_RELU_SLOPE, NORM_EPSILON
from wae_jax.models.networks import find_network
from wae_jax.pianoroll import NUM_PITCHES, NUM_STEPS, NUM_TRACKS
from wae_jax.pianoroll.note_planes import CELLS, OUTPUT_PLANES

Vector = Float32[np.ndarray, " F"]


class Dense(NamedTuple):
    """(x @ kernel) * scale + offset.

    Attributes:
      kernel: a column a unit.
      scale: of each unit.
      offset: of each unit.
    """

    kernel: Float32[np.ndarray, "I F"]
    scale: Vector
    offset: Vector


class ConvTranspose(NamedTuple):
    """A transposed convolution, then `* scale + offset` a channel.

    In several groups, output channels are divided into equal shares, and each is made of its share of the input's.

    The value at (row, column) of the input, times the kernel, is added to the rows from
    `row * strides[0] - front[0]` and to the columns from `column * strides[1] - front[1]` on of the output, which has
    `strides` times the input's rows and columns; what falls outside is left out.

    Attributes:
      kernel: what each input channel of a group adds to each output channel, by row and column.
      scale: of each output channel.
      offset: of each output channel.
      size: rows and columns of the input.
      strides: along rows and columns.
      front: rows and columns that are left out in front.
      groups: how many.
    """

    kernel: Float32[np.ndarray, "k_h k_w F I"]
    scale: Vector
    offset: Vector
    size: tuple[int, int]
    strides: tuple[int, int]
    front: tuple[int, int]
    groups: int


class Conv(NamedTuple):
    """A convolution, then `* scale + offset` a channel.

    The value at (row, column) of the output is the sum of the kernel times the input's values from
    `row * strides[0] - front[0]` and `column * strides[1] - front[1]` on, where those outside are 0; the input has
    `strides` times the output's rows and columns. Groups are as in `ConvTranspose`.

    Attributes:
      kernel: what each output channel gets from each input channel of its group, by row and column.
      scale: of each output channel.
      offset: of each output channel.
      size: rows and columns of the input.
      strides: along rows and columns.
      front: rows and columns of zeros in front.
      groups: how many.
    """

    kernel: Float32[np.ndarray, "k_h k_w F I"]
    scale: Vector
    offset: Vector
    size: tuple[int, int]
    strides: tuple[int, int]
    front: tuple[int, int]
    groups: int


class Affine(NamedTuple):
    """Each run of len(scale) values `* scale + offset`: a batch normalisation with no layer before it to join.

    Attributes:
      scale: of each value of a run.
      offset: of each value of a run.
    """

    scale: Vector
    offset: Vector


class LayerNorm(NamedTuple):
    """Each run of len(scale) values less its mean, over the root of its variance + epsilon; then `* scale + offset`.

    Attributes:
      scale: of each value of a run.
      offset: of each value of a run.
      epsilon: what keeps the root from 0.
    """

    scale: Vector
    offset: Vector
    epsilon: float


class LeakyRelu(NamedTuple):
    """What is negative times `slope`, which is 0 for the ReLU."""

    slope: float


class LogSumExp(NamedTuple):
    """Of each run of `size` values, the logarithm of the sum of their exponentials."""

    size: int


class Residual(NamedTuple):
    """The input, and what other layers make of it, together.

    Attributes:
      layers: one after the other.
    """

    layers: list[Any]


Layer = Dense | ConvTranspose | Conv | Affine | LayerNorm | LeakyRelu | LogSumExp | Residual


def decoder_layers(config: Config, variables: Mapping[str, Any]) -> list[Layer]:
    """The decoder of a trained run.

    Args:
      config: of the run.
      variables: of its autoencoder: `Model.variables`.

    Returns:
      Layers that lead from a code [Z] to the logits of the cells, [T * P * K]; dropout, which evaluation has none of,
      is left out.
    """
    return list(_layers(config, variables))


class _Part:
    """The variables of a part of the model, by the names that its module gives them, as float32."""

    def __init__(self, variables: Mapping[str, Any], *path: str) -> None:
        self._params = variables["params"]
        self._averages = variables.get("batch_stats", {})
        for name in path:
            self._params, self._averages = self._params[name], self._averages.get(name, {})

    def param(self, module: str, name: str) -> Float32[np.ndarray, "*shape"]:
        return np.asarray(self._params[module][name], np.float32)

    def bias(self, module: str, size: int) -> Vector:
        return self.param(module, "bias") if "bias" in self._params[module] else np.zeros(size, np.float32)

    def folded(self, norm: str, bias: Vector) -> tuple[Vector, Vector]:
        """Scale and offset of a bias and the batch normalisation after it; of the bias alone, where there is none.

        What is normalised may be several parts one after the other, of which each is normalised alike.
        """
        if norm not in self._averages:
            return np.ones_like(bias), bias
        mean, variance = (np.asarray(self._averages[norm][name], np.float64) for name in ("mean", "var"))
        scale = self.param(norm, "scale") / np.sqrt(variance + NORM_EPSILON)
        offset = self.param(norm, "bias") + (bias.reshape(-1, len(mean)) - mean) * scale
        return np.tile(scale, len(offset)).astype(np.float32), offset.ravel().astype(np.float32)

    def layer_norm(self, norm: str) -> Iterator[LayerNorm]:
        """The layer of a normalisation that cannot be folded; nothing where there is none."""
        if norm in self._params and norm not in self._averages:
            yield LayerNorm(self.param(norm, "scale"), self.param(norm, "bias"), NORM_EPSILON)


def _layers(config: Config, variables: Mapping[str, Any]) -> Iterator[Layer]:
    model = config.model
    half = _Part(variables, "decoder")
    network = find_network(model.network, dropout_rate=model.dropout_rate)
    activation = LeakyRelu({"relu": 0.0, "leaky_relu": LEAKY_RELU_SLOPE}[model.activation])
    size = (1, 1)
    if network.bars is not None:
        kernel = half.param("bars", "kernel")
        yield Dense(kernel, *half.folded("norm_bars", half.bias("bars", kernel.shape[1])))
        yield from half.layer_norm("norm_bars")
        yield activation
    if network.start is not None:
        size = network.start[:2]
        kernel = half.param("start", "kernel")
        yield Dense(kernel, *half.folded("norm_start", half.bias("start", kernel.shape[1])))
        yield from half.layer_norm("norm_start")
        yield activation
    last = len(network.decoder) - 1
    for i, conv in enumerate(network.decoder):
        kernel = half.param(f"conv_{i}", "kernel")
        scale, offset = half.folded(f"norm_{i}", half.bias(f"conv_{i}", kernel.shape[2]))
        yield ConvTranspose(kernel, scale, offset, size, conv.strides, _front(kernel, conv.strides), conv.groups)
        if i < last:
            yield from half.layer_norm(f"norm_{i}")
            yield activation
        size = (size[0] * conv.strides[0], size[1] * conv.strides[1])
    for i in range(config.refiner.num_units):
        unit = _Part(variables, "refiner", f"unit_{i}")
        yield Residual(list(_unit_layers(unit, config.refiner.strides, activation)))
    if model.output_planes != CELLS:
        yield LogSumExp(OUTPUT_PLANES[model.output_planes])


def _unit_layers(unit: _Part, strides: Sequence[int], activation: LeakyRelu) -> Iterator[Layer]:
    """A residual unit of the refiner."""
    kernel, last = unit.param("conv_in", "kernel").swapaxes(2, 3), unit.param("conv_out", "kernel")
    down, across = strides
    front = _front(kernel, strides)
    yield Affine(*unit.folded("norm_in", np.zeros(last.shape[2], np.float32)))
    yield activation
    scale, offset = unit.folded("norm_out", np.zeros(kernel.shape[2], np.float32))
    yield Conv(kernel, scale, offset, (NUM_STEPS, NUM_PITCHES), (down, across), front, NUM_TRACKS)
    yield activation
    size = (NUM_STEPS // down, NUM_PITCHES // across)
    none = np.zeros(last.shape[2], np.float32)
    yield ConvTranspose(last, none + 1, none, size, (down, across), front, NUM_TRACKS)


def _front(kernel: Float32[np.ndarray, "k_h k_w F I"], strides: Sequence[int]) -> tuple[int, int]:
    """Rows and columns in front of those that "same" padding keeps."""
    rows, columns = (same_padding(k, s)[0] for k, s in zip(kernel.shape[:2], strides, strict=True))
    return rows, columns
