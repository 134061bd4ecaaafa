"""All measures of music by name, over any number of phrases, dense or packed."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Shaped

from wae_jax.metrics import harmony, musegan, music
from wae_jax.pianoroll import PITCHED_TRACKS, TRACK_NAMES, BinaryRolls, PackedPhrases, Rolls, unpack
from wae_jax.pianoroll.notes import CHUNK

Columns = Float64[np.ndarray, "B C"]
Phrases = BinaryRolls | PackedPhrases

_PITCHED_NAMES = tuple(TRACK_NAMES[k] for k in PITCHED_TRACKS)
_ALL = ("all",)


class Metric(NamedTuple):
    """One measure of music.

    Attributes:
      name: what tables and files call it.
      columns: what its numbers are of: tracks, pairs of tracks as "Piano-Bass", or "all" for the whole phrase.
      unit: of its numbers; "share" is between 0 and 1.
      says: what it tells, in half a sentence.
      function: takes phrases as bool [B, T, P, K] and gives [B, C], a column each.
    """

    name: str
    columns: tuple[str, ...]
    unit: str
    says: str
    function: Callable[[Rolls], Columns]


def _whole(function: Callable[[Rolls], Shaped[np.ndarray, " B"]]) -> Callable[[Rolls], Columns]:
    """One column of what a function gives for the phrase as a whole."""
    return lambda rolls: function(rolls)[:, None].astype(np.float64)


def _pitched(function: Callable[[Rolls], Shaped[np.ndarray, "B K"]]) -> Callable[[Rolls], Columns]:
    """The columns of pitched tracks, of what means nothing for drums."""
    return lambda rolls: function(rolls)[:, PITCHED_TRACKS]


# The order is that of a table: how much there is, what the notes are like, when they come, how they sound together.
METRICS: tuple[Metric, ...] = (
    Metric("cells", _ALL, "cells", "how full the phrase is", _whole(music.cells)),
    Metric(
        "track_sounds", TRACK_NAMES, "share", "whether the track plays at all",
        lambda rolls: music.track_sounds(rolls).astype(np.float64),
    ),
    Metric("density", TRACK_NAMES, "share", "how full the track is", music.density),
    Metric("empty_bar_rate", TRACK_NAMES, "share", "how often the track rests for a bar", music.empty_bar_rate),
    Metric("polyphony_rate", TRACK_NAMES, "share", "how often two pitches or more sound", music.polyphony_rate),
    Metric("notes_per_bar", TRACK_NAMES, "notes", "how busy the track is", music.notes_per_bar),
    Metric("note_length", TRACK_NAMES, "steps", "how long notes last", music.note_length),
    Metric(
        "qualified_note_rate", TRACK_NAMES, "share", "notes of a sixteenth or more, the rest splinters",
        music.qualified_note_rate,
    ),
    Metric("one_step_share", TRACK_NAMES, "share", "notes of one step: specks, or drums", music.one_step_share),
    Metric(
        "reonset_gap_share", TRACK_NAMES, "share", "notes of a pitch after one or two silent steps",
        music.reonset_gap_share,
    ),
    Metric(
        "two_step_gap_share", TRACK_NAMES, "share", "notes of a pitch after just two silent steps",
        lambda rolls: music.reonset_gap_share(rolls, min_gap=2),
    ),
    Metric("onset_grid_share", TRACK_NAMES, "share", "notes that start on an eighth", music.onset_grid_share),
    Metric("drum_pattern", _ALL, "share", "drums on the sixteenths, .4 if anywhere", _whole(music.drum_pattern)),
    Metric("used_pitches", TRACK_NAMES, "pitches", "how many different pitches or drums", music.used_pitches),
    Metric("lowest_pitch", _PITCHED_NAMES, "MIDI number", "the register's lower end", _pitched(music.lowest_pitch)),
    Metric("highest_pitch", _PITCHED_NAMES, "MIDI number", "the register's upper end", _pitched(music.highest_pitch)),
    Metric("pitch_range", _PITCHED_NAMES, "semitones", "how far pitches lie apart", _pitched(music.pitch_range)),
    Metric(
        "used_pitch_classes", _PITCHED_NAMES, "classes", "how many pitch classes a bar that sounds has",
        _pitched(harmony.used_pitch_classes),
    ),
    Metric(
        "in_scale_share", _PITCHED_NAMES, "share", "how well tracks keep to one key for all",
        _pitched(harmony.in_scale_share),
    ),
    Metric(
        "tonal_distance", harmony.PAIR_NAMES, "tonal space", "how little two tracks agree in harmony",
        harmony.tonal_distance,
    ),
)  # fmt: skip

# Under names of their own, so that no table can show them as the others.
MUSEGAN_METRICS: tuple[Metric, ...] = tuple(
    Metric(f"musegan_{name}", columns, unit, f"MuseGAN's program: {says}", function)
    for name, columns, unit, says, function in (
        ("empty_bar_rate", TRACK_NAMES, "share", "bars that are not empty", musegan.empty_bar_rate),
        ("used_pitches", TRACK_NAMES, "cells", "cells that are on in a bar", musegan.used_pitches),
        ("used_pitch_classes", TRACK_NAMES, "rows", "registers on, added up over a bar", musegan.used_pitch_classes),
        ("qualified_note_rate", TRACK_NAMES, "share", "1 whatever the notes", musegan.qualified_note_rate),
        ("polyphony_rate", TRACK_NAMES, "share", "how often three pitches or more sound", musegan.polyphony_rate),
        ("drum_pattern", _ALL, "share", "cells of drums on the sixteenths", _whole(musegan.drum_pattern)),
        ("in_scale_share", TRACK_NAMES, "share", "cells in seven of twelve registers", musegan.in_scale_share),
        ("tonal_distance", harmony.PAIR_NAMES, "tonal space", "how far registers differ", musegan.tonal_distance),
    )
)

# The value of `compat`, and what is measured under it.
READINGS = {"": METRICS, "musegan": MUSEGAN_METRICS}


def measure(phrases: Phrases, *, compat: str = "") -> dict[str, Columns]:
    """Measures phrases, a few at a time.

    Args:
      phrases: dense [B, T, P, K], or packed [B, 10080], of which a few at a time are unpacked.
      compat: "" for the definitions (`METRICS`), "musegan" for the readings of its published program
        (`MUSEGAN_METRICS`, whose names begin with `musegan_`).

    Returns:
      By name, a row for each phrase and a column for each of `columns(name)`; NaN where the measure is undefined.

    Raises:
      ValueError: if `compat` is another, or the phrases have another shape or are floats.
    """
    if compat not in READINGS:
        raise ValueError(f"compat is {compat!r}; expected one of {', '.join(map(repr, READINGS))}")
    metrics = READINGS[compat]
    values = over_chunks(phrases, lambda rolls: np.concatenate([metric.function(rolls) for metric in metrics], axis=1))
    ends = np.cumsum([len(metric.columns) for metric in metrics])
    parts = np.split(values, ends[:-1], axis=1)
    return {metric.name: part for metric, part in zip(metrics, parts, strict=True)}


def over_chunks(
    phrases: Phrases, function: Callable[[Rolls], Shaped[np.ndarray, "chunk ..."]]
) -> Shaped[np.ndarray, "B ..."]:
    """What a function of rolls gives for phrases that are packed, or too many to look at all at once.

    Args:
      phrases: dense or packed.
      function: takes rolls and gives an array with a row for each; what it gives for none decides the shape.

    Returns:
      The rows of all phrases.
    """
    return np.concatenate(
        [
            function(unpack(chunk) if chunk.ndim == 2 else chunk)
            for chunk in (phrases[start : start + CHUNK] for start in range(0, max(len(phrases), 1), CHUNK))
        ]
    )


def mean_of_columns(values: Columns) -> Float64[np.ndarray, " B"]:
    """The mean of each row without its NaN; NaN where there is nothing else."""
    count = (~np.isnan(values)).sum(axis=1)
    return np.divide(np.nansum(values, axis=1), count, out=np.full(len(values), np.nan), where=count > 0)


def columns(name: str) -> tuple[str, ...]:
    """What the columns of a measure are of.

    Raises:
      ValueError: if there is no measure of that name.
    """
    found = {metric.name: metric.columns for metrics in READINGS.values() for metric in metrics}
    if name not in found:
        raise ValueError(f"no measure is called {name!r}; there are {', '.join(found)}")
    return found[name]
