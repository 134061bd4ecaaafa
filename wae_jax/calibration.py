"""The numbers of a rule that are left to be found: those at which draws of a run are like the music it learnt from.

A decoder of blurred probabilities seldom reaches one half where it ought to: cut there, its music is thin. So
thresholds may be left open: they are then those at which draws are as dense, track by track, as the training data.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from wae_jax.decision import Decision, mended, mends
from wae_jax.pianoroll import NUM_TRACKS, PITCHED_TRACKS, Probabilities
from wae_jax.sampling import Sampler
from wae_jax.track_statistics import TrackStatistics

_HALVINGS = 16
_CALIBRATION_DRAWS = 128
_CALIBRATION_SEED = 0  # whatever the seed of what is decided then, so that a run has one calibration


def calibrate(decision: Decision, sampler: Sampler, statistics: Callable[[], TrackStatistics]) -> Decision:
    """The rule with thresholds, which are found on draws where it has none.

    Args:
      decision: a rule.
      sampler: of the run.
      statistics: gives those of the training data; called where they are needed.
    """
    if decision.method != "hard" or decision.thresholds is not None:
        return decision
    draws = sampler.decode(sampler.draw(_CALIBRATION_SEED, _CALIBRATION_DRAWS))
    return dataclasses.replace(decision, thresholds=thresholds_for_density(draws, statistics().densities, decision))


def thresholds_for_density(
    probabilities: Probabilities, densities: Sequence[float], decision: Decision
) -> tuple[float, ...]:
    """Thresholds at which phrases are as dense as they should be, by halving intervals.

    Args:
      probabilities: of draws of the prior, say.
      densities: the share of cells that should sound, of each track.
      decision: a hard rule; its own thresholds do not matter.

    Returns:
      A threshold a track: the lowest at which the share of cells that sound, after the whole rule, is at most the
      density.

    Raises:
      ValueError: if the rule is not a hard one.
    """
    if decision.method != "hard":
        raise ValueError(f"method is {decision.method!r}; only a hard decision has thresholds")
    wanted = np.floor(np.asarray(densities) * probabilities[..., 0].size)
    return tuple(_threshold_of_track(probabilities[..., k], k, int(wanted[k]), decision) for k in range(NUM_TRACKS))


def _threshold_of_track(
    probabilities: Float[np.ndarray, "B T P"], track: int, wanted: int, decision: Decision
) -> float:
    """The lowest threshold at which no more than `wanted` cells of a track sound, as `decide` would have it."""
    lines = np.ascontiguousarray(probabilities.transpose(0, 2, 1)).reshape(-1, probabilities.shape[1])
    # Most pitches never sound: the likeliest come first, so that at each threshold only those that do are looked at.
    largest = lines.max(axis=1)
    order = np.argsort(-largest)
    lines, largest = lines[order], largest[order]
    is_mended = track in PITCHED_TRACKS and mends(decision)
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        likely = lines[: np.count_nonzero(largest > lines.dtype.type(middle))]
        cells = likely > lines.dtype.type(middle)
        if is_mended:
            cells = mended(cells, likely, middle, decision)
        if np.count_nonzero(cells) > wanted:
            low = middle
        else:
            high = middle
    return high
