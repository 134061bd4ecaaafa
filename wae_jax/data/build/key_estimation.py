"""Keys of songs, and their distance from C major or A minor.

A key is its tonic, a pitch class from 0 (C) to 11 (B), and whether it is minor. The scale of a key is that of its
signature: seven pitch classes, the same for a major key and its relative minor.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int64, Num

from wae_jax.pianoroll import PITCHED_TRACKS, BinaryRolls

# How well each pitch class, counted from the tonic, fits into a key, by D. Temperley, "What's key for key? The
# Krumhansl-Schmuckler key-finding algorithm reconsidered", Music Perception 17 (1999), 65-100. The ratings of Krumhansl
# and Kessler (1982), which it corrects, prefer the key of the dominant: their seventh degree of major weighs hardly
# more than the lowered one.
_MAJOR = (5.0, 2.0, 3.5, 2.0, 4.5, 4.0, 2.0, 4.5, 2.0, 3.5, 1.5, 4.0)
_MINOR = (5.0, 2.0, 3.5, 4.5, 2.0, 4.0, 2.0, 4.5, 3.5, 2.0, 1.5, 4.0)

# One row for each key: C major, C sharp major, ... B major, C minor, ... B minor; each of mean 0 and norm 1.
_PROFILES = np.array([np.roll(profile, tonic) for profile in (_MAJOR, _MINOR) for tonic in range(12)])
_PROFILES -= _PROFILES.mean(axis=1, keepdims=True)
_PROFILES /= np.linalg.norm(_PROFILES, axis=1, keepdims=True)

_SCALES = np.array([np.isin(np.arange(12), np.add((0, 2, 4, 5, 7, 9, 11), tonic) % 12) for tonic in range(12)])

# By how much the best scale's share of a song may exceed that of its signature. C major is often what a program writes
# if nobody chose a key; another one was chosen by somebody, and holds for blues too.
_MARGIN_OF_DEFAULT = 0.01
_MARGIN = 0.3

_PITCH_CLASSES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")


def sounding_times(
    pitch: Int64[np.ndarray, " notes"], start: Int64[np.ndarray, " notes"], end: Int64[np.ndarray, " notes"]
) -> Float64[np.ndarray, " pitch_classes=12"]:
    """Duration for which each pitch class sounds, in any octave; notes that sound at the same time count once.

    Notes of one pitch class on several tracks would otherwise outweigh the others.

    Args:
      pitch: MIDI numbers.
      start: from 0, in any unit.
      end: in the same unit; taken as at least one after the start.
    """
    pitch_class = pitch % 12
    order = np.lexsort((start, pitch_class))
    start, end, pitch_class = start[order], np.maximum(end, start + 1)[order], pitch_class[order]
    # The pitch classes follow one another on one axis of time, so that all are processed at once.
    origin = pitch_class * (end.max(initial=0) + 1)
    sounded_until = np.maximum.accumulate(np.append(0, origin + end)[:-1])
    added = origin + end - np.maximum(origin + start, sounded_until)
    return np.bincount(pitch_class, np.maximum(added, 0), minlength=12).astype(np.float64)


def sounding_steps(rolls: BinaryRolls) -> Int64[np.ndarray, "B pitch_classes=12"]:
    """Number of steps of each phrase in which a pitch class sounds on any pitched track; see `sounding_times`."""
    pitches = rolls[..., list(PITCHED_TRACKS)].any(axis=-1)
    # The lowest of the 84 pitches is a C.
    return pitches.reshape(*pitches.shape[:2], -1, 12).any(axis=2).sum(axis=1)


def estimate_key(times: Num[np.ndarray, " pitch_classes=12"]) -> tuple[int, bool]:
    """The key whose profile correlates best with how long each pitch class sounds (Krumhansl and Schmuckler).

    C major if no pitch class stands out, as in silence.

    Raises:
      ValueError: if the shape is not (12,).
    """
    times = _checked(times)
    # The norm of the times is left out: it is the same for every key. Keys that fit equally well differ only by
    # rounding, so the first one that is as good as the best is chosen.
    correlation = _PROFILES @ (times - times.mean())
    best = int(np.argmax(correlation >= correlation.max() - 1e-9 * (1 + times.max())))
    return best % 12, best >= 12


def scale_shares(times: Num[np.ndarray, " pitch_classes=12"]) -> Float64[np.ndarray, " tonics=12"]:
    """Share of the sounding time that lies in the major scale on each pitch class; all 1 in silence.

    Raises:
      ValueError: if the shape is not (12,).
    """
    times = _checked(times)
    return _SCALES @ times / times.sum() if times.any() else np.ones(12)


def signature_fits(
    times: Num[np.ndarray, " pitch_classes=12"], tonic: int, is_minor: bool, *, is_default: bool
) -> bool:
    """Whether no other major scale has a clearly larger share of the notes than the scale of a signature.

    Modes of a scale, such as D dorian without sharps and flats, fit its signature, whatever their tonic.

    Args:
      times: how long each pitch class sounds while the signature holds.
      tonic: of the signature's key.
      is_minor: whether that key is minor.
      is_default: whether a program may have written the signature where nobody chose a key, so that it is believed only
        if the notes agree.
    """
    shares = scale_shares(times)
    margin = _MARGIN_OF_DEFAULT if is_default else _MARGIN
    return bool(shares[relative_major(tonic, is_minor)] >= shares.max() - margin)


def key_of_signature(sharps: int, is_minor: bool) -> tuple[int, bool]:
    """The key of a signature of -7 (flats) to 7 sharps."""
    return (7 * sharps + (9 if is_minor else 0)) % 12, is_minor


def relative_major(tonic: int, is_minor: bool) -> int:
    """The tonic of the major key with the signature of a key."""
    return (tonic + (3 if is_minor else 0)) % 12


def shift_to_c(tonic: int, is_minor: bool) -> int:
    """Semitones up, from -6 to 5, that transpose a major key to C and a minor key to A."""
    return (6 - relative_major(tonic, is_minor)) % 12 - 6


def key_name(tonic: int, is_minor: bool) -> str:
    """The name of a key, such as "Eb major"."""
    return f"{_PITCH_CLASSES[tonic]} {'minor' if is_minor else 'major'}"


def _checked(times: Num[np.ndarray, " pitch_classes=12"]) -> Float64[np.ndarray, " pitch_classes=12"]:
    times = np.asarray(times, np.float64)
    if times.shape != (12,):
        raise ValueError(f"times have shape {times.shape}; expected (12,), one for each pitch class")
    return times
