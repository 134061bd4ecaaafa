"""The metrics of a run as tables, and the provenance of the phrases on a page."""

from __future__ import annotations

import json
import pathlib
import platform
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

import wae_jax
from wae_jax.config import flatten_config
from wae_jax.errors import CompareError
from wae_jax.evaluation import table
from wae_jax.files import printable, read_metrics
from wae_jax.generation.model import Model

_SET_NAMES = {"eval": "validation data", "eval_train": "training data", "samples": "samples", "held_out": "held-out"}


# A table of text as JSON: "caption", "columns" (the first is that of the row names), and "rows" of one cell a column.
Table = dict[str, Any]


def tables_of_workdir(workdir: pathlib.Path) -> list[Table]:
    """The metrics of a run's last evaluation in training and of `python -m wae_jax.evaluate`, where they exist."""
    return [*_training_table(workdir), *_evaluation_table(workdir)]


def _training_table(workdir: pathlib.Path) -> Iterator[Table]:
    for row in reversed(list(read_metrics(workdir / "metrics.jsonl"))):
        found = [name.split("/", 1) for name in row if name.split("/", 1)[0] in _SET_NAMES and "/" in name]
        if found:
            sets = [name for name in _SET_NAMES if any(prefix == name for prefix, _ in found)]
            metrics = dict.fromkeys(metric for _, metric in found)
            rows = [[metric, *(_format(row.get(f"{name}/{metric}")) for name in sets)] for metric in metrics]
            columns = ["", *(_SET_NAMES[name] for name in sets)]
            yield {"caption": f"Last evaluation in training, step {row['step']:.0f}", "columns": columns, "rows": rows}
            return


def _evaluation_table(workdir: pathlib.Path) -> Iterator[Table]:
    try:
        content = table.read_evaluation(workdir)
    except CompareError:  # there is none, or none that can be read
        return
    names = list(content["sets"])
    rows = [
        [label, *(_format(by_set[name].mean) if name in by_set else "" for name in names)]
        for label, by_set in table.headline(content).items()
    ]
    step = content["provenance"].get("checkpoint_step", "unknown")
    columns = ["", *(name.replace("_", "-") for name in names)]
    yield {"caption": f"Evaluation of step {step}", "columns": columns, "rows": rows}


def _format(value: float | None) -> str:
    return "" if value is None else table.short(value)


def provenance(model: Model, name: str, **settings: Any) -> list[tuple[str, str]]:
    """Names and values of everything needed to make the phrases again."""
    versions = {
        "wae_jax": wae_jax.__version__,
        "jax": jax.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
    return [
        ("model", name),
        ("checkpoint step", str(model.step)),
        ("checkpoint digest", model.digest),
        # None: the model's own.
        *((key, printable(_spell(value))) for key, value in settings.items() if value is not None),
        *((f"version of {package}", version) for package, version in versions.items()),
        *(
            (f"config.{field}", printable(json.dumps(value, ensure_ascii=False)))
            for field, value in flatten_config(model.config.to_dict()).items()
        ),
    ]


def _spell(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
