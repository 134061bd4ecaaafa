"""The user's phrase with its code, phrases that keep its detail at other codes, and how much they are like it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64

from wae_jax.generation.detail import Weights, keep_detail
from wae_jax.generation.model import Model
from wae_jax.generation.modes.code_search import find_input_codes
from wae_jax.generation.modes.request import Request
from wae_jax.metrics.agreement import AGREEMENTS
from wae_jax.metrics.harmony import tonal_distance
from wae_jax.metrics.suite import mean_of_columns
from wae_jax.pianoroll import Codes, Probabilities, Rolls

# The effect of tonal distance on likeness, and the distance of tracks that never sound together: that of tracks of
# different songs.
_TONAL_WEIGHT = 0.4
_UNRELATED = 1.5


@dataclasses.dataclass(frozen=True)
class OwnPhrase:
    """The user's phrase as modes vary it.

    Attributes:
      roll: the phrase, `[1, T, P, K]`.
      code: its code, `[1, Z]`.
      probabilities: decoded from the code, `[1, T, P, K]`.
      rows: of a table, how near the phrase decoded from the code is.
    """

    roll: Rolls
    code: Codes
    probabilities: Probabilities
    rows: list[dict[str, Any]]

    def decode(self, model: Model, request: Request, codes: Codes, weights: Weights) -> tuple[Probabilities, Rolls]:
        """The decoder's probabilities at other codes, and the phrases with the detail of the user's phrase."""
        probabilities = model.decode(codes)
        rolls = keep_detail(self.roll, self.probabilities, probabilities, weights, request.rule, seed=request.seed)
        return probabilities, rolls


def find_own_phrase(model: Model, request: Request) -> OwnPhrase:
    """Finds the code of the only phrase of the request."""
    codes, rows = find_input_codes(model, request)
    return OwnPhrase(request.input_rolls(), codes, model.decode(codes), rows)


def likeness(phrase: Bool[np.ndarray, "1 T P K"], rolls: Rolls) -> Float64[np.ndarray, " B"]:
    """How much phrases are like one phrase, and how well their tracks fit together, from 0 to 1.

    The product of their agreements in pitch classes, onsets and density, times exp(-0.4 d), where d is the mean tonal
    distance of their pitched tracks. What is undefined for all phrases does not count, and else is 0 for a phrase for
    which it is undefined.
    """
    product = np.ones(len(rolls))
    for agreement in AGREEMENTS.values():
        values = agreement(phrase, rolls)
        is_unknown = np.isnan(values)
        product *= np.where(is_unknown, float(is_unknown.all()), values)
    mean = mean_of_columns(tonal_distance(rolls))
    return product * np.exp(-_TONAL_WEIGHT * np.where(np.isnan(mean), _UNRELATED, mean))
