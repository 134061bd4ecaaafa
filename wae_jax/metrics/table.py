"""Sets of phrases side by side, in the figures that tell most at a glance."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float64

from wae_jax.metrics import music
from wae_jax.pianoroll import TRACK_NAMES, BinaryRolls


def music_table(named_rolls: dict[str, BinaryRolls]) -> str:
    """A table that puts sets of phrases side by side: one line a figure, one column a set.

    Args:
      named_rolls: phrases by the column's title.
    """
    figures: list[tuple[str, Callable[[BinaryRolls], float]]] = [
        ("phrases", lambda rolls: len(rolls)),
        ("cells a phrase", lambda rolls: float(music.cells(rolls).mean())),
        *((f"{name} sounds in", _share_sounding(k)) for k, name in enumerate(TRACK_NAMES)),
        ("a chord track sounds in", lambda rolls: float(music.track_sounds(rolls)[:, [1, 2, 4]].any(1).mean())),
        ("onsets on eighth notes", lambda rolls: _mean(music.onset_grid_share(rolls, grid=6))),
        ("qualified notes, pitched", lambda rolls: _mean(music.qualified_note_rate(rolls)[:, 1:])),
        ("empty bars", lambda rolls: float(music.empty_bar_rate(rolls).mean())),
    ]
    lines = [f"{'':26}" + "".join(f"{title:>14}" for title in named_rolls)]
    for name, figure in figures:
        values = (figure(rolls) for rolls in named_rolls.values())
        lines.append(
            f"{name:26}"
            + "".join(
                f"{value:14,.0f}" if value > 2 or isinstance(value, int) else f"{value:14.3f}" for value in values
            )
        )
    return "\n".join(lines)


def _mean(shares: Float64[np.ndarray, "B tracks"]) -> float:
    """The mean over phrases and tracks that have a note; NaN where none has."""
    with_notes = shares[~np.isnan(shares)]
    return float(with_notes.mean()) if len(with_notes) else float("nan")


def _share_sounding(track: int) -> Callable[[BinaryRolls], float]:
    return lambda rolls: float(music.track_sounds(rolls)[:, track].mean())
