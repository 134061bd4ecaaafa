"""Keys of surveys and simulated listeners with known strengths.

Attentive listeners prefer one source to another as their strengths say, or have no preference, with the same
probability for all pairs: so the models of Davidson and of Bradley and Terry hold. They may differ from each other in
strengths, and they differ in how generous their ratings are. Inattentive listeners answer at random.
"""

import dataclasses
import itertools

import numpy as np
import scipy.special

from tests.checking import unchecked
from wae_jax.listening.survey.design import NOISE, insert_checks, order_pairs
from wae_jax.listening.survey.results import (
    FORMAT_VERSION,
    PREFERENCES,
    QUESTIONS,
    RESULT_FIELDS,
    RESULTS_FORMAT,
    Answer,
    Key,
    Result,
    checksum,
    seal,
)

STRENGTHS = np.array([-0.9, -0.3, 1.2])
MEANS = np.array([[2.4, 2.8, 2.2, 2.5], [2.9, 3.0, 2.6, 2.9], [4.0, 4.1, 3.7, 3.9]])


@dataclasses.dataclass(frozen=True)
class Listeners:
    """A population.

    Attributes:
      strengths: logarithms [S] of the sources' Bradley-Terry strengths.
      means: means [S, Q] of the ratings, above 1 and below 5.
      undecided: probability of no preference.
      spread: standard deviation of each listener's strengths around the common ones.
      agreement: a + b of the beta distribution of a listener's mean rating; larger where listeners agree.
      slips: probability that an attentive listener does not prefer music to noise.
      inattentive: share of those who answer at random.
    """

    strengths: np.ndarray
    means: np.ndarray
    undecided: float = 0.1
    spread: float = 0.0
    agreement: float = 8.0
    slips: float = 0.01
    inattentive: float = 0.0


def make_key(num_pairs=40, num_checks=4, max_failed_checks=1, seed=0, num_sources=3):
    generator = np.random.default_rng(seed)
    pairs = order_pairs(num_sources, num_pairs, generator)
    pairs = insert_checks(pairs, num_checks, music=num_sources - 1, generator=generator)
    return Key([f"source {i}" for i in range(num_sources)], pairs, max_failed_checks, {})


def simulate_answers(key, listeners, num, seed):
    """The answers of each listener, as results files hold them: a preference, ratings of A and of B for every pair."""
    generator = np.random.default_rng(seed)
    return [
        _answer_at_random(key, generator)
        if generator.random() < listeners.inattentive
        else _answer(key, listeners, generator)
        for _ in range(num)
    ]


def simulate_results(key, listeners, num, seed):
    """The content of the results files of listeners."""
    survey, sealed = key.survey_id, seal(key.content())
    results = []
    for listener, answers in enumerate(simulate_answers(key, listeners, num, seed)):
        values = (RESULTS_FORMAT, FORMAT_VERSION, survey, f"simulated {seed}.{listener}", "", answers, sealed)
        result = dict(zip(RESULT_FIELDS, values, strict=True))
        results.append({**result, "checksum": checksum(list(values))})
    return results


def results_of(key, answers):
    """Answers as `read_result` would read them."""
    survey = key.survey_id
    return [
        Result(f"{i}.json", survey, str(i), "", [Answer(p, (a, b)) for p, a, b in rows], key)
        for i, rows in enumerate(answers)
    ]


def simulate(key, num, seed, **changes):
    listeners = Listeners(**{"strengths": STRENGTHS, "means": MEANS, **changes})
    # The check of annotations would look at each of thousands of answers.
    with unchecked():
        return results_of(key, simulate_answers(key, listeners, num, seed))


def likelihood(strengths, wins):
    """Minus the log-likelihood of these wins in the model of Bradley and Terry."""
    return sum(
        wins[i, j] * np.logaddexp(0, strengths[j] - strengths[i])
        for i, j in itertools.permutations(range(len(wins)), 2)
    )


def _answer_at_random(key, generator):
    preferences = generator.choice(PREFERENCES, len(key.pairs)).tolist()
    ratings = generator.integers(1, 6, (len(key.pairs), 2, len(QUESTIONS))).tolist()
    return [[preference, *rows] for preference, rows in zip(preferences, ratings, strict=True)]


def _answer(key, listeners, generator):
    """The answers of one attentive listener."""
    pairs = np.array(key.pairs)
    own = listeners.strengths + listeners.spread * generator.normal(size=len(listeners.strengths))
    chance = 1 / (1 + np.exp(own[pairs[:, 1]] - own[pairs[:, 0]]))
    chosen = np.where(generator.random(len(pairs)) < chance, "A", "B")
    chosen = np.where(generator.random(len(pairs)) < listeners.undecided, "none", chosen)
    is_noise = pairs == NOISE
    slips = generator.random(len(pairs)) < listeners.slips
    chosen = np.where(is_noise.any(axis=1), np.where(is_noise[:, 0] == slips, "A", "B"), chosen)
    # One quantile for all that a listener rates: the generous are generous throughout. A binomial distribution whose
    # mean has a beta distribution keeps the population's means exactly.
    share = (listeners.means - 1) / 4
    quantile = generator.random()
    chances = scipy.special.betaincinv(listeners.agreement * share, listeners.agreement * (1 - share), quantile)
    chances = np.concatenate([chances, np.zeros((1, len(QUESTIONS)))])  # of noise, which is NOISE = -1
    ratings = 1 + generator.binomial(4, chances[pairs])
    return [[preference, *rows] for preference, rows in zip(chosen.tolist(), ratings.tolist(), strict=True)]
