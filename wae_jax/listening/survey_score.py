"""What listeners answered in a blind survey: `score results/*.json --key survey.key.json`.

Results that belong to another survey, are incomplete or do not match their checksum are refused, and listeners who
fail the attention checks are dropped by the rule in the key, which was fixed before anybody listened. The checksum
finds damage and careless edits; it is no signature, and does not keep a determined listener from forging answers.

All intervals come from resampling listeners, whose answers are not independent of each other. They say nothing of
other clips than those played.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Float64

from wae_jax.command_line import RequestError

QUESTIONS = ("harmony", "rhythm", "structure", "coherence")
RESULTS_FORMAT = "wae_jax survey results"
KEY_FORMAT = "wae_jax survey key"
_PSEUDO_WINS = 0.5
_STEPS = 500


@dataclasses.dataclass(frozen=True)
class Answers:
    """What the listeners who passed said.

    Attributes:
      wins: how often each listener preferred source i to source j; a tie is half a win for either, [L, S, S].
      totals: sums of each listener's ratings of each source, [L, S, Q].
      counts: how many ratings these are, [L, S].
      dropped: listeners who failed the attention checks.
    """

    wins: Float64[np.ndarray, "L S S"]
    totals: Float64[np.ndarray, "L S Q"]
    counts: Float64[np.ndarray, "L S"]
    dropped: int


def checksum(value: Any) -> str:
    """FNV-1a, 32 bits, of a value as JSON without spaces: the same ten lines in the page."""
    state = 0x811C9DC5
    for byte in json.dumps(value, separators=(",", ":")).encode("ascii"):
        state = (state ^ byte) * 0x01000193 & 0xFFFFFFFF
    return f"{state:08x}"


def key_digest(key: dict[str, Any]) -> str:
    """SHA-256 of an answer key without its own digest."""
    content = {name: value for name, value in key.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_key(path: pathlib.Path) -> dict[str, Any]:
    """An answer key.

    Raises:
      RequestError: if it is none, or was altered.
    """
    key = _read_json(path)
    if key.get("format") != KEY_FORMAT or key.get("format_version") != 1:
        raise RequestError(f"{path} is no answer key of a survey; expected the .key.json beside the page")
    if key.get("sha256") != key_digest(key):
        raise RequestError(f"{path} was altered after the survey was made; expected the file as it was written")
    return key


def read_result(path: pathlib.Path, key: dict[str, Any]) -> dict[str, Any]:
    """One listener's answers.

    Raises:
      RequestError: if they are of another survey, were altered or are incomplete.
    """
    result = _read_json(path)
    if result.get("format") != RESULTS_FORMAT or result.get("format_version") != 1:
        raise RequestError(f"{path} is no results file of a survey; expected what the page downloads")
    if result.get("survey") != key["survey"]:
        raise RequestError(f"{path} is of another survey than the key; expected survey {key['survey'][:12]}")
    if result.get("checksum") != checksum([result["survey"], result.get("listener"), result.get("answers")]):
        raise RequestError(f"{path} was altered: its checksum is not that of its answers; expected it as downloaded")
    answers = result["answers"]
    shown = [row[0] for row in answers] if _well_formed(answers) else None
    if not isinstance(result["listener"], str) or shown != [pair["id"] for pair in key["pairs"]]:
        raise RequestError(f"{path} does not answer the survey's {len(key['pairs'])} pairs, each once and in order")
    return result


def _read_json(path: pathlib.Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RequestError(f"{path} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise RequestError(f"{path} holds a {type(value).__name__}; expected a JSON object")
    return value


def _well_formed(answers: Any) -> bool:
    """Whether each row is [pair, preference (-1 is A, 1 is B), ratings of A, ratings of B]."""
    return isinstance(answers, list) and all(
        isinstance(row, list)
        and len(row) == 4
        and type(row[1]) is int
        and row[1] in (-1, 0, 1)
        and all(
            isinstance(ratings, list)
            and len(ratings) == len(QUESTIONS)
            and all(type(rating) is int and 1 <= rating <= 5 for rating in ratings)
            for ratings in row[2:]
        )
        for row in answers
    )


def passes(answers: Sequence[Sequence[Any]], key: dict[str, Any]) -> bool:
    """Whether a listener failed at most `max_failed_checks` checks; not preferring the music is a failure."""
    failed = sum(
        row[1] != pair["expected"] for row, pair in zip(answers, key["pairs"], strict=True) if pair["kind"] == "check"
    )
    return failed <= key["max_failed_checks"]


def tabulate(results: Sequence[dict[str, Any]], key: dict[str, Any]) -> Answers:
    """Counts what listeners said, those who fail the attention checks left out."""
    kept = [result["answers"] for result in results if passes(result["answers"], key)]
    num = len(key["sources"])
    wins = np.zeros((len(kept), num, num))
    totals = np.zeros((len(kept), num, len(QUESTIONS)))
    counts = np.zeros((len(kept), num))
    for listener, answers in enumerate(kept):
        for (_, preference, *ratings), pair in zip(answers, key["pairs"], strict=True):
            if pair["kind"] == "check":
                continue
            a, b = pair["sources"]
            wins[listener, a, b] += (1 - preference) / 2
            wins[listener, b, a] += (1 + preference) / 2
            for source, rating in zip((a, b), ratings, strict=True):
                totals[listener, source] += rating
                counts[listener, source] += 1
    return Answers(wins, totals, counts, len(results) - len(kept))


def preference_shares(wins: Float[np.ndarray, "*R S S"]) -> Float[np.ndarray, "*R S S"]:
    """How often source i was preferred to source j, ties half; NaN where they never met."""
    met = wins + np.swapaxes(wins, -1, -2)
    return np.divide(wins, met, out=np.full_like(wins, np.nan), where=met > 0)


def bradley_terry(wins: Float[np.ndarray, "*R S S"]) -> Float[np.ndarray, "*R S"]:
    """Logarithms of Bradley-Terry strengths, of mean 0, by the MM algorithm of Hunter (2004, Ann. Statist. 32).

    A tie counts as half a win for either. Half a win in either direction is added to each two sources, as if they had
    met once more and tied: a source that is never preferred then has a low strength rather than that of minus
    infinity, and the fit exists whatever was answered.
    """
    num = wins.shape[-1]
    wins = (wins + _PSEUDO_WINS) * (1 - np.eye(num))
    met = wins + np.swapaxes(wins, -1, -2)
    strengths = np.ones(wins.shape[:-1])
    for _ in range(_STEPS):
        old = strengths
        strengths = wins.sum(-1) / (met / (old[..., :, None] + old[..., None, :])).sum(-1)
        strengths /= np.exp(np.log(strengths).mean(-1, keepdims=True))
        if np.abs(np.log(strengths / old)).max() < 1e-9:
            break
    return np.log(strengths)


def resample(num_listeners: int, num: int, seed: int) -> Float64[np.ndarray, "{num} {num_listeners}"]:
    """How often each listener is in each bootstrap sample of as many listeners."""
    chances = np.full(num_listeners, 1 / num_listeners)
    return np.random.default_rng(seed).multinomial(num_listeners, chances, size=num).astype(np.float64)


def interval(samples: Float[np.ndarray, "R *shape"], level: float = 0.95) -> Float[np.ndarray, "2 *shape"]:
    """The percentile interval of bootstrap samples."""
    return np.quantile(samples, [(1 - level) / 2, (1 + level) / 2], axis=0)


def detectable_difference(num_listeners: int, pairs_per_listener: float) -> float:
    """The preference share's distance from one half that is found with power .8 at level .05, two-sided.

    Supposes independent answers without ties, by the normal approximation; where listeners differ from each other, more
    of them are needed.
    """
    return (1.959964 + 0.841621) * 0.5 / float(np.sqrt(num_listeners * pairs_per_listener))


def summarise(answers: Answers, *, num_samples: int = 2000, seed: int = 0) -> dict[str, Any]:
    """All statistics, each as (estimate, interval); the arrays are [S, S], [S] and [S, Q].

    Raises:
      RequestError: if there are fewer than two listeners, who cannot be resampled.
    """
    num_listeners = len(answers.wins)
    if num_listeners < 2:
        raise RequestError(
            f"{num_listeners} listeners passed the attention checks and {answers.dropped} did not; expected two to pass"
        )
    weights = resample(num_listeners, num_samples, seed)
    wins = np.tensordot(weights, answers.wins, 1)
    means = np.tensordot(weights, answers.totals, 1) / np.tensordot(weights, answers.counts, 1)[..., None]
    return {
        "shares": (preference_shares(answers.wins.sum(0)), interval(preference_shares(wins))),
        "strengths": (bradley_terry(answers.wins.sum(0)), interval(bradley_terry(wins))),
        "means": (answers.totals.sum(0) / answers.counts.sum(0)[:, None], interval(means)),
    }


def format_scores(answers: Answers, key: dict[str, Any], summary: dict[str, Any]) -> str:
    """The statistics as text."""
    names = [source["name"] for source in key["sources"]]
    checks = sum(pair["kind"] == "check" for pair in key["pairs"])
    lines = [
        f"rule, fixed in the key: a listener who fails more than {key['max_failed_checks']} of {checks} checks is out",
        f"{len(answers.wins)} listeners counted, {answers.dropped} dropped; 95% intervals by resampling listeners",
        "",
        "preferred, ties half",
    ]

    def cell(statistic: str, place: tuple[int, ...]) -> str:
        estimate, (low, high) = summary[statistic]
        return f"{estimate[place]:6.2f} [{low[place]:.2f}, {high[place]:.2f}]"

    for i, j in zip(*np.triu_indices(len(names), 1), strict=True):
        lines.append(f"  {names[i]} to {names[j]}: {cell('shares', (i, j))}")
    lines += ["", "Bradley-Terry log strength, mean 0; one tie added to each two sources"]
    lines += [f"  {name}: {cell('strengths', (i,))}" for i, name in enumerate(names)]
    for q, question in enumerate(QUESTIONS):
        lines += ["", f"{question}, 1 to 5"]
        lines += [f"  {name}: {cell('means', (i, q))}" for i, name in enumerate(names)]
    meetings = float(answers.wins[0, 0, 1] + answers.wins[0, 1, 0])
    difference = detectable_difference(len(answers.wins), meetings)
    lines += [
        "",
        f"sample size: {len(answers.wins)} listeners, {meetings:g} pairs of each two sources, find a preference share "
        f"{difference:.2f} from one half with power .8 at level .05, if answers are independent",
    ]
    return "\n".join(lines)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of `score`."""
    parser.add_argument("results", nargs="+", help="files that the page downloaded")
    parser.add_argument("--key", required=True, help="the survey's answer key")
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap")


def run(arguments: argparse.Namespace) -> None:
    """Does what the command line asks for.

    Raises:
      RequestError, OSError: with what is wrong.
    """
    if arguments.seed < 0:
        raise RequestError(f"--seed is {arguments.seed}; expected at least 0")
    key = read_key(pathlib.Path(arguments.key))
    results = [read_result(pathlib.Path(path), key) for path in arguments.results]
    listeners = [result["listener"] for result in results]
    if twice := sorted({listener for listener in listeners if listeners.count(listener) > 1}):
        raise RequestError(f"more than one file is of listener {twice[0]}; expected one file a listener")
    answers = tabulate(results, key)
    print(format_scores(answers, key, summarise(answers, seed=arguments.seed)))
