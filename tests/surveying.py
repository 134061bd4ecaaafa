"""Surveys that several tests share: keys, listeners and what is most likely."""

import itertools

import numpy as np

from tests.checking import unchecked
from wae_jax.listening.survey.design import order_pairs, place_checks
from wae_jax.listening.survey.results import Answer, Key, Result
from wae_jax.listening.survey.simulation import Listeners, simulate_answers

STRENGTHS = np.array([-0.9, -0.3, 1.2])
MEANS = np.array([[2.4, 2.8, 2.2, 2.5], [2.9, 3.0, 2.6, 2.9], [4.0, 4.1, 3.7, 3.9]])


def make_key(num_pairs=40, num_checks=4, max_failed_checks=1, seed=0, num_sources=3):
    generator = np.random.default_rng(seed)
    pairs = order_pairs(num_sources, num_pairs, generator)
    pairs = place_checks(pairs, num_checks, music=num_sources - 1, generator=generator)
    return Key([f"source {i}" for i in range(num_sources)], pairs, max_failed_checks, {})


def results_of(key, answers):
    survey = key.survey()
    return [
        Result(f"{i}.json", survey, str(i), "", [Answer(p, (a, b)) for p, a, b in rows], key)
        for i, rows in enumerate(answers)
    ]


def simulate(key, num, seed, **changes):
    listeners = Listeners(**{"strengths": STRENGTHS, "means": MEANS, **changes})
    # Thousands of answers, each of which the checker of annotations would look at.
    with unchecked():
        return results_of(key, simulate_answers(key, listeners, num, seed))


def likelihood(strengths, wins):
    """Minus the logarithm of the chance of these wins, by the model of Bradley and Terry."""
    return sum(
        wins[i, j] * np.logaddexp(0, strengths[j] - strengths[i])
        for i, j in itertools.permutations(range(len(wins)), 2)
    )
