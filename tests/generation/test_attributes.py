"""Attribute directions, against data that were made with known ones."""

import numpy as np
import pytest

from tests.helpers import random_rolls
from wae_jax.generation.attributes import ATTRIBUTES, fit_directions, measure, shortest_step

A = len(ATTRIBUTES)


def made(num=4000, noise=0.0):
    """Codes in which two dimensions go together, attributes that are linear in them, and the slopes."""
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(num, 4)) @ np.array([[1, 0.5, 0, 0], [0, 1, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1.0]])
    slopes = rng.normal(size=(A, 4))
    return codes, 7 + codes @ slopes.T + noise * rng.normal(size=(num, A)), slopes


def test_slopes_are_those_that_made_the_values():
    codes, values, slopes = made()
    found = fit_directions(codes, values)
    np.testing.assert_allclose(found.deviation, values.std(axis=0))
    # The ridge pulls them to 0 a little.
    np.testing.assert_allclose(found.slope, slopes / found.deviation[:, None], atol=0.03)
    np.testing.assert_allclose(found.explained, 1, atol=2e-3)


def test_slopes_are_ridge_regression():
    codes, values, _ = made(num=60, noise=3.0)
    centred = codes - codes.mean(axis=0)
    ridge = 0.01 * np.mean(np.var(codes, axis=0)) * len(codes)
    # As least squares with four more rows.
    rows = np.vstack([centred, ridge**0.5 * np.eye(4)])
    found = fit_directions(codes, values)
    for i in range(A):
        target = (values[:, i] - values[:, i].mean()) / values[:, i].std()
        expected = np.linalg.lstsq(rows, np.append(target, np.zeros(4)), rcond=None)[0]
        np.testing.assert_allclose(found.slope[i], expected, rtol=1e-9)
        assert found.explained[i] == pytest.approx(1 - np.mean((target - centred @ expected) ** 2))


def test_phrases_without_a_value_are_left_out_and_constants_have_no_slope():
    codes, values, _ = made(num=200)
    spoilt = values.copy()
    spoilt[::3, 0] = np.nan
    spoilt[:, 1] = 4.0
    spoilt[:, 2] = np.nan
    found = fit_directions(codes, spoilt)
    known = np.arange(200) % 3 > 0
    np.testing.assert_allclose(found.slope[0], fit_directions(codes[known], values[known]).slope[0])
    np.testing.assert_array_equal(found.slope[1:3], 0)
    np.testing.assert_array_equal(found.deviation[1:3], 0)
    np.testing.assert_allclose(found.slope[3], fit_directions(codes, values).slope[3])


def test_a_step_changes_what_was_asked_and_none_is_shorter():
    rng = np.random.default_rng(1)
    slope, asked = rng.normal(size=(2, 6)), np.array([1.0, -0.5])
    step = shortest_step(slope, asked)
    np.testing.assert_allclose(slope @ step, asked)
    null = np.linalg.svd(slope)[2][2:]
    np.testing.assert_allclose(null @ step, 0, atol=1e-12)


def test_attributes_are_measured_in_their_order():
    rolls = random_rolls(3)
    found = measure(rolls)
    assert found.shape == (3, A)
    for i, of_rolls in enumerate(ATTRIBUTES.values()):
        np.testing.assert_array_equal(found[:, i], of_rolls(rolls))
