"""Precision, recall and F1 of reconstructed cells, from counts."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Float64, Shaped

from wae_jax.array_types import AnyArray
from wae_jax.pianoroll import PackedPhrases

# One of two arrays of these may hold a single phrase, which is then compared with all of the other.
Cells = Bool[np.ndarray, "#B steps pitches tracks"]
Counts = Shaped[np.ndarray, "*shape"] | float
Scores = Float64[np.ndarray, "*shape"]


class CellCounts(NamedTuple):
    """Numbers of active cells of each phrase, exact in float32 since a phrase has fewer than 2^24 cells."""

    true_positive: Float32[Array, " B"]
    predicted: Float32[Array, " B"]
    actual: Float32[Array, " B"]


class CellScores(NamedTuple):
    """Precision, recall and F1, of one set of cells or of several."""

    precision: Scores
    recall: Scores
    f1: Scores


def count_cells(x: Shaped[AnyArray, "B T P K"], x_hat: Float[AnyArray, "B T P K"], *, threshold: float) -> CellCounts:
    """Counts of active cells per phrase, predicted where above the threshold; for use inside jitted functions."""
    axes = tuple(range(1, x.ndim))
    predicted = (x_hat > threshold).astype(jnp.float32)
    actual = x.astype(jnp.float32)
    return CellCounts(jnp.sum(predicted * actual, axes), jnp.sum(predicted, axes), jnp.sum(actual, axes))


def cell_scores(true_positive: Counts, predicted: Counts, actual: Counts, *, zero_division: float = 0.0) -> CellScores:
    """Precision, recall and F1 from counts of active cells; `zero_division` where there is none to count."""
    hits, found, true = (np.asarray(counts, np.float64) for counts in (true_positive, predicted, actual))
    parts, wholes = np.array([hits, hits, 2 * hits]), np.array([found, true, found + true])
    return CellScores(*np.divide(parts, wholes, out=np.full(wholes.shape, zero_division), where=wholes > 0))


def cell_f1(rolls: Cells, others: Cells) -> Float64[np.ndarray, " B"]:
    """F1 of the cells of each phrase and another: 1 if they are equal, also in silence; 0 if they share none.

    One minus this is the share of their cells in which they differ.
    """
    both, *each = (np.count_nonzero(cells, axis=(1, 2, 3)) for cells in (rolls & others, rolls, others))
    return cell_scores(both, *np.broadcast_arrays(*each), zero_division=1.0).f1


def packed_cell_scores(actual: PackedPhrases, predicted: PackedPhrases) -> dict[str, float]:
    """Precision, recall and F1 over the cells of all phrases together."""
    both = sum(int(np.bitwise_count(a & b).sum()) for a, b in zip(actual, predicted, strict=True))
    counts = (int(np.bitwise_count(each).sum(dtype=np.int64)) for each in (predicted, actual))
    return {name: float(score) for name, score in cell_scores(both, *counts)._asdict().items()}
