"""Encoder and decoder as plain layers, run by loops over NumPy arrays and compared with the modules."""

import types

import numpy as np
import pytest

from tests.decoding import Z_DIM, codes_of, logits, random_model
from tests.helpers import random_rolls
from wae_jax.listening.network_layers import decoder_layers, encoder_layers
from wae_jax.models.networks import NETWORKS

SLOW_CASE = pytest.param((2, 4), (1, 1), marks=pytest.mark.slow)
NAMES = [name for name in NETWORKS if name != "tiny"]


def add_by_loops(layer, x):
    """A transposed convolution as its definition says: every input adds to the outputs it reaches, within its group."""
    k_h, k_w, outputs, inputs = layer.kernel.shape
    (rows, columns), (down, across), (top, left) = layer.size, layer.strides, layer.front
    x = x.reshape(rows, columns, layer.groups, 1, inputs)
    kernel = layer.kernel.reshape(k_h, k_w, layer.groups, outputs // layer.groups, inputs)
    # The margin around the output is cut off.
    y = np.zeros((rows * down + 2 * k_h, columns * across + 2 * k_w, outputs))
    for row in range(rows):
        for column in range(columns):
            start, begin = row * down - top + k_h, column * across - left + k_w
            y[start : start + k_h, begin : begin + k_w] += (kernel * x[row, column]).sum(-1).reshape(k_h, k_w, outputs)
    return y[k_h : k_h + rows * down, k_w : k_w + columns * across] * layer.scale + layer.offset


def gathered_by_loops(layer, x):
    """A convolution as its definition says: every output gathers the inputs it sees, within its group."""
    k_h, k_w, outputs, inputs = layer.kernel.shape
    (rows, columns), (down, across), (top, left) = layer.size, layer.strides, layer.front
    x = x.reshape(rows, columns, layer.groups, 1, inputs)
    x = np.pad(x, [(top, k_h), (left, k_w), (0, 0), (0, 0), (0, 0)])
    kernel = layer.kernel.reshape(k_h, k_w, layer.groups, outputs // layer.groups, inputs)
    y = [
        (kernel * x[row : row + k_h, column : column + k_w]).sum((0, 1, 4)).ravel()
        for row in range(0, rows, down)
        for column in range(0, columns, across)
    ]
    return np.stack(y) * layer.scale + layer.offset


def run(layers, x):
    """What the layers make of an array, in float64."""
    x = x.astype(np.float64)
    for layer in (types.SimpleNamespace(**fields) for fields in layers):
        match layer.kind:
            case "dense":
                x = (x @ layer.kernel) * layer.scale + layer.offset
            case "conv_transpose":
                x = add_by_loops(layer, x).ravel()
            case "conv":
                x = gathered_by_loops(layer, x).ravel()
            case "affine":
                x = (x.reshape(-1, len(layer.scale)) * layer.scale + layer.offset).ravel()
            case "residual":
                x = x + run(layer.layers, x)
            case "layer_norm":
                runs = x.reshape(-1, len(layer.scale))
                runs = (runs - runs.mean(1, keepdims=True)) / np.sqrt(runs.var(1, keepdims=True) + layer.epsilon)
                x = (runs * layer.scale + layer.offset).ravel()
            case "leaky_relu":
                x = np.where(x > 0, x, layer.slope * x)
    return x


@pytest.mark.parametrize(
    ("network", "normalization"),
    [
        ("mus", "batch"),
        ("meter", "batch"),
        ("fir", "layer"),
        *(pytest.param(name, "batch", marks=pytest.mark.slow) for name in NAMES if name not in ("mus", "meter")),
        *(pytest.param(name, "layer", marks=pytest.mark.slow) for name in NAMES if name != "fir"),
    ],
)
def test_layers_make_the_logits_of_the_module(network, normalization):
    activation = "relu" if normalization == "batch" else "leaky_relu"
    config, variables = random_model(network, normalization, activation)
    layers = decoder_layers(config.model, config.refiner, variables)
    code = np.random.default_rng(1).normal(size=Z_DIM).astype(np.float32)
    truth = logits(config, variables, code[None])
    assert truth.std() > 0.05
    found = run(layers, code).reshape(truth.shape)
    np.testing.assert_allclose(found, truth, rtol=1e-5, atol=1e-5)
    assert any(layer["kind"] == "layer_norm" for layer in layers) == (normalization == "layer")


@pytest.mark.parametrize(
    ("network", "normalization"),
    [
        ("meter", "batch"),
        ("fir", "layer"),
        *(pytest.param(name, "batch", marks=pytest.mark.slow) for name in NAMES if name != "meter"),
        *(pytest.param(name, "layer", marks=pytest.mark.slow) for name in NAMES if name != "fir"),
    ],
)
def test_layers_make_the_code_of_the_module(network, normalization):
    activation = "relu" if normalization == "batch" else "leaky_relu"
    config, variables = random_model(network, normalization, activation, model__encoder="gaussian")
    roll = random_rolls(1, density=0.05)
    truth = codes_of(config, variables, roll)[0]
    assert np.abs(truth).min() > 0.01
    np.testing.assert_allclose(run(encoder_layers(config.model, variables), roll.ravel()), truth, rtol=1e-5, atol=1e-5)


# Kernels larger and smaller than the strides, and strides of 1.
@pytest.mark.parametrize(("kernel_size", "strides"), [((12, 5), (6, 1)), ((3, 2), (4, 3)), SLOW_CASE])
def test_layers_make_the_logits_of_a_refined_decoder(kernel_size, strides):
    config, variables = random_model(
        "meter", refiner__num_units=2, refiner__filters=2,
        refiner__kernel_size=kernel_size, refiner__strides=strides,
    )  # fmt: skip
    code = np.random.default_rng(1).normal(size=Z_DIM).astype(np.float32)
    layers = decoder_layers(config.model, config.refiner, variables)
    truth = logits(config, variables, code[None])[0]
    np.testing.assert_allclose(run(layers, code).reshape(truth.shape), truth, rtol=1e-5, atol=1e-5)
    # Both units do something.
    first, second = (i for i, layer in enumerate(layers) if layer["kind"] == "residual")
    for without in (first, second):
        less = run(layers[:without] + layers[without + 1 :], code).reshape(truth.shape)
        assert np.abs(less - truth).mean() > 0.01


@pytest.mark.parametrize(
    ("network", "sizes", "fronts"),
    [
        # Kernels of the size of the strides leave nothing over; one of 6 x 6 leaves none and 5 of strides 6 and 1.
        ("meter", [(4, 7), (8, 21), (16, 42), (32, 84)], [(0, 0), (0, 0), (0, 0), (0, 2)]),
        # A kernel of 6 and strides of 3, 2 and 1 leave 3, 4 and 5 over, half of them in front.
        ("alt", [(8, 7), (24, 21), (48, 42), (96, 84)], [(1, 1), (2, 2), (2, 2), (2, 2)]),
    ],
)
def test_the_layers_of_a_network(network, sizes, fronts):
    config, variables = random_model(network)
    layers = decoder_layers(config.model, config.refiner, variables)
    assert " ".join(layer["kind"] for layer in layers) == "dense" + " leaky_relu conv_transpose" * 4
    convs = [layer for layer in layers if layer["kind"] == "conv_transpose"]
    assert [layer["size"] for layer in convs] == sizes
    assert [layer["front"] for layer in convs] == fronts
    assert {layer["slope"] for layer in layers if layer["kind"] == "leaky_relu"} == {0.0}
