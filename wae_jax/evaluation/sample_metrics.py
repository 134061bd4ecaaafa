"""Metrics of a fixed set of samples, computed at every evaluation of a run: `wae_jax.evaluate` without intervals.

Names of the metrics:

    samples/METRIC, held_out/METRIC  mean over phrases of a metric of `metrics.suite`: over the pitched tracks, their
                                     pairs or the whole phrase; METRIC_drums is that of the drums
    samples_distance/METRIC          Wasserstein-1 between the two distributions over phrases, in the metric's unit
    samples/precision, recall, density, coverage, frechet_distance
                                     distribution metrics, see `metrics.distribution`

A metric that is undefined, such as the length of notes where there is no note, is left out.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from jaxtyping import Float64, UInt8

from wae_jax.config import BinarizationRule
from wae_jax.data.dataset import spread
from wae_jax.evaluation import measure
from wae_jax.generation.model import Model
from wae_jax.metrics import distances, distribution, suite
from wae_jax.metrics.distribution import FeatureSpace
from wae_jax.pianoroll import TRACK_NAMES, PackedPhrases, pack


@dataclasses.dataclass(frozen=True)
class Reference:
    """Music that samples are compared with, measured once: held-out phrases, and features of training phrases."""

    values: dict[str, Float64[np.ndarray, " B"]]  # of held-out phrases, by label
    space: FeatureSpace | None  # None where there are too few phrases for distribution metrics
    points: Float64[np.ndarray, "B dims"] | None  # held-out phrases in it

    @classmethod
    def of(
        cls,
        held_out: UInt8[np.ndarray, "held_out bytes=10080"],
        training: UInt8[np.ndarray, "training bytes=10080"],
        *,
        num: int,
    ) -> Reference:
        """The reference of `num` phrases of each split, or all, taken at equal distances."""
        values = _by_label(suite.measure(_choose(held_out, num)))
        # The estimates depend on the number of phrases: as many of each set.
        count = min(num, len(held_out), len(training))
        if count < measure.MIN_DISTRIBUTION_PHRASES:
            return cls(values, None, None)
        space = distribution.fit_feature_space(measure.features(_choose(training, num)))
        return cls(values, space, space.transform(measure.features(_choose(held_out, count))))

    def compare(self, samples: PackedPhrases) -> dict[str, float]:
        """Metrics of samples, by name as listed at the head of this file."""
        metrics: dict[str, float] = {}
        for label, values in _by_label(suite.measure(samples)).items():
            metrics[f"samples/{label}"] = suite.defined_mean(values)
            metrics[f"held_out/{label}"] = suite.defined_mean(self.values[label])
            metrics[f"samples_distance/{label}"] = distances.wasserstein_1(values, self.values[label])
        if self.space is not None and self.points is not None:
            points = self.space.transform(measure.features(samples[: len(self.points)]))
            found = measure.compare_points(self.points, points)
            metrics |= {f"samples/{name}": value for name, value in found.items()}
        return {name: value for name, value in metrics.items() if not math.isnan(value)}


def measure_samples(
    model: Model, rule: BinarizationRule, *, num: int, seed: int, reference: Reference
) -> dict[str, float]:
    """Metrics of `num` decoded samples of the prior, by name as listed at the head of this file.

    The rule is calibrated.
    """
    return reference.compare(pack(model.binarize(model.sample(num, seed=seed), rule, seed=seed)))


def metric_names(num: int) -> list[str]:
    """The names of the metrics of `measure_samples` where each set has at least `num` phrases."""
    if not num:
        return []
    drums = [f"{metric.name}_drums" for metric in suite.METRICS if TRACK_NAMES[0] in metric.columns]
    labels = [*(metric.name for metric in suite.METRICS), *drums]
    of_sets = [f"{group}/{label}" for group in ("samples", "held_out", "samples_distance") for label in labels]
    has_distribution = num >= measure.MIN_DISTRIBUTION_PHRASES
    of_samples = [f"samples/{name}" for name in measure.DISTRIBUTION_METRICS if has_distribution]
    return [*of_sets, *of_samples]


def _choose(rows: UInt8[np.ndarray, "rows bytes=10080"], num: int) -> PackedPhrases:
    return np.asarray(rows[spread(len(rows), num)])


def _by_label(measured: dict[str, suite.Columns]) -> dict[str, Float64[np.ndarray, " B"]]:
    """One value a phrase and label: drums apart, other columns averaged."""
    values: dict[str, Any] = {}
    for name, columns in measured.items():
        is_drums = np.array([column == TRACK_NAMES[0] for column in suite.columns(name)])
        values[name] = suite.mean_of_columns(columns[:, ~is_drums])
        if is_drums.any():
            values[f"{name}_drums"] = columns[:, is_drums][:, 0]
    return values
