"""Counts of cells and the scores made of them, by hand."""

import numpy as np
import pytest

from tests.helpers import random_rolls
from wae_jax.metrics import reconstruction
from wae_jax.pianoroll import pack


def test_cell_counts_by_hand():
    x = np.zeros((2, 2, 2, 1), np.float32)
    x[0, 0, 0, 0] = x[0, 1, 1, 0] = 1
    x_hat = np.full((2, 2, 2, 1), 0.1, np.float32)
    x_hat[0, 0, 0, 0] = x_hat[0, 0, 1, 0] = x_hat[1, 0, 0, 0] = 0.6
    counts = reconstruction.count_cells(x, x_hat, threshold=0.5)
    np.testing.assert_array_equal(counts.true_positive, [1, 0])
    np.testing.assert_array_equal(counts.predicted, [2, 1])
    np.testing.assert_array_equal(counts.actual, [2, 0])


def test_scores_by_hand():
    scores = reconstruction.cell_scores(np.array([3, 0, 0]), np.array([4, 2, 0]), np.array([6, 0, 0]))
    np.testing.assert_allclose(scores.precision, [0.75, 0, 0])
    np.testing.assert_allclose(scores.recall, [0.5, 0, 0])
    np.testing.assert_allclose(scores.f1, [0.6, 0, 0])
    assert reconstruction.cell_scores(0, 0, 0, zero_division=1.0).f1 == 1
    assert reconstruction.cell_scores(3.0, 4.0, 6.0).f1 == pytest.approx(0.6)


def test_f1_by_hand():
    rolls = np.zeros((4, 3, 2, 1), bool)
    others = np.zeros((4, 3, 2, 1), bool)
    rolls[0, 0] = others[0, 0] = True  # the same
    rolls[1, 0], others[1, 1] = True, True  # nothing in common
    rolls[2, 0], others[2, :2, 0] = True, True  # one of two, one of two
    np.testing.assert_allclose(reconstruction.cell_f1(rolls, others), [1, 0, 0.5, 1])


def test_f1_of_phrases():
    one, other = random_rolls(3, density=0.3), random_rolls(3, density=0.2, seed=1)
    one[2] = other[2] = False
    found = reconstruction.cell_f1(one, other)
    for i in range(2):
        precision, recall = ((one[i] & other[i]).sum() / each[i].sum() for each in (one, other))
        assert found[i] == pytest.approx(2 / (1 / precision + 1 / recall))
    assert found[2] == 1  # two silences
    np.testing.assert_allclose(reconstruction.cell_f1(one, other[:1])[0], found[0])
    np.testing.assert_allclose(reconstruction.cell_f1(one[:1], other)[0], found[0])


def test_scores_of_packed_phrases_are_those_of_all_cells_together():
    real, found = random_rolls(3, density=0.3), random_rolls(3, density=0.2, seed=1)
    hits = (real & found).sum()
    expected = {"precision": hits / found.sum(), "recall": hits / real.sum()}
    expected["f1"] = 2 / (1 / expected["precision"] + 1 / expected["recall"])
    assert reconstruction.packed_cell_scores(pack(real), pack(found)) == pytest.approx(expected)
    assert reconstruction.packed_cell_scores(pack(real), pack(np.zeros_like(real)))["f1"] == 0
