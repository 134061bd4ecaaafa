"""The numbers of a rule that are found on draws: whether draws are then like the music they are to be like."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.test_decision import probabilities
from wae_jax.calibration import calibrate, thresholds_for_density
from wae_jax.decision import Decision, decide
from wae_jax.sampling import Sampler
from wae_jax.track_statistics import TrackStatistics


@pytest.mark.parametrize("rule", [Decision(), Decision(hold=0.5, close_gaps=1, min_length=2)])
def test_thresholds_meet_densities(rule):
    p = probabilities(num=8)
    densities = np.array([0.002, 0.005, 0.01, 0.02, 0.03])
    thresholds = thresholds_for_density(p, densities.tolist(), rule)
    found = decide(p, dataclasses.replace(rule, thresholds=thresholds)).mean(axis=(0, 1, 2))
    np.testing.assert_allclose(found, densities, rtol=0.02)
    assert (found <= densities).all()


def test_thresholds_of_a_plain_cut_are_quantiles():
    p = probabilities(num=8)
    found = thresholds_for_density(p, (0.01,) * 5, Decision())
    expected = np.quantile(p.reshape(-1, 5), 0.99, axis=0)
    np.testing.assert_allclose(found, expected, rtol=2e-3)


def test_a_density_that_cannot_be_met_is_not_exceeded():
    p = np.full((1, 192, 84, 5), 0.3, np.float32)
    thresholds = thresholds_for_density(p, (0.5,) * 5, Decision())
    assert not decide(p, Decision(thresholds=thresholds)).any()
    np.testing.assert_allclose(thresholds, 0.3, atol=2e-5)


def test_random_decisions_have_no_thresholds_to_find():
    with pytest.raises(ValueError, match="only a hard decision"):
        thresholds_for_density(probabilities(num=1), (0.1,) * 5, Decision(method="bernoulli"))


def test_a_rule_without_thresholds_is_calibrated_on_draws_of_the_prior():
    p = probabilities(num=200)
    asked = []

    def draw(seed, num):
        asked.append((seed, num))
        return np.arange(num, dtype=np.float32)[:, None]

    sampler = Sampler(encode=lambda rolls: rolls, decode=lambda z: p[z[:, 0].astype(int)], draw=draw)
    densities = np.array([0.02, 0.01, 0.03, 0.005, 0.2])
    rule = Decision(thresholds=None, hold=0.6, min_length=2)
    with pytest.raises(ValueError, match="no thresholds yet"):
        decide(p[:1], rule)
    found = calibrate(rule, sampler, lambda: TrackStatistics(tuple(densities.tolist()), (0.5,) * 5))
    assert asked == [(0, 128)]
    np.testing.assert_allclose(decide(p[:128], found).mean(axis=(0, 1, 2)), densities, rtol=0.02)
    assert dataclasses.replace(found, thresholds=None) == rule


@pytest.mark.parametrize("rule", [Decision(), Decision(thresholds=(0.1,) * 5), Decision("bernoulli", thresholds=None)])
def test_a_rule_that_needs_no_thresholds_draws_nothing(rule):
    def refuse(*arguments):
        raise AssertionError("asked for")

    assert calibrate(rule, Sampler(refuse, refuse, refuse), refuse) == rule
