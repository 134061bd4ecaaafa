"""A short table of music metrics for sets of phrases."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float64

from wae_jax.metrics import music
from wae_jax.pianoroll import TRACK_NAMES, BinaryRolls


def music_table(named_rolls: dict[str, BinaryRolls]) -> str:
    """The table as text: one line a metric, one column a set.

    Args:
      named_rolls: phrases by the column's title.
    """
    metrics: list[tuple[str, Callable[[BinaryRolls], float]]] = [
        ("phrases", lambda rolls: len(rolls)),
        ("cells a phrase", lambda rolls: float(music.cells(rolls).mean())),
        *((f"{name} is active", _active_rate(k)) for k, name in enumerate(TRACK_NAMES)),
        ("a chord track is active", lambda rolls: float(music.active_track_rate(rolls)[:, [1, 2, 4]].max(1).mean())),
        ("onsets on eighth notes", lambda rolls: _mean(music.onset_grid_share(rolls, grid=6))),
        ("qualified notes, pitched", lambda rolls: _mean(music.qualified_note_rate(rolls)[:, 1:])),
        ("empty bars", lambda rolls: float(music.empty_bar_rate(rolls).mean())),
    ]
    lines = [f"{'':26}" + "".join(f"{title:>14}" for title in named_rolls)]
    for name, metric in metrics:
        values = (metric(rolls) for rolls in named_rolls.values())
        lines.append(
            f"{name:26}"
            + "".join(
                f"{value:14,.0f}" if value > 2 or isinstance(value, int) else f"{value:14.3f}" for value in values
            )
        )
    return "\n".join(lines)


def _mean(shares: Float64[np.ndarray, "B tracks"]) -> float:
    """The mean over phrases and tracks with notes; NaN without any."""
    with_notes = shares[~np.isnan(shares)]
    return float(with_notes.mean()) if len(with_notes) else float("nan")


def _active_rate(track: int) -> Callable[[BinaryRolls], float]:
    return lambda rolls: float(music.active_track_rate(rolls)[:, track].mean())
