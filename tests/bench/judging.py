"""Sets of samples measured beside the held-out phrases of a dataset, as `wae_jax.evaluate` measures them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from wae_jax.data.dataset import Dataset
from wae_jax.evaluation import measure, memorization
from wae_jax.evaluation.evaluate_model import EvaluationSpec, choose_phrases
from wae_jax.metrics import distribution
from wae_jax.pianoroll import PackedPhrases


class Reference(NamedTuple):
    """What samples are compared with.

    Attributes:
      held_out: packed phrases.
      points: theirs, in the space of features.
      space: features, scaled by training music.
      training: packed phrases, all of the split.
      distance: of each held-out phrase to the nearest training phrase.
    """

    held_out: PackedPhrases
    points: np.ndarray
    space: distribution.FeatureSpace
    training: PackedPhrases
    distance: np.ndarray

    @classmethod
    def of(cls, data: Dataset, split: str, num: int) -> Reference:
        """The same phrases as those of an evaluation of `num` samples."""
        spec = EvaluationSpec(num, 0, split, compat="")
        held_out, training = choose_phrases(data, split, spec).packed, np.asarray(data.split("train"))
        space = distribution.fit_feature_space(measure.features(choose_phrases(data, "train", spec).packed))
        distance = memorization.nearest_phrases(held_out, training).distance
        return cls(held_out, space.transform(measure.features(held_out)), space, training, distance)

    def measure(self, samples: PackedPhrases) -> dict[str, float]:
        """Distribution metrics and share of near copies of packed phrases."""
        # The estimates depend on the number of phrases: as many of each set.
        of_same_number = samples[: len(self.points)]
        scores = measure.compare_points(self.points, self.space.transform(measure.features(of_same_number)))
        nearest = memorization.nearest_phrases(samples, self.training).distance
        copies = memorization.flag_copies(nearest, self.distance, percentile=measure.COPY_PERCENTILE)
        return {**scores, "near_copies": float(copies.mean())}
