"""Onset and sustain planes: a small roll by hand, loops and NumPy's softmax, and models and steps that have them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import DENSITIES, autoencoder_of, make_batch, onsets, random_rolls, run_step, run_steps, tiny_config
from wae_jax import pianoroll
from wae_jax.config import CostSpec
from wae_jax.generation.model import Model
from wae_jax.metrics.reconstruction import count_cells
from wae_jax.models.networks import NETWORKS
from wae_jax.objective import reconstruction
from wae_jax.pianoroll import PHRASE_SHAPE, note_planes
from wae_jax.pianoroll.note_planes import ONSETS_AND_SUSTAINS
from wae_jax.training.evaluation_step import make_evaluate_step
from wae_jax.training.state import create_train_state

SHAPE = (3, 6, 4, 5)
KINDS = ["squared_error", "cross_entropy", "focal"]
LIMIT = 300.0


@pytest.fixture
def x():
    return np.random.default_rng(0).integers(0, 2, SHAPE).astype(np.float32)


@pytest.fixture
def logits():
    return np.random.default_rng(1).normal(0, 3, (*SHAPE, 2)).astype(np.float32)


def softmax(logits):
    """The probabilities of onset, sustain and silence, in float64."""
    odds = np.exp(np.concatenate([logits, np.zeros_like(logits[..., :1])], -1, dtype=np.float64))
    return odds / odds.sum(-1, keepdims=True)


def kinds(x):
    """0 for an onset, 1 for a sustain, 2 for silence, by a loop."""
    found = np.full(x.shape, 2)
    for b, t, p, k in np.argwhere(x):
        found[b, t, p, k] = int(t > 0 and x[b, t - 1, p, k])
    return found


def test_planes_of_a_line_by_hand():
    line = [1, 1, 0, 1, 0, 0, 1, 1, 1]
    planes = np.asarray(note_planes.onset_sustain_planes(np.array(line).reshape(1, -1, 1, 1)))[0, :, 0, 0]
    np.testing.assert_array_equal(planes[:, 0], [1, 0, 0, 1, 0, 0, 1, 0, 0])
    np.testing.assert_array_equal(planes[:, 1], [0, 1, 0, 0, 0, 0, 0, 1, 1])


def test_planes_of_phrases():
    rolls = random_rolls(3, density=0.4)
    begins, goes_on = np.moveaxis(np.asarray(note_planes.onset_sustain_planes(rolls.astype(np.float32))), -1, 0)
    np.testing.assert_array_equal(begins, onsets(rolls))
    np.testing.assert_array_equal(begins + goes_on, rolls)


def test_probabilities_are_those_of_a_softmax_with_silence(logits):
    p = softmax(logits)
    np.testing.assert_allclose(note_planes.plane_probabilities(logits), p[..., :2], rtol=1e-4, atol=1e-7)
    cells = np.asarray(note_planes.cell_logits(logits), np.float64)
    np.testing.assert_allclose(1 / (1 + np.exp(-cells)), p[..., 0] + p[..., 1], rtol=1e-5)
    # What are logits of cells already, stays as it is.
    np.testing.assert_array_equal(note_planes.cell_logits(logits[..., 0]), logits[..., 0])


def spec(**changes):
    return CostSpec(**{"positive_weight": 1.0, "onset_weight": 0.0, **changes})


def expected_cells(x, logits, kind, gamma):
    """Each cell's cost in three classes, by NumPy."""
    p, so = softmax(logits), kinds(x)
    if kind == "squared_error":
        return np.square(p[..., 0] - (so == 0)) + np.square(p[..., 1] - (so == 1))
    right = np.take_along_axis(p, so[..., None], -1)[..., 0]
    return -np.log(right) * ((1 - right) ** gamma if kind == "focal" else 1)


@pytest.mark.parametrize("kind", KINDS)
def test_costs_are_of_three_classes(x, logits, kind):
    found = reconstruction.make_cost(spec(kind=kind))(x, logits, jax.nn.sigmoid)
    np.testing.assert_allclose(found, expected_cells(x, logits, kind, 2).sum((1, 2, 3)), rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_and_further_terms_are_of_cells(x, logits, kind):
    cost = reconstruction.make_cost(
        spec(kind=kind, positive_weight=7.0, focal_gamma=1.5, onset_weight=2.0, smoothness_weight=0.25)
    )
    p = softmax(logits)[..., :2].sum(-1).astype(np.float32)
    expected = (
        (expected_cells(x, logits, kind, 1.5) * (1 + 6 * x)).sum((1, 2, 3))
        + 2 * np.asarray(reconstruction.onset_error(x, p))
        + 0.25 * np.asarray(reconstruction.roughness(x, p))
    )
    np.testing.assert_allclose(cost(x, logits, jax.nn.sigmoid), expected, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_costs_and_gradients_stay_finite(kind):
    cost = reconstruction.make_cost(spec(kind=kind, onset_weight=1.0, smoothness_weight=1.0))
    ends = np.array([-LIMIT, -30.0, 0.0, 30.0, LIMIT], np.float32)
    logits = jnp.stack(jnp.meshgrid(ends, ends), axis=-1).reshape(1, 25, 1, 1, 2)
    for x in (jnp.zeros((1, 25, 1, 1)), jnp.ones((1, 25, 1, 1)), jnp.arange(25.0).reshape(1, 25, 1, 1) % 2):
        value, gradient = jax.value_and_grad(lambda logits, x=x: jnp.sum(cost(x, logits, jax.nn.sigmoid)))(logits)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()


def test_the_gradient_of_the_cross_entropy_is_probability_less_truth(x, logits):
    cost = reconstruction.make_cost(spec(kind="cross_entropy"))
    gradient = jax.grad(lambda logits: jnp.sum(cost(x, logits, jax.nn.sigmoid)))(jnp.asarray(logits))
    truth = np.eye(3)[kinds(x)]
    np.testing.assert_allclose(gradient, (softmax(logits) - truth)[..., :2], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("network", NETWORKS)
def test_every_network_has_two_channels_a_track(network):
    config = tiny_config(model__network=network, model__output_planes=ONSETS_AND_SUSTAINS)
    model = autoencoder_of(config)
    x = jnp.zeros((2, *PHRASE_SHAPE))
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    last = variables["params"]["decoder"][f"conv_{len(NETWORKS[network].decoder) - 1}"]
    assert (last["kernel"].shape[2], last["bias"].shape) == (10, (10,))
    _, outputs = jax.eval_shape(lambda variables: model.apply(variables, x, method="autoencode"), variables)
    _, logits = jax.eval_shape(lambda variables: model.apply(variables, x), variables)
    assert (outputs.shape, logits.shape) == ((2, *PHRASE_SHAPE, 2), x.shape)


def test_training_begins_at_the_densities():
    """With kernels of 0 nothing but the last biases is left."""
    densities = (0.02, 0.1, 0.3, 0.5, 0.9)
    config = tiny_config(model__output_planes=ONSETS_AND_SUSTAINS)
    variables = create_train_state(config, track_densities=densities, num_train_steps=1).evaluation_variables()
    variables["params"]["decoder"]["conv_1"]["kernel"] *= 0
    model = autoencoder_of(config)
    outputs = jax.jit(lambda all_: model.apply(all_, random_rolls(2) * 1.0, method="autoencode"))(variables)[1]
    np.testing.assert_array_equal(outputs[..., 0], outputs[..., 1])
    p = softmax(np.asarray(outputs))[..., :2].sum(-1)
    np.testing.assert_allclose(p, np.broadcast_to(densities, p.shape), rtol=1e-5)


@pytest.fixture(scope="module")
def trained():
    """A configuration, the packed phrases of a step, and what two devices make of six steps with them."""
    config = tiny_config(
        "mmd",
        model__output_planes=ONSETS_AND_SUSTAINS,
        model__output_bias="zero",
        autoencoder_optimizer__learning_rate=0.05,
        autoencoder_optimizer__warmup_steps=0,
        autoencoder_optimizer__schedule="constant",
    )
    batch = make_batch(config.batch_size)
    return config, batch, list(run_steps(config, 2, 6, batches=[batch.packed] * 6))


def test_a_step_descends_the_planes_cost_and_tells_the_cells_error(trained):
    config, batch, run = trained
    found = [float(metrics["train/cost"]) for _, metrics in run]
    assert found[-1] < 0.8 * found[0]
    # The forward pass of the first step again.
    state = create_train_state(config, track_densities=DENSITIES, num_train_steps=6)
    x = pianoroll.unpack(batch.packed).astype(np.float32)
    unused = jax.random.split(jax.random.key(9), len(x))  # without dropout the keys do not matter
    variables = {"params": state.autoencoder.params, "batch_stats": state.autoencoder.batch_stats}
    apply = jax.jit(
        lambda x: autoencoder_of(config).apply(
            variables, x, encoder_keys=unused, decoder_keys=unused, mutable=["batch_stats"], method="autoencode"
        )
    )
    (_, outputs), _ = apply(x)
    metrics = {name: float(value) for name, value in run[0][1].items()}
    per_phrase = expected_cells(x, np.asarray(outputs), "squared_error", 0).sum((1, 2, 3))
    assert metrics["train/cost"] == pytest.approx(per_phrase.mean(), rel=1e-4)
    x_hat = softmax(np.asarray(outputs))[..., :2].sum(-1)
    assert metrics["train/reconstruction"] == pytest.approx(np.square(x - x_hat).sum((1, 2, 3)).mean(), rel=1e-4)
    loss = (
        config.objective.reconstruction_weight * metrics["train/cost"]
        + config.objective.penalty_weight * metrics["train/penalty"]
    )
    assert metrics["train/loss"] == pytest.approx(loss, rel=1e-5)


def test_evaluation_and_sampling_are_of_cells(trained):
    config, batch, run = trained
    state = run[-1][0]
    rolls = pianoroll.unpack(batch.packed)
    trained = Model(config, state.evaluation_variables(), 0, "")
    codes = trained.encode(rolls)
    model = autoencoder_of(config)
    _, outputs = jax.jit(lambda x: model.apply(state.evaluation_variables(), x, method="autoencode"))(
        rolls.astype(np.float32)
    )
    p = softmax(np.asarray(outputs))[..., :2].sum(-1)
    np.testing.assert_allclose(trained.decode(codes), p, rtol=1e-4, atol=1e-6)
    evaluated = run_step(make_evaluate_step(config), state, batch, 2)
    assert float(evaluated.reconstruction) == pytest.approx(np.square(rolls - p).sum(), rel=1e-4)
    counts = count_cells(rolls, p.astype(np.float32), threshold=0.5)
    np.testing.assert_allclose(evaluated.cells.predicted, np.sum(counts.predicted), atol=2)
