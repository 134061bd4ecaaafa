"""evaluation.json, written, read and checked, and its most telling metrics as values and as lines of text."""

from __future__ import annotations

import json
import math
import pathlib
import shlex
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from wae_jax.config import format_per_track
from wae_jax.errors import CompareError
from wae_jax.evaluation.measure import DISTRIBUTION_METRICS, PITCHED, SETS
from wae_jax.files import parse_json, whole_file
from wae_jax.programs import how_to_run

RESULT_FILE = "evaluation.json"
FORMAT = "wae_jax evaluation"
FORMAT_VERSION = 2


def write_evaluation(folder: pathlib.Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """Writes evaluation.json; returns its content as `read_evaluation` would."""
    plain = to_json({"format": FORMAT, "format_version": FORMAT_VERSION, **content})
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / RESULT_FILE) as part:
        part.write_text(json.dumps(plain, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return plain


def to_json(value: Any) -> Any:
    """The value in JSON's types: lists for arrays, None for numbers that are not finite."""
    if isinstance(value, Mapping):
        return {str(name): to_json(each) for name, each in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [to_json(each) for each in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_evaluation(folder: pathlib.Path) -> dict[str, Any]:
    """The evaluation in a workdir, or a folder that --output named; raises CompareError if it cannot be used."""
    candidates = [folder / "evaluation" / RESULT_FILE, folder / RESULT_FILE]
    path = next((path for path in candidates if path.is_file()), None)
    if path is None:
        raise CompareError(
            f"{folder} has not been evaluated: there is no {candidates[0]}; "
            f"run {how_to_run('evaluate')} --workdir {shlex.quote(str(folder))}"
        )
    try:
        content = parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CompareError(f"{path} cannot be read: {error}; evaluate the run again") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CompareError(f"{path} is not an evaluation; evaluate the run again")
    if (version := content.get("format_version")) != FORMAT_VERSION:
        raise CompareError(
            f"{path} has version {version} of its format, and this program reads version {FORMAT_VERSION}; evaluate "
            "the run again"
        )
    try:
        rows, provenance = headline(content), content["provenance"]
        config, rule = provenance.get("config", {}), provenance.get("binarization", {})
        if not all(isinstance(each, dict) for each in (content["sets"], config, rule)):
            raise ValueError("a group of fields is missing")
        if type(config.get("seed", 0)) is not int or not all(rows.values()):
            raise ValueError("a seed or a metric is missing")
        format_rule(rule)
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise CompareError(f"{path} is damaged ({type(error).__name__}: {error}); evaluate the run again") from error
    return content


def format_rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a binarization rule in evaluation.json, numbers for each track as text."""
    return {
        name: format_per_track(tuple(map(float, value))) if isinstance(value, list) else value
        for name, value in rule.items()
    }


# Metric and column, fragmentation first.
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
# Differences of up to this many floors count as small.
SMALL = 2.0


class Value(NamedTuple):
    """A metric of one set."""

    mean: float  # over the set
    low: float = math.nan  # lower end of its interval; NaN where it has none
    high: float = math.nan
    floor: float = math.nan  # median difference between halves of real music; NaN where unknown


def headline(evaluation: Mapping[str, Any]) -> dict[str, dict[str, Value]]:
    """The headline metrics of the content of evaluation.json: by metric, by set."""
    rows: dict[str, dict[str, Value]] = {}
    for metric, column in HEADLINE:
        entry = evaluation["music"][metric]
        i = entry["columns"].index(column)
        floor = _number(entry["floor"]["median"][i])
        rows[metric if column == "all" else f"{metric}, {column}"] = {
            name: Value(_number(of_set["mean"][i]), _number(of_set["low"][i]), _number(of_set["high"][i]), floor)
            for name, of_set in entry["sets"].items()
        }
    for metric in DISTRIBUTION_METRICS:
        rows[metric] = {
            name: Value(_number(of_set[metric])) for name, of_set in evaluation["distribution"]["sets"].items()
        }
    if copies := evaluation.get("copies"):
        rows["near copies"] = {name: Value(_number(of_set["copy_share"])) for name, of_set in copies["sets"].items()}
    for name, value in evaluation.get("reconstruction", {}).items():
        rows[f"reconstruction {name}"] = {"reconstructed": Value(_number(value))}
    if codes := evaluation.get("codes"):
        rows["MMD² of codes"] = {"held_out": Value(_number(codes["mmd"]["statistic"]))}
        rows["p-value of MMD²"] = {"held_out": Value(_number(codes["mmd"]["p_value"]))}
        rows["active dimensions"] = {"held_out": Value(_number(codes["active"]["number"]))}
        if "intrinsic_dimension" in codes:  # evaluations of before lack it
            rows["intrinsic dimension of codes"] = {"held_out": Value(_number(codes["intrinsic_dimension"]))}
        for quantity, key in (("log-density of codes", "log_density"), ("D_JS of codes and samples", "jensen_shannon")):
            for name, value in codes.get(key, {}).items():
                rows[f"{quantity}, {name.replace('_', ' ')}"] = {"held_out": Value(_number(value))}
    return rows


def format_table(evaluation: Mapping[str, Any]) -> str:
    """The headline as text: one line a metric, one column a set; `*` where a set is far from held-out music."""
    rows = headline(evaluation)
    names = [name for name in SETS if name in evaluation["sets"]]
    width = max(map(len, rows))
    lines = [" " * width + "".join(f"{name.replace('_', '-'):>16}" for name in names) + f"{'floor':>10}"]
    for label, of_sets in rows.items():
        cells = (_cell(of_sets.get(name), of_sets.get("held_out")) for name in names)
        floor = next(iter(of_sets.values())).floor
        lines.append(f"{label:{width}}" + "".join(cells) + f"{short(floor):>10}".rstrip())
    return "\n".join([*lines, "", *_remarks(evaluation)])


def _remarks(evaluation: Mapping[str, Any]) -> Iterator[str]:
    yield f"*  differs from held-out music by more than {SMALL:g} floors, the median difference of halves of it"
    if compat := evaluation.get("music_compat"):
        yield f"\nas the code of {evaluation['provenance']['compat']} computes them, errors included (means):"
        for metric, entry in compat.items():
            for i, column in enumerate(entry["columns"]):
                means = ", ".join(
                    f"{name} {short(_number(of_set['mean'][i]))}" for name, of_set in entry["sets"].items()
                )
                yield f"{metric}, {column}: {means}"


def _cell(value: Value | None, real: Value | None) -> str:
    if value is None or math.isnan(value.mean):
        return f"{'':>16}"
    return f"{short(value.mean):>15}" + ("*" if is_far(value, real) else " ")


def is_far(value: Value, real: Value | None) -> bool:
    """Whether a metric differs from that of real music by more than `SMALL` floors."""
    return real is not None and abs(value.mean - real.mean) > SMALL * value.floor


def short(value: float) -> str:
    """The value in three or four digits; nothing for NaN."""
    if math.isnan(value):
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}" if abs(value) >= 10 else f"{value:.3f}"


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
