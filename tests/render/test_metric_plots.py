"""Pictures of metrics and codes: heights and colors, and that nothing is clipped or overlaps."""

from __future__ import annotations

import math

import matplotlib.colors
import matplotlib.pyplot
import numpy as np
import pytest
import scipy.stats
from matplotlib.container import BarContainer

from wae_jax.evaluation import latent_metrics
from wae_jax.render import latent_plots, metric_plots, phrase_plots, style

NAN = math.nan
METRICS = {
    "qualified notes": {
        "generated": (0.6, 0.5, 0.8),
        "reconstructed": (0.7, 0.6, 0.75),
        "held-out": (0.9, 0.85, 0.92),
        "training": (0.91, 0.9, 0.92),
    },
    "cells": {
        "generated": (300.0, 250.0, 360.0),
        "held-out": (1065.0, 1010.0, 1100.0),
        "training": (1057.0, 1020.0, 1090.0),
    },
    "one-step notes": {"generated": (NAN, NAN, NAN), "held-out": (0.05, NAN, NAN)},
}
GREY = "#DADDE3"


def bars_of(axes):
    """(x, height, color) of each bar."""
    patches = [patch for group in axes.containers if isinstance(group, BarContainer) for patch in group.patches]
    return {
        round(bar.get_x() + bar.get_width() / 2): (bar.get_height(), matplotlib.colors.to_hex(bar.get_facecolor()))
        for bar in patches
    }


def bands_of(axes):
    """(low, high) of each grey band."""
    return [
        (patch.get_y(), patch.get_y() + patch.get_height())
        for patch in axes.patches
        if matplotlib.colors.same_color(patch.get_facecolor(), GREY)
    ]


def intervals_of(axes):
    """(x, low, high) of each error bar."""
    lines = [line for group in axes.collections for line in group.get_segments()]
    return sorted((round(line[0][0]), line[0][1], line[1][1]) for line in lines)


def legend_of(figure):
    (legend,) = figure.legends
    return {
        text.get_text(): matplotlib.colors.to_hex(patch.get_facecolor())
        for text, patch in zip(legend.get_texts(), legend.get_patches(), strict=True)
    }


def assert_all_is_seen(figure):
    """Every text lies within the figure, and no title or legend on another."""
    figure.canvas.draw()
    whole = figure.bbox
    boxes = {}
    for axes in figure.axes:
        for text in (axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label, *axes.texts):
            if text.get_text():
                boxes[axes, text] = text.get_window_extent()
    texts = [*figure.texts, *(text for legend in figure.legends for text in legend.get_texts())]
    boxes |= {(figure, text): text.get_window_extent() for text in texts}
    for (_, text), box in boxes.items():
        assert box.x0 >= whole.x0 - 1, text
        assert box.x1 <= whole.x1 + 1, text
        assert box.y0 >= whole.y0 - 1, text
        assert box.y1 <= whole.y1 + 1, text
    names = list(boxes)
    for i, one in enumerate(names):
        for other in names[:i]:
            assert not boxes[one].overlaps(boxes[other]), (one[1], other[1])


def test_bars_have_their_heights_intervals_and_colors():
    figure = metric_plots.plot_metric_bars(METRICS, floors={"qualified notes": 0.02}, columns=2)
    first, second, third = figure.axes
    assert [axes.get_title(loc="left") for axes in figure.axes] == list(METRICS)
    colors = {name: color.lower() for name, color in metric_plots.SET_COLORS.items()}
    assert bars_of(first) == {
        x: (METRICS["qualified notes"][name][0], colors[name])
        for x, name in enumerate(("generated", "reconstructed", "held-out", "training"))
    }
    assert intervals_of(first) == [
        (x, pytest.approx(low), pytest.approx(high))
        for x, (_, low, high) in enumerate(METRICS["qualified notes"].values())
    ]
    # A set that a metric lacks leaves its place empty, so that a set stands in one place in all panels.
    assert {x: height for x, (height, _) in bars_of(second).items()} == {0: 300, 2: 1065, 3: 1057}
    assert bands_of(first) == [(pytest.approx(0.88), pytest.approx(0.92))]
    assert bands_of(second) == []
    assert [text.get_text() for text in first.texts] == ["0.6", "0.7", "0.9", "0.91"]
    assert [text.get_text() for text in second.texts] == ["300", "1,065", "1,057"]
    # What has no value is said to have none, and what has no interval gets none.
    assert [text.get_text() for text in third.texts] == ["none", "0.05"]
    assert list(bars_of(third)) == [2]
    assert intervals_of(third) == []
    assert [axes.get_ylim()[0] for axes in figure.axes] == [0, 0, 0]
    legend = legend_of(figure)
    assert list(legend) == [*METRICS["qualified notes"], "held-out ± real-against-real floor"]
    assert {name: legend[name] for name in colors} == colors
    assert_all_is_seen(figure)


def test_bars_below_zero_are_not_cut():
    figure = metric_plots.plot_metric_bars({"difference": {"a": (-0.5, -0.7, -0.3), "b": (0.2, 0.1, 0.3)}}, floors={})
    (axes,) = figure.axes
    assert bars_of(axes)[0][0] == -0.5
    assert axes.get_ylim()[0] < -0.7
    # The number of a bar stands beyond the end of its interval.
    figure.canvas.draw()
    numbers = [text.get_window_extent().transformed(axes.transData.inverted()) for text in axes.texts]
    assert numbers[0].y1 < -0.7
    assert numbers[1].y0 > 0.3
    assert len({color for _, color in bars_of(axes).values()}) == 2
    assert_all_is_seen(figure)


def test_many_sets_and_long_names_find_room():
    names = [f"wae_gan, penalty weight {weight}" for weight in (1, 10, 100)] + ["held-out", "training", "generated"]
    metric = "gaps of one or two steps before a note starts again, Guitar"
    figure = metric_plots.plot_metric_bars(
        {f"{metric} {i}": dict.fromkeys(names, (1 / 7, 0.1, 0.2)) for i in range(4)},
        floors={f"{metric} 0": 0.01},
        columns=2,
    )
    assert [axes.get_title(loc="left").replace("\n", " ") for axes in figure.axes] == [
        f"{metric} {i}" for i in range(4)
    ]
    assert len(set(legend_of(figure).values())) == 7
    assert_all_is_seen(figure)


def test_one_panel_has_a_legend_that_fits():
    metrics = {"qualified notes": METRICS["qualified notes"]}
    assert_all_is_seen(metric_plots.plot_metric_bars(metrics, floors={"qualified notes": 0.1}))


def test_the_band_lies_on_held_out_music():
    metrics = {"a": {"x": (1.0, 0.9, 1.1), "held-out": (3.0, 2.9, 3.1)}, "b": {"x": (1.0, 0.9, 1.1)}}
    first, second = metric_plots.plot_metric_bars(metrics, floors={"a": 0.5, "b": 0.5}).axes
    assert bands_of(first) == [(2.5, 3.5)]
    assert bands_of(second) == []


def test_lengths_of_sets_stand_side_by_side():
    shares = {"generated": np.array([0.7, 0.2, 0.1]), "held-out": np.array([0.1, 0.1, 0.8])}
    figure = metric_plots.plot_note_lengths(shares, ["1", "2", "3-192"])
    (axes,) = figure.axes
    heights = [[bar.get_height() for bar in group] for group in axes.containers]
    assert heights == [list(values) for values in shares.values()]
    for i in range(3):
        left, right = (group[i] for group in axes.containers)
        assert i - 0.41 < left.get_x() < left.get_x() + left.get_width() <= right.get_x() < i + 0.4
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1", "2", "3-192"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["generated", "held-out"]
    assert_all_is_seen(figure)


def dots_of(axes):
    (line,) = (line for line in axes.lines if line.get_marker() == "o")
    return line.get_xdata().tolist(), line.get_ydata().tolist()


def test_moments_are_drawn_by_variance_on_the_band_of_the_prior():
    mean, variance = np.array([0.1, 0.2, 0.3]), np.array([0.5, 2.0, 0.0])
    skewness, kurtosis = np.array([1.0, 2.0, NAN]), np.array([3.0, 4.0, NAN])
    figure = latent_plots.plot_moments(mean, variance, skewness, kurtosis, num_codes=100)
    assert [dots_of(axes)[1][:2] for axes in figure.axes] == [[0.2, 0.1], [2.0, 0.5], [2.0, 1.0], [4.0, 3.0]]
    assert dots_of(figure.axes[0]) == ([1, 2, 3], [0.2, 0.1, 0.3])
    assert_all_is_seen(figure)


def test_of_draws_of_the_prior_one_in_twenty_lies_outside_of_the_bands():
    rng = np.random.default_rng(0)
    moments = latent_metrics.moments(rng.normal(size=(400, 2000)), 1.0)
    figure = latent_plots.plot_moments(*moments, num_codes=400)
    for axes in figure.axes:
        ((low, high),) = bands_of(axes)
        values = np.array(dots_of(axes)[1])
        assert np.mean((values < low) | (values > high)) == pytest.approx(0.05, abs=0.02)


@pytest.mark.parametrize("latent_dim", [1, 16, 256])
def test_norms_are_drawn_beside_the_prior(latent_dim):
    codes = 0.5 * np.random.default_rng(0).normal(size=(300, latent_dim))
    found = latent_metrics.norm_histogram(codes, 1.0, 30)
    figure = latent_plots.plot_norms(*found[:3], distance=found.distance)
    (axes,) = figure.axes
    drawn = {patch.get_label(): patch.get_data() for patch in axes.patches}
    np.testing.assert_array_equal(drawn["codes"].values, found.share)
    np.testing.assert_array_equal(drawn["prior (chi)"].values, found.expected)
    # All codes and nearly all of the prior are in sight.
    low, high = axes.get_xlim()
    norms = np.linalg.norm(codes, axis=1)
    law = scipy.stats.chi(latent_dim)
    assert low <= min(norms.min(), law.ppf(0.01))
    assert high >= max(norms.max(), law.ppf(0.99))
    assert f"{found.distance:.3f}" in axes.get_legend().get_title().get_text()
    assert_all_is_seen(figure)


def test_nearest_distances_rise_from_none_to_all():
    distances = {"generated": np.array([30.0, 10.0, 20.0, 40.0]), "held-out": np.array([50, 100.0])}
    figure = metric_plots.plot_nearest_distances(distances, unit="cells", threshold=15.0)
    (axes,) = figure.axes
    generated, held_out, threshold = axes.lines
    assert generated.get_xdata().tolist()[1:] == [10, 20, 30, 40]
    assert generated.get_ydata().tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert held_out.get_ydata().tolist() == [0, 0.5, 1]
    assert set(threshold.get_xdata()) == {15}
    assert axes.get_xlim() == (0, 102)
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["generated (median 25)", "held-out (median 75)", "copies: at most 15"]
    assert "(cells)" in axes.get_xlabel()
    assert_all_is_seen(figure)
    metric_plots.plot_nearest_distances({"all copies": np.zeros(3)}, unit="cells", threshold=0.0).canvas.draw()


def test_pairs_stand_in_rows():
    left, right = np.zeros((2, 192, 84, 5), bool), np.zeros((2, 192, 84, 5), bool)
    left[0, :48, 40, 1] = right[0, :24, 40, 1] = left[1, 10:20, 50, 1] = True
    figure = phrase_plots.plot_pairs(left, right, names=("original", "reconstruction"), captions=["F1 .8", "F1 .9"])
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["1 · original", "1 · reconstruction · F1 .8", "2 · original", "2 · reconstruction · F1 .9"]

    def piano(axes):
        drawn = [c for c in axes.collections if len(c.get_facecolor()) and c.get_paths()]
        drawn = [c for c in drawn if matplotlib.colors.same_color(c.get_facecolor()[0], style.TRACK_COLORS[1])]
        return [(path.get_extents().x0, path.get_extents().x1) for c in drawn for path in c.get_paths()]

    assert [piano(axes) for axes in figure.axes] == [[(0, 48)], [(0, 24)], [(10, 20)], []]
    first, second, third, _ = (axes.get_position() for axes in figure.axes)
    assert first.y0 == pytest.approx(second.y0)
    assert first.x1 < second.x0
    assert third.y1 < first.y0
    assert_all_is_seen(figure)


def test_pictures_leave_no_global_state():
    metric_plots.plot_metric_bars(METRICS, floors={})
    rolls = np.random.default_rng(0).random((1, 192, 84, 5)) < 0.02
    phrase_plots.plot_pairs(rolls, rolls, names=("a", "b"))
    assert matplotlib.pyplot.get_fignums() == []
