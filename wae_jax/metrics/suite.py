"""Tables of metrics of music, computed for any number of phrases, dense or packed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Shaped

from wae_jax.metrics import harmony, musegan, music
from wae_jax.pianoroll import PITCHED_TRACKS, TRACK_NAMES, BinaryRolls, PackedPhrases, Rolls, unpack
from wae_jax.pianoroll.notes import CHUNK, ratio

Columns = Float64[np.ndarray, "B C"]
Phrases = BinaryRolls | PackedPhrases

_PITCHED_NAMES = tuple(TRACK_NAMES[k] for k in PITCHED_TRACKS)
_ALL = ("all",)


class Metric(NamedTuple):
    """One metric."""

    name: str
    columns: tuple[str, ...]  # tracks, pairs of tracks such as "Piano-Bass", or "all" for the whole phrase
    unit: str  # a "share" is between 0 and 1
    description: str
    function: Callable[[Rolls], Columns]


def _whole(function: Callable[[Rolls], Shaped[np.ndarray, " B"]]) -> Callable[[Rolls], Columns]:
    return lambda rolls: function(rolls)[:, None].astype(np.float64)


def _pitched(function: Callable[[Rolls], Shaped[np.ndarray, "B K"]]) -> Callable[[Rolls], Columns]:
    return lambda rolls: function(rolls)[:, PITCHED_TRACKS]


# In the order of tables: quantity, notes, rhythm, pitch, harmony.
METRICS: tuple[Metric, ...] = (
    Metric("cells", _ALL, "cells", "how full the phrase is", _whole(music.cells)),
    Metric("active_track_rate", TRACK_NAMES, "share", "whether the track plays at all", music.active_track_rate),
    Metric("active_cell_rate", TRACK_NAMES, "share", "how full the track is", music.active_cell_rate),
    Metric("empty_bar_rate", TRACK_NAMES, "share", "how often the track rests for a bar", music.empty_bar_rate),
    Metric("polyphony_rate", TRACK_NAMES, "share", "how often two or more pitches are active", music.polyphony_rate),
    Metric("notes_per_bar", TRACK_NAMES, "notes", "how busy the track is", music.notes_per_bar),
    Metric("note_length", TRACK_NAMES, "steps", "how long notes last", music.note_length),
    Metric(
        "qualified_note_rate", TRACK_NAMES, "share", "notes of a sixteenth or more",
        music.qualified_note_rate,
    ),
    Metric("one_step_share", TRACK_NAMES, "share", "notes of one step: artifacts, or drums", music.one_step_share),
    Metric(
        "reonset_gap_share", TRACK_NAMES, "share", "notes of a pitch after one or two silent steps",
        music.reonset_gap_share,
    ),
    Metric(
        "two_step_gap_share", TRACK_NAMES, "share", "notes of a pitch after just two silent steps",
        lambda rolls: music.reonset_gap_share(rolls, min_gap=2),
    ),
    Metric("onset_grid_share", TRACK_NAMES, "share", "notes that start on an eighth", music.onset_grid_share),
    Metric("drum_pattern", _ALL, "share", "drums on the sixteenths; .4 at random", _whole(music.drum_pattern)),
    Metric("used_pitches", TRACK_NAMES, "pitches", "how many different pitches or drums", music.used_pitches),
    Metric("lowest_pitch", _PITCHED_NAMES, "MIDI number", "the register's lower end", _pitched(music.lowest_pitch)),
    Metric("highest_pitch", _PITCHED_NAMES, "MIDI number", "the register's upper end", _pitched(music.highest_pitch)),
    Metric("pitch_range", _PITCHED_NAMES, "semitones", "how far pitches lie apart", _pitched(music.pitch_range)),
    Metric(
        "used_pitch_classes", _PITCHED_NAMES, "classes", "how many pitch classes a bar has",
        _pitched(harmony.used_pitch_classes),
    ),
    Metric(
        "in_scale_share", _PITCHED_NAMES, "share", "how well tracks keep to one common key",
        _pitched(harmony.in_scale_share),
    ),
    Metric(
        "tonal_distance", harmony.PAIR_NAMES, "tonal space", "how far two tracks differ in harmony",
        harmony.tonal_distance,
    ),
)  # fmt: skip

MUSEGAN_METRICS: tuple[Metric, ...] = tuple(
    Metric(f"musegan_{name}", columns, unit, f"MuseGAN's code: {description}", function)
    for name, columns, unit, description, function in (
        ("empty_bar_rate", TRACK_NAMES, "share", "bars that are not empty", musegan.empty_bar_rate),
        ("used_pitches", TRACK_NAMES, "cells", "active cells in a bar", musegan.used_pitches),
        ("used_pitch_classes", TRACK_NAMES, "rows", "active registers, summed over a bar", musegan.used_pitch_classes),
        ("qualified_note_rate", TRACK_NAMES, "share", "1 for any notes", musegan.qualified_note_rate),
        ("polyphony_rate", TRACK_NAMES, "share", "how often three or more pitches are active", musegan.polyphony_rate),
        ("drum_pattern", _ALL, "share", "cells of drums on the sixteenths", _whole(musegan.drum_pattern)),
        ("in_scale_share", TRACK_NAMES, "share", "cells in seven of twelve registers", musegan.in_scale_share),
        ("tonal_distance", harmony.PAIR_NAMES, "tonal space", "how far registers differ", musegan.tonal_distance),
    )
)

# The metrics for each value of `compat`.
METRICS_BY_COMPAT = {"": METRICS, "musegan": MUSEGAN_METRICS}


def measure(phrases: Phrases, *, compat: str = "") -> dict[str, Columns]:
    """The values of all metrics by name, a row for each phrase and a column for each of `columns(name)`.

    Phrases are dense, [B, T, P, K], or packed, [B, 10080]. Metrics follow their definitions (`METRICS`), or with compat
    "musegan" MuseGAN's published code (`MUSEGAN_METRICS`).

    Raises:
      ValueError: if `compat` is unknown, or the phrases have another shape or are floats.
    """
    if compat not in METRICS_BY_COMPAT:
        raise ValueError(f"compat is {compat!r}; expected one of {', '.join(map(repr, METRICS_BY_COMPAT))}")
    metrics = METRICS_BY_COMPAT[compat]
    values = map_chunks(phrases, lambda rolls: np.concatenate([metric.function(rolls) for metric in metrics], axis=1))
    ends = np.cumsum([len(metric.columns) for metric in metrics])
    parts = np.split(values, ends[:-1], axis=1)
    return {metric.name: part for metric, part in zip(metrics, parts, strict=True)}


def map_chunks(
    phrases: Phrases, function: Callable[[Rolls], Shaped[np.ndarray, "chunk ..."]]
) -> Shaped[np.ndarray, "B ..."]:
    """Applies a function to all phrases, unpacking a few at a time, and returns its rows together.

    Without phrases, the result is that of the function for an array of no rolls.
    """
    chunks = (phrases[start : start + CHUNK] for start in range(0, max(len(phrases), 1), CHUNK))
    return np.concatenate([function(unpack(chunk) if chunk.ndim == 2 else chunk) for chunk in chunks])


def mean_of_columns(values: Columns) -> Float64[np.ndarray, " B"]:
    """The mean of each row, omitting NaN; NaN without values."""
    return ratio(np.nansum(values, axis=1), (~np.isnan(values)).sum(axis=1))


def defined_mean(values: Shaped[np.ndarray, "*shape"]) -> float:
    """The mean of all values that are not NaN; NaN, without a warning, if there are none."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def columns(name: str) -> tuple[str, ...]:
    """The names of a metric's columns. Raises ValueError if there is no metric of that name."""
    found = {metric.name: metric.columns for metrics in METRICS_BY_COMPAT.values() for metric in metrics}
    if name not in found:
        raise ValueError(f"there is no metric {name!r}; expected one of {', '.join(found)}")
    return found[name]


def music_table(named_rolls: dict[str, BinaryRolls]) -> str:
    """A short table of sets of phrases as text: one line a metric, one column a set, titled by its name."""

    def active_rate(rolls: BinaryRolls, tracks: list[int]) -> float:
        return float(music.active_track_rate(rolls)[:, tracks].max(axis=1).mean())

    metrics: dict[str, Callable[[BinaryRolls], float]] = {
        "phrases": len,
        "cells a phrase": lambda rolls: float(music.cells(rolls).mean()),
        **{f"{name} is active": functools.partial(active_rate, tracks=[k]) for k, name in enumerate(TRACK_NAMES)},
        "a chord track is active": functools.partial(active_rate, tracks=[1, 2, 4]),
        "onsets on eighth notes": lambda rolls: defined_mean(music.onset_grid_share(rolls, grid=6)),
        "qualified notes, pitched": lambda rolls: defined_mean(music.qualified_note_rate(rolls)[:, 1:]),
        "empty bars": lambda rolls: float(music.empty_bar_rate(rolls).mean()),
    }
    lines = [f"{'':26}" + "".join(f"{title:>14}" for title in named_rolls)]
    for name, metric in metrics.items():
        values = [metric(rolls) for rolls in named_rolls.values()]
        formats = ("14,.0f" if value > 2 or isinstance(value, int) else "14.3f" for value in values)
        lines.append(f"{name:26}" + "".join(map(format, values, formats)))
    return "\n".join(lines)
