"""Probabilities to binarize, and notes as runs, for the tests of rules and their calibration."""

from __future__ import annotations

import itertools

import numpy as np


def probabilities(seed=0, num=3):
    """Smooth along time, so that there are notes of all lengths, gaps and specks."""
    generator = np.random.default_rng(seed)
    noise = generator.normal(size=(num, 200, 84, 5))
    smooth = sum(noise[:, i : i + 192] for i in range(8)) / 8**0.5
    return (1 / (1 + np.exp(4 - 2 * smooth))).astype(np.float32)


def runs(line):
    """(state, start, length) of a line."""
    at, found = 0, []
    for state, group in itertools.groupby(line.tolist()):
        length = len(list(group))
        found.append((state, at, length))
        at += length
    return found
