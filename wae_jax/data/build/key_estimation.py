"""The key of a song, and how far it is from C major or A minor.

A key is its tonic, a pitch class from 0 (C) to 11 (B), and whether it is minor.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Num

# How well each pitch class, counted from the tonic, was rated to fit into a key: the probe-tone profiles of
# C. L. Krumhansl and E. J. Kessler, "Tracing the dynamic changes in perceived tonal organization in a spatial
# representation of musical keys", Psychological Review 89 (1982), 334-368.
_MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
_MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)

# One row a key: C major, C sharp major, ... B major, C minor, ... B minor; each of mean 0 and length 1.
_PROFILES = np.array([np.roll(profile, tonic) for profile in (_MAJOR, _MINOR) for tonic in range(12)])
_PROFILES -= _PROFILES.mean(axis=1, keepdims=True)
_PROFILES /= np.linalg.norm(_PROFILES, axis=1, keepdims=True)


def estimate_key(durations: Num[np.ndarray, " pitch_classes=12"]) -> tuple[int, bool]:
    """The key whose profile correlates best with how long each pitch class sounds (Krumhansl and Schmuckler).

    Args:
      durations: not negative, of any unit; entry 0 is C.

    Returns:
      The tonic, and whether the key is minor. C major where no pitch class stands out, as in silence.

    Raises:
      ValueError: if the shape is another.
    """
    durations = np.asarray(durations, np.float64)
    if durations.shape != (12,):
        raise ValueError(f"durations have shape {durations.shape}; expected (12,), one for each pitch class")
    # The length of the durations is left out: it is the same for every key. Keys that fit equally well differ by
    # rounding alone, so the first of them that is as good as the best is taken.
    correlation = _PROFILES @ (durations - durations.mean())
    best = int(np.argmax(correlation >= correlation.max() - 1e-9 * (1 + durations.max())))
    return best % 12, best >= 12


def key_of_signature(sharps: int, is_minor: bool) -> tuple[int, bool]:
    """The key of a signature of so many sharps, or flats where negative: -7 to 7."""
    return (7 * sharps + (9 if is_minor else 0)) % 12, is_minor


def shift_to_c(tonic: int, is_minor: bool) -> int:
    """How many semitones up, from -6 to 5, bring a major key to C and a minor key to A."""
    return ((9 if is_minor else 0) - tonic + 6) % 12 - 6
