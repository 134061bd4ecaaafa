"""Evaluated runs side by side: the mean of each arm over its seeds, and its difference from the first arm.

Runs whose configurations differ only in the seed, the path of their data and how they are computed are one arm, if
their samples were made alike: by the same requested binarization rule, from the normal or a learned prior. Differences
are taken seed by seed, since the seed decides the initial weights and the batches of both runs; their intervals are
Student's t, and there is none for a single seed.
"""

from __future__ import annotations

import collections
import fnmatch
import json
import math
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from wae_jax.config import flatten_config
from wae_jax.errors import CompareError
from wae_jax.evaluation.table import format_rule, headline, read_evaluation, short
from wae_jax.files import printable
from wae_jax.metrics import intervals
from wae_jax.training.workdir import FREE_FIELDS

# Fields in which runs of one arm may differ. The number of steps is not among them. The rule of the configuration may
# differ too: what counts is the rule of the evaluation.
_FREE = ("seed", "data.path", "binarization.*", *(name for name in FREE_FIELDS if not name.startswith("num_")))

Metrics = Mapping[str, float]


def compare(folders: Sequence[pathlib.Path]) -> str:
    """A table of evaluated runs, in Markdown; other arms are compared with the arm of the first.

    Returns:
      One row a metric, of the generated set where it has the metric, one column an arm: the mean of the first with its
      interval, and those of the others with `(difference [low, high])`. The first column is held-out music.

    Raises:
      CompareError: if a run has not been evaluated, or they were evaluated on different held-out music.
    """
    evaluations = {folder: read_evaluation(folder) for folder in folders}
    _check_same_music(evaluations)
    fields = {folder: _arm_fields(each["provenance"]) for folder, each in evaluations.items()}
    arms: dict[str, list[pathlib.Path]] = collections.defaultdict(list)
    for folder, of_run in fields.items():
        arms[json.dumps(of_run, sort_keys=True)].append(folder)
    by_seed = []
    for of_arm in arms.values():
        by_seed.append({_seed(evaluations[each]): _one_value_each(evaluations[each]) for each in of_arm})
        if len(by_seed[-1]) < len(of_arm):
            raise CompareError(f"{' and '.join(map(str, of_arm))} are runs of one arm and one seed; name one of them")
    names = _arm_names([fields[of_arm[0]] for of_arm in arms.values()])
    first = headline(next(iter(evaluations.values())))
    real = {name: sets["held_out"].mean for name, sets in first.items() if {"generated", "held_out"} <= sets.keys()}
    lines = [
        f"| | held-out | {' | '.join(names)} |",
        "|---" * (len(names) + 2) + "|",
        f"| seeds | | {' | '.join(str(len(seeds)) for seeds in by_seed)} |",
    ]
    for label in next(iter(by_seed[0].values())):
        cells = [_cell(label, by_seed[0], seeds, is_first=seeds is by_seed[0]) for seeds in by_seed]
        lines.append(f"| {label} | {short(real.get(label, math.nan))} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _check_same_music(evaluations: Mapping[pathlib.Path, Mapping[str, Any]]) -> None:
    """Refuses evaluations that differ in held-out music, in number of phrases or in how metrics are computed."""
    for field in ("data_digest", "split", "num", "compat"):
        values = {str(folder): repr(each["provenance"].get(field)) for folder, each in evaluations.items()}
        if len(set(values.values())) > 1:
            listed = ", ".join(f"{folder} has {value}" for folder, value in values.items())
            raise CompareError(f"the runs were evaluated with different {field}: {listed}; evaluate them alike")


def _arm_fields(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that define an arm: of the configuration, or the phrases' file, and how samples were made."""
    config = flatten_config(provenance.get("config", {}))
    fields = {
        name: value
        for name, value in config.items()
        if not any(fnmatch.fnmatchcase(name, pattern) for pattern in _FREE)
    }
    sampling = {name: provenance[name] for name in ("phrases", "prior") if name in provenance}
    rule = format_rule(provenance.get("binarization", {}))
    return fields | sampling | {f"binarization.{name}": value for name, value in rule.items()}


def _arm_names(arms: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of arms: the fields in which they differ, each with the arm's value."""
    fields = sorted({name for arm in arms for name in arm})
    differing = [name for name in fields if len({json.dumps(arm.get(name)) for arm in arms}) > 1]
    last = [name.rpartition(".")[2] for name in differing]
    # The last part where it is unique: both optimizers have a learning rate.
    shown = {name: word if last.count(word) == 1 else name for name, word in zip(differing, last, strict=True)}
    named = [", ".join(f"{shown[name]}={arm[name]}" for name in differing if name in arm) or "all" for arm in arms]
    # The name of a file of phrases may hold anything.
    return [printable(name).replace("|", r"\|") for name in named]


def _seed(evaluation: Mapping[str, Any]) -> int:
    return evaluation["provenance"].get("config", {}).get("seed", 0)


def _one_value_each(evaluation: Mapping[str, Any]) -> dict[str, float]:
    values = {}
    for label, of_sets in headline(evaluation).items():
        found = [of_sets[name].mean for name in ("generated", "reconstructed", "held_out") if name in of_sets]
        values[label] = found[0] if found else math.nan
    return values


def _cell(label: str, baseline: Mapping[int, Metrics], arm: Mapping[int, Metrics], *, is_first: bool) -> str:
    values = np.array([[each.get(label, math.nan)] for each in arm.values()])
    value = float(np.mean(values))
    if math.isnan(value):
        return short(value)
    if is_first:
        # Student's t over seeds; a difference from 0 is the value itself.
        return short(value) + _ends(intervals.paired_difference(values), short)
    shared = [seed for seed in arm if seed in baseline]
    if not shared:
        return f"{short(value)} (no seed in common)"
    differences = [[arm[seed].get(label, math.nan) - baseline[seed].get(label, math.nan)] for seed in shared]
    interval = intervals.paired_difference(np.array(differences))
    if np.isnan(interval.mean[0]):  # the first arm has no such metric
        return short(value)
    return f"{short(value)} ({_signed(interval.mean[0])}{_ends(interval, _signed)})"


def _ends(interval: intervals.Interval, spell: Callable[[float], str]) -> str:
    """The ends of an interval in brackets; nothing for a single seed, which has none."""
    low, high = interval.low[0], interval.high[0]
    return "" if np.isnan(low) else f" [{spell(low)}, {spell(high)}]"


def _signed(value: float) -> str:
    return f"{'-' if value < 0 else '+'}{short(abs(value))}"
