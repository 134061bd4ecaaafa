"""Pictures of codes against the prior, from the arrays that `metrics/latent.py` and `metrics/projection.py` give."""

from __future__ import annotations

import math

import numpy as np
import scipy.stats
from jaxtyping import Float64
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Patch
from matplotlib.ticker import MaxNLocator

from wae_jax.evaluation.report_plots import BAND_COLOUR, SET_COLOURS, headline, legend_below
from wae_jax.render.plots import FAINT, INK, TRACK_COLOURS, dress, new_figure

_CODES = SET_COLOURS["reconstructed"]
_NORMAL = TRACK_COLOURS[2]


def plot_moments(
    mean: Float64[np.ndarray, " Z"],
    variance: Float64[np.ndarray, " Z"],
    skewness: Float64[np.ndarray, " Z"],
    excess_kurtosis: Float64[np.ndarray, " Z"],
    *,
    num_codes: int,
) -> Figure:
    """Draws four moments of each latent dimension, in units of the prior, the dimension of largest variance first.

    The line is the prior's value, the grey band what as many draws of the prior give in 95 of 100 dimensions.

    Args:
      mean: of each dimension, in standard deviations of the prior.
      variance: in units of the prior's.
      skewness: NaN where a dimension does not vary.
      excess_kurtosis: NaN where a dimension does not vary.
      num_codes: of which the moments are.

    Returns:
      A figure.

    Raises:
      ValueError: if there are fewer than two codes.
    """
    if num_codes < 2:
        raise ValueError(f"num_codes is {num_codes}; expected at least 2")
    order = np.argsort(-variance, kind="stable")
    places = np.arange(1, len(order) + 1)
    figure = new_figure(9.5, 4.8)
    # Values of the prior and variances of what n of its draws give, times n.
    panels = (
        ("mean", mean, 0, 1),
        ("variance", variance, 1, 2),
        ("skewness", skewness, 0, 6),
        ("excess kurtosis", excess_kurtosis, 0, 24),
    )
    for i, (name, values, prior, spread) in enumerate(panels):
        axes = figure.add_subplot(2, 2, i + 1)
        dress(axes, name)
        half = 1.96 * math.sqrt(spread / num_codes)
        axes.axhspan(prior - half, prior + half, color=BAND_COLOUR, linewidth=0, zorder=0.5)
        axes.axhline(prior, color=FAINT, linewidth=0.9, zorder=1)
        axes.vlines(places, prior, values[order], color=_CODES, linewidth=min(3, 90 / len(places)), alpha=0.45)
        axes.plot(places, values[order], "o", color=_CODES, markersize=max(2.0, min(5.0, 160 / len(places))))
        axes.set_xlim(0.3, len(places) + 0.7)
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
        if name == "variance":
            axes.set_ylim(bottom=0)
        if i >= 2:
            axes.set_xlabel("latent dimension, by variance", fontsize=9, color=FAINT)
    headline(figure, f"Moments of {num_codes:,} codes, in units of the prior")
    return figure


def plot_norms(
    edges: Float64[np.ndarray, " edges"],
    share: Float64[np.ndarray, " bins"],
    expected: Float64[np.ndarray, " bins"],
    *,
    distance: float | None = None,
) -> Figure:
    """Draws the histogram of the codes' norms, and that of the prior's as a line.

    Args:
      edges: of the bins, in standard deviations of the prior; one more than bins.
      share: of the codes.
      expected: of the prior.
      distance: Kolmogorov's and Smirnov's, printed in the panel.

    Returns:
      A figure.
    """
    figure = new_figure(6, 3.3)
    axes = figure.add_subplot()
    dress(axes, "Norms of codes")
    axes.stairs(share, edges, fill=True, color=_CODES, alpha=0.75, label="codes")
    axes.stairs(expected, edges, color=_NORMAL, linewidth=2, label="prior (chi)")
    seen = np.flatnonzero((share > 0) | (expected > 1e-4))
    axes.set_xlim(edges[max(seen[0] - 1, 0)], edges[min(seen[-1] + 2, len(edges) - 1)])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("norm, in standard deviations of the prior", fontsize=9, color=FAINT)
    axes.set_ylabel("share", fontsize=9, color=FAINT)
    heading = None if distance is None else f"largest difference of the\ndistribution functions: {distance:.3f}"
    axes.legend(frameon=False, fontsize=9, labelcolor=INK, title=heading, title_fontsize=8)
    return figure


def plot_projection(
    points: Float64[np.ndarray, "n 2"],
    negentropy: Float64[np.ndarray, " two"],
    null_negentropy: Float64[np.ndarray, " two"],
) -> Figure:
    """Draws the plane in which codes are least Gaussian, with the histogram of each direction along its edge.

    Args:
      points: of mean 0 and variance 1 in both directions.
      negentropy: of each direction.
      null_negentropy: what the search finds in Gaussian noise, for each direction.

    Returns:
      A figure.
    """
    figure = new_figure(6, 6.4)
    axes = figure.add_subplot()
    dress(axes, "")
    reach = max(3.6, 1.05 * float(np.abs(points).max()))
    axes.scatter(
        points[:, 0], points[:, 1], s=max(2.0, min(14.0, 6000 / len(points))), color=_CODES, alpha=0.5, linewidth=0
    )
    for radius in (1, 2, 3):
        axes.add_patch(Circle((0, 0), radius, fill=False, color=_NORMAL, linewidth=1.4, zorder=3))
    axes.set_xlim(-reach, reach)
    axes.set_ylim(-reach, reach)
    axes.set_aspect("equal")
    along = np.linspace(-reach, reach, 200)
    bell = scipy.stats.norm.pdf(along)
    bins = np.linspace(-reach, reach, 61).tolist()
    top, right = axes.inset_axes((0, 1.02, 1, 0.22)), axes.inset_axes((1.02, 0, 0.22, 1))
    top.hist(points[:, 0], bins, density=True, color=_CODES, alpha=0.75)
    top.plot(along, bell, color=_NORMAL, linewidth=1.6)
    top.set_xlim(-reach, reach)
    right.hist(points[:, 1], bins, density=True, color=_CODES, alpha=0.75, orientation="horizontal")
    right.plot(bell, along, color=_NORMAL, linewidth=1.6)
    right.set_ylim(-reach, reach)
    for edge in (top, right):
        edge.set_axis_off()
    labels = [
        f"{which} direction: negentropy {found:.2g}, of noise {null:.2g}"
        for which, found, null in zip(("first", "second"), negentropy, null_negentropy, strict=True)
    ]
    axes.set_xlabel(labels[0], fontsize=9, color=INK)
    axes.set_ylabel(labels[1], fontsize=9, color=INK)
    handles = [Patch(color=_CODES, label="codes"), Patch(color=_NORMAL, label="Gaussian: 1, 2 and 3 deviations")]
    legend_below(figure, handles)
    headline(figure, "Where codes are least Gaussian")
    return figure
