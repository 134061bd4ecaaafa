"""The curves of a run."""

from __future__ import annotations

import json

import numpy as np

from wae_jax.render import curves


def test_curves_are_those_of_the_log(tmp_path):
    rows = [{"step": 5, "train/penalty": 2.0, "other": 1.0}, {"step": 10, "train/penalty": 1.0, "eval/f1": 0.5}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert curves.read_history(tmp_path) == {"train/penalty": ([5, 10], [2.0, 1.0]), "eval/f1": ([10], [0.5])}
    curves.write_curves(tmp_path)
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert curves.read_history(tmp_path / "nothing") == {}


def test_curves_of_one_quantity_share_a_panel():
    history = {
        "train/reconstruction": ([0, 10, 20], [9.0, 5.0, 4.0]),
        "eval/reconstruction": ([0, 20], [9.5, 4.5]),
        "train/penalty": ([0, 10, 20], [1.0, float("nan"), float("inf")]),
        "eval/f1": ([20], [0.5]),
    }
    figure = curves.plot_curves(history)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["reconstruction", "penalty", "f1"]
    train, evaluation = figure.axes[0].lines
    assert train.get_ydata().tolist() == [9, 5, 4]
    assert evaluation.get_xdata().tolist() == [0, 20]
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["train", "eval"]
    # A curve of the evaluation has one colour in every panel.
    assert figure.axes[2].lines[0].get_color() == evaluation.get_color() != train.get_color()
    assert np.isnan(figure.axes[1].lines[0].get_ydata()).tolist() == [False, True, True]
