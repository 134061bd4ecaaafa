"""Modules besides convolutions: initial values, normalization, activation, dropout, training on several devices."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import make_batch, random_rolls, run_step, tiny_config
from wae_jax.config import ModelSpec
from wae_jax.errors import ConfigError
from wae_jax.generation.model import Model
from wae_jax.models.autoencoder import Autoencoder
from wae_jax.models.discriminator import Discriminator
from wae_jax.models.modules import ACTIVATIONS
from wae_jax.pianoroll import PHRASE_SHAPE
from wae_jax.training.checkpoint import Checkpointer
from wae_jax.training.state import create_train_state
from wae_jax.training.step import make_train_step


def test_discriminator_has_five_hidden_layers_and_an_output():
    discriminator = Discriminator(widths=(512,) * 5)
    params = jax.eval_shape(discriminator.init, jax.random.key(0), jnp.zeros((1, 16)))["params"]
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert count == 16 * 512 + 512 + 4 * (512 * 512 + 512) + 512 + 1


def small_model(**fields):
    return Autoencoder(ModelSpec(network="tiny", h_dim=2, z_dim=3, kernel_size=(8, 8), **fields))


@pytest.fixture(scope="module")
def small():
    model = small_model(dropout_rate=0.5, batch_norm_momentum=0.99)
    model = model.clone(output_bias=(-1.0, -2.0, -3.0, -4.0, -5.0))
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

    # XLA would compute in advance what depends on constants alone, and takes long for it: so none here or below.
    @jax.jit
    def train(variables, x, keys):
        return model.apply(variables, x, encoder_keys=keys, decoder_keys=keys, mutable=["batch_stats"])

    (z, _), updated = train(variables, x, keys)
    (again, _), _ = train(variables, x, keys)
    (other, _), _ = train(variables, x, jax.random.split(jax.random.key(3), 4))
    np.testing.assert_array_equal(z, again)
    assert not np.allclose(z, other)
    old = np.asarray(variables["batch_stats"]["encoder"]["norm_0"]["var"])
    new = np.asarray(updated["batch_stats"]["encoder"]["norm_0"]["var"])
    assert not np.array_equal(old, new)
    assert np.all(new > 0.98 * old)


def with_encoder(kind, **fields):
    """A model whose encoder is of a kind, its variables, and four phrases."""
    model = small_model(encoder=kind, **fields)
    variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, *PHRASE_SHAPE)))
    return model, variables, random_rolls(4).astype(np.float32)


@functools.partial(jax.jit, static_argnums=0)
def encode(model, variables, x, noise_keys):
    """The codes of one pass in evaluation, but for what a random encoder draws."""
    return model.apply(variables, x, method=lambda self, x: self.encoder(x, dropout_keys=None, noise_keys=noise_keys))


def test_a_gaussian_encoders_codes_have_its_mean_and_variance():
    model, variables, x = with_encoder("gaussian")
    # A variance of its own for each dimension, the same for all phrases.
    head = variables["params"]["encoder"]["log_variance"]
    head["kernel"], head["bias"] = jnp.zeros_like(head["kernel"]), jnp.log(jnp.array([0.25, 1.0, 4.0]))
    draw = jax.jit(jax.vmap(lambda variables, x, keys: encode(model, variables, x, keys), in_axes=(None, None, 0)))
    drawn = draw(variables, x, jax.random.split(jax.random.key(5), (600, 4)))
    without = encode(model, variables, x, None)
    np.testing.assert_array_equal(without.z, without.mean)
    np.testing.assert_allclose(drawn.mean[0], without.mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(drawn.log_variance[0, 0], np.log([0.25, 1.0, 4.0]), rtol=1e-6)
    deviations = (np.asarray(drawn.z) - np.asarray(drawn.mean)).reshape(-1, 3)
    # Of 2,400 draws: four deviations of the mean, and of the variance.
    error = 4 / np.sqrt(len(deviations))
    np.testing.assert_allclose(deviations.mean(0) / [0.5, 1, 2], 0, atol=error)
    np.testing.assert_allclose(deviations.var(0) / [0.25, 1, 4], 1, atol=np.sqrt(2) * error)
    np.testing.assert_allclose(np.corrcoef(deviations.T), np.eye(3), atol=error)


@pytest.mark.slow
def test_additive_noise_is_on_the_phrase_alone():
    model, variables, x = with_encoder("additive_noise", encoder_noise=0.3)
    plain, *_ = with_encoder("deterministic")
    keys = jax.random.split(jax.random.key(5), 4)
    noise = jnp.stack([jax.random.normal(key, PHRASE_SHAPE) for key in keys])
    expected = encode(plain, variables, x + 0.3 * noise, None).z
    found = encode(model, variables, x, keys)
    np.testing.assert_allclose(found.z, expected, rtol=1e-5, atol=1e-6)
    assert found.log_variance is None
    # None is drawn where no keys are given, as in evaluation.
    still = encode(model, variables, x, None).z
    np.testing.assert_array_equal(still, encode(plain, variables, x, None).z)
    assert not np.allclose(found.z, still, atol=1e-3)


def test_layer_normalization_has_no_statistics_and_keeps_phrases_apart():
    model = small_model(normalization="layer")
    variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, *PHRASE_SHAPE)))
    assert set(variables) == {"params"}
    x = random_rolls(3).astype(np.float32)
    keys = jax.random.split(jax.random.key(2), 3)
    train = jax.jit(lambda variables, x: model.apply(variables, x, encoder_keys=keys, decoder_keys=keys))
    for one, other in zip(train(variables, x), train(variables, np.stack([x[0], x[0], x[0]])), strict=True):
        np.testing.assert_allclose(one[0], other[0], rtol=1e-4, atol=1e-5)
        assert not np.allclose(one[1], other[1])


def test_leaky_relu_has_kerass_slope():
    x = jnp.array([-2.0, 0.0, 3.0])
    np.testing.assert_allclose(ACTIVATIONS["leaky_relu"](x), [-0.6, 0, 3], rtol=1e-6)
    np.testing.assert_allclose(ACTIVATIONS["relu"](x), [0, 0, 3])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"network": "alte"}, "model.network is 'alte'; expected one of fir, alt, new_alt, newnew, mus, meter"),
        ({"network": "fir", "dropout_rate": 0.5}, "model.dropout_rate is 0.5, but the network 'fir' has no dropout"),
    ],
)
def test_networks_that_do_not_exist_are_refused_by_name(fields, message):
    model = Autoencoder(ModelSpec(**fields))
    with pytest.raises(ConfigError, match=message):
        jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, *PHRASE_SHAPE)))


def train_one_step(**changes):
    """The state before and after a step on two devices, and the step's metrics."""
    config = tiny_config("mmd", batch_size=2, **changes, autoencoder_optimizer__warmup_steps=0)
    before = jax.device_get(create_train_state(config, track_densities=(0.02,) * 5, num_train_steps=1))
    step = make_train_step(config, num_train_steps=1)
    after, metrics = run_step(step, before, make_batch(2), 2, donate_state=True)
    return config, before, after, metrics


def assert_a_row_trains(network, normalization, activation, dtype):
    _, before, after, metrics = train_one_step(
        model__network=network,
        model__kernel_size=(6, 6),
        model__normalization=normalization,
        model__activation=activation,
        dtype=dtype,
    )
    assert all(np.isfinite(value) for value in metrics.values()), metrics
    leaves = jax.tree.leaves(after.autoencoder)
    assert all(np.isfinite(leaf).all() for leaf in leaves)
    assert {leaf.dtype.name for leaf in leaves} == {"float32", "int32"}  # int32: Adam's count of steps
    for half in ("encoder", "decoder"):
        old, new = (state.autoencoder.params[half]["conv_0"]["kernel"] for state in (before, after))
        assert not np.array_equal(old, new)
    assert bool(after.autoencoder.batch_stats) == (normalization == "batch")


SETTINGS = [("batch", "layer"), ("relu", "leaky_relu"), ("float32", "bfloat16")]
ALL = list(itertools.product(("fir", "alt", "new_alt", "newnew", "mus", "meter"), *SETTINGS))


@pytest.mark.slow  # `test_networks` computes these networks by hand, `test_step` trains a small one
@pytest.mark.parametrize(("network", "normalization", "activation", "dtype"), ALL)
def test_rows_train_under_pmap(network, normalization, activation, dtype):
    assert_a_row_trains(network, normalization, activation, dtype)


def test_a_state_without_batch_statistics_is_saved_restored_and_sampled_from(tmp_path):
    config, before, after, _ = train_one_step(
        model__normalization="layer",
        model__activation="leaky_relu",
        model__dropout_rate=0.3,
        dtype="bfloat16",
        ema_decay=0.9,
    )
    assert after.autoencoder.batch_stats == {}
    with Checkpointer(tmp_path) as checkpoints:
        checkpoints.save(1, after)
        restored, _ = checkpoints.restore(1, before)
    assert jax.tree.structure(restored) == jax.tree.structure(after)
    for one, other in zip(jax.tree.leaves(restored), jax.tree.leaves(after), strict=True):
        np.testing.assert_array_equal(one, other)
    sampler = Model(config, restored.evaluation_variables(), 0, "")
    rolls = random_rolls(3)
    probabilities = sampler.decode(sampler.encode(rolls))
    assert probabilities.shape == rolls.shape
    assert np.isfinite(probabilities).all()
