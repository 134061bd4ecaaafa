"""Shapes and parameter counts of the networks against the reference's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wae_jax import models
from wae_jax.pianoroll import PHRASE_SHAPE


def count(tree, *names):
    for name in names:
        tree = tree[name]
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(tree))


def shapes(network, h_dim, z_dim):
    model = models.Autoencoder(network=network, h_dim=h_dim, z_dim=z_dim)
    variables = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, *PHRASE_SHAPE)))
    outputs = jax.eval_shape(model.apply, variables, jnp.zeros((2, *PHRASE_SHAPE)))
    return variables["params"], outputs


@pytest.mark.parametrize("network", models.NETWORKS)
@pytest.mark.parametrize(("h_dim", "z_dim"), [(8, 128), (16, 16)])
def test_every_network_maps_phrases_to_codes_and_back(network, h_dim, z_dim):
    _, (z, logits) = shapes(network, h_dim, z_dim)
    assert z.shape == (2, z_dim)
    assert logits.shape == (2, *PHRASE_SHAPE)


def test_alt_has_the_references_parameters():
    params, _ = shapes("alt", 8, 128)
    encoder, decoder = params["encoder"], params["decoder"]
    assert sum(count(encoder, f"conv_{i}") for i in range(4)) == 98_208
    assert count(encoder, "code") == 458_880
    assert count(decoder, "start") == 462_336
    assert sum(count(decoder, f"conv_{i}") for i in range(4)) == 98_208 + 5
    assert sum(count(encoder, f"norm_{i}") for i in range(4)) == 2 * (8 + 16 + 32 + 64)
    assert sum(count(decoder, f"norm_{i}") for i in range(3)) == 2 * (32 + 16 + 8)


def test_new_alt_has_the_references_last_layers():
    alt, new_alt = (shapes(network, 8, 128)[0]["decoder"] for network in ("alt", "new_alt"))
    assert count(new_alt) - count(alt) == 6 * 6 * 5 * 5 + 5 + 2 * 5
    assert "bias" in new_alt["conv_3"]
    assert "bias" in new_alt["conv_4"]
    assert new_alt["norm_3"]["scale"].shape == (5,)


def test_discriminator_has_five_hidden_layers_and_an_output():
    discriminator = models.Discriminator(widths=(512,) * 5)
    params = jax.eval_shape(discriminator.init, jax.random.key(0), jnp.zeros((1, 16)))["params"]
    assert count(params) == 16 * 512 + 512 + 4 * (512 * 512 + 512) + 512 + 1


@pytest.fixture(scope="module")
def small():
    model = models.Autoencoder(
        network="tiny",
        h_dim=2,
        z_dim=3,
        kernel_size=(8, 8),
        dropout_rate=0.5,
        output_bias=(-1.0, -2.0, -3.0, -4.0, -5.0),
    )
    variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, *PHRASE_SHAPE)))
    return model, variables


def test_initialisers_follow_the_reference(small):
    _, variables = small
    kernel = np.asarray(variables["params"]["encoder"]["code"]["kernel"])
    # A normal of deviation .05 cut off at two deviations has a deviation of .044.
    assert np.abs(kernel).max() <= 0.1
    assert kernel.std() == pytest.approx(0.044, rel=0.1)
    np.testing.assert_array_equal(variables["params"]["decoder"]["conv_1"]["bias"], [-1, -2, -3, -4, -5])


def test_evaluation_neither_drops_nor_looks_at_the_other_phrases(small):
    model, variables = small
    x = (jax.random.uniform(jax.random.key(1), (3, *PHRASE_SHAPE)) < 0.02).astype(jnp.float32)
    apply = jax.jit(model.apply)
    z, logits = apply(variables, x)
    alone, logits_alone = apply(variables, jnp.stack([x[1]] * 3))
    np.testing.assert_allclose(z[1], alone[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(logits[1], logits_alone[0], rtol=1e-4, atol=1e-5)


def test_keys_of_the_phrases_are_all_that_training_draws_on(small):
    model, variables = small
    x = (jax.random.uniform(jax.random.key(1), (4, *PHRASE_SHAPE)) < 0.02).astype(jnp.float32)
    keys = jax.random.split(jax.random.key(2), 4)

    @jax.jit
    def train(keys):
        return model.apply(variables, x, encoder_keys=keys, decoder_keys=keys, mutable=["batch_stats"])

    (z, _), updated = train(keys)
    (again, _), _ = train(keys)
    (other, _), _ = train(jax.random.split(jax.random.key(3), 4))
    np.testing.assert_array_equal(z, again)
    assert not np.allclose(z, other)
    old = np.asarray(variables["batch_stats"]["encoder"]["norm_0"]["var"])
    new = np.asarray(updated["batch_stats"]["encoder"]["norm_0"]["var"])
    assert not np.array_equal(old, new)
    assert np.all(new > 0.98 * old)


def test_an_unknown_network_is_refused_by_name():
    model = models.Autoencoder(network="alte", h_dim=2, z_dim=3)
    with pytest.raises(ValueError, match="no network called 'alte'; there are alt, new_alt, meter"):
        jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, *PHRASE_SHAPE)))
