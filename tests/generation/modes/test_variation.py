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
def run(corpus_model):
    return corpus_model


def own(roll):
    return (InputPhrase(roll, "mine.mid", 1),)


def test_variations_grow_away_from_the_phrase_in_latent_space_and_in_cells(run, monkeypatch):
    shorten_searches(monkeypatch)
    # Shifted by half a beat: the decoder reproduces them badly.
    originals = np.roll(run.decode(run.sample_codes(21, 2)) > 0.5, 6, axis=1)
    made = [vary(run, Request(6, seed=3, inputs=own(original))) for original in originals]
    for phrases, original in zip(made, originals, strict=True):
        assert phrases.rolls.shape == (7, 192, 84, 5)
        np.testing.assert_array_equal(phrases.originals[0], original)
        np.testing.assert_array_equal(phrases.rolls[0], original)
        away = np.linalg.norm(phrases.codes - phrases.codes[0], axis=1)
        np.testing.assert_allclose(away**2, away[-1] ** 2 * np.arange(7) / 6, rtol=1e-3, atol=1e-6)
        cells = 1 - cell_f1(phrases.rolls, original[None])
        assert scipy.stats.spearmanr(away, cells).statistic > 0.9
        assert cells[-1] > 2 * cells[1] > 0
        # The first is nearer to the phrase than the decoder comes.
        assert cells[1] < 0.5 * (1 - cell_f1(run.decode(phrases.codes[:1]) > 0.5, original[None])[0])
        rows = phrases.report["variations"]
        np.testing.assert_allclose([row["latent distance"] for row in rows], away, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose([row["cells that differ"] for row in rows], cells, atol=1e-9)
        np.testing.assert_allclose(phrases.probabilities, run.decode(phrases.codes), atol=1e-5)
        # No farther from the origin than draws are.
        assert np.linalg.norm(phrases.codes, axis=1).max() < 9


def test_the_last_variation_has_the_detail_of_the_first_bars_alone(run, monkeypatch):
    """Of a phrase of which the decoder knows nothing, at one strong variation: weights of 3/4, 1/2, 1/4 and 0."""
    shorten_searches(monkeypatch)
    original = random_rolls(1, density=0.01)[0]
    phrases = vary(run, Request(1, seed=3, inputs=own(original)))
    probabilities = phrases.probabilities[1]
    # What the decoder is sure not to play at both codes stays as it was in the first bar, and is lost in the others.
    unknown = original & (probabilities < 1e-3) & (phrases.probabilities[0] < 1e-3)
    unknown[..., 0] = False
    kept = [phrases.rolls[1, bar : bar + 48][unknown[bar : bar + 48]] for bar in range(0, 192, 48)]
    assert all(len(part) > 20 for part in kept)
    assert [part.mean() for part in (kept[0], *kept[2:])] == [1, 0, 0]
    plain = probabilities > 0.5
    np.testing.assert_array_equal(phrases.rolls[1, 144:, :, 1:], plain[144:, :, 1:])
    is_silent = probabilities[..., 0] < 0.4
    np.testing.assert_array_equal(phrases.rolls[1][..., 0][is_silent], original[..., 0][is_silent])


def test_what_grows_is_chosen_by_hand():
    differences = np.array(
        [
            [0.1, 0.2, 0.3],
            [0.1, 0.15, 0.25],  # of those above .1, the second is the likest
            [0.3, 0.5, 0.9],
            [0.1, 0.4, 0.2],  # none grows
            [0.41, 0.5, 0.6],
        ]
    )
    likenesses = np.array([[3, 2, 1], [9, 2, 1], [0, 0, 0.1], [3, 2, 1], [0, 0, 0.0]])
    np.testing.assert_array_equal(choose_growing(differences, likenesses), [0, 1, 2, 1, 0])


def test_a_phrase_without_likeness_still_has_variations(run, monkeypatch):
    shorten_searches(monkeypatch)
    phrases = vary(run, Request(1, inputs=own(random_rolls(1)[0])))
    assert phrases.names == ["the phrase", "variation 1"]
    assert "F1 of the code used" in phrases.table
