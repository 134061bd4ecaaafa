"""The scores of a survey as text and as JSON: preferences, strengths and ratings, with intervals."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from scipy.special import expit

from wae_jax.errors import RequestError
from wae_jax.files import printable
from wae_jax.listening.survey import statistics
from wae_jax.listening.survey.results import QUESTIONS, Collection, Result, count_failed_checks
from wae_jax.listening.survey.statistics import Estimate, Summary

_FEW_LISTENERS = 10


@dataclasses.dataclass(frozen=True)
class Scores:
    """The scores of a survey."""

    collection: Collection
    counted: Sequence[Result]  # the listeners who pass the attention checks
    dropped: Sequence[Result]  # the others
    summary: Summary  # statistics of those who are counted


def score(collection: Collection, *, seed: int = 0) -> Scores:
    """Scores the results files of a survey.

    Args:
      collection: the files.
      seed: of the bootstrap.

    Raises:
      RequestError: if fewer than two listeners pass the attention checks.
    """
    counted = statistics.attentive(collection.results, collection.key)
    dropped = [result for result in collection.results if result not in counted]
    if len(counted) < 2:
        raise RequestError(
            f"{len(counted)} of {len(collection.results)} listeners count, {len(dropped)} failed the attention checks; "
            "expected at least 2 who pass, since there are no confidence intervals otherwise"
            + "".join(f"\n  skipped: {path} {reason}" for path, reason in collection.skipped)
        )
    summary = statistics.summarise(statistics.tabulate(counted, collection.key), seed=seed)
    return Scores(collection, counted, dropped, summary)


def format_scores(scores: Scores) -> str:
    """The scores as text."""
    key, skipped, summary = scores.collection.key, scores.collection.skipped, scores.summary
    names = [printable(name) for name in key.sources]
    numbers = ", ".join(map(str, key.check_numbers)) or "none"
    lines = [
        f"survey {key.survey_id}: {len(key.pairs)} pairs, of which attention checks: {numbers}",
        f"rule, stated on the first screen: {key.rule}",
        f"listeners counted: {len(scores.counted)}; dropped by the rule: {len(scores.dropped)}; "
        f"files skipped: {len(skipped)}",
        *(f"  dropped: {printable(each.path)} failed {count_failed_checks(each)} checks" for each in scores.dropped),
        *(f"  skipped: {printable(path)} {reason}" for path, reason in skipped),
        f"[ ]: {statistics.LEVEL:.0%} intervals by bootstrap over listeners, for the clips they heard",
    ]
    for block in (
        _preferences(names, summary),
        _strengths(names, summary),
        _ratings(names, summary),
        _sample_size(names, summary, len(scores.counted)),
    ):
        lines += ["", *block]
    return "\n".join(lines)


def _preferences(names: Sequence[str], summary: Summary) -> Iterator[str]:
    rows = [["preferred", "the first", "neither", "the second"]]
    for i, j in itertools.combinations(range(len(names)), 2):
        cells = ((summary.preferred, (i, j)), (summary.undecided, (i, j)), (summary.preferred, (j, i)))
        rows.append([f"{names[i]} : {names[j]}", *(_cell(estimate, index, "{:.0%}") for estimate, index in cells)])
    return _align(rows)


def _strengths(names: Sequence[str], summary: Summary) -> Iterator[str]:
    rows = [["Bradley-Terry strength", "logarithm", "preferred to an average source"]]
    for i in np.argsort(-summary.strengths.value).tolist():
        rows.append(
            [names[i], _cell(summary.strengths, (i,), "{:+.2f}"), _cell(summary.strengths, (i,), "{:.0%}", of=expit)]
        )
    return _align(rows)


def _ratings(names: Sequence[str], summary: Summary) -> Iterator[str]:
    rows = [["rated, 1 to 5", *QUESTIONS]]
    for i, name in enumerate(names):
        rows.append([name, *(_cell(summary.ratings, (i, q), "{:.2f}") for q in range(len(QUESTIONS)))])
    return _align(rows)


def _sample_size(names: Sequence[str], summary: Summary, num_listeners: int) -> Iterator[str]:
    """The differences that this number of listeners can show, and the number needed for narrow intervals."""
    pairs = list(itertools.combinations(range(len(names)), 2))
    error, (i, j) = max((float(summary.scores.error[pair]), pair) for pair in pairs)
    yield f"sample size: {num_listeners} listeners (MuseGAN's study had 144)"
    yield f"  least certain is {names[i]} : {names[j]}: its share (ties count half) has a standard error of {error:.1%}"
    if error > 0:
        share = min(0.5 + statistics.detectable_difference(error), 1)
        needed = statistics.listeners_needed(error, num_listeners)
        yield f"  4 of 5 such surveys would tell a share of {share:.0%} from one half"
        yield f"  intervals of 5% in either direction would need about {needed} such listeners"
    if num_listeners < _FEW_LISTENERS:
        yield f"  with fewer than {_FEW_LISTENERS} listeners, intervals are a little too short"
    if np.isnan(summary.strengths.low).any() or np.isnan(summary.ratings.low).any():
        yield "  [-]: all listeners agree, so there is no interval; that does not make the number certain."


def _align(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows as lines with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *cells in rows:
        padded = [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
        yield "  ".join([name.ljust(widths[0]), *padded])


def _cell(estimate: Estimate, index: tuple[int, ...], form: str, *, of: Callable[[float], float] = float) -> str:
    """An estimate and its interval, transformed by `of`."""
    value, low, high = (form.format(of(numbers[index])) for numbers in (estimate.value, estimate.low, estimate.high))
    return f"{value} [-]" if np.isnan(estimate.low[index]) else f"{value} [{low}, {high}]"


def to_json(scores: Scores) -> dict[str, Any]:
    """The scores as JSON, with None for undefined numbers; rows and columns are in the order of the sources."""
    key = scores.collection.key

    def numbers(values: Any) -> Any:
        return [numbers(each) for each in values] if isinstance(values, list) else None if np.isnan(values) else values

    return {
        "format": "wae_jax survey scores",
        "format_version": 2,
        "survey": key.survey_id,
        "sources": list(key.sources),
        "questions": list(QUESTIONS),
        "provenance": key.provenance,
        "rule": key.rule,
        "check_numbers": key.check_numbers,
        "level": statistics.LEVEL,
        "listeners": [result.listener for result in scores.counted],
        "dropped": [{"path": result.path, "failed_checks": count_failed_checks(result)} for result in scores.dropped],
        "skipped": [{"path": path, "reason": reason} for path, reason in scores.collection.skipped],
        **{
            name: {end: numbers(values.tolist()) for end, values in vars(estimate).items()}
            for name, estimate in vars(scores.summary).items()
        },
    }
