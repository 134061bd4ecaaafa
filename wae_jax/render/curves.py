"""The curves of a run, from its metrics.jsonl."""

from __future__ import annotations

import json
import pathlib

from wae_jax.render import plots

_CURVES = (
    *("train/reconstruction", "eval/reconstruction", "train/penalty", "eval/penalty", "eval/f1", "eval_train/f1"),
    *("eval/precision", "eval/recall", "train/jensen_shannon", "eval/jensen_shannon", "eval/code_covariance_gap"),
    *(f"{of}/{name}" for name in ("cells", "notes_per_bar", "one_step_share") for of in ("samples", "held_out")),
    *("samples/frechet_distance", "samples/recall", "samples/coverage"),
)


def read_history(workdir: pathlib.Path) -> dict[str, tuple[list[float], list[float]]]:
    """The steps and values of the metrics that curves are drawn of; empty where nothing has been logged."""
    history: dict[str, tuple[list[float], list[float]]] = {}
    file = workdir / "metrics.jsonl"
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else ():
        row = json.loads(line)
        for name in _CURVES:
            if row.get(name) is not None:
                steps, values = history.setdefault(name, ([], []))
                steps.append(row["step"])
                values.append(row[name])
    return history


def write_curves(workdir: pathlib.Path) -> None:
    """Draws the metrics so far to `curves.png`."""
    plots.save_figure(plots.plot_curves(read_history(workdir)), workdir / "curves.png")
