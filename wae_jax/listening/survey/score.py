"""What the listeners of a survey said: preferences, strengths and ratings, with intervals.

    python -m wae_jax.listen score results/*.json

The files are those that the survey's page saved; they hold the answer key, so nothing else is needed. A file that is
damaged, incomplete, of another survey or by a listener who handed in a later one is left out, and the output says why.
Then those are dropped who fail the attention checks, by the rule that the page's first screen states.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from scipy.special import expit

from wae_jax.errors import RequestError
from wae_jax.files import whole_file
from wae_jax.listening.survey import statistics
from wae_jax.listening.survey.results import QUESTIONS, Collection, Result, collect, failed_checks
from wae_jax.listening.survey.statistics import Estimate, Summary

_FEW_LISTENERS = 10


def score(collection: Collection, *, seed: int = 0) -> tuple[list[Result], Summary]:
    """The listeners who count, and what they said.

    Args:
      collection: the files of a survey.
      seed: of the draws of listeners that intervals come from.

    Raises:
      RequestError: if fewer than two listeners pass the attention checks.
    """
    kept = statistics.attentive(collection.results, collection.key)
    if len(kept) < 2:
        dropped = len(collection.results) - len(kept)
        raise RequestError(
            f"{len(kept)} of {len(collection.results)} listeners count, {dropped} failed the attention checks; "
            "expected at least 2 who pass, or there is no telling how sure the figures are"
            + "".join(f"\n  skipped: {path} {reason}" for path, reason in collection.skipped)
        )
    return kept, statistics.summarise(statistics.tabulate(kept, collection.key), seed=seed)


def format_scores(collection: Collection, kept: Sequence[Result], summary: Summary) -> str:
    """The statistics as text."""
    key = collection.key
    dropped = [result for result in collection.results if result not in kept]
    skipped = collection.skipped
    places = ", ".join(map(str, key.check_places)) or "none"
    return "\n".join(
        [
            f"survey {key.survey()}: {len(key.pairs)} pairs, attention checks at {places}",
            f"rule, stated on the first screen: {key.rule}",
            f"listeners counted: {len(kept)}; dropped by the rule: {len(dropped)}; files skipped: {len(skipped)}",
            *(f"  dropped: {result.path} failed {failed_checks(result)} checks" for result in dropped),
            *(f"  skipped: {path} {reason}" for path, reason in skipped),
            f"[ ]: {statistics.LEVEL:.0%} intervals by drawing listeners again, for the clips they heard",
            "",
            *_preferences(key.sources, summary),
            "",
            *_strengths(key.sources, summary),
            "",
            *_ratings(key.sources, summary),
            "",
            *_sample_size(key.sources, summary, len(kept)),
        ]
    )


def _preferences(names: Sequence[str], summary: Summary) -> Iterator[str]:
    rows = [["preferred", "the first", "neither", "the second"]]
    for i, j in itertools.combinations(range(len(names)), 2):
        cells = ((summary.preferred, (i, j)), (summary.undecided, (i, j)), (summary.preferred, (j, i)))
        rows.append([f"{names[i]} : {names[j]}", *(_cell(estimate, place, _percent) for estimate, place in cells)])
    return _columns(rows)


def _strengths(names: Sequence[str], summary: Summary) -> Iterator[str]:
    rows = [["Bradley-Terry strength", "logarithm", "preferred to an average source"]]
    for i in np.argsort(-summary.strengths.value).tolist():
        even = dataclasses.replace(
            summary.strengths, **{end: expit(getattr(summary.strengths, end)) for end in ("value", "low", "high")}
        )
        rows.append([names[i], _cell(summary.strengths, (i,), _signed), _cell(even, (i,), _percent)])
    return _columns(rows)


def _ratings(names: Sequence[str], summary: Summary) -> Iterator[str]:
    rows = [["rated, 1 to 5", *QUESTIONS]]
    for i, name in enumerate(names):
        rows.append([name, *(_cell(summary.ratings, (i, q), _short) for q in range(len(QUESTIONS)))])
    return _columns(rows)


def _sample_size(names: Sequence[str], summary: Summary, num_listeners: int) -> Iterator[str]:
    """How much these listeners can tell, and how many more it would take."""
    pairs = list(itertools.combinations(range(len(names)), 2))
    error, (i, j) = max((float(summary.scores.error[pair]), pair) for pair in pairs)
    yield f"sample size: {num_listeners} listeners (MuseGAN's study had 144)"
    yield f"  least sure is {names[i]} : {names[j]}; its share, ties half, has a standard error of {error:.1%}"
    if error > 0:
        least = statistics.detectable_difference(error)
        needed = statistics.listeners_needed(error, num_listeners)
        yield f"  in 4 of 5 such surveys, a share of {_percent(min(0.5 + least, 1))} would be told from one half"
        yield f"  intervals of 5% either way would take some {needed} listeners like these"
    if num_listeners < _FEW_LISTENERS:
        yield f"  with fewer than {_FEW_LISTENERS} listeners intervals are a little too short"
    if np.isnan(summary.strengths.low).any() or np.isnan(summary.ratings.low).any():
        yield "  [-]: all listeners agree, which leaves no interval to be had; that does not make the figure certain."


def _columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows as lines whose columns stand below one another."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *cells in rows:
        padded = [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
        yield "  ".join([name.ljust(widths[0]), *padded])


def _cell(estimate: Estimate, place: tuple[int, ...], form: Callable[[float], str]) -> str:
    value, low, high = (float(numbers[place]) for numbers in (estimate.value, estimate.low, estimate.high))
    return f"{form(value)} [-]" if np.isnan(low) else f"{form(value)} [{form(low)}, {form(high)}]"


def _percent(value: float) -> str:
    return f"{value:.0%}"


def _signed(value: float) -> str:
    return f"{value:+.2f}"


def _short(value: float) -> str:
    return f"{value:.2f}"


def to_json(collection: Collection, kept: Sequence[Result], summary: Summary) -> dict[str, Any]:
    """All numbers, as JSON knows them: None where there is none. Rows and columns are in the order of the sources."""
    key = collection.key

    def numbers(values: Any) -> Any:
        return [numbers(each) for each in values] if isinstance(values, list) else None if np.isnan(values) else values

    return {
        "format": "wae_jax survey scores",
        "format_version": 1,
        "survey": key.survey(),
        "sources": list(key.sources),
        "questions": list(QUESTIONS),
        "provenance": key.provenance,
        "rule": key.rule,
        "check_places": key.check_places,
        "level": statistics.LEVEL,
        "listeners": [result.listener for result in kept],
        "dropped": [
            {"path": result.path, "failed_checks": failed_checks(result)}
            for result in collection.results
            if result not in kept
        ],
        "skipped": [{"path": path, "reason": reason} for path, reason in collection.skipped],
        **{
            name: {end: numbers(values.tolist()) for end, values in vars(estimate).items()}
            for name, estimate in vars(summary).items()
        },
    }


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `python -m wae_jax.listen score`."""
    parser.add_argument("results", nargs="+", metavar="FILE", help="results files that the survey's page saved")
    parser.add_argument("--output", help="a JSON file to write, with all numbers")
    parser.add_argument("--seed", type=int, default=0, help="of the draws of listeners that intervals come from")


def check_flags(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Leaves with a usage error where a flag is out of range."""
    if arguments.seed < 0:
        parser.error(f"--seed is {arguments.seed}; expected at least 0")


def run(arguments: argparse.Namespace) -> None:
    """Scores the files that the command line names.

    Raises:
      RequestError, OSError: with what is wrong.
    """
    collection = collect(arguments.results)
    kept, summary = score(collection, seed=arguments.seed)
    print(format_scores(collection, kept, summary))
    if arguments.output:
        output = pathlib.Path(arguments.output)
        output.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(output) as part:
            part.write_text(json.dumps(to_json(collection, kept, summary), indent=1) + "\n", encoding="utf-8")
        print(f"\nwrote {output}")
