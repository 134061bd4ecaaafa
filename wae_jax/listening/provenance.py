"""The figures on a listening page, and where its phrases come from."""

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
from wae_jax.evaluation import table
from wae_jax.generation.model import Model
from wae_jax.listening.document import Table

_DATA_NAMES = {"eval": "validation data", "eval_train": "training data", "samples": "samples", "held_out": "held-out"}


def tables_of_run(workdir: pathlib.Path) -> list[Table]:
    """What a run's last evaluation and `python -m wae_jax.evaluate` found, as far as they have been run."""
    return [*_metrics(workdir), *_evaluation(workdir)]


def _metrics(workdir: pathlib.Path) -> Iterator[Table]:
    """The figures of the run's last evaluation, one column a set of phrases; nothing where there has been none."""
    file = workdir / "metrics.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    for line in reversed(lines):
        row = json.loads(line)
        found = [name.split("/", 1) for name in row if name.split("/", 1)[0] in _DATA_NAMES]
        if not found:
            continue
        sets = [name for name in _DATA_NAMES if any(of == name for of, _ in found)]
        metrics = dict.fromkeys(metric for _, metric in found)
        rows = [[metric, *(_short(row.get(f"{of}/{metric}")) for of in sets)] for metric in metrics]
        yield Table(f"Last evaluation in training, step {row['step']}", ["", *(_DATA_NAMES[of] for of in sets)], rows)
        return


def _evaluation(workdir: pathlib.Path) -> Iterator[Table]:
    """The headline of `python -m wae_jax.evaluate`, if it has been run."""
    file = workdir / "evaluation" / "evaluation.json"
    if not file.is_file():
        return
    content = json.loads(file.read_text(encoding="utf-8"))
    names = list(content["sets"])
    rows = [
        [label, *(_short(of_sets[name].mean) if name in of_sets else "" for name in names)]
        for label, of_sets in table.headline(content).items()
    ]
    step = content["provenance"].get("checkpoint_step", "unknown")
    yield Table(f"Evaluation of step {step}", ["", *(name.replace("_", "-") for name in names)], rows)


def _short(value: float | None) -> str:
    return "" if value is None or np.isnan(value) else table.short(value)


def provenance(run: Model, name: str, **choice: Any) -> list[tuple[str, str]]:
    """What it takes to make the phrases again."""
    versions = {"wae_jax": wae_jax.__version__, "jax": jax.__version__, "numpy": np.__version__}
    fields = flatten_config(run.config.to_dict())
    return [
        *([("run", name)] if name else []),
        ("checkpoint step", str(run.step)),
        ("checkpoint digest", run.digest),
        *((key, str(value)) for key, value in choice.items()),
        *((f"version of {package}", version) for package, version in versions.items()),
        ("version of python", platform.python_version()),
        *((f"config.{field}", json.dumps(value, ensure_ascii=False)) for field, value in fields.items()),
    ]
