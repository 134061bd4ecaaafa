"""The layout of a phrase in memory: constants of the axes, tracks, and packing of eight cells into a byte.

It is that of MuseGAN's LPD-5 phrases (arXiv 1709.06298), whose arrays have shape (N, 4, 48, 84, 5); bars and steps are
one axis here, which in memory is the same.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int64, Integer, Shaped, UInt8, UInt64

NUM_BARS = 4
STEPS_PER_BEAT = 12
STEPS_PER_BAR = 4 * STEPS_PER_BEAT
NUM_STEPS = NUM_BARS * STEPS_PER_BAR
NUM_PITCHES = 84
LOWEST_PITCH = 24
DEFAULT_TEMPO = 100.0


@dataclasses.dataclass(frozen=True)
class Track:
    """One instrument of a phrase: its name, its General MIDI program (from 0), and whether it is the drum kit."""

    name: str
    program: int
    is_drum: bool = False


TRACKS = (
    Track("Drums", 0, is_drum=True),
    Track("Piano", 0),
    Track("Guitar", 25),
    Track("Bass", 33),
    Track("Strings", 48),
)
TRACK_NAMES = tuple(track.name for track in TRACKS)
PROGRAMS = tuple(track.program for track in TRACKS)
NUM_TRACKS = len(TRACKS)
PITCHED_TRACKS = tuple(i for i, track in enumerate(TRACKS) if not track.is_drum)

PHRASE_SHAPE = (NUM_STEPS, NUM_PITCHES, NUM_TRACKS)
CELLS_PER_PHRASE = NUM_STEPS * NUM_PITCHES * NUM_TRACKS
BYTES_PER_PHRASE = CELLS_PER_PHRASE // 8

Rolls = Bool[np.ndarray, "B T=192 P=84 K=5"]
PackedPhrases = UInt8[np.ndarray, "B bytes=10080"]
Codes = Float[np.ndarray, "B Z"]
Probabilities = Float[np.ndarray, "B T=192 P=84 K=5"]
# Bool or 0/1 integers: phrases; pieces of any number of steps; one such piece.
BinaryRolls = Bool[np.ndarray, "B T=192 P=84 K=5"] | Integer[np.ndarray, "B T=192 P=84 K=5"]
BinaryPieces = Bool[np.ndarray, "B steps P=84 K=5"] | Integer[np.ndarray, "B steps P=84 K=5"]
BinaryPiece = Bool[np.ndarray, "steps P=84 K=5"] | Integer[np.ndarray, "steps P=84 K=5"]


def check_rolls(rolls: Shaped[Any, "*shape"], name: str = "rolls") -> None:
    """Raises ValueError unless `rolls`, called `name` in the message, has shape [B, T, P, K]."""
    if rolls.ndim != 4 or tuple(rolls.shape[1:]) != PHRASE_SHAPE:
        raise ValueError(
            f"{name} has shape {tuple(rolls.shape)}; expected [B, {NUM_STEPS}, {NUM_PITCHES}, {NUM_TRACKS}]: "
            "phrases, time steps, pitches, tracks"
        )


def pack(rolls: BinaryRolls) -> PackedPhrases:
    """Phrases of eight cells a byte, most significant bit first.

    Raises:
      ValueError: if `rolls` is not [B, T, P, K].
    """
    check_rolls(rolls)
    return np.packbits(np.asarray(rolls).reshape(len(rolls), CELLS_PER_PHRASE), axis=1)


def unpack(packed: PackedPhrases) -> Rolls:
    """Phrases from packed ones, on the host; the inverse of `pack`.

    Raises:
      ValueError: if `packed` is not [B, 10080] of uint8.
    """
    if packed.ndim != 2 or packed.shape[1] != BYTES_PER_PHRASE or packed.dtype != np.uint8:
        raise ValueError(
            f"packed phrases have shape {tuple(packed.shape)} and type {packed.dtype}; "
            f"expected [B, {BYTES_PER_PHRASE}] of uint8"
        )
    return np.unpackbits(packed, axis=1).reshape(len(packed), *PHRASE_SHAPE).astype(bool)


@functools.cache
def _track_masks() -> UInt64[np.ndarray, "K=5 words=1260"]:
    """Packed phrases in which all cells of one track are active, in words of the host's byte order."""
    one_track = np.zeros((NUM_TRACKS, *PHRASE_SHAPE), bool)
    one_track[np.arange(NUM_TRACKS), ..., np.arange(NUM_TRACKS)] = True
    return pack(one_track).view(np.uint64)


def count_track_cells(packed: PackedPhrases) -> Int64[np.ndarray, "B K=5"]:
    """Number of active cells per phrase and track, counted without unpacking."""
    words = np.ascontiguousarray(packed).view(np.uint64)
    counts = [np.bitwise_count(words & mask).sum(axis=1, dtype=np.int64) for mask in _track_masks()]
    return np.stack(counts, axis=1)


def active_track_bars(packed: PackedPhrases) -> Bool[np.ndarray, "B bars=4 K=5"]:
    """Whether a track has an active cell in a bar, per phrase, found without unpacking."""
    words = np.ascontiguousarray(packed).view(np.uint64)
    # Every five words the tracks have the same bits, and a bar has 315. Reducing long rows first is faster.
    rows = np.bitwise_or.reduce(words.reshape(len(packed), NUM_BARS, 9, -1), axis=2)
    five = np.bitwise_or.reduce(rows.reshape(len(packed), NUM_BARS, -1, NUM_TRACKS), axis=2)
    return np.any(five[:, :, None] & _track_masks()[:, :NUM_TRACKS], axis=3)


def active_tracks(packed: PackedPhrases) -> Bool[np.ndarray, "B K=5"]:
    """Whether a track has an active cell, per phrase, found without unpacking."""
    return np.any(active_track_bars(packed), axis=1)
