"""Binary neurons against NumPy's formulas, finite differences, and what training makes of them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import autoencoder_of, make_batch, run_steps, tiny_config
from wae_jax import pianoroll
from wae_jax.config import BinaryNeuronSpec
from wae_jax.models.binary_neurons import annealed_slope, fire, make_cell_values
from wae_jax.training.random_keys import example_keys

GRADIENTS = ["straight_through", "sigmoid_adjusted"]
LOGITS = np.random.default_rng(0).normal(0, 2, (4, 6, 3, 5)).astype(np.float32)
UPSTREAM = np.random.default_rng(1).normal(size=LOGITS.shape).astype(np.float32)


def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x, np.float64)))


def expected_gradient(logits, slope, gradient):
    p = sigmoid(slope * logits)
    return UPSTREAM * (slope * p * (1 - p) if gradient == "sigmoid_adjusted" else 1.0)


def gradient_of(function, logits):
    return jax.grad(lambda value: jnp.sum(UPSTREAM * function(value)))(logits)


@pytest.mark.parametrize("gradient", GRADIENTS)
@pytest.mark.parametrize("slope", [1.0, 2.5])
def test_values_and_gradients_are_those_of_the_formula(slope, gradient):
    deterministic = functools.partial(fire, cut=0.5, slope=slope, gradient=gradient)
    np.testing.assert_array_equal(deterministic(LOGITS), LOGITS > 0)
    expected = expected_gradient(LOGITS, slope, gradient)
    np.testing.assert_allclose(gradient_of(deterministic, LOGITS), expected, rtol=1e-4, atol=1e-6)

    uniform = np.random.default_rng(2).random(LOGITS.shape, np.float32)
    stochastic = functools.partial(fire, cut=uniform, slope=slope, gradient=gradient)
    np.testing.assert_array_equal(stochastic(LOGITS), uniform < sigmoid(slope * LOGITS))
    np.testing.assert_allclose(gradient_of(stochastic, LOGITS), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("gradient", "stand_in"), [("sigmoid_adjusted", sigmoid), ("straight_through", np.float64)])
def test_gradients_are_finite_differences_of_what_stands_in(gradient, stand_in):
    slope = 1.7 if gradient == "sigmoid_adjusted" else 1.0
    step = 1e-6
    logits = LOGITS.astype(np.float64)
    difference = (stand_in(slope * (logits + step)) - stand_in(slope * (logits - step))) / (2 * step)
    with jax.enable_x64(True):
        found = gradient_of(lambda value: fire(value, 0.5, slope, gradient), logits)
    np.testing.assert_allclose(found, UPSTREAM * difference, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("gradient", GRADIENTS)
def test_gradients_stay_finite_wherever_logits_go(gradient):
    logits = jnp.array([-3e4, -300.0, 0.0, 300.0, 3e4])
    value, derivative = jax.jvp(lambda x: fire(x, 0.5, 6.0, gradient), (logits,), (jnp.ones_like(logits),))
    np.testing.assert_array_equal(value, [0, 0, 0, 1, 1])
    assert np.isfinite(derivative).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_same_under_jit_vmap_and_pmap(dtype):
    with jax.enable_x64(dtype == "float64"):
        logits = jnp.asarray(LOGITS, dtype)
        cut = jnp.asarray(np.random.default_rng(2).random(LOGITS.shape), dtype)

        def one(logits, cut, slope):
            derivative = jax.grad(lambda value: jnp.sum(fire(value, cut, slope, "sigmoid_adjusted") ** 2))(logits)
            return fire(logits, cut, slope, "sigmoid_adjusted"), derivative

        expected = one(logits, cut, 2.0)
        assert {array.dtype for array in expected} == {np.dtype(dtype)}
        for mapped in (jax.jit(one), jax.vmap(one, (0, 0, None)), jax.pmap(one, in_axes=(0, 0, None))):
            for found, wanted in zip(mapped(logits, cut, jnp.float32(2.0)), expected, strict=True):
                assert found.dtype == dtype
                np.testing.assert_allclose(found, wanted, rtol=1e-6)


def values_of(keys, step, **settings):
    return make_cell_values(BinaryNeuronSpec(**settings))(keys, jnp.int32(step))


def test_stochastic_neurons_fire_as_often_as_their_probability_says():
    keys = jax.random.split(jax.random.key(0), 4000)
    logits = np.linspace(-4, 4, 24, dtype=np.float32).reshape(1, 2, 3, 4).repeat(len(keys), axis=0)
    fired = values_of(keys, 1000, kind="stochastic", slope_growth=2.0)(logits)
    p = sigmoid(2 * logits[0])
    # Four and a half deviations, for 24 of them.
    assert (np.abs(np.mean(fired, axis=0) - p) < 4.5 * np.sqrt(p * (1 - p) / len(keys)) + 1e-9).all()
    # Phrases and cells draw on their own.
    flat = np.asarray(fired).reshape(len(keys), -1)[:, 8:16]
    assert np.abs(np.corrcoef(flat.T) - np.eye(8)).max() < 4.5 / np.sqrt(len(keys))


def test_what_stands_for_cells_by_kind():
    keys = example_keys(0, jnp.int32(3), jnp.arange(4)).neurons
    np.testing.assert_allclose(values_of(keys, 3, kind="none")(LOGITS), sigmoid(LOGITS), rtol=1e-5)
    np.testing.assert_array_equal(values_of(keys, 3, kind="deterministic")(LOGITS), LOGITS > 0)
    uniform = np.stack([jax.random.uniform(key, LOGITS.shape[1:]) for key in keys])
    stochastic = values_of(keys, 2000, kind="stochastic", slope_growth=1.5)
    np.testing.assert_array_equal(stochastic(LOGITS), uniform < sigmoid(1.5**2 * LOGITS))
    for kind in ("deterministic", "stochastic"):
        for gradient in GRADIENTS:
            values = values_of(keys, 2000, kind=kind, gradient=gradient, slope_growth=1.5)
            expected = expected_gradient(LOGITS, 1.5**2, gradient)
            np.testing.assert_allclose(gradient_of(values, LOGITS), expected, rtol=1e-4, atol=1e-6)


def test_the_slope_grows_to_its_maximum():
    steps = np.array([0, 500, 1000, 4000, 10_000_000])
    found = [float(annealed_slope(jnp.int32(step), growth=1.25, maximum=6.0)) for step in steps]
    np.testing.assert_allclose(found, [1, 1.25**0.5, 1.25, 1.25**4, 6], rtol=1e-5)
    assert float(annealed_slope(jnp.int32(10_000), growth=1.0, maximum=6.0)) == 1


@pytest.mark.parametrize(
    ("kind", "gradient", "dtype"),
    [
        pytest.param("deterministic", "sigmoid_adjusted", "bfloat16", marks=pytest.mark.slow),
        ("stochastic", "straight_through", "float32"),
    ],
)
def test_the_cost_of_a_step_is_that_of_binary_cells(kind, gradient, dtype):
    """The wrong cells, counted; and the cost goes down."""
    config = tiny_config(
        "none",
        objective__binary_neurons__kind=kind,
        objective__binary_neurons__gradient=gradient,
        dtype=dtype,
        model__output_bias="zero",
        autoencoder_optimizer__learning_rate=0.05,
        autoencoder_optimizer__warmup_steps=0,
        autoencoder_optimizer__schedule="constant",
    )
    batch = make_batch(config.batch_size)
    run = list(run_steps(config, 2, 6, batches=[batch.packed] * 6))
    found = [float(metrics["train/cost"]) for _, metrics in run]
    assert found[-1] < 0.8 * found[0]

    # The forward pass of the second step again.
    state, x = run[0][0], pianoroll.unpack(batch.packed).astype(np.float32)
    keys = example_keys(config.seed, jnp.int32(1), jnp.arange(len(x)))
    variables = {"params": state.autoencoder.params, "batch_stats": state.autoencoder.batch_stats}
    (_, logits), _ = jax.jit(
        lambda x: autoencoder_of(config).apply(
            variables, x, encoder_keys=keys.encoder, decoder_keys=keys.decoder, mutable=["batch_stats"]
        )
    )(x)
    assert logits.dtype == np.float32
    cut = 0.5
    if kind == "stochastic":
        cut = np.stack([jax.random.uniform(key, logits.shape[1:]) for key in keys.neurons])
    wrong = ((sigmoid(1.25**0.001 * logits) > cut) != (x > 0)).sum(axis=(1, 2, 3))
    # In bfloat16 two devices round otherwise than one. Other draws would change the mean by a thousandth.
    assert found[1] == pytest.approx(wrong.mean(), rel=1e-4 if dtype == "float32" else 0.02)
