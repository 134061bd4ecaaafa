"""Statistics of the codes of training phrases: what editing and the listening page need of the training data.

An exported model keeps them, so that it can be used where its training data are not.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from wae_jax.generation.attributes import Directions, Measured, PerPhrase, fit_directions
from wae_jax.pianoroll import Codes

# Training phrases that they are taken from, at most.
MAX_PHRASES = 2048
# Of a component and an attribute: from here on they share a sixth of their variance, and the component grows with it.
MIN_CORRELATION = 0.4
_MAX_COMPONENTS = 8


class Components(NamedTuple):
    """Leading principal components of codes, in order of their deviations.

    The sign of a component, which is arbitrary, is that of its correlation with the attribute that correlates most, if
    this reaches `MIN_CORRELATION`, and else that of its largest entry.
    """

    direction: Float64[np.ndarray, "C Z"]  # of unit length
    deviation: Float64[np.ndarray, " C"]  # standard deviation of the codes along it
    share: Float64[np.ndarray, " C"]  # of the variance of the codes
    correlation: Float64[np.ndarray, "C A"]  # with each attribute; 0 where one is constant


class CodeStatistics(NamedTuple):
    """Statistics of the codes of `num_phrases` training phrases, for attributes in the order of `ATTRIBUTES`."""

    num_phrases: int
    mean: Float64[np.ndarray, " Z"]
    directions: Directions
    components: Components


def code_statistics(codes: Codes, measured: Measured) -> CodeStatistics:
    """The statistics of codes, [B, Z], of phrases whose attributes, [B, A], are measured; NaN where undefined."""
    mean = codes.mean(axis=0, dtype=np.float64)
    directions = fit_directions(codes, measured)
    return CodeStatistics(len(codes), mean, directions, principal_components(codes, measured))


def principal_components(codes: Codes, measured: Measured) -> Components:
    """Up to eight leading components of codes, [B, Z], and their correlations with the attributes, [B, A]."""
    centred = codes.astype(np.float64) - codes.mean(axis=0, dtype=np.float64)
    _, lengths, directions = np.linalg.svd(centred, full_matrices=False)
    deviations = lengths / len(codes) ** 0.5
    share = deviations**2 / max((deviations**2).sum(), np.finfo(np.float64).tiny)
    directions = directions[:_MAX_COMPONENTS]
    correlation = np.array([[_correlation(along, of) for of in measured.T] for along in (centred @ directions.T).T])
    correlation = correlation.reshape(len(directions), measured.shape[1])
    largest = np.take_along_axis(correlation, np.abs(correlation).argmax(axis=1, keepdims=True), axis=1)
    entry = np.take_along_axis(directions, np.abs(directions).argmax(axis=1, keepdims=True), axis=1)
    sign = np.where(np.abs(largest) < MIN_CORRELATION, np.sign(entry), np.sign(largest))
    return Components(sign * directions, deviations[:_MAX_COMPONENTS], share[:_MAX_COMPONENTS], sign * correlation)


def _correlation(projections: PerPhrase, values: PerPhrase) -> float:
    """Pearson's correlation over the phrases with a value; 0 where either side is constant."""
    known = ~np.isnan(values)
    if known.sum() < 2 or np.ptp(values[known]) == 0 or np.ptp(projections[known]) == 0:
        return 0.0
    return float(np.corrcoef(projections[known], values[known])[0, 1])
