"""The user's phrase at other codes, and likeness to it."""

import numpy as np
import pytest

from tests.helpers import phrase_of, random_rolls
from wae_jax.generation.modes.own_phrase import OwnPhrase, likeness
from wae_jax.generation.modes.request import Request


def test_likeness_by_hand():
    own = phrase_of((1, 24, 0, 24), (3, 12, 0, 24))
    same = own
    # Of two pitch classes one in common, of two onsets one, of 48 cells 24; tracks that never sound together.
    half = phrase_of((1, 24, 0, 12), (3, 14, 12, 12))
    # Two whole tones are as far apart in tonal space as the angles of its circles say.
    angles = 2 * np.array([7 / 6, 3 / 2, 2 / 3]) * np.pi
    apart = np.sqrt((np.array([1, 1, 0.25]) * (2 - 2 * np.cos(angles))).sum())
    clash = phrase_of((1, 24, 0, 24), (3, 14, 0, 24))
    found = likeness(own, np.concatenate([same, half, clash, phrase_of((1, 25, 1, 48))]))
    expected = [1, 0.5 * 0.5 * 0.5 * np.exp(-0.4 * 1.5), 0.5 * np.exp(-0.4 * apart), 0]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_what_is_undefined_for_all_does_not_count():
    drums = phrase_of((0, 12, 0, 1), (0, 12, 24, 1))
    others = np.concatenate([drums, phrase_of((0, 14, 0, 1), (0, 12, 12, 1))])
    unrelated = np.exp(-0.4 * 1.5)
    np.testing.assert_allclose(likeness(drums, others), [unrelated, 0.5 * unrelated])
    # A phrase without notes of pitched tracks is not like one that has some.
    own = phrase_of((1, 24, 0, 24))
    np.testing.assert_allclose(likeness(own, np.concatenate([own, phrase_of((0, 12, 0, 24))])), [unrelated, 0])


def test_a_phrase_is_itself_at_its_own_code_and_forgotten_elsewhere(corpus_model):
    """Of a model that reproduces nothing of it."""
    request = Request(1, rule=corpus_model.rule)
    code, roll = corpus_model.sample_codes(3, 1), random_rolls(1)
    own = OwnPhrase(roll, code, corpus_model.decode(code), [])
    probabilities, rolls = own.decode(corpus_model, request, code, np.ones((1, 4, 5)))
    np.testing.assert_array_equal(rolls, roll)
    np.testing.assert_array_equal(probabilities, own.probabilities)
    other = corpus_model.sample_codes(4, 1)
    probabilities, rolls = own.decode(corpus_model, request, other, np.zeros((1, 4, 5)))
    np.testing.assert_array_equal(rolls, corpus_model.binarize(probabilities))
    assert probabilities == pytest.approx(corpus_model.decode(other))
