"""Fitted parts of a binarization rule: whether phrases then have the statistics they are fitted to."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.binarizing import probabilities, runs
from wae_jax.config import FIT, BinarizationRule
from wae_jax.data.statistics import TrackStatistics
from wae_jax.generation.binarization import binarize
from wae_jax.generation.calibration import fit_rule

NEVER_EMPTY = (0.0,) * 5


def statistics(densities, empty_bar_rates=NEVER_EMPTY, short_note_share=0.0):
    return TrackStatistics(tuple(densities), tuple(empty_bar_rates), ((short_note_share,) * 12,) * 5)


def density_of(rolls):
    return rolls.mean(axis=(0, 1, 2))


def empty_bar_rate_of(rolls):
    return 1 - rolls.reshape(len(rolls), 4, 48, 84, 5).any(axis=(2, 3)).mean(axis=(0, 1))


def uneven(num=24):
    """Phrases with growing numbers of expected cells, in another order for each track."""
    p = probabilities(num=num)
    orders = np.stack([np.random.default_rng(k).permutation(num) for k in range(5)], axis=1)
    return (p * (0.2 + 0.8 * orders / num)[:, None, None]).astype(np.float32)


@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"min_note_length": 2},
        {"min_note_length": 5, "short_note_thresholds": (1.5,) * 5},
    ],
)
def test_thresholds_meet_densities(rule):
    p = probabilities(num=8)
    densities = (0.002, 0.005, 0.01, 0.02, 0.03)
    found = fit_rule(p, statistics(densities), BinarizationRule(thresholds=FIT, **rule))
    np.testing.assert_allclose(density_of(binarize(p, found)), densities, rtol=0.02)
    assert (density_of(binarize(p, found)) <= densities).all()
    assert found.track_gates == (0.0,) * 5


def test_thresholds_of_a_plain_cut_are_quantiles():
    p = probabilities(num=8)
    found = fit_rule(p, statistics((0.01,) * 5), BinarizationRule(thresholds=FIT))
    expected = np.quantile(p.reshape(-1, 5), 0.99, axis=0)
    np.testing.assert_allclose(found.thresholds, expected, rtol=2e-3)


def test_a_density_that_cannot_be_met_is_not_exceeded():
    p = np.full((1, 192, 84, 5), 0.3, np.float32)
    found = fit_rule(p, statistics((0.5,) * 5), BinarizationRule(thresholds=FIT))
    assert not binarize(p, found).any()
    np.testing.assert_allclose(found.thresholds, 0.3, atol=2e-5)


@pytest.mark.parametrize("rule", [{}, {"min_note_length": 3, "short_note_thresholds": (1.25,) * 5}])
def test_gates_and_thresholds_meet_empty_bars_and_densities(rule):
    p = uneven()
    music = statistics((0.01,) * 5, (0.0, 0.4, 0.5, 0.625, 0.9))
    asked = BinarizationRule(thresholds=FIT, track_gates=FIT, **rule)
    found = fit_rule(p, music, asked)
    rolls = binarize(p, found)
    np.testing.assert_allclose(density_of(rolls), music.densities, rtol=0.02)
    assert (density_of(rolls) <= music.densities).all()
    # One silent phrase more or less is a 24th.
    np.testing.assert_allclose(empty_bar_rate_of(rolls)[1:], music.empty_bar_rates[1:], atol=1 / 24 + 1e-9)
    assert found.track_gates[0] == 0 < min(found.track_gates[1:])
    assert dataclasses.replace(found, thresholds=FIT, track_gates=FIT) == asked


def test_phrases_with_the_fewest_expected_cells_are_silenced():
    p = uneven()
    rule = BinarizationRule(thresholds=(0.3,) * 5, track_gates=FIT)
    found = fit_rule(p, statistics((0.5,) * 5, (0.5,) * 5), rule)
    assert found.thresholds == rule.thresholds
    every = binarize(p, dataclasses.replace(rule, track_gates=(0.0,) * 5))
    expected = p.sum(axis=(1, 2), dtype=np.float64)
    for k in range(5):
        # One phrase after another, while no more than half of the bars are empty.
        rolls, before = every[..., k].copy(), None
        for i in np.argsort(expected[:, k]):
            before, last = rolls.copy(), i
            rolls[i] = False
            empty = 1 - rolls.reshape(24, 4, 48, 84).any(axis=(2, 3)).mean()
            if empty > 0.5:
                break
        np.testing.assert_array_equal(binarize(p, found)[..., k], before)
        assert np.sort(expected[:, k])[0] < found.track_gates[k] < expected[last, k]


def test_a_track_that_is_silent_enough_needs_no_gate():
    p = uneven()
    p[:12, ..., 3] = 0
    rule = BinarizationRule(thresholds=(0.3,) * 5, track_gates=FIT)
    empty = empty_bar_rate_of(binarize(p, dataclasses.replace(rule, track_gates=(0.0,) * 5)))
    found = fit_rule(p, statistics((0.01,) * 5, tuple(empty.tolist())), rule)
    assert found.track_gates == (0.0,) * 5
    assert empty[3] >= 0.5


def test_a_track_that_never_plays_is_always_silent():
    p = uneven()
    music = statistics((0.0, 0.01, 0.01, 0.01, 0.0), (1.0, 0.0, 0.0, 0.0, 1.0))
    asked = BinarizationRule(thresholds=FIT, track_gates=FIT)
    for rule in (asked, dataclasses.replace(asked, thresholds=(0.3,) * 5)):
        rolls = binarize(p, fit_rule(p, music, rule))
        assert not rolls[..., [0, 4]].any()
        assert rolls[..., 1:4].any(axis=(1, 2)).any(axis=0).all()


def test_given_gates_stay_as_they_are():
    p = uneven()
    gates = tuple(np.quantile(p.sum(axis=(1, 2), dtype=np.float64), 0.5, axis=0).tolist())
    found = fit_rule(p, statistics((0.01,) * 5, (0.1,) * 5), BinarizationRule(thresholds=FIT, track_gates=gates))
    assert found.track_gates == gates
    rolls = binarize(p, found)
    np.testing.assert_allclose(density_of(rolls), 0.01, rtol=0.02)
    assert (empty_bar_rate_of(rolls) >= 0.5).all()


def short_note_share_of(rolls, shortest, track):
    """The mean over phrases, by lists of runs."""
    shares = []
    for phrase in rolls[..., track]:
        lengths = [length for line in phrase.T for state, _, length in runs(line) if state]
        if lengths:
            shares.append(sum(length < shortest for length in lengths) / len(lengths))
    return np.mean(shares)


@pytest.mark.parametrize("rule", [{"thresholds": (0.3,) * 5}, {"thresholds": FIT, "track_gates": FIT}])
def test_as_many_short_notes_stay_as_music_has(rule):
    p = uneven()
    asked = BinarizationRule(min_note_length=5, short_note_thresholds=FIT, **rule)
    found = fit_rule(p, statistics((0.02,) * 5, (0.5,) * 5, 0.2), asked)
    rolls = binarize(p, found)
    every = binarize(p, dataclasses.replace(found, min_note_length=1))
    for k in range(1, 5):
        assert short_note_share_of(every, 5, k) > 0.4
        assert 0.19 < short_note_share_of(rolls, 5, k) < 0.21
    assert min(found.short_note_thresholds[1:]) > 1
    # Short drum notes are right.
    assert found.short_note_thresholds[0] == 0
    if rule["thresholds"] == FIT:
        np.testing.assert_allclose(density_of(rolls), 0.02, rtol=0.03)


def test_fewer_short_notes_take_a_higher_threshold():
    p = uneven()
    rule = BinarizationRule(thresholds=(0.3,) * 5, min_note_length=5, short_note_thresholds=FIT)
    factors = [
        fit_rule(p, statistics((0.5,) * 5, short_note_share=share), rule).short_note_thresholds
        for share in (0.05, 0.2, 0.35)
    ]
    for few, some, many in list(zip(*factors, strict=True))[1:]:
        assert few > some > many > 1


def test_music_without_short_notes_has_none_stay():
    p = uneven()
    rule = BinarizationRule(thresholds=(0.3,) * 5, min_note_length=5, short_note_thresholds=FIT)
    found = fit_rule(p, statistics((0.5,) * 5), rule)
    assert found == dataclasses.replace(rule, short_note_thresholds=(0.0,) * 5)


def test_all_short_notes_stay_where_music_has_more():
    p = uneven()
    rule = BinarizationRule(thresholds=(0.3,) * 5, min_note_length=5, short_note_thresholds=FIT)
    found = fit_rule(p, statistics((0.5,) * 5, short_note_share=1.0), rule)
    assert found.short_note_thresholds[0] == 0
    every = dataclasses.replace(rule, min_note_length=1, short_note_thresholds=(0.0,) * 5)
    np.testing.assert_array_equal(binarize(p, found), binarize(p, every))


def test_all_short_notes_stay_above_a_threshold_of_nothing():
    p = np.zeros((1, 192, 84, 5), np.float32)
    p[:, 5:7] = 0.1
    rule = BinarizationRule(thresholds=(0.0,) * 5, min_note_length=5, short_note_thresholds=FIT)
    found = fit_rule(p, statistics((0.5,) * 5, short_note_share=0.3), rule)
    np.testing.assert_array_equal(binarize(p, found), p > 0)


def test_silent_phrases_have_no_short_notes_to_keep():
    p = np.zeros((3, 192, 84, 5), np.float32)
    rule = BinarizationRule(thresholds=(0.3,) * 5, min_note_length=5, short_note_thresholds=FIT)
    assert fit_rule(p, statistics((0.5,) * 5, short_note_share=0.3), rule).short_note_thresholds == (0.0,) * 5


def test_random_binarization_has_nothing_to_fit():
    with pytest.raises(ValueError, match="only a hard rule"):
        fit_rule(probabilities(num=1), statistics((0.1,) * 5), BinarizationRule(method="bernoulli"))
