"""The pictures of a report: sets of phrases side by side, and phrases beside their likes.

Each function takes plain arrays and gives a figure, in the look of `plots.py`.
"""

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

from wae_jax.pianoroll import BinaryRolls
from wae_jax.render.plots import FAINT, INK, TRACK_COLOURS, dress, new_figure, plot_grid

# Sets that most reports show keep their colours from picture to picture; real music is grey.
SET_COLOURS: Mapping[str, str] = {
    "generated": "#CC5FA0",
    "reconstructed": "#0072B2",
    "held-out": "#4A4E5A",
    "training": "#A9ADB8",
}

Numbers = Mapping[str, tuple[float, float, float]]

BAND_COLOUR = "#DADDE3"

_OTHER_COLOURS = (TRACK_COLOURS[2], TRACK_COLOURS[3], "#56B4E9", "#D55E00", "#7A5BA6", "#8C6D31")


def plot_metric_bars(
    metrics: Mapping[str, Numbers],
    *,
    floors: Mapping[str, float],
    reference: str = "held-out",
    columns: int = 4,
    title: str | None = None,
) -> Figure:
    """Draws one small panel a metric, in it a bar with its interval for each set.

    The grey band is the real-against-real floor: the reference's value, plus and minus the difference that two halves
    of real music have by chance. What lies in it cannot be told from real music by this metric.

    Args:
      metrics: metric to set to (value, low, high), the ends of an interval about the value; a set whose value is NaN
        has no bar and is said to have none, and ends that are NaN are not drawn.
      floors: metric to half the height of its band, in the metric's unit; a metric that is not named has no band.
      reference: the set on whose value the bands lie.
      columns: panels in a row.
      title: printed above all.

    Returns:
      A figure.

    Raises:
      ValueError: if there is no metric, a floor is of none of them, or an interval does not hold its value.
    """
    if not metrics:
        raise ValueError("there is no metric; expected at least one")
    if not floors.keys() <= metrics.keys():
        raise ValueError(f"floors has {sorted(floors.keys() - metrics.keys())}, of which metrics has none")
    names = list(dict.fromkeys(name for values in metrics.values() for name in values))
    colours = _colours(names)
    columns = min(columns, len(metrics))
    rows = math.ceil(len(metrics) / columns)
    handles = [Patch(color=colours[name], label=name) for name in names]
    if floors:
        handles.append(Patch(color=BAND_COLOUR, label=f"{reference} ± real-against-real floor"))
    # Room for a number above each bar, and for the legend.
    width = max(4.5, columns * max(2.7, 0.5 * len(names) + 0.6))
    legend_rows = math.ceil(len(handles) / legend_columns(handles, width))
    figure = new_figure(width, 2.2 * rows + 0.2 + 0.22 * legend_rows + (0.4 if title is not None else 0))
    for i, (metric, values) in enumerate(metrics.items()):
        axes = figure.add_subplot(rows, columns, i + 1)
        # A letter of a title takes a twelfth of an inch.
        dress(axes, textwrap.fill(metric, int(12 * (width / columns - 0.5))))
        axes.grid(visible=False, axis="x")
        if metric in floors and np.isfinite(values.get(reference, (math.nan,))[0]):
            middle = values[reference][0]
            axes.axhspan(middle - floors[metric], middle + floors[metric], color=BAND_COLOUR, linewidth=0, zorder=0.5)
        for place, name in enumerate(names):
            if name in values:
                _draw_bar(axes, place, values[name], colours[name], f"{metric} of {name}")
        axes.set_xlim(-0.6, len(names) - 0.4)
        axes.set_xticks([])
        axes.margins(y=0.16)  # for the numbers
        axes.yaxis.set_major_locator(MaxNLocator(4))
        if not any(low < 0 for _, low, _ in values.values()):
            axes.set_ylim(bottom=0)
    legend_below(figure, handles)
    headline(figure, title)
    return figure


def plot_note_lengths(
    shares: Mapping[str, Float[np.ndarray, " bins"]], labels: Sequence[str], *, title: str | None = None
) -> Figure:
    """Draws the shares of notes by length, sets side by side.

    Args:
      shares: set to the share of its notes in each bin.
      labels: of the bins, such as "1", "2", "3-5", in steps.
      title: printed above.

    Returns:
      A figure.

    Raises:
      ValueError: if there is no set, or a set has another number of bins than there are labels.
    """
    for name, values in shares.items():
        if len(values) != len(labels):
            raise ValueError(f"{name} has {len(values)} bins and there are {len(labels)} labels; expected as many")
    if not shares:
        raise ValueError("there is no set of notes; expected at least one")
    colours = _colours(shares)
    figure = new_figure(max(6.5, 1.05 * len(labels)), 3.3)
    axes = figure.add_subplot()
    dress(axes, title or "Lengths of notes")
    axes.grid(visible=False, axis="x")
    width = 0.8 / len(shares)
    for i, (name, values) in enumerate(shares.items()):
        left = np.arange(len(labels)) - 0.4 + i * width
        axes.bar(left, values, 0.92 * width, align="edge", color=colours[name], label=name)
    axes.set_xticks(range(len(labels)), labels)
    axes.set_xlabel("length in steps (12 a quarter note)", fontsize=9, color=FAINT)
    axes.set_ylabel("share of the set's notes", fontsize=9, color=FAINT)
    axes.legend(frameon=False, fontsize=9, labelcolor=INK)
    return figure


def plot_nearest_distances(
    distances: Mapping[str, Float[np.ndarray, " phrases"]],
    *,
    unit: str,
    threshold: float | None = None,
) -> Figure:
    """Draws for each set the share of phrases that are as near to a training phrase as the axis says, or nearer.

    A curve that rises to the left of held-out music's belongs to phrases that are nearer to the training music than new
    music is.

    Args:
      distances: set to the distance of each of its phrases from the nearest training phrase; at least one a set.
      unit: of the distances, printed below.
      threshold: from which on down a phrase counts as a copy; drawn as a line.

    Returns:
      A figure.

    Raises:
      ValueError: if there is no set, or a set has no phrase.
    """
    if not distances or any(len(values) == 0 for values in distances.values()):
        raise ValueError("expected at least one set, and of each set at least one phrase")
    colours = _colours(distances)
    figure = new_figure(6.5, 3.6)
    axes = figure.add_subplot()
    dress(axes, "Nearest training phrase")
    far = max(float(values.max()) for values in distances.values())
    for name, values in distances.items():
        axes.ecdf(values, color=colours[name], linewidth=2, label=f"{name} (median {np.median(values):.3g})")
    if threshold is not None:
        axes.axvline(threshold, color=INK, linewidth=1.1, linestyle="--", label=f"copies: at most {threshold:.3g}")
    axes.set_xlim(0, 1.02 * max(far, threshold or 0) or 1)
    axes.set_ylim(0, 1.01)
    axes.set_xlabel(f"distance from the nearest training phrase ({unit})", fontsize=9, color=FAINT)
    axes.set_ylabel("share of phrases", fontsize=9, color=FAINT)
    axes.legend(frameon=False, fontsize=9, labelcolor=INK)
    return figure


def plot_pairs(
    left: BinaryRolls, right: BinaryRolls, *, names: tuple[str, str], notes: Sequence[str], title: str | None = None
) -> Figure:
    """Draws phrases in rows of two: originals beside reconstructions, draws beside the nearest training phrases.

    Args:
      left: at least one phrase.
      right: as many.
      names: what the left and the right ones are.
      notes: one a pair, printed after the right one's name, such as a distance.
      title: printed above all.

    Returns:
      A figure.

    Raises:
      ValueError: if left, right and notes are not as many, or there is none.
    """
    if not len(left) == len(right) == len(notes):
        raise ValueError(f"there are {len(left)} and {len(right)} phrases and {len(notes)} notes; expected as many")
    rolls = np.stack([left, right], axis=1).reshape(-1, *left.shape[1:])
    titles = itertools.chain.from_iterable(
        (f"{i} · {names[0]}", f"{i} · {names[1]}" + (f" · {note}" if note else "")) for i, note in enumerate(notes, 1)
    )
    return plot_grid(rolls, columns=2, titles=list(titles), suptitle=title)


def legend_columns(handles: Sequence[Patch], width: float) -> int:
    """How many signs of a legend stand in a row below a figure of a width in inches."""
    # What a sign and the letters of this size take.
    widths = [0.6 + 0.08 * len(str(handle.get_label())) for handle in handles]
    return len(handles) if sum(widths) <= width else max(1, int(width // max(widths)))


def legend_below(figure: Figure, handles: Sequence[Patch]) -> None:
    """Explains the colours of all panels below them."""
    figure.legend(
        handles=list(handles),
        loc="outside lower center",
        ncols=legend_columns(handles, figure.get_figwidth()),
        frameon=False,
        fontsize=9,
        labelcolor=INK,
    )


def headline(figure: Figure, title: str | None) -> None:
    """Puts a title above all panels, if there is one."""
    if title is not None:
        figure.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold", color=INK)


def _colours(names: Iterable[str]) -> dict[str, str]:
    """One colour a set: its own, or the next of the others."""
    others = itertools.cycle(_OTHER_COLOURS)
    return {name: SET_COLOURS.get(name) or next(others) for name in names}


def _draw_bar(axes: Axes, place: int, interval: tuple[float, float, float], colour: str, name: str) -> None:
    """One bar with its interval and its value, or the word that there is none."""
    value, low, high = interval
    if math.isnan(value):
        axes.annotate("none", (place, 0), (0, 3), textcoords="offset points", ha="center", fontsize=7, color=FAINT)
        return
    if low > value or high < value:
        raise ValueError(f"{name}: {value} lies outside of its interval, {low} to {high}")
    axes.bar(place, value, 0.74, color=colour, zorder=2)
    if math.isnan(low + high):
        low = high = value
    else:
        ends = [[value - low], [high - value]]
        axes.errorbar(place, value, ends, color=INK, linewidth=1.1, capsize=3, capthick=1.1, zorder=3)
    text = f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    end, up = (high, 3) if value >= 0 else (low, -9)
    axes.annotate(text, (place, end), (0, up), textcoords="offset points", ha="center", fontsize=7, color=INK)
