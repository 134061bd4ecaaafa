"""What runs had reached after so many minutes, with everything that a run does: evaluations, samples, checkpoints.

    python launch/sweep.py --configs configs/wae_gan.py:songs --data data/free_split --seeds 0 1 2 --no-evaluate \
      --output sweeps/time -- --config.eval_every_steps=500
    python -m tests.bench.quality_by_time --workdir sweeps/time/wae_gan_songs/seed_* --minutes 1.5 3 4 8

Nothing is trained here: times are those of the runs' TensorBoard events, from the end of the start-up, compilation
included, to the last evaluation before each number of minutes. A run that was interrupted has no such times, and is
refused. Prints a line for each run and number of minutes, then a table of means over runs with Student's t intervals.
"""

from __future__ import annotations

import argparse
import pathlib

import numpy as np

from tests.bench import report
from tests.helpers import read_events

METRICS = ("eval/f1", "samples/precision", "samples/recall", "samples/coverage", "samples/frechet_distance")


def evaluations(workdir: pathlib.Path) -> list[tuple[float, dict[str, float]]]:
    """Seconds since the start of a run, and metrics with the step, of each of its evaluations."""
    files = read_events(workdir)
    if len(files) != 1:
        raise SystemExit(f"error: {workdir} has {len(files)} event files; expected one, of a run that never stopped")
    (events,) = files
    by_step: dict[int, tuple[float, dict[str, float]]] = {}
    for event in events:
        # An event holds one metric; the last of a step says when all of them were there.
        _, values = by_step.get(event.step, (0.0, {"step": event.step}))
        values |= {value.tag: value.simple_value for value in event.summary.value if value.tag in METRICS}
        by_step[event.step] = (event.wall_time - events[0].wall_time, values)
    return [(seconds, values) for seconds, values in by_step.values() if METRICS[0] in values]


def reached(workdir: pathlib.Path, minutes: float) -> dict[str, float]:
    """The step and the metrics of the last evaluation before so many minutes; NaN without one."""
    before = [values for seconds, values in evaluations(workdir) if seconds <= 60 * minutes]
    names = ("step", *METRICS)
    return {name: before[-1].get(name, np.nan) if before else np.nan for name in names}


def main() -> None:
    """Prints what each run had reached."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", nargs="+", type=pathlib.Path, required=True, help="of runs, one a seed")
    parser.add_argument("--minutes", nargs="+", type=float, default=[1, 2, 4, 8], help="(default: 1 2 4 8)")
    arguments = parser.parse_args()
    by_minutes: dict[float, list[dict[str, float]]] = {}
    for minutes in arguments.minutes:
        for workdir in arguments.workdir:
            found = reached(workdir, minutes)
            report.emit("quality_by_time", workdir=str(workdir), minutes=minutes, **found)
            by_minutes.setdefault(minutes, []).append(found)
    print(report.markdown_table("minutes", METRICS, {f"{minutes:g}": runs for minutes, runs in by_minutes.items()}))


if __name__ == "__main__":
    main()
