"""Packing, transposition and the fixed points that other programs rely on."""

import subprocess
import sys

import numpy as np
import pytest

from tests.checking import unchecked
from tests.helpers import onsets, random_rolls
from wae_jax import pianoroll


def test_packing_is_numpys_and_reversible():
    rolls = random_rolls(3, density=0.3)
    packed = pianoroll.pack(rolls)
    assert packed.shape == (3, 10_080)
    # By hand: the first byte holds the first eight cells, the first of them in the highest bit.
    assert packed[0, 0] == sum(int(cell) << (7 - i) for i, cell in enumerate(rolls[0].reshape(-1)[:8]))
    np.testing.assert_array_equal(pianoroll.unpack(packed), rolls)


def test_tracks_are_those_of_lpd5():
    assert pianoroll.TRACK_NAMES == ("Drums", "Piano", "Guitar", "Bass", "Strings")
    assert [track.program for track in pianoroll.TRACKS] == [0, 0, 25, 33, 48]
    assert [track.is_drum for track in pianoroll.TRACKS] == [True, False, False, False, False]
    assert (pianoroll.LOWEST_PITCH, pianoroll.LOWEST_PITCH + pianoroll.NUM_PITCHES - 1) == (24, 107)


def test_onsets_start_notes():
    rolls = np.zeros((1, *pianoroll.PHRASE_SHAPE), bool)
    rolls[0, [0, 1, 2, 7, 8], 3, 2] = True
    assert np.argwhere(onsets(rolls)).tolist() == [[0, 0, 3, 2], [0, 7, 3, 2]]


@unchecked()
def test_wrong_shapes_are_refused_by_name():
    with pytest.raises(ValueError, match=r"rolls has shape \(2, 192, 84\)"):
        pianoroll.pack(np.zeros((2, 192, 84), bool))
    with pytest.raises(ValueError, match="packed phrases have shape"):
        pianoroll.unpack(np.zeros((2, 100), np.uint8))


def test_reading_files_needs_no_jax():
    # Workers of build_dataset start in a third of the time without.
    code = "import sys, wae_jax.data.build.workers; sys.exit('jax' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
