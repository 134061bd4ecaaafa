"""Reconstruction costs against NumPy's formulas of probabilities, in loops where time matters."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from wae_jax.objective import reconstruction, terms

SHAPE = (3, 6, 4, 5)


@pytest.fixture
def x():
    return np.random.default_rng(0).integers(0, 2, SHAPE).astype(np.float32)


@pytest.fixture
def logits():
    return np.random.default_rng(1).normal(0, 3, SHAPE).astype(np.float32)


def settings(**changes):
    cost = {"kind": "squared_error", "positive_weight": 1.0, "focal_gamma": 2.0}
    return ml_collections.ConfigDict({"cost": cost | {"onset_weight": 0.0, "smoothness_weight": 0.0} | changes})


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits.astype(np.float64)))


def test_by_default_it_is_the_squared_error(x, logits):
    found = reconstruction.make_cost(settings())(x, logits, jax.nn.sigmoid)
    np.testing.assert_allclose(found, terms.squared_error(x, jax.nn.sigmoid(logits)), rtol=1e-6)


def test_cross_entropy_and_focal_form(x, logits):
    p = sigmoid(logits)
    right = np.where(x > 0, p, 1 - p)
    np.testing.assert_allclose(reconstruction.cross_entropy(x, logits), -np.log(right), rtol=1e-5)
    for gamma in (0.0, 0.5, 2.0):
        expected = -((1 - right) ** gamma) * np.log(right)
        np.testing.assert_allclose(reconstruction.focal(x, logits, gamma=gamma), expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("kind", reconstruction.COSTS)
def test_costs_and_gradients_stay_finite(kind):
    cost = reconstruction.make_cost(settings(kind=kind, onset_weight=1.0, smoothness_weight=1.0))
    logits = jnp.array([-300.0, -30.0, 0.0, 30.0, 300.0]).reshape(1, 5, 1, 1)
    for x in (jnp.zeros_like(logits), jnp.ones_like(logits)):
        assert np.isfinite(cost(x, logits, jax.nn.sigmoid)).all()
        assert np.isfinite(jax.grad(lambda value, x=x: jnp.sum(cost(x, value, jax.nn.sigmoid)))(logits)).all()


def test_onsets_are_counted_where_a_note_begins(x, logits):
    p = sigmoid(logits)
    expected = np.zeros((SHAPE[0], SHAPE[1] - 1, *SHAPE[2:]))
    for place in np.ndindex(*expected.shape):
        b, t, *rest = place
        now, before = (b, t + 1, *rest), (b, t, *rest)
        begins = float(x[now] == 1 and x[before] == 0)
        expected[place] = (begins - p[now] * (1 - p[before])) ** 2
    np.testing.assert_allclose(reconstruction.onset_error(x, p), expected, rtol=1e-4, atol=1e-7)


def test_roughness_is_change_where_the_music_has_none(x, logits):
    p = sigmoid(logits)
    expected = np.zeros((SHAPE[0], SHAPE[1] - 1, *SHAPE[2:]))
    for place in np.ndindex(*expected.shape):
        b, t, *rest = place
        now, before = (b, t + 1, *rest), (b, t, *rest)
        if x[now] == x[before]:
            expected[place] = (p[now] - p[before]) ** 2
    np.testing.assert_allclose(reconstruction.roughness(x, p), expected, rtol=1e-4, atol=1e-7)


def test_a_perfect_copy_is_neither_rough_nor_late(x):
    assert float(jnp.max(reconstruction.onset_error(x, x))) == 0
    assert float(jnp.max(reconstruction.roughness(x, x))) == 0


@pytest.mark.parametrize("kind", reconstruction.COSTS)
def test_weights_of_cells_and_of_further_terms(x, logits, kind):
    of_cells = {
        "squared_error": lambda x, logits: np.square(x - sigmoid(logits)),
        "cross_entropy": reconstruction.cross_entropy,
        "focal": lambda x, logits: reconstruction.focal(x, logits, gamma=1.5),
    }[kind](x, logits)
    cost = reconstruction.make_cost(
        settings(kind=kind, positive_weight=7.0, focal_gamma=1.5, onset_weight=2.0, smoothness_weight=0.25)
    )
    expected = [
        np.sum(np.asarray(of_cells[i]) * (1 + 6 * x[i]))
        + 2 * np.sum(np.asarray(reconstruction.onset_error(x, sigmoid(logits))[i]))
        + 0.25 * np.sum(np.asarray(reconstruction.roughness(x, sigmoid(logits))[i]))
        for i in range(SHAPE[0])
    ]
    np.testing.assert_allclose(cost(x, logits, jax.nn.sigmoid), expected, rtol=1e-5)


def test_costs_of_binary_cells_are_counts(x, logits):
    cost = reconstruction.make_cost(settings(positive_weight=7.0, onset_weight=2.0, smoothness_weight=0.25))
    b = logits > 0
    expected = []
    for roll, cells in zip(x > 0, b, strict=True):
        total = 7 * np.sum(roll & ~cells) + np.sum(cells & ~roll)
        begins = roll[1:] & ~roll[:-1], cells[1:] & ~cells[:-1]
        total += 2 * np.sum(begins[0] != begins[1])
        expected.append(total + 0.25 * np.sum((cells[1:] != cells[:-1]) & (roll[1:] == roll[:-1])))
    np.testing.assert_allclose(cost(x, logits, lambda logits: (logits > 0).astype(np.float32)), expected, rtol=1e-6)
