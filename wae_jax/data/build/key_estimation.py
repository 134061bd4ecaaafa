"""Keys of songs, and their distance from C major or A minor.

A key is its tonic, a pitch class from 0 (C) to 11 (B), and whether it is minor.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Num

# Ratings of how well each pitch class, counted from the tonic, fits into a key: the probe-tone profiles of
# C. L. Krumhansl and E. J. Kessler, "Tracing the dynamic changes in perceived tonal organization in a spatial
# representation of musical keys", Psychological Review 89 (1982), 334-368.
_MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
_MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)

# One row for each key: C major, C sharp major, ... B major, C minor, ... B minor; each of mean 0 and norm 1.
_PROFILES = np.array([np.roll(profile, tonic) for profile in (_MAJOR, _MINOR) for tonic in range(12)])
_PROFILES -= _PROFILES.mean(axis=1, keepdims=True)
_PROFILES /= np.linalg.norm(_PROFILES, axis=1, keepdims=True)


def estimate_key(durations: Num[np.ndarray, " pitch_classes=12"]) -> tuple[int, bool]:
    """The key whose profile correlates best with the durations of the pitch classes (Krumhansl and Schmuckler).

    C major if no pitch class stands out, as in silence.

    Raises:
      ValueError: if the shape is not (12,).
    """
    durations = np.asarray(durations, np.float64)
    if durations.shape != (12,):
        raise ValueError(f"durations have shape {durations.shape}; expected (12,), one for each pitch class")
    # The norm of the durations is left out: it is the same for every key. Keys that fit equally well differ only by
    # rounding, so the first one that is as good as the best is chosen.
    correlation = _PROFILES @ (durations - durations.mean())
    best = int(np.argmax(correlation >= correlation.max() - 1e-9 * (1 + durations.max())))
    return best % 12, best >= 12


def key_of_signature(sharps: int, is_minor: bool) -> tuple[int, bool]:
    """The key of a signature of -7 (flats) to 7 sharps."""
    return (7 * sharps + (9 if is_minor else 0)) % 12, is_minor


def shift_to_c(tonic: int, is_minor: bool) -> int:
    """Semitones up, from -6 to 5, that transpose a major key to C and a minor key to A."""
    return ((9 if is_minor else 0) - tonic + 6) % 12 - 6
