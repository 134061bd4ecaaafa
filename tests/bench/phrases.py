"""Phrases of a dataset for contenders that are not this package, and the F1 of their reconstructions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.bench import stand_ins  # noqa: F401 - before anything of the package
from wae_jax import pianoroll
from wae_jax.data.dataset import batch_indices, load_dataset

THRESHOLD = 0.5  # of the probability of a cell


def open_splits(data: str) -> tuple[np.ndarray, np.ndarray]:
    """Packed phrases to train on and to validate."""
    dataset = load_dataset(data)
    return dataset.split("train"), dataset.split("valid")


def training_batch(rows: np.ndarray, step: int, *, seed: int, batch_size: int) -> np.ndarray:
    """Phrases of one training step, bool `[B, T, P, K]`: those that this package would take of the same rows."""
    return pianoroll.unpack(rows[batch_indices(seed, step, num_rows=len(rows), batch_size=batch_size)])


def f1_of_reconstructions(reconstruct: Callable[[np.ndarray], Any], rows: np.ndarray, *, batch_size: int) -> float:
    """F1 of the cells of all phrases together; 0 where there is none.

    Args:
      reconstruct: phrases, bool `[batch_size, T, P, K]`, to probabilities of the same shape.
      rows: packed phrases. Repeated ones fill the last batch, so that one program does for all; they are not counted.
      batch_size: of `reconstruct`.
    """
    hits = predicted = actual = 0
    for start in range(0, len(rows), batch_size):
        x = pianoroll.unpack(rows[start : start + batch_size])
        probabilities = reconstruct(np.resize(x, (batch_size, *x.shape[1:])))
        found = np.asarray(probabilities)[: len(x)] > THRESHOLD
        hits += int(np.count_nonzero(found & x))
        predicted += int(np.count_nonzero(found))
        actual += int(np.count_nonzero(x))
    return float(2 * hits / max(predicted + actual, 1))
