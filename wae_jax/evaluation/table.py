"""The figures of an evaluation that say most, as lines of text."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from wae_jax.evaluation.measure import PITCHED, SETS

# Metric and column; what over-fragmented music looks like comes first.
HEADLINE = (
    ("cells", "all"),
    ("qualified_note_rate", PITCHED),
    ("one_step_share", PITCHED),
    ("note_length", PITCHED),
    ("notes_per_bar", PITCHED),
    ("notes_per_bar", "Drums"),
    ("polyphony_rate", PITCHED),
    ("empty_bar_rate", PITCHED),
    ("empty_bar_rate", "Drums"),
    ("drum_pattern", "all"),
    ("in_scale_share", PITCHED),
    ("tonal_distance", "Piano-Bass"),
)
DISTRIBUTION_METRICS = ("precision", "recall", "density", "coverage", "frechet_distance")
# Differences of up to so many medians of what halves of real music differ by are called small.
SMALL = 2.0


class Figure(NamedTuple):
    """A figure of one set.

    Attributes:
      value: its mean.
      low: end of its interval; NaN where it has none.
      high: the other end.
      floor: by how much halves of real music differ in it; NaN where that is not known.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    floor: float = math.nan


def figures(evaluation: Mapping[str, Any]) -> dict[str, dict[str, Figure]]:
    """The headline of an evaluation: by name of the figure, by set.

    Args:
      evaluation: as read from evaluation.json, where what is undefined is None.
    """
    rows: dict[str, dict[str, Figure]] = {}
    for metric, column in HEADLINE:
        entry = evaluation["music"][metric]
        i = entry["columns"].index(column)
        floor = _number(entry["floor"]["median"][i])
        of_sets = rows.setdefault(metric if column == "all" else f"{metric}, {column}", {})
        for name, of_set in entry["sets"].items():
            mean, low, high = (_number(of_set[key][i]) for key in ("mean", "low", "high"))
            of_sets[name] = Figure(mean, low, high, floor)
    for figure in DISTRIBUTION_METRICS:
        rows[figure] = {
            name: Figure(_number(of_set[figure])) for name, of_set in evaluation["distribution"]["sets"].items()
        }
    if copies := evaluation.get("copies"):
        rows["near copies"] = {name: Figure(_number(of_set["copy_share"])) for name, of_set in copies["sets"].items()}
    for name, value in evaluation.get("reconstruction", {}).items():
        rows[f"reconstruction {name}"] = {"reconstructed": Figure(_number(value))}
    if codes := evaluation.get("codes"):
        rows["MMD² of codes"] = {"held_out": Figure(_number(codes["mmd"]["statistic"]))}
        rows["p-value of it"] = {"held_out": Figure(_number(codes["mmd"]["p_value"]))}
        rows["active dimensions"] = {"held_out": Figure(_number(codes["active"]["number"]))}
        for name, value in codes.get("log_density", {}).items():
            rows[f"log-density of codes, {name}"] = {"held_out": Figure(_number(value))}
    return rows


def format_table(evaluation: Mapping[str, Any]) -> str:
    """The headline as a table: one line a figure, one column a set; `*` where a set is far from held-out music."""
    rows = figures(evaluation)
    names = [name for name in SETS if name in evaluation["sets"]]
    width = max(map(len, rows))
    lines = [" " * width + "".join(f"{name.replace('_', '-'):>16}" for name in names) + f"{'floor':>10}"]
    for label, of_sets in rows.items():
        cells = (_cell(of_sets.get(name), of_sets.get("held_out")) for name in names)
        floor = next(iter(of_sets.values())).floor
        lines.append(f"{label:{width}}" + "".join(cells) + (f"{short(floor):>10}" if not math.isnan(floor) else ""))
    lines.append("")
    lines.extend(_remarks(evaluation))
    return "\n".join(lines)


def _remarks(evaluation: Mapping[str, Any]) -> Iterator[str]:
    yield f"*  differs from held-out music by more than {SMALL:g} floors, the median difference of halves of it"
    if compat := evaluation.get("music_compat"):
        yield f"\nas the program of {evaluation['provenance']['compat']} reads them, slips included (means):"
        for metric, entry in compat.items():
            for i, column in enumerate(entry["columns"]):
                means = ", ".join(
                    f"{name} {short(_number(of_set['mean'][i]))}" for name, of_set in entry["sets"].items()
                )
                yield f"{metric}, {column}: {means}"


def _cell(figure: Figure | None, real: Figure | None) -> str:
    if figure is None or math.isnan(figure.value):
        return f"{'':>16}"
    return f"{short(figure.value):>15}" + ("*" if is_far(figure, real) else " ")


def is_far(figure: Figure, real: Figure | None) -> bool:
    """Whether a figure differs from that of real music by more than `SMALL` floors."""
    return real is not None and abs(figure.value - real.value) > SMALL * figure.floor


def short(value: float) -> str:
    """The value in four digits or so."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}" if abs(value) >= 10 else f"{value:.3f}"


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
