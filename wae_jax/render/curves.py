"""The curves of a training run, from its metrics.jsonl."""

from __future__ import annotations

import math
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from wae_jax.files import read_metrics
from wae_jax.render.style import INK, TRACK_COLORS, new_figure, save_figure, set_labels, style_axes

_CURVES = (
    *("train/reconstruction", "eval/reconstruction", "train/penalty", "eval/penalty", "eval/f1", "eval_train/f1"),
    *("eval/precision", "eval/recall", "train/jensen_shannon", "eval/jensen_shannon", "eval/code_covariance_gap"),
    *(f"{of}/{name}" for name in ("cells", "notes_per_bar", "one_step_share") for of in ("samples", "held_out")),
    *("samples/frechet_distance", "samples/recall", "samples/coverage"),
)
_COLUMNS = 3

History = Mapping[str, tuple[Sequence[float], Sequence[float]]]


def read_history(workdir: pathlib.Path) -> dict[str, tuple[list[float], list[float]]]:
    """Steps and values of the metrics that are drawn; empty where nothing has been logged."""
    history: dict[str, tuple[list[float], list[float]]] = {}
    for row in read_metrics(workdir / "metrics.jsonl"):
        for name in _CURVES:
            if name in row:
                steps, values = history.setdefault(name, ([], []))
                steps.append(row["step"])
                values.append(row[name])
    return history


def write_curves(workdir: pathlib.Path) -> None:
    """Draws the metrics so far to `curves.png`, if there are any."""
    if history := read_history(workdir):
        save_figure(plot_curves(history), workdir / "curves.png")


def plot_curves(history: History) -> Figure:
    """Draws the curves of a run as small panels.

    Names that differ only before the first "/" share a panel: `train/reconstruction` and `eval/reconstruction` are two
    lines in the panel "reconstruction".

    Args:
      history: at least one name to (steps, values), two sequences of one length; values that are not finite leave a
        gap.
    """
    panels: dict[str, list[str]] = {}
    for name in history:
        panels.setdefault(name.split("/", 1)[-1], []).append(name)
    groups = dict.fromkeys(name.split("/", 1)[0] for name in history)
    palette = (*TRACK_COLORS[1:], TRACK_COLORS[0])
    colors = {group: palette[i % len(palette)] for i, group in enumerate(groups)}
    columns = min(_COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = new_figure(4.2 * columns, 2.7 * rows)
    for i, (panel, names) in enumerate(panels.items()):
        axes = figure.add_subplot(rows, columns, i + 1)
        for name in names:
            steps, values = history[name]
            finite = np.where(np.isfinite(values), values, np.nan)
            group = name.split("/", 1)[0]
            marker = "o" if len(steps) == 1 else None
            axes.plot(steps, finite, color=colors[group], linewidth=1.6, marker=marker, markersize=4, label=group)
        style_axes(axes, panel)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        if len(names) > 1:
            axes.legend(frameon=False, fontsize=8, labelcolor=INK)
        set_labels(axes, "step" if i >= len(panels) - columns else None)
    return figure
