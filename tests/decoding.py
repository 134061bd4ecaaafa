"""Models with random variables, and what JAX makes of them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from tests.helpers import STATISTICS, autoencoder_of, tiny_config
from wae_jax.generation.attributes import ATTRIBUTES
from wae_jax.generation.code_statistics import code_statistics
from wae_jax.generation.model import Model
from wae_jax.pianoroll import PHRASE_SHAPE

Z_DIM = 3


def random_model(network, normalization="batch", activation="relu", **changes):
    """The configuration of a small model, and variables none of which is what training starts with."""
    config = tiny_config(
        "mmd",
        model__network=network,
        model__h_dim=3,
        model__z_dim=Z_DIM,
        model__kernel_size=(6, 6),
        model__normalization=normalization,
        model__activation=activation,
        model__dropout_rate=0.0,
        **changes,
    )
    model = autoencoder_of(config)
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, *PHRASE_SHAPE)))
    rng = np.random.default_rng(7)

    def fill(path, leaf):
        name = path[-1].key
        if name in ("var", "scale"):
            return rng.uniform(0.5, 2.0, leaf.shape).astype(np.float32)
        return (rng.normal(size=leaf.shape) * (0.2 if name == "kernel" else 0.5)).astype(np.float32)

    return config, jax.tree_util.tree_map_with_path(fill, shapes)


def small_model(**changes):
    """A model of random variables with the statistics of its data, as one that has been trained for seven steps."""
    config, variables = random_model("tiny", **changes)
    rng = np.random.default_rng(8)
    of_codes = code_statistics(rng.normal(size=(9, Z_DIM)), rng.normal(size=(9, len(ATTRIBUTES))))
    return Model(config, variables, 7, "f" * 64, STATISTICS, code_statistics=of_codes)


def logits(config, variables, codes):
    """What JAX makes of codes, [B, T, P, K]; in float64, so that what differs is not its rounding."""
    return _apply("decode", config, variables, codes)


def codes_of(config, variables, rolls):
    """What JAX makes of phrases, [B, Z], likewise."""
    return _apply("encode", config, variables, rolls)


def _apply(method, config, variables, array):
    with jax.enable_x64(True):
        model = autoencoder_of(dataclasses.replace(config, dtype="float64"))
        function = jax.jit(lambda variables, x: model.apply(variables, x, method=method))
        return np.asarray(function(*jax.tree.map(lambda leaf: leaf.astype(np.float64), (variables, array))))
