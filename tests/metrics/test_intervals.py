"""Intervals against simulated songs whose truth is known, and against draws made one phrase at a time."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from wae_jax.metrics import intervals

NAN = np.nan


def songs(rng, num_songs, mean=0.0):
    """Phrases that resemble those of their song: a song's own level, and some noise. Songs differ in length."""
    groups = np.repeat(np.arange(num_songs), rng.integers(4, 9, num_songs))
    level = rng.normal(mean, 1, num_songs)
    return level[groups] + rng.normal(0, 0.5, len(groups)), groups


def test_intervals_of_songs_contain_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(0)
    inside, naive = [], []
    for trial in range(300):
        values, groups = songs(rng, 40, mean=3)
        for found, by in ((inside, groups), (naive, None)):
            interval = intervals.bootstrap_interval(values[:, None], by, num_resamples=200, seed=trial)
            found.append(interval.low[0] <= 3 <= interval.high[0])
    assert 0.89 < np.mean(inside) < 0.98
    assert np.mean(naive) < 0.7


def test_interval_agrees_with_draws_made_by_hand(monkeypatch):
    monkeypatch.setattr(intervals, "LEVEL", 0.8)
    rng = np.random.default_rng(1)
    values, groups = songs(rng, 12)
    values[rng.random(len(values)) < 0.3] = NAN
    members = [values[groups == song] for song in range(12)]
    means = [np.nanmean(np.concatenate([members[i] for i in rng.integers(12, size=12)])) for _ in range(4000)]
    # Names of songs are arbitrary numbers.
    found = intervals.bootstrap_interval(values[:, None], groups * 7 - 30, num_resamples=4000)
    assert found.mean[0] == pytest.approx(np.nanmean(values))
    np.testing.assert_allclose([found.low[0], found.high[0]], np.quantile(means, [0.1, 0.9]), atol=0.04)


def test_undefined_columns_are_nan():
    values = np.array([[NAN, 1.0, 1.0, 2.0], [NAN, 3.0, 2.0, 2.0], [NAN, NAN, 6.0, 2.0]])
    found = intervals.bootstrap_interval(values, np.array([5, 5, 9]))
    np.testing.assert_array_equal(found.mean, [NAN, 2, 3, 2])
    # The second column is known of one song only.
    assert np.isnan(found.low).tolist() == np.isnan(found.high).tolist() == [True, True, False, False]
    assert (found.low[2], found.high[2]) == (1.5, 6)
    assert (found.low[3], found.high[3]) == (2, 2)
    assert np.isnan(intervals.bootstrap_interval(np.zeros((0, 2))).mean).all()


def test_chunks_of_draws_do_not_matter(monkeypatch):
    values, groups = songs(np.random.default_rng(2), 10)
    whole = intervals.bootstrap_interval(values[:, None], groups, num_resamples=50)
    monkeypatch.setattr(intervals, "_MAX_WEIGHTS", 70)
    np.testing.assert_array_equal(whole, intervals.bootstrap_interval(values[:, None], groups, num_resamples=50))


def test_difference_has_the_spread_of_both_sets():
    rng = np.random.default_rng(3)
    a, b = rng.normal(1, 2, (400, 1)), rng.normal(0, 2, (400, 1))
    found = intervals.bootstrap_difference(a, b, num_resamples=2000)
    assert found.mean[0] == pytest.approx(a.mean() - b.mean())
    width = 2 * 1.96 * np.sqrt(a.var() / 400 + b.var() / 400)
    assert found.high[0] - found.low[0] == pytest.approx(width, rel=0.08)
    # Of one and the same set drawn twice, too.
    same = intervals.bootstrap_difference(a, a, num_resamples=2000)
    assert same.high[0] - same.low[0] == pytest.approx(2 * 1.96 * np.sqrt(2 * a.var() / 400), rel=0.08)


def test_difference_uses_the_songs_of_each_set():
    rng = np.random.default_rng(4)
    (a, groups_a), (b, groups_b) = songs(rng, 30), songs(rng, 20)
    width = [
        np.ptp(intervals.bootstrap_difference(a[:, None], b[:, None], *by)[1:])
        for by in ((None, None), (groups_a, None), (None, groups_b), (groups_a, groups_b))
    ]
    assert width[0] < min(width[1:3])
    assert max(width[1:3]) < width[3]


def test_paired_difference_is_students(monkeypatch):
    monkeypatch.setattr(intervals, "LEVEL", 0.9)
    differences = np.array([[1.0, 2, NAN], [3, 2, 4], [8, 2, NAN]])
    found = intervals.paired_difference(differences)
    truth = scipy.stats.ttest_1samp(differences[:, 0], 0).confidence_interval(0.9)
    np.testing.assert_allclose(found.mean, [4, 2, 4])
    np.testing.assert_allclose([found.low[0], found.high[0]], [truth.low, truth.high])
    assert (found.low[1], found.high[1]) == (2, 2)
    assert np.isnan([found.low[2], found.high[2]]).all()


def test_floor_is_what_halves_of_songs_differ_by():
    rng = np.random.default_rng(5)
    values, groups = songs(rng, 9)
    differences = []
    for _ in range(3000):
        half = rng.permutation(9)[:5]
        in_half = np.isin(groups, half)
        differences.append(abs(values[in_half].mean() - values[~in_half].mean()))
    found = intervals.real_floor(values[:, None], groups, num_splits=3000)
    np.testing.assert_allclose([found.median[0], found.p95[0]], np.quantile(differences, [0.5, 0.95]), rtol=0.08)
    assert intervals.real_floor(values[:, None], num_splits=300).median[0] < found.median[0]


def test_floor_of_undefined_columns():
    values = np.array([[NAN, 1.0, 1.0], [NAN, NAN, 4.0], [NAN, NAN, 4.0]])
    found = intervals.real_floor(values, np.array([1, 2, 2]))
    np.testing.assert_array_equal(found.median, [NAN, NAN, 3])


def test_what_makes_no_sense_is_refused():
    values = np.zeros((3, 2))
    with pytest.raises(ValueError, match="songs of 2 phrases, values are of 3"):
        intervals.bootstrap_interval(values, np.arange(2))
    with pytest.raises(ValueError, match="number of resamples is 0"):
        intervals.real_floor(values, num_splits=0)
    with pytest.raises(ValueError, match="of 1 songs"):
        intervals.real_floor(values, np.zeros(3, int))
