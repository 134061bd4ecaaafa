"""Agreement of two phrases in pitch classes, in onsets and in density.

Functions take rolls [B, T, P, K] and others of the same shape, or one phrase [1, T, P, K] for all, and return `[B]`,
from 0 to 1, NaN where a phrase has nothing to compare.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Bool, Float64, Int64, Shaped

from wae_jax.metrics.harmony import beat_chroma
from wae_jax.metrics.music import cells
from wae_jax.pianoroll import PITCHED_TRACKS, STEPS_PER_BAR, Rolls
from wae_jax.pianoroll.notes import find_notes, ratio

Agreement = Float64[np.ndarray, " B"]
OneOrAll = Bool[np.ndarray, "#B T=192 P=84 K=5"]


def overlap(one: Shaped[np.ndarray, "#B bins"], other: Shaped[np.ndarray, "#B bins"]) -> Agreement:
    """Common part of two histograms in each row, of which each is taken as shares; NaN where one is empty."""
    shares = (ratio(counts, counts.sum(axis=1, keepdims=True)) for counts in (one, other))
    return np.minimum(*shares).sum(axis=1)


def key_agreement(one: OneOrAll, other: OneOrAll) -> Agreement:
    """Overlap of the histograms of pitch classes: active cells of the pitched tracks, by pitch class."""
    return overlap(*(beat_chroma(rolls)[..., PITCHED_TRACKS].sum(axis=(1, 3)) for rolls in (one, other)))


def groove_agreement(one: OneOrAll, other: OneOrAll) -> Agreement:
    """Overlap of the histograms of onsets of all tracks by their position in the bar, of 48 steps."""
    return overlap(*map(_onsets_by_position, (one, other)))


def density_agreement(one: OneOrAll, other: OneOrAll) -> Agreement:
    """The smaller number of active cells as a share of the larger; NaN where there are none in either."""
    numbers = cells(one), cells(other)
    return ratio(np.minimum(*numbers), np.maximum(*numbers))


AGREEMENTS: Mapping[str, Callable[[OneOrAll, OneOrAll], Agreement]] = {
    "key": key_agreement,
    "groove": groove_agreement,
    "density": density_agreement,
}


def _onsets_by_position(rolls: Rolls) -> Int64[np.ndarray, "B steps"]:
    found = find_notes(rolls)
    index = found.phrase * STEPS_PER_BAR + found.onset % STEPS_PER_BAR
    return np.bincount(index, minlength=len(rolls) * STEPS_PER_BAR).reshape(len(rolls), STEPS_PER_BAR)
