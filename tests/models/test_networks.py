"""The table of networks against the reference: sizes and counts by hand, and every row computed again in NumPy."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from tests.bench import arithmetic
from tests.helpers import random_rolls, tiny_config
from wae_jax.config import ModelSpec, read_config
from wae_jax.errors import ConfigError
from wae_jax.models import conv as convolutions
from wae_jax.models import networks
from wae_jax.models.autoencoder import Autoencoder
from wae_jax.pianoroll import PHRASE_SHAPE

ROWS = ["fir", "alt", "new_alt", "newnew", "mus", "meter"]

# Steps and pitches after every layer of the reference's models, and of this project's; the decoder's begin with its
# start.
SIZES = {
    "fir": (
        [(96, 42), (48, 21), (24, 21), (12, 7)],
        [(12, 7), (24, 21), (48, 21), (96, 42), (192, 84)],
    ),
    "alt": (
        [(96, 84), (48, 42), (24, 21), (8, 7)],
        [(8, 7), (24, 21), (48, 42), (96, 84), (192, 84)],
    ),
    "new_alt": (
        [(96, 84), (48, 42), (24, 21), (8, 7)],
        [(8, 7), (24, 21), (48, 42), (96, 84), (192, 84), (192, 84)],
    ),
    "newnew": (
        [(96, 84), (48, 42), (24, 21), (8, 7)],
        [(8, 7), (24, 21), (48, 42), (96, 84), (192, 84)],
    ),
    "mus": (
        [(192, 84), (96, 42), (16, 6), (4, 3), (1, 1)],
        [(1, 1), (1, 1), (4, 3), (16, 6), (96, 42), (192, 84), (192, 84)],
    ),
    "meter": (
        [(32, 84), (16, 42), (8, 21), (4, 7)],
        [(4, 7), (8, 21), (16, 42), (32, 84), (192, 84)],
    ),
}

# Filters of the decoder's layers by width. The encoder's are h, 2h, 4h and so on in every row.
DECODER_FILTERS = {
    "fir": {8: [32, 16, 8, 5], 16: [64, 32, 16, 5]},
    "alt": {8: [32, 16, 8, 5], 16: [64, 32, 16, 5]},
    "new_alt": {8: [32, 16, 8, 5, 5], 16: [64, 32, 16, 5, 5]},
    "newnew": {8: [32, 16, 8, 5], 16: [64, 32, 16, 5]},
    "mus": {8: [128, 64, 32, 16, 8, 5], 16: [256, 128, 64, 32, 16, 5]},
    "meter": {8: [32, 16, 8, 5], 16: [64, 32, 16, 5]},
}

# Parameters by row and (h_dim, z_dim): the encoder's convolutions, normalisations (a scale and an offset a channel) and
# dense layer; the decoder's dense layers with their normalisation, convolutions with their biases, and normalisations.
# Kernels of 6 x 6 = 36 cells, but for `newnew`'s 144 and 64, one of 25 in `mus`, and 4 and 6 in
# `meter`.
COUNTS = {
    "fir": {
        # 36 (5*8 + 8*16 + 16*32 + 32*64); 2 (8 + 16 + 32 + 64); 12*7*64 = 5376 units: 5376*128 + 128;
        # 128*5376 + 5376 + 2*5376; 36 (64*32 + 32*16 + 16*8 + 8*5) + 5; 2 (32 + 16 + 8)
        (8, 128): (98_208, 240, 688_256, 704_256, 98_213, 112),
        # 36 (5*16 + 16*32 + 32*64 + 64*128); 2 (16 + 32 + 64 + 128); 12*7*128 = 10752 units: 10752*16 + 16;
        # 16*10752 + 10752 + 2*10752; 36 (128*64 + 64*32 + 32*16 + 16*5) + 5; 2 (64 + 32 + 16)
        (16, 16): (389_952, 480, 172_048, 204_288, 389_957, 224),
    },
    "alt": {
        # As fir, but 8*7*64 = 3584 units: 3584*128 + 128; 128*3584 + 3584
        (8, 128): (98_208, 240, 458_880, 462_336, 98_213, 112),
        # 8*7*128 = 7168 units: 7168*16 + 16; 16*7168 + 7168
        (16, 16): (389_952, 480, 114_704, 121_856, 389_957, 224),
    },
    "new_alt": {
        # As alt, and in the decoder 36*5*5 + 5 = 905 more, and 2*5 to normalise
        (8, 128): (98_208, 240, 458_880, 462_336, 99_118, 122),
        (16, 16): (389_952, 480, 114_704, 121_856, 390_862, 234),
    },
    "newnew": {
        # As alt, but 144*5*8 + 64*8*16 + 36*16*32 + 36*32*64; 36*64*32 + 36*32*16 + 64*16*8 + 144*8*5 + 5
        (8, 128): (106_112, 240, 458_880, 462_336, 106_117, 112),
        # 144*5*16 + 64*16*32 + 36*32*64 + 36*64*128; 36*128*64 + 36*64*32 + 64*32*16 + 144*16*5 + 5
        (16, 16): (412_928, 480, 114_704, 121_856, 412_933, 224),
    },
    "mus": {
        # 36 (5*8 + 8*16 + 16*32 + 32*64 + 64*128); 2 (8 + 16 + 32 + 64 + 128); 128*128 + 128; no dense layer;
        # 36 (128*128 + 128*64) + 25*64*32 + 36 (32*16 + 16*8 + 8*5) + 5; 2 (128 + 64 + 32 + 16 + 8)
        (8, 128): (393_120, 496, 16_512, 0, 960_421, 496),
        # 36 (5*16 + 16*32 + 32*64 + 64*128 + 128*256); 2 (16 + 32 + 64 + 128 + 256); 256*16 + 16;
        # 36 (16*256 + 256*128) + 25*128*64 + 36 (64*32 + 32*16 + 16*5) + 5; 2 (256 + 128 + 64 + 32 + 16)
        (16, 16): (1_569_600, 992, 4_112, 0, 1_626_949, 992),
    },
    "meter": {
        # 36*5*8 + 4*8*16 + 4*16*32 + 6*32*64; as alt, but 4*7*64 = 1792 units: 1792*128 + 128; 128*1792 + 1792;
        # 6*64*32 + 4*32*16 + 4*16*8 + 36*8*5 + 5
        (8, 128): (16_288, 240, 229_504, 231_168, 16_293, 112),
        # 36*5*16 + 4*16*32 + 4*32*64 + 6*64*128; 4*7*128 = 3584 units: 3584*16 + 16; 16*3584 + 3584;
        # 6*128*64 + 4*64*32 + 4*32*16 + 36*16*5 + 5
        (16, 16): (62_272, 480, 57_360, 60_928, 62_277, 224),
    },
}


def count(tree, start):
    """Parameters of the layers whose name starts so."""
    return sum(math.prod(leaf.shape) for name in tree if name.startswith(start) for leaf in jax.tree.leaves(tree[name]))


def traced(network, h_dim, z_dim):
    """Shapes of the parameters, of the two outputs, and of what every layer gives, without computing anything."""
    model = Autoencoder(ModelSpec(network=network, h_dim=h_dim, z_dim=z_dim))
    x = jnp.zeros((2, *PHRASE_SHAPE))
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    outputs, seen = jax.eval_shape(
        lambda variables: model.apply(variables, x, capture_intermediates=True, mutable=["intermediates"]), variables
    )
    return variables["params"], outputs, seen["intermediates"]


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize(("h_dim", "z_dim"), [(8, 128), (16, 16)])
def test_every_layer_has_the_references_size_parameters_and_biases(row, h_dim, z_dim):
    params, (z, logits), seen = traced(row, h_dim, z_dim)
    assert z.shape == (2, z_dim)
    assert logits.shape == (2, 192, 84, 5)
    encoder_sizes, (start, *decoder_sizes) = SIZES[row]
    for i, (steps, pitches) in enumerate(encoder_sizes):
        assert seen["encoder"][f"conv_{i}"]["__call__"][0].shape == (2, steps, pitches, h_dim * 2**i)
    for i, ((steps, pitches), filters) in enumerate(zip(decoder_sizes, DECODER_FILTERS[row][h_dim], strict=True)):
        assert seen["decoder"][f"conv_{i}"]["__call__"][0].shape == (2, steps, pitches, filters)
    if "start" in params["decoder"]:
        units = start[0] * start[1] * 8 * h_dim
        assert seen["decoder"]["start"]["__call__"][0].shape == (2, units)

    encoder, decoder = params["encoder"], params["decoder"]
    found = (
        count(encoder, "conv_"),
        count(encoder, "norm_"),
        count(encoder, "code"),
        count(decoder, "start") + count(decoder, "norm_start"),
        count(decoder, "conv_"),
        count(decoder, "norm_") - count(decoder, "norm_start"),
    )
    assert found == COUNTS[row][h_dim, z_dim]
    biased = [name for half in (encoder, decoder) for name in half if name[:4] == "conv" and "bias" in half[name]]
    assert biased == {"mus": ["conv_5"], "new_alt": ["conv_3", "conv_4"]}.get(row, ["conv_3"])
    assert sum(found) == count(encoder, "") + count(decoder, "")
    assert sum(found) == arithmetic.num_parameters(row, h_dim=h_dim, z_dim=z_dim)


def test_names_of_parameters_are_those_of_earlier_checkpoints():
    params, _, _ = traced("alt", 8, 128)
    assert set(params["encoder"]) == {"code", *(f"{kind}_{i}" for kind in ("conv", "norm") for i in range(4))}
    assert set(params["decoder"]) == {
        "start",
        "conv_3",
        *(f"{kind}_{i}" for kind in ("conv", "norm") for i in range(3)),
    }
    assert {name for layer in params["encoder"].values() for name in layer} == {"kernel", "scale", "bias"}
    fir, _, _ = traced("fir", 8, 128)
    assert set(fir["decoder"]) == {*params["decoder"], "norm_start"}


def conv_in_numpy(x, w, strides):
    """TensorFlow's "same" padding, from the definition for any size: [B, H, W, I], [k_h, k_w, I, O]."""
    padding = []
    for n, k, s in zip(x.shape[1:3], w.shape[:2], strides, strict=True):
        total = max((math.ceil(n / s) - 1) * s + k - n, 0)
        padding.append((total // 2, total - total // 2))
    windows = sliding_window_view(np.pad(x, [(0, 0), *padding, (0, 0)]), w.shape[:2], axis=(1, 2))
    return np.einsum("bhwcij,ijco->bhwo", windows[:, :: strides[0], :: strides[1]], w, optimize=True)


def conv_transpose_in_numpy(y, w, strides):
    """Every input cell adds its kernel to the output, which is then cropped: [B, H, W, O], [k_h, k_w, I, O]."""
    (height, width), (k_h, k_w) = y.shape[1:3], w.shape[:2]
    more = [max(k - s, 0) for k, s in zip(w.shape[:2], strides, strict=True)]
    rows, columns = height * strides[0], width * strides[1]
    full = np.zeros((len(y), rows + more[0], columns + more[1], w.shape[2]))
    for i in range(k_h):
        for j in range(k_w):
            full[:, i : i + rows : strides[0], j : j + columns : strides[1]] += y @ w[i, j].T
    return full[:, more[0] // 2 : more[0] // 2 + rows, more[1] // 2 : more[1] // 2 + columns]


conv = jax.jit(convolutions.conv, static_argnums=2)
conv_transpose = jax.jit(convolutions.conv_transpose, static_argnums=2)


def close(found, expected, tolerance=1e-4):
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("cells", [(2, 3), (1, 1)])
def test_every_convolution_is_that_of_numpy_both_ways(row, cells):
    rng = np.random.default_rng(0)
    network = networks.NETWORKS[row]
    for spec in (*network.encoder, *network.decoder):
        size = [n * s for n, s in zip(cells, spec.strides, strict=True)]
        w = rng.normal(size=(*(spec.kernel or (6, 6)), 2, 3)).astype(np.float32)
        x = rng.normal(size=(2, *size, 2)).astype(np.float32)
        y = rng.normal(size=(2, *cells, 3)).astype(np.float32)
        close(conv(x, w, spec.strides), conv_in_numpy(x, w, spec.strides))
        close(conv_transpose(y, w, spec.strides), conv_transpose_in_numpy(y, w, spec.strides))


# The two that no other test of gradients has: an input of a single cell, a kernel shorter than the stride on one.
@pytest.mark.parametrize(("kernel", "strides"), [((6, 6), (1, 1)), ((6, 6), (6, 7))])
def test_gradients_on_a_single_cell_are_those_of_numpy(kernel, strides):
    rng = np.random.default_rng(0)
    w, other_w = rng.normal(size=(2, *kernel, 2, 3)).astype(np.float32)
    x, other_x = rng.normal(size=(2, 3, *strides, 2)).astype(np.float32)
    y, other_y = rng.normal(size=(2, 3, 1, 1, 3)).astype(np.float32)

    @jax.jit
    def gradients(x, y, w):
        along = jax.grad(lambda x, w: jnp.sum(y * convolutions.conv(x, w, strides)), argnums=(0, 1))(x, w)
        across = jax.grad(lambda y, w: jnp.sum(x * convolutions.conv_transpose(y, w, strides)), argnums=(0, 1))(y, w)
        return *along, *across

    # <y, conv(x, w)> = <x, conv_transpose(y, w)> is linear in each: a gradient times any direction is its value there.
    dx, dw, dy, dw_transposed = gradients(x, y, w)
    in_w = np.sum(y * conv_in_numpy(x, other_w, strides))
    for gradient, direction, expected in (
        (dx, other_x, np.sum(y * conv_in_numpy(other_x, w, strides))),
        (dy, other_y, np.sum(x * conv_transpose_in_numpy(other_y, w, strides))),
        (dw, other_w, in_w),
        (dw_transposed, other_w, in_w),
    ):
        assert np.sum(np.asarray(gradient) * direction) == pytest.approx(expected, rel=1e-4, abs=1e-4)


class InNumpy:
    """A network's two halves in NumPy: sizes from the table above, parameters and moving statistics given.

    `batch_stats` of None stands for layer normalisation, "batch" for the batch's own statistics.
    """

    def __init__(self, row, params, batch_stats, slope):
        self.sizes, self.params, self.batch_stats, self.slope = SIZES[row], params, batch_stats, slope

    def normalize(self, x, half, name):
        if self.batch_stats is None:
            axes = -1
        elif self.batch_stats == "batch":
            axes = tuple(range(x.ndim - 1))
        else:
            axes = None
            stats = self.batch_stats[half][name]
        mean = stats["mean"] if axes is None else x.mean(axes, keepdims=True)
        variance = stats["var"] if axes is None else x.var(axes, keepdims=True)
        parameters = self.params[half][name]
        return (x - mean) / np.sqrt(variance + 1e-3) * parameters["scale"] + parameters["bias"]

    def activate(self, x):
        return np.where(x > 0, x, self.slope * x)

    def encode(self, x):
        params = self.params["encoder"]
        for i, size in enumerate(self.sizes[0]):
            strides = (x.shape[1] // size[0], x.shape[2] // size[1])
            x = conv_in_numpy(x, params[f"conv_{i}"]["kernel"], strides)
            x = self.activate(self.normalize(x, "encoder", f"norm_{i}"))
        return x.reshape(len(x), -1) @ params["code"]["kernel"] + params["code"]["bias"]

    def decode(self, z):
        params = self.params["decoder"]
        start, *sizes = self.sizes[1]
        x = z
        if "start" in params:
            x = x @ params["start"]["kernel"] + params["start"]["bias"]
            if "norm_start" in params:
                x = self.normalize(x, "decoder", "norm_start")
            x = self.activate(x)
        x = x.reshape(len(z), *start, -1)
        for i, size in enumerate(sizes):
            strides = (size[0] // x.shape[1], size[1] // x.shape[2])
            kernel = params[f"conv_{i}"]["kernel"]
            x = conv_transpose_in_numpy(x, kernel, strides) + params[f"conv_{i}"].get("bias", 0)
            if i < len(sizes) - 1:
                x = self.activate(self.normalize(x, "decoder", f"norm_{i}"))
        return x


def random_variables(model, seed=0):
    """Variables of a model, all at random and none near what they start as; values in a net stay near 1."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, *PHRASE_SHAPE)))

    def draw(path, leaf):
        kind = path[-1].key
        if kind in ("scale", "var"):
            return rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32)
        deviation = 1.5 / math.sqrt(math.prod(leaf.shape[:-1])) if kind == "kernel" else 0.3
        return rng.normal(0, deviation, leaf.shape).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes)


@pytest.mark.parametrize(
    ("row", "normalization", "activation", "h_dim", "slope", "tolerance"),
    [
        *((row, "batch", "relu", 1, 0, 1e-5) for row in ROWS),
        ("fir", "layer", "leaky_relu", 3, 0.3, 1e-4),
        *(pytest.param(row, "layer", "leaky_relu", 3, 0.3, 1e-4, marks=pytest.mark.slow) for row in ROWS[1:]),
    ],
)
def test_whole_networks_are_those_of_numpy(row, normalization, activation, h_dim, slope, tolerance):
    model = Autoencoder(
        ModelSpec(network=row, h_dim=h_dim, z_dim=3, normalization=normalization, activation=activation)
    )
    variables = random_variables(model)
    truth = InNumpy(row, variables["params"], variables.get("batch_stats"), slope)
    x = random_rolls(2, density=0.1).astype(np.float32)
    z = np.float32([[10, -10, 20], [-20, 30, 10]])  # through `mus` an impulse spreads thin

    @jax.jit
    def both_halves(variables, x, z):
        return model.apply(variables, x, method="encode"), model.apply(variables, z, method="decode")

    codes, logits = both_halves(variables, x, z)
    close(codes, truth.encode(x), tolerance)
    close(logits, truth.decode(z), tolerance)
    # No layer has died on the way.
    assert np.abs(codes[0] - codes[1]).max() > 1e-3
    assert np.std(logits[0] - logits[1]) > 1e-2


def test_training_normalizes_by_the_batch_and_remembers_it():
    model = Autoencoder(ModelSpec(network="fir", h_dim=1, z_dim=3, batch_norm_momentum=0.99))
    variables = random_variables(model)
    x = random_rolls(3, density=0.1).astype(np.float32)
    keys = jax.random.split(jax.random.key(0), 3)

    @jax.jit
    def train(variables, x):
        return model.apply(variables, x, encoder_keys=keys, decoder_keys=keys, mutable=["batch_stats"])

    (z, logits), updated = train(variables, x)
    truth = InNumpy("fir", variables["params"], "batch", 0)
    close(z, truth.encode(x))
    close(logits, truth.decode(np.asarray(z)), tolerance=1e-3)
    start = variables["params"]["decoder"]["start"]
    units = np.asarray(z) @ start["kernel"] + start["bias"]
    assert units.shape == (3, 12 * 7 * 8)
    for name, batch in (("mean", units.mean(axis=0)), ("var", units.var(axis=0))):
        before = variables["batch_stats"]["decoder"]["norm_start"][name]
        close(updated["batch_stats"]["decoder"]["norm_start"][name], 0.99 * before + 0.01 * batch, tolerance=1e-5)


@pytest.mark.parametrize("row", ROWS)
def test_networks_without_dropout_refuse_a_rate(row):
    assert networks.find_network(row, dropout_rate=0.0) is networks.NETWORKS[row]
    if row in ("alt", "new_alt", "meter"):
        assert networks.find_network(row, dropout_rate=0.2) is networks.NETWORKS[row]
    else:
        with pytest.raises(ConfigError, match=f"rate is 0.2, but the network '{row}' has no dropout; .*: alt, new_alt"):
            networks.find_network(row, dropout_rate=0.2)


def test_layer_normalization_of_a_single_channel_is_refused():
    read_config(tiny_config(model__h_dim=2, model__normalization="layer"))
    with pytest.raises(ConfigError, match=r"model.h_dim is 1 and model.normalization is 'layer'"):
        read_config(tiny_config(model__h_dim=1, model__normalization="layer"))
