"""The decoder as plain layers, run by loops over NumPy arrays and compared with the module."""

import numpy as np
import pytest

from tests.decoding import Z_DIM, logits, random_model
from wae_jax.listening.decoder_layers import ConvTranspose, Dense, LayerNorm, LeakyRelu, decoder_layers
from wae_jax.networks import NETWORKS

NAMES = [name for name in NETWORKS if name != "tiny"]


def add_by_loops(layer, x):
    """A transposed convolution as its definition says: every input adds to the outputs it reaches."""
    k_h, k_w, outputs, inputs = layer.kernel.shape
    (rows, columns), (down, across), (top, left) = layer.size, layer.strides, layer.front
    x = x.reshape(rows, columns, inputs)
    # Around the output lies what is left out.
    y = np.zeros((rows * down + 2 * k_h, columns * across + 2 * k_w, outputs))
    for row in range(rows):
        for column in range(columns):
            start, begin = row * down - top + k_h, column * across - left + k_w
            y[start : start + k_h, begin : begin + k_w] += layer.kernel @ x[row, column]
    return y[k_h : k_h + rows * down, k_w : k_w + columns * across] * layer.scale + layer.offset


def run(layers, code):
    """The logits of one code, in float64."""
    x = code.astype(np.float64)
    for layer in layers:
        match layer:
            case Dense():
                x = (x @ layer.kernel) * layer.scale + layer.offset
            case ConvTranspose():
                x = add_by_loops(layer, x).ravel()
            case LayerNorm():
                runs = x.reshape(-1, len(layer.scale))
                runs = (runs - runs.mean(1, keepdims=True)) / np.sqrt(runs.var(1, keepdims=True) + layer.epsilon)
                x = (runs * layer.scale + layer.offset).ravel()
            case LeakyRelu():
                x = np.where(x > 0, x, layer.slope * x)
    return x


@pytest.mark.parametrize("normalization", ["batch", "layer"])
@pytest.mark.parametrize("network", NAMES)
def test_layers_make_the_logits_of_the_module(network, normalization):
    activation = "relu" if normalization == "batch" else "leaky_relu"
    config, variables = random_model(network, normalization, activation)
    layers = decoder_layers(config, variables)
    code = np.random.default_rng(1).normal(size=Z_DIM).astype(np.float32)
    truth = logits(config, variables, code[None])
    assert truth.std() > 0.05
    found = run(layers, code).reshape(truth.shape)
    np.testing.assert_allclose(found, truth, rtol=1e-5, atol=1e-5)
    assert any(isinstance(layer, LayerNorm) for layer in layers) == (normalization == "layer")


def test_what_layers_there_are():
    config, variables = random_model("meter")
    layers = decoder_layers(config, variables)
    assert [type(layer) for layer in layers] == [Dense, LeakyRelu, *[ConvTranspose, LeakyRelu] * 3, ConvTranspose]
    convs = [layer for layer in layers if isinstance(layer, ConvTranspose)]
    assert [layer.size for layer in convs] == [(4, 7), (8, 21), (16, 42), (32, 84)]
    # Six places of the kernel and strides of 2 and 3 leave 4 and 3 rows over, of which half go in front.
    assert [layer.front for layer in convs] == [(2, 1), (2, 2), (2, 2), (0, 2)]
    assert {layer.slope for layer in layers if isinstance(layer, LeakyRelu)} == {0.0}
