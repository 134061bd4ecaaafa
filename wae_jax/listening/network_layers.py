"""A trained encoder and decoder as lists of plain layers that can be computed without flax, as by a page's script.

Each layer maps a flat array, values in the order row, column, channel, to another one. A layer is a dictionary with its
`kind` and these fields (`scale` and `offset` have one number for each output channel):

    dense           `(x @ kernel) * scale + offset`; `kernel` is `[I, F]`
    conv            a convolution with zero padding, then `* scale + offset`; `kernel` is `[rows, columns, F, I]`. The
                    output at (row, column) is the sum of the kernel times the input from `row * strides[0] - front[0]`
                    and `column * strides[1] - front[1]` on. `size` is rows and columns of the input, which are
                    `strides` times those of the output; of `groups` equal groups of channels, each sees its own alone
    conv_transpose  the same fields. The input at (row, column) times the kernel is added to the output from
                    `row * strides[0] - front[0]` and `column * strides[1] - front[1]` on, without what falls
                    outside; the output has `strides` times the rows and columns of the input
    affine          `x * scale + offset`, repeated along the array
    layer_norm      `(x - mean) / sqrt(variance + epsilon) * scale + offset` over each run of len(scale) values
    leaky_relu      negative values times `slope`, which is 0 for the ReLU
    residual        the input plus the output of `layers`, applied in order

Batch normalization with its moving averages is a factor and a summand for each channel, and becomes part of the layer
before it. They are kept beside the kernel rather than multiplied into it, so that a kernel stored with 16 bits is
rounded once only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32

from wae_jax.config import ModelSpec, RefinerSpec
from wae_jax.models.conv_plain import same_padding
from wae_jax.models.modules import LEAKY_RELU_SLOPE, NORM_EPSILON
from wae_jax.models.networks import find_network
from wae_jax.pianoroll import NUM_PITCHES, NUM_STEPS, NUM_TRACKS

Layer = dict[str, Any]
Vector = Float32[np.ndarray, " F"]


def encoder_layers(model: ModelSpec, variables: Mapping[str, Any]) -> list[Layer]:
    """The layers from the cells of a phrase, `[T * P * K]` of 0 and 1, to its code `[Z]`, without dropout.

    The code of a Gaussian encoder is the mean.

    Args:
      model: the model's specification.
      variables: {"params": ..., "batch_stats": ...} of the autoencoder.
    """
    return list(_encoder_layers(model, _Variables(variables, "encoder"), _activation(model)))


def decoder_layers(model: ModelSpec, refiner: RefinerSpec, variables: Mapping[str, Any]) -> list[Layer]:
    """The layers from a code `[Z]` to the logits of the cells, `[T * P * K]`, without dropout.

    Args:
      model: the model's specification.
      refiner: the refiner's.
      variables: {"params": ..., "batch_stats": ...} of the autoencoder.
    """
    activation = _activation(model)
    layers = list(_decoder_layers(model, _Variables(variables, "decoder"), activation))
    for i in range(refiner.num_units):
        unit = _Variables(variables, "refiner", f"unit_{i}")
        layers.append({"kind": "residual", "layers": list(_unit_layers(unit, refiner.strides, activation))})
    return layers


def _activation(model: ModelSpec) -> Layer:
    return {"kind": "leaky_relu", "slope": {"relu": 0.0, "leaky_relu": LEAKY_RELU_SLOPE}[model.activation]}


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

    def norm(self, name: str, bias: Vector) -> dict[str, Vector]:
        """A bias and the batch normalization after it, if any, as `scale` and `offset` of each channel."""
        if name not in self._averages:
            return {"scale": np.ones_like(bias), "offset": bias}
        mean, variance = (np.asarray(self._averages[name][part], np.float64) for part in ("mean", "var"))
        scale = self.param(name, "scale") / np.sqrt(variance + NORM_EPSILON)
        offset = self.param(name, "bias") + (bias - mean) * scale
        return {"scale": scale.astype(np.float32), "offset": offset.astype(np.float32)}

    def dense(self, module: str, norm: str = "") -> Layer:
        """A dense layer, with the batch normalization of the name `norm` after it if there is one."""
        bias = self.param(module, "bias")
        return {"kind": "dense", "kernel": self.param(module, "kernel"), **self.norm(norm, bias)}

    def layer_norm(self, name: str) -> Iterator[Layer]:
        """The layer normalization of this name; nothing if there is none."""
        if name in self._params and name not in self._averages:
            scale, offset = self.param(name, "scale"), self.param(name, "bias")
            yield {"kind": "layer_norm", "scale": scale, "offset": offset, "epsilon": NORM_EPSILON}


def _encoder_layers(model: ModelSpec, encoder: _Variables, activation: Layer) -> Iterator[Layer]:
    """The encoder of a row of `NETWORKS`."""
    network = find_network(model.network, dropout_rate=model.dropout_rate)
    size = (NUM_STEPS, NUM_PITCHES)
    for i, conv in enumerate(network.encoder):
        kernel = encoder.param(f"conv_{i}", "kernel").swapaxes(2, 3)
        norm = encoder.norm(f"norm_{i}", encoder.bias(f"conv_{i}", kernel.shape[2]))
        yield {"kind": "conv", "kernel": kernel, **norm, **_geometry(kernel, size, conv.strides, groups=1)}
        yield from encoder.layer_norm(f"norm_{i}")
        yield activation
        size = (size[0] // conv.strides[0], size[1] // conv.strides[1])
    yield encoder.dense("code")


def _decoder_layers(model: ModelSpec, decoder: _Variables, activation: Layer) -> Iterator[Layer]:
    """The decoder of a row of `NETWORKS`."""
    network = find_network(model.network, dropout_rate=model.dropout_rate)
    size = (1, 1)
    if network.start is not None:
        yield decoder.dense("start", norm="norm_start")
        yield from decoder.layer_norm("norm_start")
        yield activation
        size = network.start[:2]
    for i, conv in enumerate(network.decoder):
        kernel = decoder.param(f"conv_{i}", "kernel")
        norm = decoder.norm(f"norm_{i}", decoder.bias(f"conv_{i}", kernel.shape[2]))
        yield {"kind": "conv_transpose", "kernel": kernel, **norm, **_geometry(kernel, size, conv.strides, groups=1)}
        if i < len(network.decoder) - 1:
            yield from decoder.layer_norm(f"norm_{i}")
            yield activation
        size = (size[0] * conv.strides[0], size[1] * conv.strides[1])


def _unit_layers(unit: _Variables, strides: tuple[int, int], activation: Layer) -> Iterator[Layer]:
    """A residual unit of the refiner."""
    kernel, last = unit.param("conv_in", "kernel").swapaxes(2, 3), unit.param("conv_out", "kernel")
    zeros = np.zeros(last.shape[2], np.float32)
    yield {"kind": "affine", **unit.norm("norm_in", zeros)}
    yield activation
    norm = unit.norm("norm_out", np.zeros(kernel.shape[2], np.float32))
    geometry = _geometry(kernel, (NUM_STEPS, NUM_PITCHES), strides, NUM_TRACKS)
    yield {"kind": "conv", "kernel": kernel, **norm, **geometry}
    yield activation
    geometry["size"] = (NUM_STEPS // strides[0], NUM_PITCHES // strides[1])
    yield {"kind": "conv_transpose", "kernel": last, "scale": zeros + 1, "offset": zeros, **geometry}


def _geometry(
    kernel: Float32[np.ndarray, "k_h k_w F I"], size: Sequence[int], strides: tuple[int, int], groups: int
) -> dict[str, Any]:
    """The fields of a convolution with "same" padding besides its numbers."""
    front = tuple(same_padding(k, s)[0] for k, s in zip(kernel.shape[:2], strides, strict=True))
    return {"size": tuple(size), "strides": strides, "front": front, "groups": groups}
