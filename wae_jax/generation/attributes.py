"""Attributes of phrases, and the directions of latent space along which they change.

An attribute is one number a phrase. Its slope comes from a linear regression of the attribute on the codes of training
phrases: ridge regression, which is least squares except in directions in which codes hardly differ. Attributes of music
are edited along such directions in MusicVAE (arXiv 1803.05428, there differences of means), and those of faces in
InterFaceGAN (arXiv 1907.10786, there the normals of linear classifiers).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from wae_jax.metrics import music
from wae_jax.pianoroll import PITCHED_TRACKS, Codes, Rolls
from wae_jax.pianoroll.notes import Notes, Values, ratio, sum_over_notes

PerPhrase = Float64[np.ndarray, " B"]
Measured = Float64[np.ndarray, "B A"]

# Added to the variances of the codes, as a share of their mean.
_RIDGE = 0.01


def _over_pitched_notes(value: Callable[[Notes], Values]) -> Callable[[Rolls], PerPhrase]:
    """Returns the mean over all notes of the pitched tracks, by phrase; NaN for a phrase without notes."""

    def mean(rolls: Rolls) -> PerPhrase:
        number, total = (of_tracks[:, PITCHED_TRACKS].sum(axis=1) for of_tracks in sum_over_notes(rolls, value))
        return ratio(total, number)

    return mean


ATTRIBUTES: dict[str, Callable[[Rolls], PerPhrase]] = {
    "density": lambda rolls: music.cells(rolls).astype(np.float64),
    "polyphony": lambda rolls: music.polyphony_rate(rolls)[:, PITCHED_TRACKS].mean(axis=1),
    "note length": _over_pitched_notes(lambda found: found.length),
    "register": _over_pitched_notes(lambda found: found.pitch),
    "drum busyness": lambda rolls: music.notes_per_bar(rolls)[:, music.DRUMS],
}


def measure(rolls: Rolls) -> Measured:
    """All attributes, in the order of `ATTRIBUTES`; NaN where one is undefined."""
    return np.stack([of_rolls(rolls) for of_rolls in ATTRIBUTES.values()], axis=1)


class Directions(NamedTuple):
    """The change of attributes with codes, in standard deviations of each attribute over the training phrases."""

    deviation: Float64[np.ndarray, " A"]  # in the attribute's own unit; 0 where constant
    slope: Float64[np.ndarray, "A Z"]  # a unit of code; 0 where constant
    explained: Float64[np.ndarray, " A"]  # share of variance that the linear model explains


def fit_directions(codes: Codes, values: Measured) -> Directions:
    """Regresses attributes on codes; where an attribute is NaN, the phrase is left out of its regression."""
    found = [_fit_one(codes.astype(np.float64), column) for column in values.T]
    deviation, slope, explained = (np.array(part) for part in zip(*found, strict=True))
    return Directions(deviation, slope, explained)


def _fit_one(codes: Float64[np.ndarray, "B Z"], values: PerPhrase) -> tuple[float, Float64[np.ndarray, " Z"], float]:
    known = ~np.isnan(values)
    if known.sum() < 2 or np.ptp(values[known]) == 0:
        return 0.0, np.zeros(codes.shape[1]), 0.0
    deviation = float(values[known].std())
    target = (values[known] - values[known].mean()) / deviation
    centred = codes[known] - codes[known].mean(axis=0)
    covariance = centred.T @ centred / len(centred)
    ridge = _RIDGE * np.trace(covariance) / len(covariance)
    slope = np.linalg.solve(covariance + ridge * np.eye(len(covariance)), centred.T @ target / len(centred))
    return deviation, slope, float(1 - np.square(target - centred @ slope).mean())


def shortest_step(
    slope: Float64[np.ndarray, "requested Z"], change: Float64[np.ndarray, " requested"]
) -> Float64[np.ndarray, " Z"]:
    """The shortest step of a code that changes attributes by the requested standard deviations in the linear model.

    Other attributes may change too: density and polyphony, say, go together, and keeping one of them as it is would
    lead away from the codes of music.
    """
    return np.linalg.pinv(slope) @ change
