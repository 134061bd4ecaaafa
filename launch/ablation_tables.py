"""Tables of ablations in Markdown, made of the records of runs: pure functions of records and names of arms."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.stats
from sweep_records import Record, evaluation_name
from sweep_runs import SweepError

from wae_jax.metrics import intervals

BASELINE = "baseline"
_LEVEL = 0.05  # of significance, for all arms of a column together


@dataclasses.dataclass(frozen=True)
class Column:
    """A column: its heading, and where its values are in a record."""

    heading: str
    metric: str = ""  # of the record's metrics
    fact: str = ""  # or of its facts: the median of the runs, without an interval


COLUMNS: Mapping[str, Column] = {
    "f1": Column("F1", "reconstructed/reconstruction f1"),
    "reconstructions": Column("coverage of reconstructions", "reconstructed/coverage"),
    "precision": Column("precision", "generated/precision"),
    "recall": Column("recall", "generated/recall"),
    "coverage": Column("coverage", "generated/coverage"),
    "frechet": Column("Fréchet", "generated/frechet_distance"),
    "copies": Column("near copies", "generated/near copies"),
    "qualified": Column("qualified notes", "generated/qualified_note_rate, Pitched"),
    "empty_bars": Column("empty bars", "generated/empty_bar_rate, Pitched"),
    "notes": Column("notes a bar", "generated/notes_per_bar, Pitched"),
    "in_scale": Column("in scale", "generated/in_scale_share, Pitched"),
    "mmd": Column("MMD² of codes", "held_out/MMD² of codes"),
    "jensen_shannon": Column("D_JS of codes", "held_out/D_JS of codes and samples, normal"),
    "dimension": Column("intrinsic dimension", "held_out/intrinsic dimension of codes"),
    "parameters": Column("parameters", fact="num_parameters"),
    "seconds": Column("seconds", fact="train_seconds"),
}


@dataclasses.dataclass(frozen=True)
class Arm:
    """A row: how it is called, the run that it is, and the flags of its evaluation."""

    name: str
    run: str
    flags: tuple[str, ...] = ()


def table(arms: Sequence[Arm], records: Sequence[Record], *, columns: Sequence[str], evaluation: str) -> str:
    """A table with a row for each arm; the name of the baseline is bold.

    Cells are means over seeds with Student's t intervals of 95 %; a star marks a difference from the baseline, seed by
    seed, that Holm's correction for all arms of the column leaves significant at 5 %.

    Args:
      arms: of the table; those without a run are left out.
      records: of one protocol and one dataset.
      columns: names of `COLUMNS`.
      evaluation: flags that all evaluations have, such as "split=test".

    Raises:
      SweepError: if the baseline has not been run, or a column is unknown.
    """
    if unknown := [name for name in columns if name not in COLUMNS]:
        raise SweepError(f"there is no column {unknown[0]!r}; expected some of {', '.join(COLUMNS)}")
    baseline = _runs(Arm(BASELINE, BASELINE), records, evaluation)
    if not baseline:
        raise SweepError(f"the baseline has no evaluation {evaluation!r}; run it first")
    runs = {arm.name: found for arm in arms if (found := _runs(arm, records, evaluation))}
    rows = {name: [_cell(COLUMNS[column], found) for column in columns] for name, found in runs.items()}
    for i, column in enumerate(columns):
        for name in _significant(COLUMNS[column], baseline, runs):
            rows[name][i] += "\\*"
    headings = [COLUMNS[name].heading for name in columns]
    lines = [f"| | seeds | {' | '.join(headings)} |", "|---" * (len(columns) + 2) + "|"]
    for name, cells in rows.items():
        bold = "**" if runs[name] == baseline else ""
        lines.append(f"| {bold}{_label(name)}{bold} | {len(runs[name])} | {' | '.join(cells)} |")
    music = [_music(COLUMNS[column], next(iter(baseline.values()))) for column in columns]
    if any(music):
        lines.append(f"| *training music* | | {' | '.join(music)} |")
    if missing := [_label(arm.name) for arm in arms if arm.name not in runs]:
        lines += ["", f"Not run: {', '.join(missing)}."]
    return "\n".join(lines)


def has_runs(arm: Arm, records: Sequence[Record], evaluation: str) -> bool:
    """Whether an arm has been run and evaluated so."""
    return bool(_runs(arm, records, evaluation))


def cell(arm: Arm, records: Sequence[Record], *, column: str, evaluation: str) -> str:
    """One cell of `table`: for sentences."""
    return _cell(COLUMNS[column], _needed_runs(arm, records, evaluation))


def songs_interval(arm: Arm, records: Sequence[Record], *, metric: str, evaluation: str) -> str:
    """The interval over songs of "recall" or "coverage" of samples, its ends averaged over seeds."""
    runs = _needed_runs(arm, records, evaluation)
    ends = [each.intervals[f"generated/{metric}"] for each in runs.values()]
    low, high = np.mean(ends, axis=0)
    return f"[{_short(low)}, {_short(high)}]"


def mean(arm: Arm, records: Sequence[Record], *, column: str, evaluation: str) -> float:
    """The mean of a metric over the seeds of an arm; NaN without a run."""
    values = [_value(COLUMNS[column], record) for record in _runs(arm, records, evaluation).values()]
    return statistics.fmean(values) if values else math.nan


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Adjusted p-values by the step-down method of Holm (Scandinavian Journal of Statistics 6, 1979)."""
    adjusted, largest = {}, 0.0
    for rank, name in enumerate(sorted(p_values, key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[name]))
        adjusted[name] = largest
    return adjusted


def describe_runs(records: Sequence[Record]) -> dict[str, Any]:
    """What the runs of a protocol have in common, for the text above its tables.

    Returns:
      data, digest, commits, processors, seeds; number of runs, median seconds of a training, and hours of them all.
    """
    runs = {(record.arm, record.seed): record for record in records}
    train = [record.facts["train_seconds"] for record in runs.values()]
    evaluate = [record.facts["evaluation_seconds"] for record in records]
    return {
        "data": records[0].data,
        "digest": records[0].data_digest[:12],
        "commits": _listed(record.facts["commit"] for record in records),
        "processors": _listed(record.facts["processor"] for record in records),
        "seeds": _listed(str(record.seed) for record in records),
        "runs": len(runs),
        "seconds": f"{statistics.median(train):.0f}",
        "hours": f"{(sum(train) + sum(evaluate)) / 3600:.1f}",
    }


def _listed(values: Any) -> str:
    return ", ".join(sorted(set(values)))


def _runs(arm: Arm, records: Sequence[Record], evaluation: str) -> dict[int, Record]:
    """The records of an arm by seed."""
    flags = [flag.removeprefix("--") for flag in arm.flags] + evaluation.split(",")
    wanted = evaluation_name(filter(None, flags))
    return {record.seed: record for record in records if (record.arm, record.evaluation) == (arm.run, wanted)}


def _needed_runs(arm: Arm, records: Sequence[Record], evaluation: str) -> dict[int, Record]:
    """The records of an arm that a text names; raises SweepError if there are none."""
    found = _runs(arm, records, evaluation)
    if not found:
        raise SweepError(f"{arm.name} has no evaluation {evaluation!r}; run it, or leave it out of the text")
    return found


def _value(column: Column, record: Record) -> float:
    value = record.facts.get(column.fact) if column.fact else record.metrics.get(column.metric)
    return math.nan if value is None else float(value)


def _cell(column: Column, runs: Mapping[int, Record]) -> str:
    values = np.array([[_value(column, record)] for record in runs.values()])
    if np.isnan(values).all():
        return ""
    if column.fact:
        return f"{np.nanmedian(values):,.0f}"
    interval = intervals.paired_difference(values)
    low, high = interval.low[0], interval.high[0]
    return _short(interval.mean[0]) + ("" if np.isnan(low) else f" [{_short(low)}, {_short(high)}]")


def _short(value: float) -> str:
    """Three decimals without the leading zero, or fewer for larger numbers."""
    digits = 3 if abs(value) < 2 else 2 if abs(value) < 10 else 1
    text = f"{value:.{digits}f}"
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text


def _significant(column: Column, baseline: Mapping[int, Record], runs: Mapping[str, Mapping[int, Record]]) -> list[str]:
    """The arms that differ from the baseline."""
    if column.fact:
        return []
    p_values = {}
    for name, of_arm in runs.items():
        differences = [
            _value(column, of_arm[seed]) - _value(column, baseline[seed]) for seed in of_arm if seed in baseline
        ]
        if len(differences) > 1 and np.ptp(differences) > 0:
            p_values[name] = float(scipy.stats.ttest_1samp(differences, 0).pvalue)
    return [name for name, p_value in holm(p_values).items() if p_value < _LEVEL]


def _music(column: Column, record: Record) -> str:
    """The value of training music, where samples have one."""
    value = (
        record.metrics.get(column.metric.replace("generated/", "training/")) if "generated/" in column.metric else None
    )
    return "" if value is None else _short(value)


def _label(name: str) -> str:
    """The settings of an arm as code, so that they can be given to the sweep."""
    return f"`{name}`"
