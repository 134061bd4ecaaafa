"""The detail of a phrase at other codes: exact at both ends for every rule, and single cells by hand."""

import itertools

import numpy as np
import pytest

from tests.binarizing import probabilities, runs
from tests.helpers import random_rolls
from wae_jax.config import BinarizationRule
from wae_jax.generation.binarization import binarize
from wae_jax.generation.detail import around_one_half, detail_weights, keep_detail

RULES = [
    BinarizationRule(),
    BinarizationRule(thresholds=(0.0, 0.2, 0.53, 0.97, 1.0)),
    BinarizationRule(thresholds=(0.3,) * 5, min_note_length=4),
    BinarizationRule(
        thresholds=(0.2, 0.3, 0.4, 0.5, 0.1),
        min_note_length=3,
        short_note_thresholds=(0, 1.2, 1.5, 0, 2),
        track_gates=(0, 1e4, 3000, 500, 10),
    ),
    BinarizationRule(method="bernoulli"),
    BinarizationRule(method="bernoulli", min_note_length=3),
]
ALL, NONE = np.ones((3, 4, 5)), np.zeros((3, 4, 5))
# Notes of every length and gaps, but none that a model would make.
PHRASE = random_rolls(1, density=0.3)


@pytest.mark.parametrize("rule", RULES)
def test_a_phrase_at_its_own_code_is_itself_whatever_the_rule(rule):
    for seed, p in enumerate(probabilities()):
        found = keep_detail(PHRASE, p[None], np.stack([p] * 3), ALL, rule, seed=seed)
        np.testing.assert_array_equal(found, PHRASE.repeat(3, axis=0))


@pytest.mark.parametrize("rule", RULES)
def test_without_weight_the_phrase_has_no_say(rule):
    before, after = probabilities(0, 1), probabilities(1)
    expected = binarize(after, rule, seed=7)
    np.testing.assert_array_equal(keep_detail(PHRASE, before, after, NONE, rule, seed=7), expected)


def test_the_decoders_own_phrase_is_decoded_whatever_the_weight():
    """Where the phrase has no detail of its own, weights only pull towards it."""
    rule = BinarizationRule(thresholds=(0.4,) * 5)
    before, after = probabilities(0, 1), probabilities(1)
    own, plain = binarize(before, rule), binarize(after, rule)
    found = keep_detail(own, before, after, ALL, rule)
    agree = own == plain
    np.testing.assert_array_equal(found[agree], plain[agree])


def cell(x, before, after, weight, threshold):
    """Whether a cell of the piano is active."""
    roll, p, q = np.zeros((1, 192, 84, 5), bool), *(np.zeros((1, 192, 84, 5), np.float32) for _ in range(2))
    at = (0, 100, 40, 1)
    roll[at], p[at], q[at] = x, before, after
    rule = BinarizationRule(thresholds=(0.5, threshold, 0.5, 0.5, 0.5))
    found = keep_detail(roll, p, q, np.full((1, 4, 5), weight), rule)
    assert found.sum() == found[at]
    return bool(found[at])


@pytest.mark.parametrize(
    ("x", "before", "after", "weight", "threshold", "active"),
    [
        # A note that the decoder misses stays while its weight is above one half, 0 + .6 and 0 + .4 beside .5.
        (1, 0.0, 0.0, 0.6, 0.5, True),
        (1, 0.0, 0.0, 0.4, 0.5, False),
        # A note that both have goes with the decoder's: 1 + (.05 - .95), and .3 + .5 (1 - .95).
        (1, 0.95, 0.05, 1.0, 0.5, False),
        (1, 0.95, 0.3, 0.5, 0.5, False),
        (1, 0.95, 0.6, 1.0, 0.5, True),
        # A note that the decoder alone has stays away, unless it gains as much as one half: 0 + (.95 - .9).
        (0, 0.9, 0.95, 1.0, 0.5, False),
        (0, 0.9, 0.95, 0.4, 0.5, True),
        (0, 0.1, 0.7, 1.0, 0.5, True),
        # Relative to a threshold of .2: .1 is half way to it, .6 half way above it. 0 + (.75 - .25) is not above .5.
        (0, 0.1, 0.6, 1.0, 0.2, False),
        (0, 0.1, 0.62, 1.0, 0.2, True),
        (1, 0.6, 0.1, 1.0, 0.2, False),
        (1, 0.6, 0.12, 1.0, 0.2, True),
    ],
)
def test_a_cell_by_hand(x, before, after, weight, threshold, active):
    assert cell(x, before, after, weight, threshold) == active


def test_numbers_around_one_half_are_linear_on_both_sides_and_obey_the_rule():
    p = np.zeros((1, 192, 84, 5), np.float32)
    p[0, :6, 30, 3] = 0.0, 0.1, 0.2, 0.3, 0.65, 1.0
    p[0, :3, 30, 2] = 0.9, 0.1, 0.9
    rule = BinarizationRule(thresholds=(0.5, 0.5, 0.5, 0.3, 0.5), track_gates=(0, 0, 50, 0, 0))
    rolls = binarize(p, rule)
    found = around_one_half(p, rolls, rule)
    np.testing.assert_allclose(found[0, :6, 30, 3], [0, 1 / 6, 1 / 3, 0.5, 0.75, 1], atol=1e-6)
    # The gate has silenced the guitar.
    np.testing.assert_allclose(found[0, :3, 30, 2], [0.5, 0.1, 0.5], atol=1e-6)
    np.testing.assert_array_equal(found > 0.5, rolls)


def test_weights_are_those_of_bars_and_tracks():
    p = np.zeros((2, 192, 84, 5), np.float32)
    weights = np.zeros((2, 4, 5))
    weights[0, 2, 3] = weights[1, 0, 0] = 0.7
    found = keep_detail(PHRASE, p[:1], p, weights, BinarizationRule())
    expected = np.zeros_like(found)
    expected[0, 96:144, :, 3] = PHRASE[0, 96:144, :, 3]
    expected[1, :48, :, 0] = PHRASE[0, :48, :, 0]
    np.testing.assert_array_equal(found, expected)


def test_fragments_go_but_short_notes_of_either_phrase_stay():
    before, after = np.zeros((1, 192, 84, 5), np.float32), np.zeros((1, 192, 84, 5), np.float32)
    own = np.zeros((1, 192, 84, 5), bool)
    own[0, 10:12, 30, 1] = True  # short, and its own
    own[0, 24:34, 31, 1] = before[0, 24:34, 31, 1] = True
    before[0, 18:24, 31, 1] = 0.3
    after[0, 18:26, 31, 1] = 0.6  # two steps in common with a long note, and too little more before them
    own[0, 40:50, 32, 1] = before[0, 40:50, 32, 1] = True
    after[0, 40:43, 32, 1] = 1  # as long as the rule's shortest
    after[0, 60:62, 33, 1] = 1  # short, but very probable
    own[0, 80:90, 34, 0] = before[0, 80:90, 34, 0] = True
    after[0, 80, 34, 0] = 1  # of drums
    after[0, 100:102, 35, 1] = 0.6  # short, and not probable enough
    rule = BinarizationRule(min_note_length=3, short_note_thresholds=(0, 1.5, 0, 0, 0))
    found = keep_detail(own, before, after, np.ones((1, 4, 5)), rule)
    notes = {
        (pitch, track): [(start, length) for state, start, length in runs(found[0, :, pitch, track]) if state]
        for pitch, track in itertools.product(range(30, 36), (0, 1))
    }
    expected = {(30, 1): [(10, 2)], (32, 1): [(40, 3)], (33, 1): [(60, 2)], (34, 0): [(80, 1)]}
    assert {key: value for key, value in notes.items() if value} == expected


def test_weights_of_drums_stay_and_others_are_cut_off():
    found = detail_weights(np.array([[1.2, 0.5, 0.25, -0.1]]))
    np.testing.assert_array_equal(found[..., 0], 1)
    for k in range(1, 5):
        np.testing.assert_array_equal(found[..., k], [[1, 0.5, 0.25, 0]])
