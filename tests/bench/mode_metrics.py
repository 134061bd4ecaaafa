"""Metrics of the modes of `generate` as functions of arrays, and the choice of the songs that they are measured on.

Values are one a phrase, `[B]`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wae_jax.metrics import harmony, intervals, music
from wae_jax.metrics.suite import defined_mean, mean_of_columns
from wae_jax.pianoroll import NUM_BARS, NUM_TRACKS, PITCHED_TRACKS, Rolls

VERDICTS = ("better", "not distinguishable", "worse", "undefined")


def tonal_distance_between(rolls: Rolls, kept: np.ndarray) -> np.ndarray:
    """Mean tonal distance of the pitched tracks of `kept`, bool `[K]`, to the others, over pairs with a common beat."""
    of_both = [kept[one] != kept[other] for one, other in harmony.TRACK_PAIRS]
    return mean_of_columns(harmony.tonal_distance(rolls)[:, of_both])


def tonal_distance_of(rolls: Rolls) -> float:
    """Mean tonal distance of the pitched tracks of phrases to each other, over pairs with a common beat."""
    return defined_mean(mean_of_columns(harmony.tonal_distance(rolls)))


def short_share(rolls: Rolls) -> float:
    """Share of the notes of pitched tracks that are shorter than 3 steps, a mean over tracks and phrases."""
    return 1 - defined_mean(mean_of_columns(music.qualified_note_rate(rolls)[:, PITCHED_TRACKS]))


def silent_share(rolls: Rolls, kept: np.ndarray) -> np.ndarray:
    """Share of the tracks that are not kept which are silent."""
    return 1 - music.active_track_rate(rolls)[:, ~kept].mean(axis=1)


def growing_share(differences: np.ndarray) -> float:
    """Share of steps from one amount to the next, in a list of differences by ascending amount, that differ more."""
    return float((np.diff(differences) > 0).mean())


def edit_effect(change: np.ndarray, index: int, asked: float) -> dict[str, float]:
    """The effect of an edit that asked for a change of one attribute.

    Args:
      change: of each attribute, in standard deviations; NaN where it is undefined.
      index: of the attribute that was to change.
      asked: by how many standard deviations.

    Returns:
      "reached": change in the direction that was asked for, as a share of it; "missed": absolute difference of change
      and request; "others": mean absolute change of the other attributes.
    """
    others = np.abs(np.delete(change, index))
    return {
        "reached": float(change[index] / asked),
        "missed": float(abs(change[index] - asked)),
        "others": defined_mean(others),
    }


def verdict(differences: np.ndarray, *, higher_is_better: bool = True) -> tuple[str, intervals.Interval]:
    """Whether a mode is better than a baseline, from its values minus the baseline's, one a song.

    Returns:
      "better", "worse", "not distinguishable" if the interval of the mean has both signs, or "undefined" without two
      songs; and the mean difference with its bootstrap interval over songs.
    """
    found = intervals.bootstrap_interval(differences[:, None])
    low, high = sorted(float(end) * (1 if higher_is_better else -1) for end in (found.low[0], found.high[0]))
    if np.isnan(low):
        return "undefined", found
    return ("better" if low > 0 else "worse" if high < 0 else "not distinguishable"), found


def is_usable(active: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Whether every mode takes a phrase: no bar is silent, and a pitched track that is kept sounds, and another.

    Args:
      active: bool `[B, bars, K]`, the bars in which tracks have an active cell.
      kept: bool `[K]`, the tracks that `accompany` keeps.
    """
    is_pitched = np.isin(np.arange(NUM_TRACKS), PITCHED_TRACKS)
    tracks = np.any(active, axis=1)
    has_kept, has_others = (np.any(tracks[:, of], axis=1) for of in (is_pitched & kept, is_pitched & ~kept))
    return np.logical_and.reduce([has_kept, has_others, np.all(np.any(active, axis=2), axis=1)])


def choose_rows(
    songs: np.ndarray, bars: Sequence[int | None], usable: np.ndarray, *, num: int, seed: int
) -> np.ndarray:
    """Rows `[S, 3]` of up to `num` songs in random order: a phrase, the next one, and another that overlaps neither.

    Args:
      songs: the song of each row.
      bars: the bar of its song that each row begins with; None where it is unknown.
      usable: whether the row may be the phrase.
      num: of songs.
      seed: of the choice.
    """
    rng = np.random.default_rng(seed)
    chosen: list[tuple[int, int, int]] = []
    for song in rng.permutation(np.unique(songs)):
        rows = np.flatnonzero(songs == song).tolist()
        by_bar = {bar: row for row in rows if (bar := bars[row]) is not None}
        found = []
        for bar, row in by_bar.items():
            if not usable[row] or bar + NUM_BARS not in by_bar:
                continue
            apart = [other for at, other in by_bar.items() if not bar - NUM_BARS < at < bar + 2 * NUM_BARS]
            if apart:
                found.append((row, by_bar[bar + NUM_BARS], int(rng.choice(apart))))
        if found and len(chosen) < num:
            chosen.append(found[rng.integers(len(found))])
    return np.array(chosen, np.int64).reshape(-1, 3)
