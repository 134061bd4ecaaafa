"""Phrases as pypianoroll's Multitrack, for notebooks and for programs that read its npz files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from wae_jax.files import whole_file
from wae_jax.pianoroll import (
    DEFAULT_TEMPO,
    LOWEST_PITCH,
    NUM_PITCHES,
    PROGRAMS,
    STEPS_PER_BAR,
    STEPS_PER_BEAT,
    TRACKS,
    BinaryPiece,
)

if TYPE_CHECKING:
    import pypianoroll

_MIDI_PITCHES = 128


def to_multitrack(
    roll: BinaryPiece, *, tempo: float = DEFAULT_TEMPO, programs: Sequence[int] = PROGRAMS, name: str | None = None
) -> pypianoroll.Multitrack:
    """The phrase as a Multitrack of binary tracks, 12 time steps a quarter note, named as `pianoroll.TRACKS`.

    Args:
      roll: one piece of any number of steps.
      tempo: quarter notes a minute.
      programs: General MIDI programs, from 0, one a track.
      name: of the piece.
    """
    # Takes a second to import, which only the users of this function wait for.
    import pypianoroll

    rows = slice(LOWEST_PITCH, LOWEST_PITCH + NUM_PITCHES)
    pianorolls = np.zeros((len(TRACKS), len(roll), _MIDI_PITCHES), bool)
    pianorolls[:, :, rows] = np.moveaxis(np.asarray(roll, bool), -1, 0)
    return pypianoroll.Multitrack(
        name=name,
        resolution=STEPS_PER_BEAT,
        tempo=np.full((len(roll), 1), tempo),
        downbeat=np.arange(len(roll))[:, None] % STEPS_PER_BAR == 0,
        tracks=[
            pypianoroll.BinaryTrack(name=track.name, program=program, is_drum=track.is_drum, pianoroll=pianoroll)
            for track, program, pianoroll in zip(TRACKS, programs, pianorolls, strict=True)
        ],
    )


def write_multitrack(
    path: str | os.PathLike[str],
    roll: BinaryPiece,
    *,
    tempo: float = DEFAULT_TEMPO,
    programs: Sequence[int] = PROGRAMS,
    name: str | None = None,
) -> None:
    """Writes the phrase as an npz file that `pypianoroll.load` and `build_dataset` read; see `to_multitrack`."""
    multitrack = to_multitrack(roll, tempo=tempo, programs=programs, name=name)
    with whole_file(path) as part, part.open("w+b") as file:
        multitrack.save(file)
