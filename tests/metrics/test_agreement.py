"""Agreement of phrases in pitch classes, onsets and density, worked out by hand."""

import numpy as np

from tests.helpers import phrase_of
from wae_jax.metrics.agreement import density_agreement, groove_agreement, key_agreement, overlap

DRUMS, PIANO, GUITAR, BASS, STRINGS = range(5)
C, E, G = 24, 28, 31  # rows of the roll two octaves up


def test_overlap_is_of_shares():
    one, other = np.array([[1, 1, 2], [0, 0, 0]]), np.array([[0, 20, 20], [1, 0, 0]])
    np.testing.assert_allclose(overlap(one, other), [0.75, np.nan])


def test_agreement_in_key_is_of_time_by_pitch_class_without_drums():
    one = phrase_of((PIANO, C, 0, 12), (BASS, E - 12, 100, 12), (DRUMS, G, 0, 90))
    assert key_agreement(one, phrase_of((STRINGS, C + 12, 50, 3)))[0] == 0.5
    assert key_agreement(one, phrase_of((GUITAR, G, 0, 192)))[0] == 0
    assert np.isnan(key_agreement(one, phrase_of((DRUMS, C, 0, 1))))[0]


def test_agreement_in_groove_is_of_onsets_in_the_bar():
    one = phrase_of((DRUMS, C, 0, 1), (DRUMS, C, 48 + 24, 1), (BASS, C, 96 + 24, 40), (PIANO, G, 144 + 36, 1))
    # Shares 1/4, 1/2 and 1/4 at steps 0, 24 and 36; then 1/2 each at 0 and 36.
    assert groove_agreement(one, phrase_of((PIANO, E, 96, 90), (PIANO, E, 36, 2)))[0] == 0.5
    assert groove_agreement(one, phrase_of((PIANO, E, 1, 47)))[0] == 0


def test_agreement_in_density_is_a_ratio_of_cells():
    one, other = phrase_of((DRUMS, C, 0, 4), (BASS, C, 0, 6)), phrase_of((PIANO, C, 0, 25))
    assert density_agreement(one, other) == density_agreement(other, one) == 10 / 25
    assert np.isnan(density_agreement(phrase_of(), phrase_of()))[0]


def test_several_phrases_are_compared_with_one():
    one = phrase_of((PIANO, C, 0, 12))
    others = np.concatenate([one, phrase_of((PIANO, E, 12, 24)), phrase_of((BASS, C, 48, 6))])
    np.testing.assert_array_equal(key_agreement(one, others), [1, 0, 1])
    np.testing.assert_array_equal(groove_agreement(one, others), [1, 0, 1])
    np.testing.assert_array_equal(density_agreement(one, others), [1, 0.5, 0.5])
