"""How like phrases are, counted by hand."""

import numpy as np
import pytest

from tests.helpers import random_rolls
from wae_jax.generation.modes.fidelity import cell_f1, text_table


def test_f1_by_hand():
    rolls = np.zeros((4, 3, 2, 1), bool)
    others = np.zeros((4, 3, 2, 1), bool)
    rolls[0, 0] = others[0, 0] = True  # the same
    rolls[1, 0], others[1, 1] = True, True  # nothing in common
    rolls[2, 0], others[2, :2, 0] = True, True  # one of two, one of two
    np.testing.assert_allclose(cell_f1(rolls, others), [1, 0, 0.5, 1])


def test_f1_is_precision_and_recall_and_one_phrase_stands_for_all():
    rolls, other = random_rolls(3, density=0.3), random_rolls(1, density=0.2, seed=1)
    for found, roll in zip(cell_f1(rolls, other), rolls, strict=True):
        hits = sum(1 for a, b in zip(roll.flat, other.flat, strict=True) if a and b)
        precision, recall = hits / roll.sum(), hits / other.sum()
        assert found == pytest.approx(2 / (1 / precision + 1 / recall))


def test_a_table_is_read_by_columns():
    rows = [{"phrase": "one", "F1": 0.25, "cells": 7}, {"phrase": "another", "F1": None, "cells": 12}]
    assert text_table(rows).splitlines() == ["phrase      F1  cells", "one      0.250      7", "another      -     12"]
