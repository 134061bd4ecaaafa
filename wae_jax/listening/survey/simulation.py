"""Simulated listeners, of whom the truth is known: to test what `score` says, and to see how many listeners one needs.

Attentive listeners prefer one source to another as their strengths say, or have no preference with a chance that is the
same for all pairs; so Davidson's model of ties and that of Bradley and Terry hold. They differ from each other in
strengths if asked to, and in how generous they are with ratings. Inattentive ones answer at random, checks too.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import scipy.special
from jaxtyping import Float64

from wae_jax.listening.survey.design import NOISE
from wae_jax.listening.survey.results import (
    FORMAT_VERSION,
    PREFERENCES,
    QUESTIONS,
    RESULT_FIELDS,
    RESULTS_FORMAT,
    Key,
    checksum,
    seal,
)


@dataclasses.dataclass(frozen=True)
class Listeners:
    """A population.

    Attributes:
      strengths: logarithms of the sources' Bradley-Terry strengths.
      means: of the ratings of each source, question by question, between 1 and 5, both excluded.
      undecided: the chance of no preference.
      spread: standard deviation of each listener's own strengths around the common ones.
      agreement: how much alike listeners rate: their own means are of a beta distribution with this a + b.
      slips: the chance that an attentive listener does not prefer music to noise.
      inattentive: the share of those who answer at random.
    """

    strengths: Float64[np.ndarray, " S"]
    means: Float64[np.ndarray, "S Q"]
    undecided: float = 0.1
    spread: float = 0.0
    agreement: float = 8.0
    slips: float = 0.01
    inattentive: float = 0.0


def simulate_answers(key: Key, listeners: Listeners, num: int, seed: int) -> list[list[Any]]:
    """What so many listeners would answer.

    Args:
      key: of the survey.
      listeners: the population that they are drawn from.
      num: how many.
      seed: of them and of their answers.

    Returns:
      For each the answers as results files hold them: a preference, ratings of A and ratings of B for every pair.
    """
    generator = np.random.default_rng(seed)
    return [
        _answer_at_random(key, generator)
        if generator.random() < listeners.inattentive
        else _answer(key, listeners, generator)
        for _ in range(num)
    ]


def simulate_results(key: Key, listeners: Listeners, num: int, seed: int) -> list[dict[str, Any]]:
    """The content of the results files that the listeners of `simulate_answers` would hand in: valid, if not real.

    Args:
      key: of the survey.
      listeners: the population that they are drawn from.
      num: how many.
      seed: of them and of their answers.

    Returns:
      For each an object to be written as JSON.
    """
    survey, sealed = key.survey(), seal(key.content())
    results = []
    for listener, answers in enumerate(simulate_answers(key, listeners, num, seed)):
        values = (RESULTS_FORMAT, FORMAT_VERSION, survey, f"simulated {seed}.{listener}", "", answers, sealed)
        result = dict(zip(RESULT_FIELDS, values, strict=True))
        results.append({**result, "checksum": checksum(list(values))})
    return results


def _answer_at_random(key: Key, generator: np.random.Generator) -> list[Any]:
    preferences = generator.choice(PREFERENCES, len(key.pairs)).tolist()
    ratings = generator.integers(1, 6, (len(key.pairs), 2, len(QUESTIONS))).tolist()
    return [[preference, *rows] for preference, rows in zip(preferences, ratings, strict=True)]


def _answer(key: Key, listeners: Listeners, generator: np.random.Generator) -> list[Any]:
    """The answers of one attentive listener."""
    pairs = np.array(key.pairs)
    own = listeners.strengths + listeners.spread * generator.normal(size=len(listeners.strengths))
    chance = 1 / (1 + np.exp(own[pairs[:, 1]] - own[pairs[:, 0]]))
    chosen = np.where(generator.random(len(pairs)) < chance, "A", "B")
    chosen = np.where(generator.random(len(pairs)) < listeners.undecided, "none", chosen)
    is_noise = pairs == NOISE
    slips = generator.random(len(pairs)) < listeners.slips
    chosen = np.where(is_noise.any(axis=1), np.where(is_noise[:, 0] == slips, "A", "B"), chosen)
    # One place among all listeners for all that they rate: the generous are generous throughout. A mean of a beta
    # distribution and a binomial one of it keep to the population's means exactly.
    share = (listeners.means - 1) / 4
    place = generator.random()
    chances = scipy.special.betaincinv(listeners.agreement * share, listeners.agreement * (1 - share), place)
    chances = np.concatenate([chances, np.zeros((1, len(QUESTIONS)))])  # the noise, which is NOISE = -1
    ratings = 1 + generator.binomial(4, chances[pairs])
    return [[preference, *rows] for preference, rows in zip(chosen.tolist(), ratings.tolist(), strict=True)]
