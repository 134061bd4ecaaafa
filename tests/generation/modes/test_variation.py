"""Variations at growing distance."""

import numpy as np
import pytest
import scipy.stats

from tests.helpers import random_rolls
from tests.searching import shorten_searches
from wae_jax.generation.modes.input_phrase import InputPhrase
from wae_jax.generation.modes.request import Request
from wae_jax.generation.modes.variation import choose_growing, vary
from wae_jax.metrics.reconstruction import cell_f1


@pytest.fixture(scope="module")
def run(shipped):
    return shipped


def own(roll):
    return (InputPhrase(roll, "mine.mid", 1),)


def test_distances_grow_in_latent_space_and_in_cells(run, monkeypatch):
    shorten_searches(monkeypatch)
    originals = run.decode(run.sample_codes(21, 2)) > 0.5
    made = [vary(run, Request(6, seed=3, inputs=own(original))) for original in originals]
    for phrases, original in zip(made, originals, strict=True):
        assert phrases.rolls.shape == (7, 192, 84, 5)
        np.testing.assert_array_equal(phrases.originals[0], original)
        away = np.linalg.norm(phrases.codes - phrases.codes[0], axis=1)
        np.testing.assert_allclose(np.diff(away), away[-1] / 6, rtol=1e-3)
        cells = 1 - cell_f1(phrases.rolls, phrases.rolls[:1])
        assert scipy.stats.spearmanr(away, cells).statistic > 0.9
        assert cells[-1] > 2 * cells[1] > 0
        rows = phrases.report["variations"]
        np.testing.assert_allclose([row["latent distance"] for row in rows], away, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose([row["cells that differ"] for row in rows], cells, atol=1e-9)
        expected = cell_f1(phrases.rolls, original[None])
        np.testing.assert_allclose([row["F1 with the original"] for row in rows], expected)
        # No farther from the origin than draws are.
        assert np.linalg.norm(phrases.codes, axis=1).max() < 9
    for k in range(7):
        assert cell_f1(made[0].rolls[k : k + 1], made[1].rolls[k : k + 1])[0] < 0.8


def test_what_grows_is_chosen_by_hand():
    differences = np.array(
        [
            [0.1, 0.2, 0.3],  # the median
            [0.1, 0.15, 0.25],  # of .15 and .25, the median .15 does not grow
            [0.3, 0.5, 0.9],
            [0.1, 0.4, 0.2],  # none grows
            [0.41, 0.5, 0.6],
        ]
    )
    np.testing.assert_array_equal(choose_growing(differences), [1, 2, 1, 1, 1])


def test_a_phrase_without_likeness_still_has_variations(run, monkeypatch):
    shorten_searches(monkeypatch)
    phrases = vary(run, Request(1, inputs=own(random_rolls(1)[0])))
    assert phrases.names == ["reconstruction", "variation 1"]
    assert "F1 of the code used" in phrases.table
