"""Sets of phrases measured against sets of phrases: the sections of an evaluation, as plain dictionaries.

The sets are

    generated      decoded samples, or whatever phrases are evaluated
    reconstructed  held-out phrases, encoded and decoded
    held_out       real phrases that were not trained on
    training       real phrases of the training split

and each is compared with `held_out`. Every number of a set is a mean over its phrases with a bootstrap interval over
songs. `floor` is the distance between random halves of `held_out`, divided by song: a smaller difference is
indistinguishable from chance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int64

from wae_jax.evaluation import latent_metrics, memorization
from wae_jax.evaluation.fresh_discriminator import fresh_jensen_shannon
from wae_jax.metrics import distances, distribution, intervals, music, suite
from wae_jax.pianoroll import PITCHED_TRACKS, TRACK_NAMES, Codes, PackedPhrases
from wae_jax.pianoroll.notes import ratio
from wae_jax.training.learned_prior import KernelDensity, log_density, normal

SETS = ("generated", "reconstructed", "held_out", "training")
PITCHED = "Pitched"
DISTRIBUTION_METRICS = ("precision", "recall", "density", "coverage", "frechet_distance")
NEIGHBORS = 5
# The distribution metrics look at each phrase's nearest neighbors among the others.
MIN_DISTRIBUTION_PHRASES = NEIGHBORS + 1
COPY_PERCENTILE = 1.0
_PITCHED_NAMES = tuple(TRACK_NAMES[k] for k in PITCHED_TRACKS)
_NORM_BINS = 30
_DIVISIONS = 21
# Distances of all pairs and a covariance of features: the estimates depend on the number of phrases, so that all sets
# are compared with the same number.
_MAX_DISTRIBUTION_PHRASES = 4096
_MAX_CODES_OF_DIMENSION = 2048

Columns = Float64[np.ndarray, "B C"]


class PhraseSet(NamedTuple):
    """Phrases, and the index of each one's song where songs are known."""

    packed: PackedPhrases
    songs: Int64[np.ndarray, " B"] | None = None


Sets = Mapping[str, PhraseSet]


def measure_music(sets: Sets, *, seed: int, compat: str = "") -> dict[str, Any]:
    """Metrics of all sets, `held_out` among them, of `suite.METRICS_BY_COMPAT[compat]`.

    Returns:
      By metric: `unit`, `description`, `columns`, `floor` (median, p95, wasserstein_1), and by set mean, low, high, the
      difference from `held_out` with its interval, and distances of the distributions over phrases.
    """
    values = {name: suite.measure(each.packed, compat=compat) for name, each in sets.items()}
    section: dict[str, Any] = {}
    for metric in suite.METRICS_BY_COMPAT[compat]:
        columns, of_sets = _with_pitched(metric.columns, {name: of[metric.name] for name, of in values.items()})
        real, songs = of_sets["held_out"], sets["held_out"].songs
        floor = intervals.real_floor(real, songs, seed=seed)
        section[metric.name] = {
            "unit": metric.unit,
            "description": metric.description,
            "columns": list(columns),
            "floor": {
                "median": floor.median,
                "p95": floor.p95,
                "wasserstein_1": _distance_of_halves(real, songs, seed),
            },
            "sets": {
                name: intervals.bootstrap_interval(of_set, sets[name].songs, seed=seed)._asdict()
                | ({} if name == "held_out" else _differences(of_set, real, sets[name].songs, songs, seed))
                for name, of_set in of_sets.items()
            },
        }
    return section


def _differences(
    values: Columns,
    real: Float64[np.ndarray, "N C"],
    songs: Int64[np.ndarray, " B"] | None,
    real_songs: Int64[np.ndarray, " N"] | None,
    seed: int,
) -> dict[str, Any]:
    """Difference of the means, and distances of the distributions, of one metric of a set and of held-out music."""
    overlap, divergence = zip(*_by_column(distances.density_distances, values, real), strict=True)
    return {
        "difference": intervals.bootstrap_difference(values, real, songs, real_songs, seed=seed)._asdict(),
        "wasserstein_1": _by_column(distances.wasserstein_1, values, real),
        "overlapping_area": overlap,
        "kl_divergence": divergence,
    }


def _distance_of_halves(real: Columns, songs: Int64[np.ndarray, " B"] | None, seed: int) -> list[float]:
    """Wasserstein-1 distance between halves of real music, by column: the median of some random divisions."""
    rng = np.random.default_rng(seed)
    divisions = [_halves(len(real), songs, rng) for _ in range(_DIVISIONS)]
    found = [_by_column(distances.wasserstein_1, real[one], real[other]) for one, other in divisions]
    return np.median(found, axis=0).tolist()


def _with_pitched(
    columns: tuple[str, ...], values: Mapping[str, Columns]
) -> tuple[tuple[str, ...], dict[str, Float64[np.ndarray, "B columns"]]]:
    """The columns, with the mean over the pitched tracks added where there are columns of these."""
    pitched = [i for i, column in enumerate(columns) if column in _PITCHED_NAMES]
    if not pitched:
        return columns, dict(values)
    return (*columns, PITCHED), {
        name: np.column_stack([each, suite.mean_of_columns(each[:, pitched])]) for name, each in values.items()
    }


def _by_column(distance: Callable[..., Any], one: Columns, other: Float64[np.ndarray, "N C"]) -> list[Any]:
    return [distance(one[:, i], other[:, i]) for i in range(one.shape[1])]


def divide_quality_gap(measured: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Shares of decoder and regularizer in the distance from held-out music, by "metric, column" of `measure_music`.

    The values are the fields of `latent_metrics.QualityGap`.
    """
    gaps = {}
    for name, entry in measured.items():
        sources = (entry["sets"]["reconstructed"], entry["sets"]["generated"], entry["floor"])
        for i, column in enumerate(entry["columns"]):
            found = [each["wasserstein_1"][i] for each in sources]
            if np.isfinite(found).all():
                gaps[f"{name}, {column}"] = latent_metrics.quality_gap(*found)._asdict()
    return gaps


def count_note_lengths(sets: Sets) -> dict[str, Any]:
    """Shares of notes by length, over all notes of a set; `bins` are the shortest lengths of the classes, in steps."""
    section: dict[str, Any] = {"bins": list(music.LENGTH_BINS), "columns": [*TRACK_NAMES, PITCHED], "sets": {}}
    for name, each in sets.items():
        counts = suite.map_chunks(each.packed, music.note_length_histogram).sum(axis=0)
        counts = np.concatenate([counts, counts[list(PITCHED_TRACKS)].sum(axis=0, keepdims=True)])
        section["sets"][name] = ratio(counts, counts.sum(axis=-1, keepdims=True))
    return section


def compare_distributions(sets: Sets, *, seed: int) -> dict[str, Any]:
    """Precision, recall, density, coverage and Fréchet distance to `held_out`, in the features of `distribution`.

    The features are scaled by the training set, or by `held_out` where there is none. All sets are compared with as
    many phrases as the smallest has; with fewer than `MIN_DISTRIBUTION_PHRASES` the metrics are NaN, and so are all of
    them where one phrase has to scale the features. `floor` compares two halves of `held_out`, divided by song.

    `intervals` of a set are those of recall and coverage if other songs had been held out: songs are resampled, while
    balls stay as they are.
    """
    count = min(_MAX_DISTRIBUTION_PHRASES, *(len(each.packed) for each in sets.values()))
    rng = np.random.default_rng(seed)
    real = sets.get("training", sets["held_out"]).packed[: 2 * _MAX_DISTRIBUTION_PHRASES]
    if len(real) < 2:
        undefined = {name: _undefined_metrics() for name in sets if name != "held_out"}
        return {
            "phrases": count,
            "neighbors": NEIGHBORS,
            "dimensions": 0,
            "sets": undefined,
            "intervals": {},
            "floor": _undefined_metrics(),
        }
    space = distribution.fit_feature_space(features(real))
    chosen = {name: np.sort(rng.permutation(len(each.packed))[:count]) for name, each in sets.items()}
    held_out = space.transform(features(sets["held_out"].packed))  # all of them, for the floor
    compared = held_out[chosen["held_out"]]
    others = [name for name in sets if name != "held_out"]
    points = {name: space.transform(features(sets[name].packed[chosen[name]])) for name in others}
    songs = sets["held_out"].songs
    of_compared = None if songs is None else songs[chosen["held_out"]]
    one, other = _halves(len(held_out), songs, rng)
    balls = {name: _compare_balls(compared, each) for name, each in points.items()}
    return {
        "phrases": count,
        "neighbors": NEIGHBORS,
        "dimensions": space.components.shape[1],
        "sets": {name: _metrics(compared, each, balls[name]) for name, each in points.items()},
        "intervals": {name: _intervals_by_song(found, of_compared, seed) for name, found in balls.items()},
        "floor": compare_points(held_out[one], held_out[other]),
    }


def features(phrases: suite.Phrases) -> Float64[np.ndarray, "B F"]:
    """Features of phrases, dense or packed, as in `distribution.phrase_features`."""
    return suite.map_chunks(phrases, distribution.phrase_features)


def compare_points(real: Float64[np.ndarray, "n F"], other: Float64[np.ndarray, "m F"]) -> dict[str, float]:
    """Distribution metrics of phrases in a feature space; NaN if a set has fewer than `MIN_DISTRIBUTION_PHRASES`."""
    return _metrics(real, other, _compare_balls(real, other))


def _compare_balls(
    real: Float64[np.ndarray, "n F"], other: Float64[np.ndarray, "m F"]
) -> distribution.PointComparison | None:
    """The balls that points are in; None if a set has fewer than `MIN_DISTRIBUTION_PHRASES`."""
    if min(len(real), len(other)) < MIN_DISTRIBUTION_PHRASES:
        return None
    return distribution.compare_balls(real, other, neighbors=NEIGHBORS)


def _metrics(
    real: Float64[np.ndarray, "n F"],
    other: Float64[np.ndarray, "m F"],
    balls: distribution.PointComparison | None,
) -> dict[str, float]:
    """The distribution metrics of points whose balls are known; NaN without them."""
    if balls is None:
        return _undefined_metrics()
    found = distribution.distribution_metrics(balls, neighbors=NEIGHBORS)
    return {**found._asdict(), "frechet_distance": distribution.frechet_distance(real, other)}


def _intervals_by_song(
    found: distribution.PointComparison | None, songs: Int64[np.ndarray, " n"] | None, seed: int
) -> dict[str, list[float]]:
    """Lower and upper end of the intervals of recall and coverage, which are shares of real phrases."""
    if found is None:
        return {}
    shares = np.column_stack([found.recalled, found.covered]).astype(np.float64)
    interval = intervals.bootstrap_interval(shares, songs, seed=seed)
    ends = np.column_stack([interval.low, interval.high]).tolist()
    return dict(zip(("recall", "coverage"), ends, strict=True))


def _undefined_metrics() -> dict[str, float]:
    return dict.fromkeys(DISTRIBUTION_METRICS, np.nan)


def _halves(
    num: int, songs: Int64[np.ndarray, " B"] | None, rng: np.random.Generator
) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
    """Indices of two halves of the phrases, of one size, with no song in both."""
    songs = np.arange(num) if songs is None else songs
    unique, song = np.unique(songs, return_inverse=True)
    # Songs in random order, each with its phrases.
    order = np.argsort(np.argsort(rng.permutation(len(unique)))[song], kind="stable")
    # The song across the middle belongs to neither.
    middle = song[order[num // 2]]
    one, other = order[: num // 2], order[num // 2 :]
    one, other = one[song[one] != middle], other[song[other] != middle]
    size = min(len(one), len(other))
    return one[:size], other[:size]


def find_copies(sets: Sets, *, num_threads: int = 1) -> dict[str, Any]:
    """Distances of phrases to the nearest training phrase, over all transpositions of the pitched tracks.

    A generated phrase is a near copy where it is nearer to the training data than the nearest hundredth of the held-out
    phrases: so near music comes to other music by itself.
    """
    nearest = {
        name: memorization.nearest_phrases(sets[name].packed, sets["training"].packed, num_threads=num_threads)
        for name in ("generated", "held_out")
        if name in sets
    }
    baseline = nearest["held_out"].distance
    section: dict[str, Any] = {
        "percentile": COPY_PERCENTILE,
        "threshold": np.percentile(baseline, COPY_PERCENTILE),
        "sets": {},
    }
    for name, found in nearest.items():
        copies = memorization.flag_copies(found.distance, baseline, percentile=COPY_PERCENTILE)
        section["sets"][name] = {
            **found._asdict(),
            "copies": np.flatnonzero(copies),
            "copy_share": copies.mean(),
            "exact_share": (found.distance == 0).mean(),
        }
    return section


def measure_codes(
    codes: Codes,
    samples: Mapping[str, Float[np.ndarray, "samples Z"]],
    *,
    songs: Int64[np.ndarray, " B"] | None,
    prior_variance: float,
    seed: int,
    kernel_density: KernelDensity | None = None,
) -> dict[str, Any]:
    """Codes of held-out phrases compared with samples of the normal prior and, if there is one, of a learned prior.

    The permutation test assumes independent codes, which those of one song are not: it gets one of each song. So does
    the intrinsic dimension, which looks at the two nearest codes: those of one song repeat each other. Log densities
    are the mean over codes in nats a dimension.

    Args:
      codes: of held-out phrases.
      samples: of "normal", and of "kernel_density" where there is one.
      songs: the song of each code.
      prior_variance: of the normal prior.
      seed: of permutations and discriminators.
      kernel_density: the learned prior.
    """
    chosen = np.random.default_rng(seed).permutation(len(codes))
    if songs is not None:
        chosen = chosen[np.unique(songs[chosen], return_index=True)[1]]
    codes = codes.astype(np.float64)
    test = latent_metrics.mmd_permutation_test(
        codes[chosen], samples["normal"].astype(np.float64), prior_variance=prior_variance, seed=seed
    )
    distributions = {"normal": normal(codes.shape[1], prior_variance)}
    if kernel_density is not None:
        distributions["kernel_density"] = kernel_density
    return {
        "dimensions": codes.shape[1],
        "mmd": {**test._asdict(), "codes": len(chosen)},
        "moments": latent_metrics.moments(codes, prior_variance)._asdict(),
        "norms": latent_metrics.norm_histogram(codes, prior_variance, _NORM_BINS)._asdict(),
        "active": latent_metrics.active_dimensions(codes, prior_variance)._asdict(),
        "intrinsic_dimension": latent_metrics.intrinsic_dimension(codes[chosen[:_MAX_CODES_OF_DIMENSION]]),
        "log_density": {
            name: float(log_density(each, codes).mean() / codes.shape[1]) for name, each in distributions.items()
        },
        "jensen_shannon": {
            name: fresh_jensen_shannon(codes, samples[name], songs=songs, seed=seed) for name in distributions
        },
    }
