"""The light form of `wae_jax.evaluate` within a run: at every evaluation, fixed prior draws beside held-out music.

Figures, each a mean over phrases or a distance between sets of them, without intervals:

    samples/METRIC, held_out/METRIC  of `metrics.suite`: over the pitched tracks, their pairs or the phrase as a whole
    samples/METRIC_drums             the same of the drums, where they are measured
    samples_distance/METRIC          Wasserstein-1 between the two distributions over phrases, in the metric's unit
    samples/...                precision, recall, density and coverage of `metrics.manifold`
    samples/frechet_distance         in the same space

A figure that is undefined, such as the length of notes where there is none, is left out.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import numpy as np
from jaxtyping import Float64, UInt8

from wae_jax.config import BinarizationRule, Config
from wae_jax.data.dataset import spread
from wae_jax.evaluation import measure
from wae_jax.evaluation.measure import PhraseSet
from wae_jax.generation.binarization import binarize
from wae_jax.generation.sampling import make_sampler
from wae_jax.metrics import distances, suite
from wae_jax.pianoroll import TRACK_NAMES, PackedPhrases, pack
from wae_jax.training.state import TrainState

# Balls around points need that many others.
MIN_SAMPLES = measure.NEIGHBOURS + 1


def measure_samples(
    config: Config,
    state: TrainState,
    rule: BinarizationRule,
    *,
    held_out: UInt8[np.ndarray, "held_out bytes"],
    training: UInt8[np.ndarray, "training bytes"],
) -> dict[str, float]:
    """Decodes `config.eval.num_samples` draws of the prior and measures them.

    Args:
      config: the run's configuration.
      state: of which the decoder is taken.
      rule: which cells sound.
      held_out: what the draws are compared with: as many as are drawn, from the first to the last at equal distances.
      training: what the features' space is fitted to, as many.

    Returns:
      By name, see above.
    """
    num = config.eval.num_samples
    sampler = make_sampler(config, jax.device_get(state.evaluation_variables()))
    probabilities = sampler.decode(sampler.sample_codes(config.seed, num))
    rolls = binarize(probabilities, rule, seed=config.seed)
    sets = {
        "generated": PhraseSet(pack(rolls)),
        "held_out": _choose(held_out, num),
        "training": _choose(training, num),
    }
    return compare_sets(sets, seed=config.seed)


def compare_sets(sets: measure.Sets, *, seed: int) -> dict[str, float]:
    """The figures of phrases; `sets` are `generated`, `held_out` and `training`."""
    figures: dict[str, float] = {}
    draws, real = (_by_label(suite.measure(sets[name].packed)) for name in ("generated", "held_out"))
    for label, values in draws.items():
        figures[f"samples/{label}"] = _mean(values)
        figures[f"held_out/{label}"] = _mean(real[label])
        figures[f"samples_distance/{label}"] = distances.wasserstein_1(values, real[label])
    if min(len(each.packed) for each in sets.values()) >= MIN_SAMPLES:
        cloud = measure.compare_distributions(sets, seed=seed)["sets"]["generated"]
        figures["samples/frechet_distance"] = cloud.pop("frechet_distance")
        figures |= {f"samples/{name}": value for name, value in cloud.items()}
    return {name: value for name, value in figures.items() if not math.isnan(value)}


def _choose(rows: PackedPhrases, num: int) -> PhraseSet:
    return PhraseSet(np.asarray(rows[spread(len(rows), num)]))


def _by_label(measured: dict[str, suite.Columns]) -> dict[str, Float64[np.ndarray, " B"]]:
    """One value a phrase: the drums by themselves, and the mean of all other columns."""
    values: dict[str, Any] = {}
    for name, columns in measured.items():
        is_drums = np.array([column == TRACK_NAMES[0] for column in suite.columns(name)])
        values[name] = suite.mean_of_columns(columns[:, ~is_drums])
        if is_drums.any():
            values[f"{name}_drums"] = columns[:, is_drums][:, 0]
    return values


def _mean(values: Float64[np.ndarray, " B"]) -> float:
    """Of what is defined."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else math.nan
