"""Measures of harmony: pitch classes, scales, and how far apart two tracks are in tonal space.

Functions take rolls [B, T, P, K] and return [B, K], or [B, 6] for the pairs of pitched tracks. Drums have no harmony:
their column is NaN, as is everything that is undefined for want of notes. What counts is how long a pitch sounds: each
cell that is on counts once.

Pitch classes are MIDI numbers modulo 12. The programs of MuseGAN, and pypianoroll after them, fold pitches that lie
side by side into one class instead; `musegan.py` has their reading.
"""

from __future__ import annotations

import itertools

import numpy as np
from jaxtyping import Bool, Float, Float64, Integer, UInt8

from wae_jax.pianoroll import (
    NUM_BARS,
    NUM_PITCHES,
    NUM_STEPS,
    NUM_TRACKS,
    PITCHED_TRACKS,
    STEPS_PER_BEAT,
    TRACK_NAMES,
    BinaryRolls,
)
from wae_jax.pianoroll.notes import TrackValues, as_phrases

NUM_CLASSES = 12
_NUM_BEATS = NUM_STEPS // STEPS_PER_BEAT

# The pairs of pitched tracks, by index into `pianoroll.TRACKS`, and what they are called.
TRACK_PAIRS = tuple(itertools.combinations(PITCHED_TRACKS, 2))
PAIR_NAMES = tuple(f"{TRACK_NAMES[one]}-{TRACK_NAMES[other]}" for one, other in TRACK_PAIRS)

# Pitch classes of C major, which are those of A minor.
_MAJOR_SCALE = (0, 2, 4, 5, 7, 9, 11)

# Radius and angle of a semitone of each circle of tonal space: fifths, minor thirds, major thirds.
_CIRCLES = ((1.0, 7 / 6 * np.pi), (1.0, 3 / 2 * np.pi), (0.5, 2 / 3 * np.pi))

Pairs = Float64[np.ndarray, "B pairs=6"]
BeatChroma = Integer[np.ndarray, "B beats=16 classes=12 K=5"]


def cells_per_beat(rolls: BinaryRolls) -> UInt8[np.ndarray, "B beats=16 P=84 K=5"]:
    """For how many of the 12 steps of each quarter note a pitch is on."""
    rolls = as_phrases(rolls)
    beats = rolls.view(np.uint8).reshape(len(rolls), _NUM_BEATS, STEPS_PER_BEAT, NUM_PITCHES * NUM_TRACKS)
    # einsum sums over a middle axis many times faster than sum.
    return np.einsum("bnsx->bnx", beats).reshape(len(rolls), _NUM_BEATS, NUM_PITCHES, NUM_TRACKS)


def beat_chroma(rolls: BinaryRolls) -> BeatChroma:
    """Cells that are on in each quarter note, by pitch class, C first."""
    beats = cells_per_beat(rolls)
    # The lowest row is a C. Seven octaves of twelve steps do not overflow a byte.
    octaves = beats.reshape(len(beats), _NUM_BEATS, NUM_PITCHES // NUM_CLASSES, NUM_CLASSES, NUM_TRACKS)
    return np.einsum("bnoct->bnct", octaves)


def used_pitch_classes(rolls: BinaryRolls) -> TrackValues:
    """Number of pitch classes a track uses in a bar, on average over the bars in which it sounds.

    "UPC" of MuseGAN (arXiv 1709.06298), which leaves empty bars out too: these `empty_bar_rate` counts. A note held
    over from the bar before counts in both.

    Returns:
      1 to 12, NaN for drums and where a track is silent.
    """
    chroma = beat_chroma(rolls)
    bars = chroma.reshape(len(chroma), NUM_BARS, _NUM_BEATS // NUM_BARS, NUM_CLASSES, NUM_TRACKS)
    used = np.count_nonzero(bars.any(axis=2), axis=2)
    return _pitched_only(_ratio(used.sum(axis=1), np.count_nonzero(used, axis=1)))


def in_scale_share(rolls: BinaryRolls) -> TrackValues:
    """Share of a track's cells that are in the scale of the phrase's best key.

    The best key is the one of all 24, major and natural minor, whose scale holds most cells of all the pitched tracks
    together: one for the phrase, so that tracks which are each in a key of their own do not pass. A major key and its
    relative minor have one scale, so twelve are compared; where several hold as many, the share is the mean over
    them, which makes it the same for a transposed phrase.

    `muspy.scale_consistency` looks for the best key too, but counts notes, not cells; MuseGAN's program takes C major.

    Returns:
      TrackValues, NaN for drums and where a track is silent. Many pitches drawn at random score little above 7/12.
    """
    duration = beat_chroma(rolls).sum(axis=1, dtype=np.int64)
    in_scale = np.einsum("sc,bck->bsk", scales().astype(np.int64), duration)
    phrase = in_scale[:, :, PITCHED_TRACKS].sum(axis=2)
    best = phrase == phrase.max(axis=1, keepdims=True)
    in_best = np.einsum("bs,bsk->bk", best.astype(np.int64), in_scale)
    return _pitched_only(_ratio(in_best, best.sum(axis=1, keepdims=True) * duration.sum(axis=1)))


def tonal_distance(rolls: BinaryRolls) -> Pairs:
    """Distance of two tracks in tonal space, on average over the quarter notes in which both sound.

    "TD" of MuseGAN (arXiv 1709.06298, section 5.1), in the space of Harte, Sandler and Gasser, "Detecting harmonic
    change in musical audio" (2006). The programs of MuseGAN make the mean undefined by one beat in which a track rests.

    Returns:
      Distances between 0 (the same pitch classes in the same proportion) and 3, in the order of `TRACK_PAIRS`; NaN
      where the two never sound in the same beat.
    """
    distance = pair_distances(beat_chroma(rolls))
    both = ~np.isnan(distance)
    return _ratio(np.where(both, distance, 0).sum(axis=1), np.count_nonzero(both, axis=1))


def pair_distances(chroma: BeatChroma) -> Float64[np.ndarray, "B beats=16 pairs=6"]:
    """The tonal distance of each pair of tracks in each beat, NaN where one of them is silent.

    Args:
      chroma: how much of a beat each pitch class sounds.
    """
    pitched = chroma[..., PITCHED_TRACKS].swapaxes(2, 3)
    share = _ratio(pitched, pitched.sum(axis=-1, keepdims=True, dtype=np.int64))
    centroids = share @ tonal_matrix().T
    one, other = np.array(list(itertools.combinations(range(len(PITCHED_TRACKS)), 2))).T
    return np.linalg.norm(centroids[:, :, one] - centroids[:, :, other], axis=-1)


def tonal_matrix() -> Float64[np.ndarray, "coordinates=6 classes=12"]:
    """Where each pitch class lies in tonal space: sine and cosine on the circles of fifths, minor and major thirds.

    Of Harte, Sandler and Gasser (2006), with their radii 1, 1 and 1/2.
    """
    semitones = np.arange(NUM_CLASSES)
    return np.array([r * turn(semitones * angle) for r, angle in _CIRCLES for turn in (np.sin, np.cos)])


def scales() -> Bool[np.ndarray, "scales=12 classes=12"]:
    """The pitch classes of the twelve major scales, from C up; each is also that of the minor key three below."""
    c_major = np.isin(np.arange(NUM_CLASSES), _MAJOR_SCALE)
    return np.stack([np.roll(c_major, tonic) for tonic in range(NUM_CLASSES)])


def _ratio(
    part: Float[np.ndarray, "*a"] | Integer[np.ndarray, "*a"], whole: Integer[np.ndarray, "*b"]
) -> Float64[np.ndarray, "*a"]:
    """Part by whole, NaN where the whole is 0."""
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def _pitched_only(values: TrackValues) -> TrackValues:
    """NaN for the drums."""
    values[:, [k for k in range(NUM_TRACKS) if k not in PITCHED_TRACKS]] = np.nan
    return values
