"""Pictures of metrics: sets of phrases side by side."""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from wae_jax.render.style import (
    FAINT,
    INK,
    TRACK_COLORS,
    add_legend_below,
    legend_columns,
    new_figure,
    set_labels,
    style_axes,
)

REFERENCE = "held-out"
# The sets of most reports keep their colors from picture to picture; real music is grey.
SET_COLORS: Mapping[str, str] = {
    "generated": "#CC5FA0",
    "reconstructed": "#0072B2",
    REFERENCE: "#4A4E5A",
    "training": "#A9ADB8",
}
BAND_COLOR = "#DADDE3"
_OTHER_COLORS = (TRACK_COLORS[2], TRACK_COLORS[3], "#56B4E9", "#D55E00", "#7A5BA6", "#8C6D31")

# Mean and interval.
Numbers = tuple[float, float, float]


def plot_metric_bars(
    metrics: Mapping[str, Mapping[str, Numbers]], *, floors: Mapping[str, float], columns: int = 4
) -> Figure:
    """Draws one small panel a metric, with a bar and its interval for each set.

    The grey band is the real-against-real floor: the value of held-out music, plus and minus the difference that two
    halves of real music have by chance. This metric cannot distinguish a set in it from real music.

    Args:
      metrics: metric to set to (value, low, high); a NaN value is drawn as "none", NaN ends are not drawn.
      floors: metric to half the height of its band, in the metric's unit; without an entry there is no band.
      columns: panels in a row.
    """
    names = list(dict.fromkeys(name for values in metrics.values() for name in values))
    colors = _colors(names)
    columns = min(columns, len(metrics))
    rows = math.ceil(len(metrics) / columns)
    handles = [Patch(color=colors[name], label=name) for name in names]
    if floors:
        handles.append(Patch(color=BAND_COLOR, label=f"{REFERENCE} ± real-against-real floor"))
    # Room for a number above each bar, and for the legend.
    width = max(4.5, columns * max(2.7, 0.5 * len(names) + 0.6))
    legend_rows = math.ceil(len(handles) / legend_columns(handles, width))
    figure = new_figure(width, 2.2 * rows + 0.2 + 0.22 * legend_rows)
    for i, (metric, values) in enumerate(metrics.items()):
        axes = figure.add_subplot(rows, columns, i + 1)
        # A letter of a title takes a twelfth of an inch.
        style_axes(axes, textwrap.fill(metric, int(12 * (width / columns - 0.5))))
        if metric in floors and np.isfinite(values.get(REFERENCE, (math.nan,))[0]):
            middle = values[REFERENCE][0]
            axes.axhspan(middle - floors[metric], middle + floors[metric], color=BAND_COLOR, linewidth=0, zorder=0.5)
        _draw_bars(axes, values, colors)
    add_legend_below(figure, handles)
    return figure


def _draw_bars(axes: Axes, values: Mapping[str, Numbers], colors: Mapping[str, str]) -> None:
    """Draws the bars of one panel; a set keeps its position in all panels."""
    for x, (name, color) in enumerate(colors.items()):
        if name in values:
            _draw_bar(axes, x, values[name], color)
    axes.grid(visible=False, axis="x")
    axes.set_xlim(-0.6, len(colors) - 0.4)
    axes.set_xticks([])
    axes.margins(y=0.16)  # for the numbers
    axes.yaxis.set_major_locator(MaxNLocator(4))
    if not any(low < 0 for _, low, _ in values.values()):
        axes.set_ylim(bottom=0)


def _draw_bar(axes: Axes, x: int, numbers: Numbers, color: str) -> None:
    """Draws one bar with its interval and its value, or the word "none"."""
    value, low, high = numbers
    if math.isnan(value):
        axes.annotate("none", (x, 0), (0, 3), textcoords="offset points", ha="center", fontsize=7, color=FAINT)
        return
    axes.bar(x, value, 0.74, color=color, zorder=2)
    if math.isnan(low + high):
        low = high = value
    else:
        ends = [[value - low], [high - value]]
        axes.errorbar(x, value, ends, color=INK, linewidth=1.1, capsize=3, capthick=1.1, zorder=3)
    text = f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    end, up = (high, 3) if value >= 0 else (low, -9)
    axes.annotate(text, (x, end), (0, up), textcoords="offset points", ha="center", fontsize=7, color=INK)


def plot_note_lengths(shares: Mapping[str, Float[np.ndarray, " bins"]], labels: Sequence[str]) -> Figure:
    """Draws the shares of notes by length, sets side by side.

    Args:
      shares: set to the share of its notes in each bin.
      labels: of the bins, such as "1", "2", "3-5", in steps.
    """
    colors = _colors(shares)
    figure = new_figure(max(6.5, 1.05 * len(labels)), 3.3)
    axes = figure.add_subplot()
    style_axes(axes, "Lengths of notes")
    axes.grid(visible=False, axis="x")
    width = 0.8 / len(shares)
    for i, (name, values) in enumerate(shares.items()):
        left = np.arange(len(labels)) - 0.4 + i * width
        axes.bar(left, values, 0.92 * width, align="edge", color=colors[name], label=name)
    axes.set_xticks(range(len(labels)), labels)
    set_labels(axes, "length in steps (12 a quarter note)", "share of the set's notes")
    axes.legend(frameon=False, fontsize=9, labelcolor=INK)
    return figure


def plot_nearest_distances(
    distances: Mapping[str, Float[np.ndarray, " phrases"]], *, unit: str, threshold: float
) -> Figure:
    """Draws the distribution function of each set's distances to the nearest training phrase.

    A curve left of that of held-out music belongs to phrases that are nearer to the training music than new music is.

    Args:
      distances: set to the distance of each of its phrases, at least one, from the nearest training phrase.
      unit: of the distances, printed below.
      threshold: largest distance of a copy; drawn as a line.
    """
    colors = _colors(distances)
    figure = new_figure(6.5, 3.6)
    axes = figure.add_subplot()
    style_axes(axes, "Nearest training phrase")
    far = max(float(values.max()) for values in distances.values())
    for name, values in distances.items():
        axes.ecdf(values, color=colors[name], linewidth=2, label=f"{name} (median {np.median(values):.3g})")
    axes.axvline(threshold, color=INK, linewidth=1.1, linestyle="--", label=f"copies: at most {threshold:.3g}")
    axes.set_xlim(0, 1.02 * max(far, threshold) or 1)
    axes.set_ylim(0, 1.01)
    set_labels(axes, f"distance from the nearest training phrase ({unit})", "share of phrases")
    axes.legend(frameon=False, fontsize=9, labelcolor=INK)
    return figure


def _colors(names: Iterable[str]) -> dict[str, str]:
    """One color a set: its own, or the next of the others."""
    others = itertools.cycle(_OTHER_COLORS)
    return {name: SET_COLORS.get(name) or next(others) for name in names}
