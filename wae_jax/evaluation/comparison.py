"""Evaluated runs side by side: the mean of each arm over its seeds, and how it differs from the first arm.

Runs whose configurations differ in nothing but the seed, the place of their data and how they are computed are one arm,
if their cells were decided alike (`--binarize`, `--threshold`, ...): hard against Bernoulli are two arms of one run.
Differences are taken seed by seed, since the seed decides the first weights and the batches of both runs; their
intervals are Student's, and there is none for a single seed.
"""

from __future__ import annotations

import collections
import fnmatch
import json
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wae_jax.config import flatten_config
from wae_jax.errors import CompareError
from wae_jax.evaluation.table import Figure, figures, short
from wae_jax.metrics import intervals
from wae_jax.training.workdir import FREE_FIELDS

# What does not make another arm of a run. Its length does.
_NOT_THE_ARM = (
    "seed",
    "data.path",
    "rule.*",  # what the evaluation was told counts
    *(pattern for pattern in FREE_FIELDS if not pattern.startswith("num_")),
)

# How codes were drawn and cells decided by evaluations of before there was more than the prior and a threshold.
_PLAIN: Mapping[str, Any] = {
    "hysteresis_ratio": 1.0,
    "min_note_length": 1,
    "short_note_thresholds": "none",
    "track_gates": "none",
    "latent": "prior",
    "components": None,
}


def read_evaluation(folder: pathlib.Path, file_name: str) -> dict[str, Any]:
    """The evaluation of a work folder, or of a folder that --output named.

    Raises:
      CompareError: if there is none, or it is something else.
    """
    places = [folder / "evaluation" / file_name, folder / file_name]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise CompareError(
            f"{folder} has not been evaluated: there is no {places[0]}; "
            f"run python -m wae_jax.evaluate --workdir {folder}"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CompareError(f"{path} cannot be read: {error}; evaluate the run again") from error
    if not isinstance(content, dict) or content.get("format") != "wae_jax evaluation":
        raise CompareError(f"{path} is no evaluation; evaluate the run again")
    return content


def compare(folders: Sequence[pathlib.Path], file_name: str) -> str:
    """The table of some runs.

    Args:
      folders: work folders that have been evaluated; the arm of the first is what others are compared with.
      file_name: of the evaluation in them.

    Returns:
      Lines of Markdown: one row a figure of the generated set (of the reconstructed one for figures of reconstruction),
      one column an arm, with its mean and, from the second arm on, `(difference [low, high])`. The column before them
      has the figure of held-out music.

    Raises:
      CompareError: if a run has not been evaluated, or they were evaluated on different held-out music.
    """
    evaluations = {folder: read_evaluation(folder, file_name) for folder in folders}
    _check_same_music(evaluations)
    configs = {folder: _arm_fields(each["provenance"]) for folder, each in evaluations.items()}
    arms: dict[str, list[pathlib.Path]] = collections.defaultdict(list)
    for folder, fields in configs.items():
        arms[json.dumps(fields, sort_keys=True)].append(folder)
    names = _name_arms([configs[of_arm[0]] for of_arm in arms.values()])
    by_seed = [{_seed(evaluations[each]): _flat(evaluations[each]) for each in of_arm} for of_arm in arms.values()]
    for of_arm, seeds in zip(arms.values(), by_seed, strict=True):
        if len(seeds) < len(of_arm):
            raise CompareError(f"{' and '.join(map(str, of_arm))} are runs of one arm and one seed; name one of them")
    real = _held_out(next(iter(evaluations.values())))
    lines = [
        f"| | held-out | {' | '.join(names)} |",
        "|---" * (len(names) + 2) + "|",
        f"| seeds | | {' | '.join(str(len(seeds)) for seeds in by_seed)} |",
    ]
    for label in next(iter(by_seed[0].values())):
        cells = [_cell(label, by_seed[0], seeds, is_first=seeds is by_seed[0]) for seeds in by_seed]
        lines.append(f"| {label} | {short(real[label]) if label in real else ''} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _check_same_music(evaluations: Mapping[pathlib.Path, Mapping[str, Any]]) -> None:
    """Figures that differ in what they are compared with, or in how they are read, are not comparable."""
    for field in ("data_digest", "split", "num", "compat"):
        values = {str(folder): each["provenance"].get(field) for folder, each in evaluations.items()}
        if len(set(values.values())) > 1:
            told = ", ".join(f"{folder} has {value!r}" for folder, value in values.items())
            raise CompareError(f"the runs were evaluated with different {field}: {told}; evaluate them alike")


def _arm_fields(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """What makes an arm: the fields of its configuration, or whose phrases they are, and how cells were decided."""
    fields = {
        name: value
        for name, value in flatten_config(provenance.get("config", {})).items()
        if not any(fnmatch.fnmatchcase(name, pattern) for pattern in _NOT_THE_ARM)
    }
    flags = {**_PLAIN, **provenance} if "binarize" in provenance else provenance
    return fields | {name: flags[name] for name in ("phrases", "binarize", "threshold", *_PLAIN) if name in flags}


def _name_arms(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is special about each arm, in its own fields."""
    fields = sorted({name for config in configs for name in config})
    differing = [name for name in fields if len({json.dumps(config.get(name)) for config in configs}) > 1]
    last = [name.rpartition(".")[2] for name in differing]
    # Both optimisers have a learning rate.
    shown = {name: word if last.count(word) == 1 else name for name, word in zip(differing, last, strict=True)}
    return [
        ", ".join(f"{shown[name]}={config[name]}" for name in differing if name in config) or "all"
        for config in configs
    ]


def _seed(evaluation: Mapping[str, Any]) -> int:
    return evaluation["provenance"].get("config", {}).get("seed", 0)


def _flat(evaluation: Mapping[str, Any]) -> dict[str, float]:
    """One value a figure: that of the set which the figure is about."""

    def value(of_sets: Mapping[str, Figure]) -> float:
        for name in ("generated", "reconstructed", "held_out"):
            if name in of_sets:
                return of_sets[name].value
        return math.nan

    return {label: value(of_sets) for label, of_sets in figures(evaluation).items()}


def _held_out(evaluation: Mapping[str, Any]) -> dict[str, float]:
    """What held-out music has of the figures of generated music."""
    both = {"generated", "held_out"}
    return {
        label: of_sets["held_out"].value for label, of_sets in figures(evaluation).items() if both <= of_sets.keys()
    }


def _cell(
    label: str, baseline: Mapping[int, Mapping[str, float]], arm: Mapping[int, Mapping[str, float]], *, is_first: bool
) -> str:
    value = float(np.mean([each.get(label, math.nan) for each in arm.values()]))
    if math.isnan(value):
        return ""
    mean = short(value)
    if is_first:
        return mean
    shared = [seed for seed in arm if seed in baseline]
    if not shared:
        return f"{mean} (no seed in common)"
    differences = [[arm[seed].get(label, math.nan) - baseline[seed].get(label, math.nan)] for seed in shared]
    interval = intervals.paired_difference(np.array(differences))
    if np.isnan(interval.mean[0]):  # the first arm has no such figure
        return mean
    low, high = interval.low[0], interval.high[0]
    ends = "" if np.isnan(low) else f" [{_signed(low)}, {_signed(high)}]"
    return f"{mean} ({_signed(interval.mean[0])}{ends})"


def _signed(value: float) -> str:
    return f"{'-' if value < 0 else '+'}{short(abs(value))}"
