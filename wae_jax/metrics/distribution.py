"""Distribution metrics of sets of phrases: precision, recall, density, coverage and Frechet distance.

Phrases are points in a space of musical features, which are computed from the notes and not by a trained network:

- harmony and melody: durations of pitch classes in each beat of each pitched track;
- rhythm: onsets on each 16th, of four kinds of drums and of each pitched track;
- density and register: numbers of onsets, shares of active steps and mean pitch, for each bar and track;
- note lengths: numbers of notes in classes of length, for each track.

The four kinds have equal weight, whatever their numbers of features. A principal component analysis of real training
music keeps the directions in which music varies, few enough to estimate a covariance.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import scipy.linalg
from jaxtyping import Bool, Float64, Int64
from scipy.spatial.distance import cdist

from wae_jax.metrics.music import LENGTH_BINS, length_bins
from wae_jax.pianoroll import (
    LOWEST_PITCH,
    NUM_BARS,
    NUM_PITCHES,
    NUM_STEPS,
    NUM_TRACKS,
    PITCHED_TRACKS,
    STEPS_PER_BAR,
    STEPS_PER_BEAT,
    BinaryRolls,
    check_rolls,
)
from wae_jax.pianoroll.notes import find_notes

_BEATS = NUM_STEPS // STEPS_PER_BEAT
_STEPS_PER_16TH = STEPS_PER_BEAT // 4
_16THS = NUM_STEPS // _STEPS_PER_16TH
# Bass drums, snares and hi-hats of General MIDI; every other drum is the fourth kind.
_DRUM_KINDS = ((35, 36), (37, 38, 39, 40), (42, 44, 46))

# Numbers of features: harmony, rhythm, density and register, note lengths.
_BLOCKS = (
    _BEATS * 12 * len(PITCHED_TRACKS),
    _16THS * (len(_DRUM_KINDS) + 1 + len(PITCHED_TRACKS)),
    NUM_BARS * NUM_TRACKS * 3,
    len(LENGTH_BINS) * NUM_TRACKS,
)
NUM_FEATURES = sum(_BLOCKS)

# Phrases or rows of distances processed at a time.
_CHUNK = 256

Points = Float64[np.ndarray, "points dims"]
_Features = Float64[np.ndarray, "phrases features"]


@dataclasses.dataclass(frozen=True)
class FeatureSpace:
    """Standardization and principal components of features, fitted to real music."""

    mean: Float64[np.ndarray, " F"]
    scale: Float64[np.ndarray, " F"]  # divisor after the mean is subtracted
    components: Float64[np.ndarray, "F dims"]  # orthonormal columns

    def transform(self, features: _Features) -> Points:
        """Points of phrases, from their features."""
        return (features - self.mean) / self.scale @ self.components


class PointComparison(NamedTuple):
    """Generated and real points, each by the balls around the other ones that it is in."""

    recalled: Bool[np.ndarray, " R"]  # whether a real point is in a generated point's ball
    covered: Bool[np.ndarray, " R"]  # whether a real point's ball contains a generated point
    real_balls: Int64[np.ndarray, " M"]  # number of real points' balls that a generated point is in


class DistributionMetrics(NamedTuple):
    """Comparison of generated and real points by balls around them that reach to the nth nearest neighbor."""

    precision: float  # share of generated points in a real point's ball (arXiv 1904.06991)
    recall: float  # share of real points in a generated point's ball (arXiv 1904.06991)
    density: float  # mean number of real balls around a generated point, by n; may exceed 1 (arXiv 2002.09797)
    coverage: float  # share of real balls that contain a generated point (arXiv 2002.09797)


def phrase_features(rolls: BinaryRolls) -> Float64[np.ndarray, "B F"]:
    """Features of phrases; see the docstring of this module.

    Raises:
      ValueError: if the rolls are not [B, T, P, K], or are floats.
    """
    check_rolls(rolls)
    features = [_features(rolls[start : start + _CHUNK]) for start in range(0, len(rolls), _CHUNK)]
    return np.concatenate([np.zeros((0, NUM_FEATURES)), *features])


def fit_feature_space(real: Float64[np.ndarray, "B F"], *, num_dims: int = 64) -> FeatureSpace:
    """The space of up to `num_dims` components fitted to features of some thousand phrases of real training music.

    Raises:
      ValueError: if there are fewer than two phrases, or the features are not those of `phrase_features`.
    """
    if len(real) < 2 or real.shape[1] != NUM_FEATURES:
        raise ValueError(f"real has shape {real.shape}; expected at least 2 phrases of {NUM_FEATURES} features")
    mean, spread = real.mean(axis=0), real.std(axis=0)
    # The minimum keeps features that hardly vary in real music from dominating.
    blocks = np.repeat(np.sqrt(_BLOCKS), _BLOCKS)
    scale = np.maximum(spread, 0.05) * blocks
    *_, axes = np.linalg.svd((real - mean) / scale, full_matrices=False)
    return FeatureSpace(mean, scale, np.ascontiguousarray(axes[:num_dims].T))


def precision_recall_density_coverage(
    real: Float64[np.ndarray, "R dims"], fake: Float64[np.ndarray, "M dims"], *, neighbors: int = 5
) -> DistributionMetrics:
    """Metrics of how well generated points match the real ones: means of `compare_balls`, which has the errors.

    Recall grows with the number of generated points: compare sets of one size.
    """
    return distribution_metrics(compare_balls(real, fake, neighbors=neighbors), neighbors=neighbors)


def distribution_metrics(found: PointComparison, *, neighbors: int = 5) -> DistributionMetrics:
    """Metrics of a comparison by balls that reach to so many neighbors."""
    return DistributionMetrics(
        precision=float((found.real_balls > 0).mean()),
        recall=float(found.recalled.mean()),
        density=float(found.real_balls.mean() / neighbors),
        coverage=float(found.covered.mean()),
    )


def compare_balls(
    real: Float64[np.ndarray, "R dims"], fake: Float64[np.ndarray, "M dims"], *, neighbors: int = 5
) -> PointComparison:
    """The balls that each point is in.

    The ball of a point reaches to its nth nearest neighbor (n is `neighbors`) in its own set, itself excluded, and
    contains its border: a set with repeated points covers itself.

    Raises:
      ValueError: if a set has no more than `neighbors` points.
    """
    for name, points in (("real", real), ("fake", fake)):
        if not 1 <= neighbors < len(points):
            raise ValueError(f"{name} has {len(points)} points; expected more than neighbors, {neighbors}, at least 1")
    real_reach, fake_reach = _reach(real, neighbors), _reach(fake, neighbors)
    balls_around_fake = np.zeros(len(fake), np.int64)
    recalled, covered = np.zeros(len(real), bool), np.zeros(len(real), bool)
    for rows, apart in _distances(real, fake):
        in_real = apart <= real_reach[rows, None]
        balls_around_fake += in_real.sum(axis=0)
        covered[rows] = in_real.any(axis=1)
        recalled[rows] = (apart <= fake_reach).any(axis=1)
    return PointComparison(recalled, covered, balls_around_fake)


def frechet_distance(real: Float64[np.ndarray, "R dims"], fake: Float64[np.ndarray, "M dims"]) -> float:
    """Squared Frechet distance of Gaussians with the moments of two sets of points (arXiv 1706.08500, equation 6).

    The trace of the root of the covariances' product is the sum of singular values of a product of triangular factors
    of the points, so that covariances may be singular and the result is real.

    Raises:
      ValueError: if a set has fewer than two points.
    """
    if min(len(real), len(fake)) < 2:
        raise ValueError(f"real has {len(real)} points and fake {len(fake)}; expected at least 2 each")
    means, factors = [], []
    for points in (real, fake):
        means.append(points.mean(axis=0))
        factors.append(scipy.linalg.qr((points - means[-1]) / np.sqrt(len(points) - 1), mode="economic")[1])
    shared = np.linalg.svd(factors[0] @ factors[1].T, compute_uv=False).sum()
    variances = sum(float((factor**2).sum()) for factor in factors)
    # Rounding can leave equal sets a little below 0.
    return max(0.0, float(((means[0] - means[1]) ** 2).sum() + variances - 2 * shared))


def _features(rolls: BinaryRolls) -> Float64[np.ndarray, "B F"]:
    found = find_notes(rolls)
    rolls = np.asarray(rolls).astype(bool, copy=False)
    number = len(rolls)
    active = rolls[..., PITCHED_TRACKS].reshape(number, _BEATS, STEPS_PER_BEAT, NUM_PITCHES // 12, 12, -1)
    chroma = active.any(axis=3).mean(axis=2)

    # Kinds of drums first, then one kind for each pitched track.
    kinds = np.full((NUM_TRACKS, NUM_PITCHES), len(_DRUM_KINDS))
    for track in range(NUM_TRACKS):
        kinds[track] += PITCHED_TRACKS.index(track) + 1 if track in PITCHED_TRACKS else 0
        for kind, pitches in enumerate(_DRUM_KINDS if track not in PITCHED_TRACKS else ()):
            kinds[track, np.array(pitches) - LOWEST_PITCH] = kind
    num_kinds = len(_DRUM_KINDS) + 1 + len(PITCHED_TRACKS)
    starts = _count(
        (found.phrase, found.onset // _STEPS_PER_16TH, kinds[found.track, found.pitch]), (number, _16THS, num_kinds)
    )

    bars = rolls.reshape(number, NUM_BARS, STEPS_PER_BAR, NUM_PITCHES, NUM_TRACKS)
    cells = bars.sum(axis=2)
    height = np.einsum("bmpk,p->bmk", cells, np.arange(NUM_PITCHES)) / np.maximum(cells.sum(axis=2), 1)
    begun = _count((found.phrase, found.onset // STEPS_PER_BAR, found.track), (number, NUM_BARS, NUM_TRACKS))
    # Height in octaves, so that features have similar units.
    bar_features = (np.log1p(begun), bars.any(axis=3).mean(axis=2), height / 12)

    lengths = _count((found.phrase, length_bins(found.length), found.track), (number, len(LENGTH_BINS), NUM_TRACKS))
    # Logarithms: from one note to two is as far as from ten to twenty.
    blocks = (chroma, np.minimum(starts, 1), np.stack(bar_features, axis=1), np.log1p(lengths))
    return np.concatenate([block.reshape(number, -1) for block in blocks], axis=1).astype(np.float64)


def _count(indices: tuple[Int64[np.ndarray, " notes"], ...], shape: tuple[int, ...]) -> Int64[np.ndarray, "*shape"]:
    return np.bincount(np.ravel_multi_index(indices, shape), minlength=int(np.prod(shape))).reshape(shape)


def _distances(a: Points, b: Float64[np.ndarray, "others dims"]) -> Iterator[tuple[slice, np.ndarray]]:
    """Squared distances of slices of `a` from all of `b`; exactly 0 between equal points."""
    for start in range(0, len(a), _CHUNK):
        rows = slice(start, start + _CHUNK)
        yield rows, cdist(a[rows], b, "sqeuclidean")


def _reach(points: Points, neighbors: int) -> Float64[np.ndarray, " points"]:
    """Squared distance of each point to its nth nearest neighbor. The nearest of all is the point itself."""
    nearest = [np.partition(apart, neighbors, axis=1)[:, neighbors] for _, apart in _distances(points, points)]
    return np.concatenate(nearest)
