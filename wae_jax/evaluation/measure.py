"""Sets of phrases measured against sets of phrases: the sections of an evaluation, as plain dictionaries.

The sets are called

    generated      decoded draws of the prior, or whatever phrases are to be judged
    reconstructed  held-out phrases, encoded and decoded
    held_out       real phrases that no training saw
    training       real phrases of the training split

and each is compared with `held_out`. Every number of a set is a mean over its phrases with a bootstrap interval over
songs. `floor` says how far apart two random halves of `held_out`, divided by song, come to lie: a difference below it
is no difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int64

from wae_jax.evaluation import latent_metrics, memorization, projection
from wae_jax.generation.learned_prior import Mixture, log_density, normal
from wae_jax.metrics import distances, distribution, intervals, music, suite
from wae_jax.pianoroll import PITCHED_TRACKS, TRACK_NAMES, Codes, PackedPhrases

SETS = ("generated", "reconstructed", "held_out", "training")
PITCHED = "Pitched"
NEIGHBOURS = 5
COPY_PERCENTILE = 1.0
_PITCHED_NAMES = tuple(TRACK_NAMES[k] for k in PITCHED_TRACKS)
_HISTOGRAM_BINS = 30
_DIVISIONS = 21
# Distances of all to all and a covariance of features: the estimates depend on how many phrases there are, so that
# all sets take part with the same number.
_LARGEST_CLOUD = 4096


class PhraseSet(NamedTuple):
    """Phrases, and the number of each one's song where songs are known."""

    packed: PackedPhrases
    songs: Int64[np.ndarray, " B"] | None = None


Sets = Mapping[str, PhraseSet]


def measure_music(sets: Sets, *, seed: int, compat: str = "") -> dict[str, Any]:
    """All metrics of one reading on all sets.

    Args:
      sets: by name, `held_out` among them.
      seed: of the resampling.
      compat: "" or "musegan", see `suite.READINGS`.

    Returns:
      By metric: `unit`, `says`, `columns`, `floor` (median, p95), and by set mean, low, high, the difference from
      `held_out` with its interval, and the distances of the distributions over phrases.
    """
    values = {name: suite.measure(each.packed, compat=compat) for name, each in sets.items()}
    section: dict[str, Any] = {}
    for metric in suite.READINGS[compat]:
        columns, of_sets = _with_pitched(metric.columns, {name: of[metric.name] for name, of in values.items()})
        real, real_songs = of_sets["held_out"], sets["held_out"].songs
        floor = intervals.real_floor(real, real_songs, seed=seed)
        entry: dict[str, Any] = {
            "unit": metric.unit,
            "says": metric.says,
            "columns": list(columns),
            "floor": {
                "median": floor.median,
                "p95": floor.p95,
                "wasserstein_1": _distance_of_halves(real, real_songs, seed),
            },
            "sets": {},
        }
        for name, of_set in of_sets.items():
            entry["sets"][name] = _interval(intervals.bootstrap_interval(of_set, sets[name].songs, seed=seed))
            if name != "held_out":
                overlap, divergence = zip(*_by_column(distances.overlap_and_divergence, of_set, real), strict=True)
                entry["sets"][name] |= {
                    "difference": _interval(
                        intervals.bootstrap_difference(of_set, real, sets[name].songs, real_songs, seed=seed)
                    ),
                    "wasserstein_1": _by_column(distances.wasserstein_1, of_set, real),
                    "overlapping_area": overlap,
                    "kl_divergence": divergence,
                }
        section[metric.name] = entry
    return section


def _distance_of_halves(
    real: Float64[np.ndarray, "B C"], songs: Int64[np.ndarray, " B"] | None, seed: int
) -> list[float]:
    """Wasserstein-1 between halves of real music, by column, the median of a few divisions."""
    rng = np.random.default_rng(seed)
    divisions = [_halves(len(real), songs, rng) for _ in range(_DIVISIONS)]
    found = [_by_column(distances.wasserstein_1, real[one], real[other]) for one, other in divisions]
    return np.median(found, axis=0).tolist()


def share_blame(measured: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """For each metric and column, how much of the distance from held-out music the decoder has to answer for.

    Args:
      measured: by `measure_music`, with `generated` and `reconstructed`.

    Returns:
      By "metric, column": the fields of `latent_metrics.QualityGap`.
    """
    at_codes, at_draws, floors = {}, {}, {}
    for name, entry in measured.items():
        for i, column in enumerate(entry["columns"]):
            places = (entry["sets"]["reconstructed"], entry["sets"]["generated"], entry["floor"])
            found = [each["wasserstein_1"][i] for each in places]
            if np.isfinite(found).all():
                label = f"{name}, {column}"
                at_codes[label], at_draws[label], floors[label] = found
    return {label: gap._asdict() for label, gap in latent_metrics.quality_gap(at_codes, at_draws, floors).items()}


def _with_pitched(
    columns: tuple[str, ...], values: Mapping[str, Float64[np.ndarray, "B C"]]
) -> tuple[tuple[str, ...], dict[str, Float64[np.ndarray, "B columns"]]]:
    """Adds to the columns of tracks their mean over the pitched tracks, where a phrase has any."""
    pitched = [i for i, column in enumerate(columns) if column in _PITCHED_NAMES]
    if not pitched:
        return columns, dict(values)
    return (*columns, PITCHED), {
        name: np.column_stack([each, suite.mean_of_columns(each[:, pitched])]) for name, each in values.items()
    }


def _by_column(distance: Any, one: Float64[np.ndarray, "B C"], other: Float64[np.ndarray, "N C"]) -> list[Any]:
    return [distance(one[:, i], other[:, i]) for i in range(one.shape[1])]


def _interval(interval: intervals.Interval) -> dict[str, Any]:
    return {"mean": interval.mean, "low": interval.low, "high": interval.high}


def count_note_lengths(sets: Sets) -> dict[str, Any]:
    """The share of notes in each class of lengths, of all notes of a set together.

    `bins` are the shortest lengths of the classes, in steps.
    """
    section: dict[str, Any] = {"bins": list(music.LENGTH_BINS), "columns": [*TRACK_NAMES, PITCHED], "sets": {}}
    for name, each in sets.items():
        counts = suite.over_chunks(each.packed, music.note_length_histogram).sum(axis=0)
        counts = np.concatenate([counts, counts[list(PITCHED_TRACKS)].sum(axis=0, keepdims=True)])
        total = counts.sum(axis=-1, keepdims=True)
        section["sets"][name] = np.divide(counts, total, out=np.full(counts.shape, np.nan), where=total > 0)
    return section


def compare_distributions(sets: Sets, *, seed: int) -> dict[str, Any]:
    """Precision, recall, density, coverage and Fréchet distance to `held_out`, in the features of `manifold`.

    The features are scaled by the training set, or by `held_out` where there is none. All sets take part with as many
    phrases as the smallest has. The row `floor` compares two halves of `held_out`, divided by song,
    and is None where there are too few.
    """
    count = min(_LARGEST_CLOUD, *(len(each.packed) for each in sets.values()))
    rng = np.random.default_rng(seed)
    space = distribution.fit_feature_space(
        _features(sets.get("training", sets["held_out"]).packed[: 2 * _LARGEST_CLOUD])
    )
    points = {name: space.transform(_features(each.packed)) for name, each in sets.items()}
    chosen = {name: each[np.sort(rng.permutation(len(each))[:count])] for name, each in points.items()}
    section: dict[str, Any] = {"phrases": count, "neighbours": NEIGHBOURS, "dimensions": space.components.shape[1]}
    section["sets"] = {name: _cloud(chosen["held_out"], each) for name, each in chosen.items() if name != "held_out"}
    one, other = _halves(len(points["held_out"]), sets["held_out"].songs, rng)
    is_enough = len(one) > NEIGHBOURS
    section["floor"] = _cloud(points["held_out"][one], points["held_out"][other]) if is_enough else None
    return section


def _features(packed: PackedPhrases) -> Float64[np.ndarray, "B F"]:
    return suite.over_chunks(packed, distribution.phrase_features)


def _cloud(real: Float64[np.ndarray, "n F"], other: Float64[np.ndarray, "m F"]) -> dict[str, float]:
    found = distribution.precision_recall_density_coverage(real, other, neighbours=NEIGHBOURS)
    return {**found._asdict(), "frechet_distance": distribution.frechet_distance(real, other)}


def _halves(
    num: int, songs: Int64[np.ndarray, " B"] | None, rng: np.random.Generator
) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
    """Two halves of some phrases with no song in both, of the same size."""
    number = np.arange(num) if songs is None else songs
    order = {song: i for i, song in enumerate(rng.permutation(np.unique(number)).tolist())}
    ranked = np.argsort([order[song] for song in number.tolist()], kind="stable")
    # The song across the middle belongs to neither.
    middle = number[ranked[num // 2]]
    one, other = ranked[: num // 2], ranked[num // 2 :]
    one, other = one[number[one] != middle], other[number[other] != middle]
    size = min(len(one), len(other))
    return one[:size], other[:size]


def find_copies(sets: Sets, *, num_threads: int = 1) -> dict[str, Any]:
    """How near the phrases of each set come to the training phrases, over all transpositions of the pitched tracks.

    Held-out music says how near music comes to other music by itself: a generated phrase is a near copy where it is
    nearer than the nearest hundredth of the held-out phrases.
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
            "distance": found.distance,
            "row": found.row,
            "semitones": found.semitones,
            "copies": np.flatnonzero(copies),
            "copy_share": copies.mean(),
            "exact_share": (found.distance == 0).mean(),
        }
    return section


def examine_codes(
    codes: Codes,
    draws: Float[np.ndarray, "draws Z"],
    *,
    songs: Int64[np.ndarray, " B"] | None,
    prior_variance: float,
    seed: int,
    mixture: Mixture | None = None,
) -> dict[str, Any]:
    """Held-out codes beside draws of the prior.

    The permutation test takes codes to be independent, which those of one song are not: it gets one of each song.

    Args:
      codes: of held-out phrases.
      songs: the number of each phrase's song, or None where songs are not known.
      draws: of the prior.
      prior_variance: of each dimension.
      seed: of permutations and projections.
      mixture: what else codes are drawn from; `log_density` then has a "mixture" beside its "prior", both the mean over
        codes in nats a dimension.
    """
    codes, draws = codes.astype(np.float64), draws.astype(np.float64)
    chosen = np.random.default_rng(seed).permutation(len(codes))
    if songs is not None:
        chosen = chosen[np.unique(songs[chosen], return_index=True)[1]]
    test = latent_metrics.mmd_permutation_test(codes[chosen], draws, prior_variance=prior_variance, seed=seed)
    moments = latent_metrics.moments(codes, prior_variance=prior_variance)
    norms = latent_metrics.norm_histogram(codes, prior_variance=prior_variance, bins=_HISTOGRAM_BINS)
    active = latent_metrics.active_dimensions(codes, prior_variance=prior_variance)
    try:
        plane = projection.least_gaussian_projection(codes, seed=seed)._asdict()
    except ValueError:  # codes that have collapsed have no plane
        plane = None
    distributions = {"prior": normal(codes.shape[1], prior_variance)} | ({"mixture": mixture} if mixture else {})
    return {
        "dimensions": codes.shape[1],
        "mmd": {**test._asdict(), "codes": len(chosen)},
        "moments": moments._asdict(),
        "norms": norms._asdict(),
        "active": active._asdict(),
        "projection": plane,
        "log_density": {
            name: float(log_density(each, codes).mean() / codes.shape[1]) for name, each in distributions.items()
        },
    }
