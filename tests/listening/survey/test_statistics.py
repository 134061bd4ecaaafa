"""The statistics of a survey, against other ways to compute them and against simulated listeners."""

import itertools

import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
import scipy.stats

from tests.listening.survey.simulation import likelihood, make_key, results_of, simulate
from wae_jax.listening.survey.design import NOISE
from wae_jax.listening.survey.results import Key
from wae_jax.listening.survey.statistics import (
    bradley_terry,
    detectable_difference,
    listeners_needed,
    percentile_level,
    summarise,
    tabulate,
)


def test_answers_are_counted_by_source():
    key = Key(["a", "b", "real"], [(0, 1), (2, NOISE), (2, 0), (1, 2), (1, 0)], 0, {})
    rows = [
        ["A", [1, 2, 3, 4], [5, 5, 5, 5]],
        ["A", [5, 5, 5, 5], [1, 1, 1, 1]],
        ["B", [2, 2, 2, 2], [4, 3, 2, 1]],
        ["none", [3, 3, 3, 3], [1, 1, 1, 2]],
        ["A", [1, 1, 1, 1], [5, 4, 4, 5]],
    ]
    counts = tabulate(results_of(key, [rows]), key)
    assert counts.wins[0].tolist() == [[0, 1, 1], [1, 0, 0], [0, 0, 0]]
    assert counts.compared[0].tolist() == [[0, 2, 1], [2, 0, 1], [1, 1, 0]]
    assert counts.totals[0].tolist() == [[10, 9, 9, 10], [9, 9, 9, 9], [3, 3, 3, 4]]
    assert counts.rated[0].tolist() == [3, 3, 2]
    shares = summarise(tabulate(results_of(key, [rows] * 2), key), num_resamples=2).preferred.value
    assert shares[0, 1] == shares[1, 0] == 0.5
    assert shares[1, 2] == shares[2, 1] == shares[2, 0] == 0
    assert np.isnan(np.diag(shares)).all()


@pytest.mark.parametrize("num_sources", [2, 3, 5])
def test_strengths_are_the_most_likely_ones(num_sources):
    wins = np.random.default_rng(num_sources).integers(0, 12, (4, num_sources, num_sources)).astype(float)
    # One that always loses, and one pair that never met.
    wins[1, 0], wins[2, 0, 1], wins[2, 1, 0] = 0, 0, 0
    fitted = bradley_terry(wins)
    for strengths, counts in zip(fitted, wins, strict=True):
        found = scipy.optimize.minimize(likelihood, np.zeros(num_sources), args=(counts + 0.5,), tol=1e-10).x
        np.testing.assert_allclose(strengths, found - found.mean(), atol=1e-4)


def test_strengths_of_two_are_a_log_ratio_and_exist_whatever_was_answered():
    won = np.array([[0.0, 300.0], [2.0, 0.0]])
    one, other = bradley_terry(won)
    assert one - other == pytest.approx(np.log(300.5 / 2.5))
    assert one + other == pytest.approx(0)
    # A chain in which nobody ever lost upwards: finite, in order, and at the most likely place.
    chain = np.array([[0.0, 500, 500], [0, 0, 500], [0, 0, 0]])
    fitted = bradley_terry(chain)
    assert fitted[0] > fitted[1] + 5 > fitted[2] + 10
    found = scipy.optimize.minimize(likelihood, fitted + 0.1, args=(chain + 0.5 * (1 - np.eye(3)),), tol=1e-10).x
    np.testing.assert_allclose(fitted, found - found.mean(), atol=1e-3)


def test_half_a_win_takes_away_most_of_the_bias():
    """Two sources that met 20 times: the mean over all outcomes, against the bare estimate where it exists."""
    truth, met = 1.0, 20
    chances = scipy.stats.binom.pmf(np.arange(met + 1), met, 1 / (1 + np.exp(-truth)))
    wins = np.zeros((met + 1, 2, 2))
    wins[:, 0, 1], wins[:, 1, 0] = np.arange(met + 1), met - np.arange(met + 1)
    ours = chances @ -np.diff(bradley_terry(wins), axis=1)[:, 0]
    inner = slice(1, met)
    bare = chances[inner] @ np.log(wins[inner, 0, 1] / wins[inner, 1, 0]) / chances[inner].sum()
    assert abs(ours - truth) < 0.015
    assert bare - truth > 0.05


def test_tails_make_up_for_few_listeners():
    assert percentile_level(10**7) == pytest.approx(0.95, rel=1e-4)
    # By Monte Carlo: a mean of ten normal numbers and the normal interval of its bootstrap, whose spread is the
    # population's formula with n in the denominator.
    tail = (1 - percentile_level(10)) / 2
    samples = np.random.default_rng(0).normal(size=(40_000, 10))
    reach = -scipy.stats.norm.ppf(tail) * samples.std(axis=1) / np.sqrt(10)
    assert np.mean(np.abs(samples.mean(axis=1)) < reach) == pytest.approx(0.95, abs=0.005)


def test_intervals_of_means_are_those_of_students_t():
    key = make_key()
    counts = tabulate(simulate(key, 25, 3), key)
    summary = summarise(counts, num_resamples=6000)
    means = counts.totals / counts.rated[..., None]
    np.testing.assert_allclose(summary.ratings.value, means.mean(axis=0))
    error = scipy.stats.sem(means, axis=0)
    np.testing.assert_allclose(summary.ratings.error, error, rtol=0.05)
    low, high = scipy.stats.t.interval(0.95, 24, means.mean(axis=0), error)
    np.testing.assert_allclose(summary.ratings.low, low, atol=0.25 * error.max())
    np.testing.assert_allclose(summary.ratings.high, high, atol=0.25 * error.max())
    shares = counts.wins[:, 0, 1] / counts.compared[:, 0, 1]
    assert summary.preferred.value[0, 1] == pytest.approx(shares.mean())
    assert summary.preferred.error[0, 1] == pytest.approx(scipy.stats.sem(shares), rel=0.05)
    undecided = 1 - shares - counts.wins[:, 1, 0] / counts.compared[:, 0, 1]
    assert summary.undecided.value[1, 0] == pytest.approx(undecided.mean())
    assert summary.scores.value[0, 1] == pytest.approx(shares.mean() + undecided.mean() / 2)


def test_draws_in_parts_are_the_same_kind_of_draws(monkeypatch):
    key = make_key()
    counts = tabulate(simulate(key, 20, 0), key)
    whole = summarise(counts, num_resamples=3000)
    monkeypatch.setattr("wae_jax.listening.survey.statistics._BATCH", 20 * 7)
    parts = summarise(counts, num_resamples=3000)
    np.testing.assert_allclose(parts.strengths.low, whole.strengths.low, atol=0.05)
    np.testing.assert_array_equal(parts.strengths.value, whole.strengths.value)


def test_where_all_agree_there_is_no_interval():
    key = make_key(12, 1, 0)
    rows = [["A" if pair[0] > pair[1] else "B", [3] * 4, [3] * 4] for pair in key.pairs]
    summary = summarise(tabulate(results_of(key, [rows] * 5), key))
    # Four meetings of each two and five listeners.
    exact = scipy.stats.binomtest(20, 20).proportion_ci(0.95, method="exact")
    for i, j in itertools.permutations(range(3), 2):
        assert summary.preferred.value[i, j] == (i > j)
        expected = (exact.low, 1) if i > j else (0, 1 - exact.low)
        assert (summary.preferred.low[i, j], summary.preferred.high[i, j]) == pytest.approx(expected)
        assert summary.undecided.high[i, j] == pytest.approx(1 - exact.low)
    for estimate in (summary.strengths, summary.ratings):
        assert np.isnan(estimate.low).all()
        assert np.isnan(estimate.high).all()
    with pytest.raises(ValueError, match="expected at least 2"):
        summarise(tabulate(results_of(key, [rows]), key))


def test_sample_sizes_are_those_of_the_normal_distribution():
    # A share of .6 from 196 answers is told from one half with power .8.
    assert detectable_difference(0.5 / np.sqrt(196)) == pytest.approx(0.1, rel=0.001)
    rejected = scipy.stats.norm.sf(1.959964 - 2.801585) + scipy.stats.norm.cdf(-1.959964 - 2.801585)
    assert rejected == pytest.approx(0.8, abs=1e-5)
    # 385 answers for 5 % either way, as in every table.
    assert listeners_needed(0.5 / np.sqrt(50), 50) == 385
    assert listeners_needed(0.05 / 1.959964, 30) == 30
