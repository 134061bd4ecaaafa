"""Reconstruction costs against NumPy's formulas of probabilities, in loops where time matters."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.checking import unchecked
from wae_jax.config import CostSpec
from wae_jax.objective import reconstruction

SHAPE = (3, 6, 4, 5)
KINDS = ["squared_error", "cross_entropy"]


@pytest.fixture
def x():
    return np.random.default_rng(0).integers(0, 2, SHAPE).astype(np.float32)


@pytest.fixture
def logits():
    return np.random.default_rng(1).normal(0, 3, SHAPE).astype(np.float32)


def spec(**changes):
    return CostSpec(**{"positive_weight": 1.0, "onset_weight": 0.0, **changes})


def per_phrase(cells):
    return cells.sum((1, 2, 3))


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits.astype(np.float64)))


def test_squared_error_sums_over_cells_of_each_phrase():
    rng = np.random.default_rng(0)
    x, x_hat = rng.integers(0, 2, (3, 4, 5, 2)), rng.random((3, 4, 5, 2))
    expected = [np.sum((x[i] - x_hat[i]) ** 2) for i in range(3)]
    np.testing.assert_allclose(reconstruction.squared_error(x, x_hat), expected, rtol=1e-5)
    with unchecked(), pytest.raises(ValueError, match="shape"):
        reconstruction.squared_error(x, x_hat[:1])


def test_by_default_it_is_the_squared_error(x, logits):
    found = reconstruction.make_cost(spec())(x, logits, jax.nn.sigmoid)
    np.testing.assert_allclose(found, reconstruction.squared_error(x, jax.nn.sigmoid(logits)), rtol=1e-6)


def test_cross_entropy_is_that_of_probabilities(x, logits):
    p = sigmoid(logits)
    right = np.where(x > 0, p, 1 - p)
    np.testing.assert_allclose(reconstruction.cross_entropy(x, logits), per_phrase(-np.log(right)), rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_costs_and_gradients_stay_finite(kind):
    cost = reconstruction.make_cost(spec(kind=kind, onset_weight=1.0))
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
    np.testing.assert_allclose(reconstruction.onset_error(x, p), per_phrase(expected), rtol=1e-4)


def test_a_perfect_copy_has_no_onset_error(x):
    assert float(jnp.max(reconstruction.onset_error(x, x))) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_weights_of_cells_and_of_further_terms(x, logits, kind):
    p = sigmoid(logits)
    right = np.where(x > 0, p, 1 - p)
    cells = {
        "squared_error": np.square(x - p),
        "cross_entropy": -np.log(right),
    }[kind]
    cost = reconstruction.make_cost(spec(kind=kind, positive_weight=7.0, onset_weight=2.0))
    expected = per_phrase(cells * (1 + 6 * x)) + 2 * np.asarray(reconstruction.onset_error(x, p))
    np.testing.assert_allclose(cost(x, logits, jax.nn.sigmoid), expected, rtol=1e-5)


def test_costs_of_binary_cells_are_counts(x, logits):
    cost = reconstruction.make_cost(spec(positive_weight=7.0, onset_weight=2.0))
    b = logits > 0
    expected = []
    for roll, cells in zip(x > 0, b, strict=True):
        total = 7 * np.sum(roll & ~cells) + np.sum(cells & ~roll)
        begins = roll[1:] & ~roll[:-1], cells[1:] & ~cells[:-1]
        expected.append(total + 2 * np.sum(begins[0] != begins[1]))
    np.testing.assert_allclose(cost(x, logits, lambda logits: (logits > 0).astype(np.float32)), expected, rtol=1e-6)
