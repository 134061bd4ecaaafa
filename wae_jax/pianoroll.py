"""The representation: binary piano-rolls of five tracks, and what every other file assumes of them.

Axis letters, used in shapes throughout the project:

    B  phrases
    T  192 time steps: 4 bars of 48, 12 steps a quarter note
    P  84 pitches: MIDI numbers 24 to 107
    K  5 tracks, in the order of `TRACKS`
    Z  latent dimensions

The layout is that of MuseGAN's LPD-5 phrases (arXiv 1709.06298), whose arrays have shape
(N, 4, 48, 84, 5); bars and steps are one axis here, which in memory is the same thing.
"""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

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
NUM_TRACKS = len(TRACKS)
PITCHED_TRACKS = tuple(i for i, track in enumerate(TRACKS) if not track.is_drum)

PHRASE_SHAPE = (NUM_STEPS, NUM_PITCHES, NUM_TRACKS)
CELLS_PER_PHRASE = NUM_STEPS * NUM_PITCHES * NUM_TRACKS
BYTES_PER_PHRASE = CELLS_PER_PHRASE // 8


def check_rolls(rolls: np.ndarray | jax.Array, name: str = "rolls") -> None:
    """Raises ValueError unless `rolls` has shape [B, T, P, K]; the message calls the array `name`."""
    if rolls.ndim != 4 or tuple(rolls.shape[1:]) != PHRASE_SHAPE:
        raise ValueError(
            f"{name} has shape {tuple(rolls.shape)}; expected [B, {NUM_STEPS}, {NUM_PITCHES}, {NUM_TRACKS}]: "
            "phrases, time steps, pitches, tracks"
        )


def pack(rolls: np.ndarray) -> np.ndarray:
    """Packs eight cells into a byte, most significant bit first.

    Args:
      rolls: bool or 0/1 integers, [B, T, P, K].

    Returns:
      uint8 [B, 10080].

    Raises:
      ValueError: if the shape is another.
    """
    check_rolls(rolls)
    return np.packbits(np.asarray(rolls).reshape(len(rolls), -1), axis=1)


def unpack(packed: np.ndarray) -> np.ndarray:
    """Undoes `pack` on the host: uint8 [B, 10080] to bool [B, T, P, K]."""
    if packed.ndim != 2 or packed.shape[1] != BYTES_PER_PHRASE or packed.dtype != np.uint8:
        raise ValueError(
            f"packed phrases have shape {tuple(packed.shape)} and type {packed.dtype}; "
            f"expected [B, {BYTES_PER_PHRASE}] of uint8"
        )
    return np.unpackbits(packed, axis=1).reshape(-1, *PHRASE_SHAPE).astype(bool)


@functools.cache
def _track_masks() -> np.ndarray:
    """Which bits of a packed phrase are each track's, uint64 [K, 1260]; the order of bytes in a word is the host's."""
    one_track = np.zeros((NUM_TRACKS, *PHRASE_SHAPE), bool)
    one_track[np.arange(NUM_TRACKS), ..., np.arange(NUM_TRACKS)] = True
    return pack(one_track).view(np.uint64)


def count_track_cells(packed: np.ndarray) -> np.ndarray:
    """Cells that are on, per phrase and track, counted without unpacking: uint8 [B, 10080] to int64 [B, K]."""
    words = np.ascontiguousarray(packed).view(np.uint64)
    # Eight bytes are counted by one instruction.
    counts = [np.bitwise_count(words & mask).sum(axis=1, dtype=np.int64) for mask in _track_masks()]
    return np.stack(counts, axis=1)


def unpack_on_device(packed: jax.Array, dtype: jnp.dtype = jnp.float32) -> jax.Array:
    """Undoes `pack` inside a jitted function: uint8 [B, 10080] to 0 and 1 of `dtype`, [B, T, P, K]."""
    bits = (packed[..., None] >> jnp.arange(7, -1, -1, dtype=jnp.uint8)) & 1
    return bits.reshape(packed.shape[0], *PHRASE_SHAPE).astype(dtype)


def binarize_hard(probabilities: jax.Array, threshold: float = 0.5) -> jax.Array:
    """Switches on the cells whose probability is above the threshold. Any shape; returns bool."""
    return probabilities > threshold


def binarize_bernoulli(key: jax.Array, probabilities: jax.Array) -> jax.Array:
    """Switches each cell on with its own probability, all cells independently. Any shape; returns bool."""
    return jax.random.bernoulli(key, probabilities)


def transpose_pitched(rolls: jax.Array, semitones: jax.Array) -> jax.Array:
    """Moves the non-drum tracks of each phrase up by a number of semitones of its own.

    Notes that would leave the 84 pitches are dropped.

    Args:
      rolls: [B, T, P, K], any type.
      semitones: integers [B], each between -84 and 84; negative is down.

    Returns:
      An array like `rolls`.
    """

    def move(roll: jax.Array, up: jax.Array) -> jax.Array:
        padded = jnp.pad(roll, ((0, 0), (NUM_PITCHES, NUM_PITCHES), (0, 0)))
        return jax.lax.dynamic_slice_in_dim(padded, NUM_PITCHES - up, NUM_PITCHES, axis=1)

    is_drum = jnp.array([track.is_drum for track in TRACKS])
    return jnp.where(is_drum, rolls, jax.vmap(move)(rolls, semitones))


def onsets(rolls: np.ndarray) -> np.ndarray:
    """The first step of every note: a cell that is on where the step before it is off (or there is none).

    Args:
      rolls: bool [B, T, P, K].

    Returns:
      bool [B, T, P, K].
    """
    before = np.concatenate([np.zeros_like(rolls[:, :1]), rolls[:, :-1]], axis=1)
    return rolls & ~before
