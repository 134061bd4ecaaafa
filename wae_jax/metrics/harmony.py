"""Metrics of harmony: pitch classes, scales, and distances of tracks in tonal space.

Functions take rolls [B, T, P, K] and return [B, K], or [B, 6] for the pairs of pitched tracks, NaN for drums and silent
tracks. Pitches are weighted by duration: each active cell counts once. Pitch classes are MIDI numbers modulo 12; the
code of MuseGAN, and pypianoroll after it, fold adjacent pitches into one class instead, see `musegan.py`.
"""

from __future__ import annotations

import itertools

import numpy as np
from jaxtyping import Bool, Float64, Integer, UInt8

from wae_jax.metrics.music import DRUMS
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
from wae_jax.pianoroll.notes import TrackValues, as_phrases, ratio

NUM_CLASSES = 12
_NUM_BEATS = NUM_STEPS // STEPS_PER_BEAT

# The pairs of pitched tracks, by index into `pianoroll.TRACKS`, and their names.
TRACK_PAIRS = tuple(itertools.combinations(PITCHED_TRACKS, 2))
PAIR_NAMES = tuple(f"{TRACK_NAMES[one]}-{TRACK_NAMES[other]}" for one, other in TRACK_PAIRS)

# Pitch classes of C major, which are those of A minor.
_MAJOR_SCALE = (0, 2, 4, 5, 7, 9, 11)

# Radius, and angle of a semitone, of the circles of tonal space: fifths, minor thirds, major thirds.
_CIRCLES = ((1.0, 7 / 6 * np.pi), (1.0, 3 / 2 * np.pi), (0.5, 2 / 3 * np.pi))

Pairs = Float64[np.ndarray, "B pairs=6"]
BeatChroma = Integer[np.ndarray, "B beats=16 classes=12 K=5"]


def cells_per_beat(rolls: BinaryRolls) -> UInt8[np.ndarray, "B beats=16 P=84 K=5"]:
    """Number of the 12 steps of each quarter note in which a pitch is active."""
    rolls = as_phrases(rolls)
    beats = rolls.view(np.uint8).reshape(len(rolls), _NUM_BEATS, STEPS_PER_BEAT, NUM_PITCHES * NUM_TRACKS)
    # einsum sums over a middle axis many times faster than sum.
    return np.einsum("bnsx->bnx", beats).reshape(len(rolls), _NUM_BEATS, NUM_PITCHES, NUM_TRACKS)


def beat_chroma(rolls: BinaryRolls) -> BeatChroma:
    """Number of active cells in each quarter note by pitch class, C first."""
    beats = cells_per_beat(rolls)
    # The lowest pitch is a C. Seven octaves of twelve steps fit into a byte.
    octaves = beats.reshape(len(beats), _NUM_BEATS, NUM_PITCHES // NUM_CLASSES, NUM_CLASSES, NUM_TRACKS)
    return np.einsum("bnoct->bnct", octaves)


def used_pitch_classes(rolls: BinaryRolls) -> TrackValues:
    """Number of pitch classes of a track in a bar, 1 to 12, averaged over bars that are not empty: "UPC" of MuseGAN.

    Source: arXiv 1709.06298. A note that crosses a bar line counts in both bars.
    """
    chroma = beat_chroma(rolls)
    bars = chroma.reshape(len(chroma), NUM_BARS, _NUM_BEATS // NUM_BARS, NUM_CLASSES, NUM_TRACKS)
    used = np.count_nonzero(bars.any(axis=2), axis=2)
    return _pitched_only(ratio(used.sum(axis=1), np.count_nonzero(used, axis=1)))


def in_scale_share(rolls: BinaryRolls) -> TrackValues:
    """Share of a track's active cells in the scale of the phrase's best key; just above 7/12 for random pitches.

    The best key is the one, of all major and natural minor keys, whose scale contains most cells of all pitched tracks
    together; a track in a different key scores low. Relative keys have one scale, so twelve are compared; with several
    equally good ones the share is the mean over them, so that transposition does not change it.
    `muspy.scale_consistency` also takes the best key, but counts notes; MuseGAN's code takes C major.
    """
    duration = beat_chroma(rolls).sum(axis=1, dtype=np.int64)
    in_scale = np.einsum("sc,bck->bsk", scales().astype(np.int64), duration)
    phrase = in_scale[:, :, PITCHED_TRACKS].sum(axis=2)
    best = phrase == phrase.max(axis=1, keepdims=True)
    in_best = np.einsum("bs,bsk->bk", best.astype(np.int64), in_scale)
    return _pitched_only(ratio(in_best, best.sum(axis=1, keepdims=True) * duration.sum(axis=1)))


def tonal_distance(rolls: BinaryRolls) -> Pairs:
    """Distance of two tracks in tonal space, averaged over the quarter notes in which both are active: "TD" of MuseGAN.

    Source: arXiv 1709.06298, section 5.1; the space is that of Harte, Sandler and Gasser, "Detecting harmonic change in
    musical audio" (2006). In MuseGAN's code one beat in which a track is silent makes the mean undefined.

    Returns:
      0 (the same pitch classes in the same proportion) to 3, in the order of `TRACK_PAIRS`; NaN without a common beat.
    """
    distance = pair_distances(beat_chroma(rolls))
    both = ~np.isnan(distance)
    return ratio(np.where(both, distance, 0).sum(axis=1), np.count_nonzero(both, axis=1))


def pair_distances(chroma: BeatChroma) -> Float64[np.ndarray, "B beats=16 pairs=6"]:
    """Tonal distance of each pair of tracks in each beat, NaN if one of them is silent; see `beat_chroma`."""
    pitched = chroma[..., PITCHED_TRACKS].swapaxes(2, 3)
    share = ratio(pitched, pitched.sum(axis=-1, keepdims=True, dtype=np.int64))
    centroids = share @ tonal_matrix().T
    one, other = np.array(list(itertools.combinations(range(len(PITCHED_TRACKS)), 2))).T
    return np.linalg.norm(centroids[:, :, one] - centroids[:, :, other], axis=-1)


def tonal_matrix() -> Float64[np.ndarray, "coordinates=6 classes=12"]:
    """Coordinates of pitch classes in tonal space: sine and cosine on the circles of fifths, minor and major thirds.

    Source: Harte, Sandler and Gasser (2006), with their radii 1, 1 and 1/2.
    """
    semitones = np.arange(NUM_CLASSES)
    return np.array([r * turn(semitones * angle) for r, angle in _CIRCLES for turn in (np.sin, np.cos)])


def scales() -> Bool[np.ndarray, "scales=12 classes=12"]:
    """The pitch classes of the twelve major scales, from C up, which are also those of their relative minor keys."""
    c_major = np.isin(np.arange(NUM_CLASSES), _MAJOR_SCALE)
    return np.stack([np.roll(c_major, tonic) for tonic in range(NUM_CLASSES)])


def _pitched_only(values: TrackValues) -> TrackValues:
    values[:, DRUMS] = np.nan
    return values
