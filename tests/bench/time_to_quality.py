"""Training beside the original: seconds until other songs are reconstructed so well, and the best within a budget.

    python -m wae_jax.build_dataset --train free_train.npz --valid free_valid.npz --output free
    python -m tests.bench.time_to_quality --data free --peer=keras --peer=torch
    python -m tests.bench.time_to_quality --data free --config configs/wae_gan.py:songs configs/wae_gan.py

Contenders of this package are configurations with their learning rates: a schedule runs over the configured epochs, or
`--epochs`, and a contender that has done them is finished. Peers have the settings of the original: WAE-MMD with cost
weight .5 and penalty weight 100, Adam with 1e-3, dropout of .2; network, sizes and precision are flags. `torch` is
compiled. All train on the same phrases.

The score is the F1 of cells at a probability of one half, of all validation phrases together. A contender trains for a
slice of seconds, is evaluated, and waits while the others have their turn. `train_s` are the seconds of its steps
after the first; `with_start_s` adds those from the start of its process to the end of its first step, with imports,
reading of the data and compilation (`start_s`). Neither has evaluations: `evaluation_s` is the median of them, without
the first, which also compiles. A score is reached up to a slice before it is seen.

A line `evaluation` follows every slice, a line `time_to_quality` for each contender ends the bench, also when it is
stopped by Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib.util
import pathlib
import signal
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from tests.bench import phrases, report
from tests.bench.contender import PAUSE_S, ContenderError, Process
from wae_jax.errors import DatasetError

_DROPOUT_RATE = 0.2  # of the original's `alt`
_LEAST_SHARE = 0.25  # of a slice: a shorter last one is not worth its evaluation
# What makes a peer, and the packages that it needs.
_PEERS = {
    "keras": ("tests.bench.peers.keras_peer:training_run", ("keras", "tensorflow")),
    "torch": ("tests.bench.peers.torch_peer:training_run", ("torch",)),
}


class Score(NamedTuple):
    """One evaluation.

    Attributes:
      train_s: seconds of training before it, as in the docstring of this file.
      steps: training steps before it.
      f1: over the cells of all validation phrases.
      evaluation_s: seconds it took.
    """

    train_s: float
    steps: int
    f1: float
    evaluation_s: float


@dataclasses.dataclass
class Course:
    """A contender's training so far.

    Attributes:
      name: of the contender.
      process: its process.
      facts: what it is, ready for JSON; has `batch_size`.
      scores: its evaluations, the first of them after its first two calls.
      step_s: seconds of a step in its last turn.
      is_finished: whether it has done all its steps.
      error: why it ended early.
    """

    name: str
    process: Process
    facts: Mapping[str, Any]
    scores: list[Score]
    step_s: float
    is_finished: bool = False
    error: str = ""

    @property
    def train_s(self) -> float:
        """Seconds of training so far."""
        return self.scores[-1].train_s

    def train(self, seconds: float) -> None:
        """Trains for about so many seconds, and evaluates."""
        before = self.scores[-1]
        took = self.process.run(max(round(seconds / self.step_s), 1))
        measured = self.process.measure()
        self.is_finished = measured.get("is_finished", False)
        now = Score(before.train_s + took, measured["steps"], measured["f1"], measured["seconds"])
        self.step_s = took / max(now.steps - before.steps, 1)
        self.scores.append(now)

    def line(self, targets: Sequence[float]) -> dict[str, Any]:
        """What the course has come to."""
        first, last = self.scores[0], self.scores[-1]
        best = max(self.scores, key=lambda score: score.f1)
        seen = [(f1, next((score for score in self.scores if score.f1 >= f1), None)) for f1 in targets]
        line = {
            "contender": self.name,
            **self.facts,
            "reached": [{"f1": f1, **self.times(score)} for f1, score in seen if score],
            "best": {"f1": round(best.f1, 4), **self.times(best)},
            "last": {"f1": round(last.f1, 4), **self.times(last)},
            "is_finished": self.is_finished,
            **report.cost(self.process),
            "first_evaluation_s": round(first.evaluation_s, 2),
        }
        if more := self.scores[1:]:
            phrases = (last.steps - first.steps) * self.facts["batch_size"]
            line |= {
                "evaluation_s": round(statistics.median(score.evaluation_s for score in more), 2),
                "phrases_per_s": report.rounded(phrases / (last.train_s - first.train_s)),
            }
        return {**line, "error": self.error} if self.error else line

    def times(self, score: Score) -> dict[str, float]:
        """When a score was seen."""
        with_start_s = score.train_s + self.process.start_s
        return {"steps": score.steps, "train_s": round(score.train_s, 1), "with_start_s": round(with_start_s, 1)}


def start(name: str, function: str, arguments: Mapping[str, Any], stack: contextlib.ExitStack) -> Course:
    """Starts a contender's process, which makes two calls of its step, and evaluates."""
    started = time.perf_counter()
    process = stack.enter_context(Process(name, function))
    process.begin(arguments)
    second_call_s = time.perf_counter() - started - process.start_s
    measured = process.measure()
    facts = {key: value for key, value in arguments.items() if key not in ("data", "changes", "seed")} | process.facts
    score = Score(second_call_s, measured["steps"], measured["f1"], measured["seconds"])
    return Course(name, process, facts, [score], step_s=2 * second_call_s / measured["steps"])


def take_slices(
    courses: Sequence[Course],
    *,
    slice_s: float,
    budget_s: float,
    on_evaluation: Callable[[Course], None],
    pause_s: float = PAUSE_S,
) -> None:
    """Trains all courses in turns until each has used its budget, finished or failed.

    Args:
      courses: to be changed.
      slice_s: seconds of a turn, without its evaluation.
      budget_s: seconds of training for each.
      on_evaluation: called after each turn.
      pause_s: seconds between turns, in which threads of the contender before come to rest.
    """
    number = 0
    enough_s = budget_s - _LEAST_SHARE * slice_s
    while running := [each for each in courses if each.train_s < enough_s and not (each.is_finished or each.error)]:
        for place in range(len(running)):
            course = running[(number + place) % len(running)]
            time.sleep(pause_s)
            try:
                course.train(min(slice_s, budget_s - course.train_s))
            except ContenderError as error:
                course.error = str(error)
            else:
                on_evaluation(course)
        number += 1


def missing_packages(peer: str) -> str:
    """A sentence about the packages that a peer needs and that are not installed; "" if there are none."""
    missing = [package for package in _PEERS[peer][1] if importlib.util.find_spec(package) is None]
    if not missing:
        return ""
    return f"{peer} needs {' and '.join(missing)}, not installed here; pip install -e '.[bench]' installs all peers"


def _arguments() -> argparse.Namespace:
    parser = report.parser(__doc__, peers=tuple(_PEERS), steps=0, unused=("steps", "rounds"))
    parser.add_argument("--data", required=True, help="folder made by build_dataset, with a validation split")
    parser.add_argument(
        "--config",
        nargs="*",
        default=["configs/wae_gan.py:songs"],
        help="configurations of this package, with their own sizes (default: configs/wae_gan.py:songs)",
    )
    parser.add_argument("--epochs", type=int, default=0, help="of each --config (default: as configured)")
    parser.add_argument("--seed", type=int, default=0, help="of initial parameters, batches and dropout (default: 0)")
    parser.add_argument("--f1", type=float, nargs="+", default=[0.2, 0.3], help="scores to reach (default: .2 .3)")
    parser.add_argument("--minutes", type=float, default=15.0, help="of training, for each (default: 15)")
    parser.add_argument("--slice", type=float, default=15.0, help="seconds of a turn (default: 15)")
    return parser.parse_args()


def _wanted(arguments: argparse.Namespace) -> dict[str, tuple[str, dict[str, Any]]]:
    """Function and arguments of each contender."""
    data = str(pathlib.Path(arguments.data).resolve())
    changes = {"seed": arguments.seed, **({"num_epochs": arguments.epochs} if arguments.epochs else {})}
    sizes = {**report.sizes(arguments), "dropout_rate": _DROPOUT_RATE, "seed": arguments.seed}
    ours = {name: {"config": name, "data": data, "changes": changes} for name in arguments.config}
    return {
        **{name: ("tests.bench.ours:training_run", given) for name, given in ours.items()},
        **{name: (_PEERS[name][0], {"data": data, **sizes}) for name in arguments.peer},
    }


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Starts all contenders, lets them train in turns, and prints what came of it."""
    arguments = _arguments()
    try:
        train_rows, valid_rows = phrases.open_splits(arguments.data)
    except DatasetError as error:
        sys.exit(f"error: {error}")
    settings = {
        "train_phrases": len(train_rows),
        "valid_phrases": len(valid_rows),
        "minutes": arguments.minutes,
        "slice_s": arguments.slice,
        "seed": arguments.seed,
    }
    signal.signal(signal.SIGTERM, _stop)
    courses: list[Course] = []
    status = 0
    try:
        with contextlib.ExitStack() as stack:
            for name, (function, given) in _wanted(arguments).items():
                problem = missing_packages(name) if name in _PEERS else ""
                try:
                    courses += [] if problem else [start(name, function, given, stack)]
                except ContenderError as error:
                    problem = str(error)
                if problem:
                    report.emit("time_to_quality", contender=name, error=problem)
                    status = 1
            take_slices(
                courses, slice_s=arguments.slice, budget_s=60.0 * arguments.minutes, on_evaluation=_emit_evaluation
            )
    except KeyboardInterrupt:
        status = 130
    finally:
        for course in courses:
            report.emit("time_to_quality", **settings, **course.line(arguments.f1))
    sys.exit(status or int(any(course.error for course in courses)))


def _emit_evaluation(course: Course) -> None:
    score = course.scores[-1]
    report.emit("evaluation", contender=course.name, f1=round(score.f1, 4), **course.times(score))


if __name__ == "__main__":
    main()
