"""Pictures of codes beside the prior, from the arrays of `evaluation.latent_metrics`."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float64
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from wae_jax.render.metric_plots import BAND_COLOR, SET_COLORS
from wae_jax.render.style import (
    FAINT,
    INK,
    TRACK_COLORS,
    add_headline,
    new_figure,
    set_labels,
    style_axes,
)

_CODES = SET_COLORS["reconstructed"]
_NORMAL = TRACK_COLORS[2]


def plot_moments(
    mean: Float64[np.ndarray, " Z"],
    variance: Float64[np.ndarray, " Z"],
    skewness: Float64[np.ndarray, " Z"],
    excess_kurtosis: Float64[np.ndarray, " Z"],
    *,
    num_codes: int,
) -> Figure:
    """Draws four moments of each latent dimension, in units of the prior, the dimension of largest variance first.

    The line is the prior's value; the grey band holds 95 of 100 dimensions of as many samples of the prior.

    Args:
      mean: of each dimension, in standard deviations of the prior.
      variance: in units of the prior's variance.
      skewness: NaN where a dimension does not vary.
      excess_kurtosis: NaN where a dimension does not vary.
      num_codes: number of codes that the moments were computed from.
    """
    order = np.argsort(-variance, kind="stable")
    rank = np.arange(1, len(order) + 1)
    figure = new_figure(9.5, 4.8)
    # Each moment's value under the prior, and its variance over sets of n samples, times n.
    panels = (
        ("mean", mean, 0, 1),
        ("variance", variance, 1, 2),
        ("skewness", skewness, 0, 6),
        ("excess kurtosis", excess_kurtosis, 0, 24),
    )
    for i, (name, values, prior, spread) in enumerate(panels):
        axes = figure.add_subplot(2, 2, i + 1)
        style_axes(axes, name)
        half = 1.96 * math.sqrt(spread / num_codes)
        axes.axhspan(prior - half, prior + half, color=BAND_COLOR, linewidth=0, zorder=0.5)
        axes.axhline(prior, color=FAINT, linewidth=0.9, zorder=1)
        axes.vlines(rank, prior, values[order], color=_CODES, linewidth=min(3, 90 / len(rank)), alpha=0.45)
        axes.plot(rank, values[order], "o", color=_CODES, markersize=max(2.0, min(5.0, 160 / len(rank))))
        axes.set_xlim(0.3, len(rank) + 0.7)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
        if name == "variance":
            axes.set_ylim(bottom=0)
        set_labels(axes, "latent dimension, by variance" if i >= 2 else None)
    add_headline(figure, f"Moments of {num_codes:,} codes, in units of the prior")
    return figure


def plot_norms(
    edges: Float64[np.ndarray, " edges"],
    share: Float64[np.ndarray, " bins"],
    expected: Float64[np.ndarray, " bins"],
    *,
    distance: float,
) -> Figure:
    """Draws the histogram of the codes' norms, and that of the prior as a line.

    Args:
      edges: of the bins, in standard deviations of the prior; one more than bins.
      share: of the codes.
      expected: share under the prior.
      distance: Kolmogorov-Smirnov distance, printed in the legend.
    """
    figure = new_figure(6, 3.3)
    axes = figure.add_subplot()
    style_axes(axes, "Norms of codes")
    axes.stairs(share, edges, fill=True, color=_CODES, alpha=0.75, label="codes")
    axes.stairs(expected, edges, color=_NORMAL, linewidth=2, label="prior (chi)")
    shown = np.flatnonzero((share > 0) | (expected > 1e-4))
    axes.set_xlim(edges[max(shown[0] - 1, 0)], edges[min(shown[-1] + 2, len(edges) - 1)])
    axes.set_ylim(bottom=0)
    set_labels(axes, "norm, in standard deviations of the prior", "share")
    heading = f"largest difference of the\ndistribution functions: {distance:.3f}"
    axes.legend(frameon=False, fontsize=9, labelcolor=INK, title=heading, title_fontsize=8)
    return figure
