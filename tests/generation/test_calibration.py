"""The numbers of a rule that are found on draws: whether draws are then like the music they are to be like."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.deciding import probabilities, runs
from wae_jax.config import BinarizationRule
from wae_jax.data.statistics import TrackStatistics
from wae_jax.generation.binarization import binarize
from wae_jax.generation.calibration import calibrate, fit_rule
from wae_jax.generation.sampling import Sampler

NEVER_EMPTY = (0.0,) * 5


def statistics(densities, empty_bar_rates=NEVER_EMPTY, short_note_share=0.0):
    return TrackStatistics(tuple(densities), tuple(empty_bar_rates), ((short_note_share,) * 12,) * 5)


def density_of(rolls):
    return rolls.mean(axis=(0, 1, 2))


def empty_bar_rate_of(rolls):
    return 1 - rolls.reshape(len(rolls), 4, 48, 84, 5).any(axis=(2, 3)).mean(axis=(0, 1))


def uneven(num=24):
    """Phrases of which more and more is expected, of each track in an order of its own."""
    p = probabilities(num=num)
    orders = np.stack([np.random.default_rng(k).permutation(num) for k in range(5)], axis=1)
    return (p * (0.2 + 0.8 * orders / num)[:, None, None]).astype(np.float32)


@pytest.mark.parametrize(
    "rule",
    [
        {},
        {"hysteresis_ratio": 0.5, "close_gaps": 1, "min_note_length": 2},
        {"min_note_length": 5, "short_note_thresholds": (1.5,) * 5},
    ],
)
def test_thresholds_meet_densities(rule):
    p = probabilities(num=8)
    densities = (0.002, 0.005, 0.01, 0.02, 0.03)
    found = fit_rule(p, statistics(densities), BinarizationRule(thresholds=None, **rule))
    np.testing.assert_allclose(density_of(binarize(p, found)), densities, rtol=0.02)
    assert (density_of(binarize(p, found)) <= densities).all()
    assert found.track_gates == (0.0,) * 5


def test_thresholds_of_a_plain_cut_are_quantiles():
    p = probabilities(num=8)
    found = fit_rule(p, statistics((0.01,) * 5), BinarizationRule(thresholds=None))
    expected = np.quantile(p.reshape(-1, 5), 0.99, axis=0)
    np.testing.assert_allclose(found.thresholds, expected, rtol=2e-3)


def test_a_density_that_cannot_be_met_is_not_exceeded():
    p = np.full((1, 192, 84, 5), 0.3, np.float32)
    found = fit_rule(p, statistics((0.5,) * 5), BinarizationRule(thresholds=None))
    assert not binarize(p, found).any()
    np.testing.assert_allclose(found.thresholds, 0.3, atol=2e-5)


@pytest.mark.parametrize(
    "rule", [{}, {"hysteresis_ratio": 0.7, "min_note_length": 3, "short_note_thresholds": (1.25,) * 5}]
)
def test_rests_and_thresholds_meet_empty_bars_and_densities(rule):
    p = uneven()
    music = statistics((0.01,) * 5, (0.0, 0.4, 0.5, 0.625, 0.9))
    asked = BinarizationRule(thresholds=None, track_gates=None, **rule)
    found = fit_rule(p, music, asked)
    rolls = binarize(p, found)
    np.testing.assert_allclose(density_of(rolls), music.densities, rtol=0.02)
    assert (density_of(rolls) <= music.densities).all()
    # Of 24 phrases one more or less at rest is a 24th.
    np.testing.assert_allclose(empty_bar_rate_of(rolls)[1:], music.empty_bar_rates[1:], atol=1 / 24 + 1e-9)
    assert found.track_gates[0] == 0 < min(found.track_gates[1:])
    assert dataclasses.replace(found, thresholds=None, track_gates=None) == asked


def test_those_phrases_rest_of_which_least_is_expected():
    p = uneven()
    rule = BinarizationRule(thresholds=(0.3,) * 5, track_gates=None)
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


def test_a_track_that_is_silent_enough_needs_no_rest():
    p = uneven()
    p[:12, ..., 3] = 0
    rule = BinarizationRule(thresholds=(0.3,) * 5, track_gates=None)
    empty = empty_bar_rate_of(binarize(p, dataclasses.replace(rule, track_gates=(0.0,) * 5)))
    found = fit_rule(p, statistics((0.01,) * 5, tuple(empty.tolist())), rule)
    assert found.track_gates == (0.0,) * 5
    assert empty[3] >= 0.5


def test_a_track_that_never_plays_rests_always():
    p = uneven()
    music = statistics((0.0, 0.01, 0.01, 0.01, 0.0), (1.0, 0.0, 0.0, 0.0, 1.0))
    open_rule = BinarizationRule(thresholds=None, track_gates=None)
    for rule in (open_rule, dataclasses.replace(open_rule, thresholds=(0.3,) * 5)):
        rolls = binarize(p, fit_rule(p, music, rule))
        assert not rolls[..., [0, 4]].any()
        assert rolls[..., 1:4].any(axis=(1, 2)).any(axis=0).all()


def test_rests_that_are_given_stay_as_they_are():
    p = uneven()
    rests = tuple(np.quantile(p.sum(axis=(1, 2), dtype=np.float64), 0.5, axis=0).tolist())
    found = fit_rule(p, statistics((0.01,) * 5, (0.1,) * 5), BinarizationRule(thresholds=None, track_gates=rests))
    assert found.track_gates == rests
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


@pytest.mark.parametrize(
    "rule", [{"thresholds": (0.3,) * 5}, {"thresholds": None, "track_gates": None, "hysteresis_ratio": 0.8}]
)
def test_as_many_short_notes_stay_as_music_has(rule):
    p = uneven()
    asked = BinarizationRule(min_note_length=5, short_note_thresholds=None, **rule)
    found = fit_rule(p, statistics((0.02,) * 5, (0.5,) * 5, 0.2), asked)
    rolls = binarize(p, found)
    every = binarize(p, dataclasses.replace(found, min_note_length=1))
    for k in range(1, 5):
        assert short_note_share_of(every, 5, k) > 0.4
        assert 0.19 < short_note_share_of(rolls, 5, k) < 0.21
    assert min(found.short_note_thresholds[1:]) > 1
    # Drums have no notes to mend.
    assert found.short_note_thresholds[0] == 0
    if rule["thresholds"] is None:
        np.testing.assert_allclose(density_of(rolls), 0.02, rtol=0.03)


def test_the_surest_short_notes_stay():
    p = uneven()
    rule = BinarizationRule(thresholds=(0.3,) * 5, min_note_length=5, short_note_thresholds=None)
    factors = [
        fit_rule(p, statistics((0.5,) * 5, short_note_share=share), rule).short_note_thresholds
        for share in (0.05, 0.2, 0.35)
    ]
    for few, some, many in list(zip(*factors, strict=True))[1:]:
        assert few > some > many > 1


def test_music_without_short_notes_has_none_stay():
    p = uneven()
    rule = BinarizationRule(thresholds=(0.3,) * 5, min_note_length=5, short_note_thresholds=None)
    found = fit_rule(p, statistics((0.5,) * 5), rule)
    assert found == dataclasses.replace(rule, short_note_thresholds=(0.0,) * 5)


def test_all_short_notes_stay_where_music_has_more():
    p = uneven()
    rule = BinarizationRule(thresholds=(0.3,) * 5, min_note_length=5, short_note_thresholds=None)
    found = fit_rule(p, statistics((0.5,) * 5, short_note_share=1.0), rule)
    assert found.short_note_thresholds[0] == 0
    every = dataclasses.replace(rule, min_note_length=1, short_note_thresholds=(0.0,) * 5)
    np.testing.assert_array_equal(binarize(p, found), binarize(p, every))


def test_all_short_notes_stay_above_a_threshold_of_nothing():
    p = np.zeros((1, 192, 84, 5), np.float32)
    p[:, 5:7] = 0.1
    rule = BinarizationRule(thresholds=(0.0,) * 5, min_note_length=5, short_note_thresholds=None)
    found = fit_rule(p, statistics((0.5,) * 5, short_note_share=0.3), rule)
    np.testing.assert_array_equal(binarize(p, found), p > 0)


def test_silent_phrases_have_no_short_notes_to_keep():
    p = np.zeros((3, 192, 84, 5), np.float32)
    rule = BinarizationRule(thresholds=(0.3,) * 5, min_note_length=5, short_note_thresholds=None)
    assert fit_rule(p, statistics((0.5,) * 5, short_note_share=0.3), rule).short_note_thresholds == (0.0,) * 5


def test_lengths_beyond_those_that_shares_are_known_of_are_refused():
    rule = BinarizationRule(thresholds=(0.3,) * 5, min_note_length=14, short_note_thresholds=None)
    with pytest.raises(ValueError, match="min_length is 14; expected at most 13 steps"):
        fit_rule(probabilities(num=1), statistics((0.1,) * 5), rule)


def test_random_decisions_have_nothing_to_find():
    with pytest.raises(ValueError, match="only a hard decision"):
        fit_rule(probabilities(num=1), statistics((0.1,) * 5), BinarizationRule(method="bernoulli"))


@pytest.mark.parametrize("lacks", ["thresholds", "short_note_thresholds", "track_gates"])
def test_a_rule_that_lacks_something_is_calibrated_on_draws_of_the_prior(lacks):
    p = np.tile(uneven(), (6, 1, 1, 1))
    asked = []

    def draw(seed, num):
        asked.append((seed, num))
        return np.arange(num, dtype=np.float32)[:, None]

    sampler = Sampler(encode=lambda rolls: rolls, decode=lambda z: p[z[:, 0].astype(int)], sample_codes=draw)
    rule = dataclasses.replace(
        BinarizationRule(thresholds=(0.3,) * 5, hysteresis_ratio=0.6, min_note_length=2), **{lacks: None}
    )
    with pytest.raises(ValueError, match=f"no {lacks} yet"):
        binarize(p[:1], rule)
    music = statistics((0.02, 0.01, 0.03, 0.005, 0.2), (0.5,) * 5)
    found = calibrate(rule, sampler, lambda: music)
    assert asked == [(0, 128)]
    assert found == fit_rule(p[:128], music, rule)


@pytest.mark.parametrize(
    "rule",
    [
        BinarizationRule(),
        BinarizationRule(thresholds=(0.1,) * 5),
        BinarizationRule("bernoulli", thresholds=None, short_note_thresholds=None, track_gates=None),
    ],
)
def test_a_rule_that_lacks_nothing_draws_nothing(rule):
    def refuse(*arguments):
        raise AssertionError("asked for")

    assert calibrate(rule, Sampler(refuse, refuse, refuse), refuse) == rule
