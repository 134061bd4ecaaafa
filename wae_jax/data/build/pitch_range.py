"""Moves notes of a song into the range of pitches, or finds those to leave out.

Drum notes are neither transposed nor moved: their numbers are instruments.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Int64

from wae_jax.data.build.songs import IS_DRUM, Song
from wae_jax.pianoroll import LOWEST_PITCH, NUM_PITCHES, NUM_TRACKS

HIGHEST_PITCH = LOWEST_PITCH + NUM_PITCHES - 1

# A track of which a smaller share is out of range keeps its register, and only those notes are moved: a track may join
# several instruments, and a single stray note should not move a whole part.
_SHARE_TO_MOVE_TRACK = 0.1


def transposed(song: Song, shift: int) -> Int64[np.ndarray, " notes"]:
    """The pitches of a song whose pitched tracks are moved up by `shift` semitones."""
    return song.pitch + np.where(IS_DRUM[song.track], 0, shift)


def is_outside(pitch: Int64[np.ndarray, "*n"]) -> Bool[np.ndarray, "*n"]:
    """Whether MIDI numbers are outside 24 to 107."""
    return (pitch < LOWEST_PITCH) | (pitch > HIGHEST_PITCH)


def octaves_of_tracks(song: Song, shifts: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " tracks"]:
    """Octaves up by which each track is moved as a whole, so that its line keeps its contour.

    A track is moved if that brings all its notes into the range and at least a tenth of them were outside; 0 for the
    others.

    Args:
      song: the song.
      shifts: semitones by which its pitched tracks are transposed, in one part of the song or another.
    """
    octaves = np.zeros(NUM_TRACKS, np.int64)
    for track in np.flatnonzero(~IS_DRUM):
        pitch = song.pitch[song.track == track]
        if not pitch.size:
            continue
        low, high = pitch + shifts.min(), pitch + shifts.max()
        moved = _octaves_up(low).max() - _octaves_up(_mirrored(high)).max()
        fits = not (is_outside(low + 12 * moved) | is_outside(high + 12 * moved)).any()
        if fits and (is_outside(low) | is_outside(high)).mean() >= _SHARE_TO_MOVE_TRACK:
            octaves[track] = moved
    return octaves


def folded(
    song: Song, pitch: Int64[np.ndarray, " notes"], octaves: Int64[np.ndarray, " tracks"]
) -> Int64[np.ndarray, " notes"]:
    """Pitches of a song, its tracks moved up by octaves, then each note that is still outside by as few as possible."""
    pitch = pitch + 12 * octaves[song.track]
    moved = 12 * (_octaves_up(pitch) - _octaves_up(_mirrored(pitch)))
    return pitch + np.where(IS_DRUM[song.track], 0, moved)


def _octaves_up(pitch: Int64[np.ndarray, "*n"]) -> Int64[np.ndarray, "*n"]:
    """The fewest octaves up that lead to MIDI number 24 or above."""
    return np.maximum(LOWEST_PITCH - pitch + 11, 0) // 12


def _mirrored(pitch: Int64[np.ndarray, "*n"]) -> Int64[np.ndarray, "*n"]:
    """MIDI numbers as far above 24 as the given ones are below 107."""
    return LOWEST_PITCH + HIGHEST_PITCH - pitch
