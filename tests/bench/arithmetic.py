"""Arithmetic and parameters of a network, from its row of the table alone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from wae_jax.models.networks import NETWORKS, TRACKS, Conv

PHRASE = (192, 84, 5)  # steps, pitches, tracks; not from `pianoroll`, which imports jax


class Layer(NamedTuple):
    """Multiplications of a forward pass of one phrase, trained parameters, and numbers of the result, of one layer."""

    products: int
    parameters: int
    results: int = 0  # none of normalization, which need not be written down


def _filters(spec: Conv, h_dim: int) -> int:
    return PHRASE[2] if spec.filters == TRACKS else spec.filters * h_dim


def _convolution(
    spec: Conv, kernel: tuple[int, int], narrow: tuple[int, int], inputs: int, outputs: int, *, widens: bool
) -> Layer:
    """A convolution in either direction; each cell of its smaller side, of size `narrow`, uses the whole kernel."""
    weights = math.prod(spec.kernel or kernel) * inputs * outputs
    cells = math.prod(narrow)
    results = cells * outputs * (math.prod(spec.strides) if widens else 1)
    return Layer(cells * weights, weights + outputs * spec.use_bias, results)


def layers(network: str, *, h_dim: int, z_dim: int, kernel: tuple[int, int] = (6, 6)) -> Iterator[Layer]:
    """The layers in order, batch normalization as layers without products worth counting.

    Padding counts as data, since it is computed like data.
    """
    row = NETWORKS[network]
    steps, pitches, channels = PHRASE
    for spec in row.encoder:
        steps, pitches = steps // spec.strides[0], pitches // spec.strides[1]
        filters = _filters(spec, h_dim)
        yield _convolution(spec, kernel, (steps, pitches), channels, filters, widens=False)
        yield Layer(0, 2 * filters)
        channels = filters
    units = steps * pitches * channels
    yield Layer(units * z_dim, units * z_dim + z_dim, z_dim)
    steps, pitches, channels = 1, 1, z_dim
    if row.start:
        steps, pitches, channels = row.start[0], row.start[1], row.start[2] * h_dim
        units = steps * pitches * channels
        yield Layer(units * z_dim, units * z_dim + units, units)
        yield Layer(0, 2 * units * row.normalize_start)
    for number, spec in enumerate(row.decoder, 1):
        filters = _filters(spec, h_dim)
        yield _convolution(spec, kernel, (steps, pitches), channels, filters, widens=True)
        if number < len(row.decoder):
            yield Layer(0, 2 * filters)
        steps, pitches, channels = steps * spec.strides[0], pitches * spec.strides[1], filters


def forward_gflop(network: str, *, h_dim: int, z_dim: int) -> float:
    """GFLOP of one forward pass of encoder and decoder, a phrase; a multiplication and its addition are two."""
    return 2e-9 * sum(layer.products for layer in layers(network, h_dim=h_dim, z_dim=z_dim))


def decoder_gflop(network: str, *, h_dim: int, z_dim: int) -> float:
    """GFLOP of decoding a phrase."""
    every = list(layers(network, h_dim=h_dim, z_dim=z_dim))
    encoder = 2 * len(NETWORKS[network].encoder) + 1
    return 2e-9 * sum(layer.products for layer in every[encoder:])


def training_gflop(network: str, *, h_dim: int, z_dim: int) -> float:
    """GFLOP of a training step, a phrase: forward, and as much for inputs' as for kernels' gradients.

    The first layer needs no gradient of its input, which is the data. Normalisation, the penalty and the optimizer are
    left out: they are bandwidth, not arithmetic.
    """
    first = next(layers(network, h_dim=h_dim, z_dim=z_dim))
    return 3 * forward_gflop(network, h_dim=h_dim, z_dim=z_dim) - 2e-9 * first.products


def training_gigabytes(network: str, *, h_dim: int, z_dim: int, bytes_each: int) -> float:
    """Gigabytes that a training step has to move to and from memory, a phrase, at the least.

    Of each layer, the result is written once and read twice, by the next layer and by the gradient of that layer's
    kernel, and its gradient is written once and read once. Parameters and what normalization needs more are left out.
    """
    return 5e-9 * bytes_each * sum(layer.results for layer in layers(network, h_dim=h_dim, z_dim=z_dim))


def num_parameters(network: str, *, h_dim: int, z_dim: int) -> int:
    """Parameters that are trained, of encoder and decoder."""
    return sum(layer.parameters for layer in layers(network, h_dim=h_dim, z_dim=z_dim))
