"""Whether the truth is recovered from simulated listeners, as often as the intervals say."""

import itertools

import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
import scipy.stats

from tests.checking import unchecked
from tests.listening.survey.simulation import MEANS, STRENGTHS, likelihood, make_key, simulate
from wae_jax.listening.survey.results import count_failed_checks
from wae_jax.listening.survey.statistics import attentive, bradley_terry, summarise, tabulate


def contains(estimate, truth):
    return (estimate.low <= truth) & (truth <= estimate.high)


def expected_shares(spread, undecided):
    """How often i is preferred to j by listeners whose difference of strengths is normal, by integration."""
    shares = np.full((3, 3), np.nan)
    for i, j in itertools.permutations(range(3), 2):
        middle, width = STRENGTHS[i] - STRENGTHS[j], max(np.sqrt(2) * spread, 1e-9)

        def density(z, middle=middle, width=width):
            return scipy.stats.norm.pdf(z) / (1 + np.exp(-middle - width * z))

        shares[i, j] = (1 - undecided) * scipy.integrate.quad(density, -9, 9)[0]
    return shares


@pytest.mark.slow
@pytest.mark.parametrize(("num_listeners", "spread", "undecided"), [(20, 0.0, 0.1), (12, 0.8, 0.3)])
def test_intervals_contain_the_truth_as_often_as_they_say(num_listeners, spread, undecided):
    """200 surveys; a share of 95 % of them is within these bounds in all but one of a thousand cases.

    Where listeners differ from each other, the strengths meant are those that explain best what all of them together
    prefer: the most likely ones, had everybody been asked.
    """
    low, high = scipy.stats.binom.ppf([5e-4, 1 - 5e-4], 200, 0.95) / 200
    assert low > 0.88
    shares = expected_shares(spread, undecided)
    # Every two sources meet 13 times.
    strengths = scipy.optimize.minimize(likelihood, np.zeros(3), args=(np.nan_to_num(shares),), tol=1e-12).x
    strengths -= strengths.mean()
    if spread == 0:
        np.testing.assert_allclose(strengths, STRENGTHS - STRENGTHS.mean(), atol=1e-4)
    key = make_key(39, 4)
    pairs = np.triu_indices(3, 1)
    found = []
    for seed in range(200):
        results = simulate(key, num_listeners, seed, spread=spread, undecided=undecided)
        with unchecked():  # It would take longer than all the rest.
            kept = attentive(results, key)
            summary = summarise(tabulate(kept, key), num_resamples=400, seed=seed)
        assert len(kept) >= num_listeners - 1
        found.append(
            [
                *contains(summary.strengths, strengths),
                *contains(summary.preferred, shares)[~np.eye(3, dtype=bool)],
                *contains(summary.undecided, np.full((3, 3), undecided))[pairs],
                *contains(summary.scores, shares + undecided / 2)[pairs],
                *contains(summary.ratings, MEANS).ravel(),
            ]
        )
    coverage = np.mean(found, axis=0)
    assert len(coverage) == 27
    assert coverage.min() >= low, coverage
    assert coverage.max() <= high, coverage
    assert coverage.mean() == pytest.approx(0.945, abs=0.015)


@pytest.mark.slow
def test_shares_near_none_have_intervals_too():
    """Of 260 answers to a question one in 400 is such: most draws of listeners have none of them."""
    strengths = np.array([-3.0, 3.0])
    shares = 0.9 / (1 + np.exp(strengths - strengths[:, None]))
    key = make_key(13, 2, num_sources=2)
    assert shares[0, 1] < 1 / 400
    found = []
    for seed in range(200):
        results = simulate(key, 20, seed, strengths=strengths, means=MEANS[:2])
        with unchecked():
            summary = summarise(tabulate(results, key), num_resamples=200, seed=seed)
        found.append(contains(summary.preferred, shares)[~np.eye(2, dtype=bool)])
    coverage = np.mean(found, axis=0)
    assert coverage.min() >= scipy.stats.binom.ppf(5e-4, 200, 0.95) / 200, coverage


def test_the_inattentive_are_dropped_as_often_as_chance_says():
    """Who answers at random prefers the music with chance 1/3, and passes with at most one failure of four checks."""
    key = make_key()
    passing = scipy.stats.binom.cdf(1, 4, 2 / 3)
    results = simulate(key, 400, 1, inattentive=1.0)
    low, high = scipy.stats.binom.ppf([0.001, 0.999], 400, passing)
    assert low <= len(attentive(results, key)) <= high
    assert len(attentive(simulate(key, 100, 2), key)) >= 99
    # Among others they do little harm, because few of them are left.
    mixed = simulate(key, 400, 3, inattentive=0.25)
    kept = attentive(mixed, key)
    assert scipy.stats.binom.ppf(0.001, 400, 0.75) < len(kept) < scipy.stats.binom.ppf(0.999, 400, 0.79)
    bias = np.abs(bradley_terry(tabulate(kept, key).wins.sum(axis=0)) - STRENGTHS).max()
    without = np.abs(bradley_terry(tabulate(mixed, key).wins.sum(axis=0)) - STRENGTHS).max()
    assert bias < 0.15 < without


def test_simulated_listeners_are_as_described():
    key = make_key(60, 6)
    counts = tabulate(simulate(key, 300, 0, undecided=0.2), key)
    means = counts.totals.sum(axis=0) / counts.rated.sum(axis=0)[:, None]
    np.testing.assert_allclose(means, MEANS, atol=0.15)
    generous = (counts.totals / counts.rated[..., None]).mean(axis=2)
    # Who rates one source highly rates the others so.
    assert np.corrcoef(generous[:, 0], generous[:, 2])[0, 1] > 0.6
    shares = counts.wins.sum(axis=0) / counts.compared.sum(axis=0).clip(1)
    np.testing.assert_allclose(shares[0, 2], 0.8 / (1 + np.exp(2.1)), atol=0.02)
    slips = [count_failed_checks(result) for result in simulate(key, 200, 4, slips=0.1)]
    assert np.mean(slips) == pytest.approx(0.6, abs=0.17)
