"""Transposition that loses no note, against a loop over cells."""

import numpy as np
import pytest

from tests.helpers import random_rolls
from wae_jax import pianoroll


def slowly(rolls, semitones):
    """Each cell by itself, an octave at a time until it is in the range."""
    moved = np.zeros_like(rolls)
    for phrase, step, pitch, track in np.argwhere(rolls):
        to = pitch + (0 if track == 0 else semitones[phrase])
        while to < 0:
            to += 12
        while to > 83:
            to -= 12
        cell = phrase, step, to, track
        moved[cell] = max(moved[cell], rolls[phrase, step, pitch, track])
    return moved


@pytest.mark.parametrize("dtype", [bool, np.float32])
def test_against_a_loop_over_cells(dtype):
    rng = np.random.default_rng(0)
    rolls = random_rolls(8, density=0.01).astype(dtype) * rng.random((8, 192, 84, 5)).astype(np.float32)
    rolls = rolls.astype(dtype)
    before = rolls.copy()
    semitones = np.array([0, 1, -1, 5, -6, 12, -12, 31])
    moved = pianoroll.transpose(rolls, semitones)
    assert moved.dtype == rolls.dtype
    np.testing.assert_array_equal(moved, slowly(rolls, semitones))
    np.testing.assert_array_equal(rolls, before)


def test_edges_by_hand():
    rolls = np.zeros((2, *pianoroll.PHRASE_SHAPE), bool)
    rolls[:, 0, [0, 2, 83], :] = True  # MIDI numbers 24, 26 and 107: C, D and B
    up, down = pianoroll.transpose(rolls, np.array([2, -3]))
    for track in (1, 2, 3, 4):
        assert np.flatnonzero(up[0, :, track]).tolist() == [2, 4, 73]  # D, E and, an octave lower, C sharp
        assert np.flatnonzero(down[0, :, track]).tolist() == [9, 11, 80]  # A and B an octave higher, and G sharp
    for roll in (up, down):
        assert np.flatnonzero(roll[0, :, 0]).tolist() == [0, 2, 83]
    assert pianoroll.transpose(rolls[:0], np.array([], int)).shape == (0, 192, 84, 5)
