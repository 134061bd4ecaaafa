"""How time and memory grow with phrases, latent dimensions, batches, samples and pages.

    python -m tests.bench.growth
    python -m tests.bench.growth --table batch --penalty gan --sizes 32 512
    python -m tests.bench.growth --table evaluate u_statistic

Tables, all of them by default, on random phrases of LPD-5's size and density or on the built-in corpus:

    phrases      a dataset of so many phrases, opened as by a run (`open_s`: its parts `load_s`, `songs_s` and
                 `densities_s`), and its training steps after the first two
    z_dim        the bare training step of tests.bench.train_step
    batch        the same
    evaluate     an evaluation of the model of the tests on so many samples, after a small one that compiles; the
                 seconds of its parts beside
    u_statistic  the MMD of so many codes, as in tests.bench.mmd: quadratic by its definition
    page         the listening page of the same model with so many samples

Each size is measured in a process of its own, whose `peak_memory_mb` includes some 300 MB of libraries. `mapped_mb` of
it are pages of the dataset's file, which the system takes back where it needs them; `own_memory_mb` is the rest.

`exponent` has for each cost the logarithm of its ratio to that of the size before, over the logarithm of the ratio of
the sizes: 0 where the size does not matter, 1 where the cost is proportional to it. A cost that has a constant part
shows less than 1 at small sizes. `growth_summary` ends each table with the largest of them.

A size whose peak memory, by a straight line through the two sizes before it, would be above `--most-memory-mb` is not
run; its line has `error`. The dataset of 100,000 phrases takes 1 GB of the temporary folder while it is measured. All
tables take some twelve minutes on two cores that train the default network on 340 phrases a second.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import pathlib
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from tests.bench import report
from tests.bench.contender import ContenderError, Process, take_turns

# Nothing here imports jax: the peak memory of a process is at least that of the one that starts it.
_CONTENDERS = "tests.bench.growth_contenders"

Line = dict[str, Any]


class Table(NamedTuple):
    """What grows, and what that costs.

    Attributes:
      of: the unit of the sizes.
      sizes: by default, ascending.
      measure: the fields of the line of a size, `peak_memory_mb` among them.
      costs: which of the fields are costs.
    """

    of: str
    sizes: tuple[int, ...]
    measure: Callable[[int, argparse.Namespace], Line]
    costs: tuple[str, ...]


def exponents(costs: Sequence[str], before: Line, now: Line) -> dict[str, float]:
    """By cost, the power of the size with which it has grown from one line to the next; without those that were 0."""
    size_ratio = now["size"] / before["size"]
    return {
        cost: round(math.log(now[cost] / before[cost]) / math.log(size_ratio), 3)
        for cost in costs
        if before[cost] > 0 and now[cost] > 0
    }


def predicted_memory_mb(lines: Sequence[Line], size: int) -> float:
    """Peak memory at a larger size, by a straight line through the last two; 0 where there are not two yet."""
    if len(lines) < 2:
        return 0.0
    (first, first_mb), (second, second_mb) = ((line["size"], line["peak_memory_mb"]) for line in lines[-2:])
    return second_mb + (size - second) * (second_mb - first_mb) / (second - first)


def _start(function: str, given: Mapping[str, Any], flags: argparse.Namespace, *, batch_size: int) -> Process:
    """The process of a contender, on as many devices as divide its batch."""
    devices = math.gcd(flags.devices or os.cpu_count() or 1, batch_size)
    return Process(function, function, given, report.host_devices(devices))


def _measured(function: str, given: Mapping[str, Any], flags: argparse.Namespace, *, batch_size: int = 1) -> Line:
    """What a contender measures in a process of its own, and what that tells."""
    with _start(function, given, flags, batch_size=batch_size) as process:
        found = process.measure()
        del found["seconds"]  # with what came before
        return {**found, "peak_memory_mb": report.rounded(process.peak_memory_mb), **process.facts}


def _timed(
    function: str, given: Mapping[str, Any], flags: argparse.Namespace, *, steps: int = 1, batch_size: int = 1
) -> tuple[list[float], Line]:
    """Seconds of a contender's turns in a process of its own, and what that tells."""
    with _start(function, given, flags, batch_size=batch_size) as process:
        (seconds,) = take_turns([(process, steps)], flags.rounds)
        return seconds, {"steps": steps, "rounds": flags.rounds, **report.cost(process), **process.facts}


def _phrases(size: int, flags: argparse.Namespace) -> Line:
    sizes = report.sizes(flags)
    steps = max(2, flags.phrases_per_turn // flags.batch_size)
    with tempfile.TemporaryDirectory(prefix="wae_jax_bench_") as folder:
        with Process("dataset", f"{_CONTENDERS}:written_dataset", {"folder": folder, "num": size}):
            pass
        given = {"data": folder, "sizes": sizes, "penalty": flags.penalty, "steps": steps}
        line = _measured(f"{_CONTENDERS}:opened_run", given, flags, batch_size=flags.batch_size)
    own = {"own_memory_mb": report.rounded(line["peak_memory_mb"] - line["mapped_mb"])}
    return {**sizes, "penalty": flags.penalty, "steps": steps, **line, **own}


def _train_step(flags: argparse.Namespace, **size: int) -> Line:
    """The bare training step, with a size in place of a flag."""
    given = {**report.sizes(flags), **size, "penalty": flags.penalty}
    batch_size = given["batch_size"]
    steps = max(1, flags.phrases_per_turn // batch_size)
    seconds, told = _timed("tests.bench.ours:train_step", given, flags, steps=steps, batch_size=batch_size)
    step_s = report.rounded(statistics.median(seconds) / steps)
    return {**given, "step_s": step_s, **report.rates(seconds, steps * batch_size, "phrases_per_s"), **told}


def _z_dim(size: int, flags: argparse.Namespace) -> Line:
    return _train_step(flags, z_dim=size)


def _batch(size: int, flags: argparse.Namespace) -> Line:
    return _train_step(flags, batch_size=size)


def _evaluate(size: int, flags: argparse.Namespace) -> Line:
    return _measured(f"{_CONTENDERS}:evaluation", {"num": size}, flags)


def _u_statistic(size: int, flags: argparse.Namespace) -> Line:
    given = {"num": size, "z_dim": flags.z_dim, "tiled": True}
    seconds, told = _timed("tests.bench.ours:mmd", given, flags)
    return {"z_dim": flags.z_dim, "mmd_s": report.rounded(statistics.median(seconds)), **told}


def _page(size: int, flags: argparse.Namespace) -> Line:
    with tempfile.TemporaryDirectory(prefix="wae_jax_bench_") as folder:
        given = {"num": size, "output": str(pathlib.Path(folder, "listen.html"))}
        seconds, told = _timed(f"{_CONTENDERS}:page", given, flags)
    return {"page_s": report.rounded(statistics.median(seconds)), **told}


_OF_OPENING = ("open_s", "load_s", "songs_s", "densities_s")
_OF_EVALUATION = (
    *("evaluate_s", "measure_music_s", "count_note_lengths_s", "compare_distributions_s", "find_copies_s"),
    *("measure_codes_s", "sample_codes_s", "encode_s", "decode_s", "binarize_s", "fit_rule_s", "rest_s"),
)
_MEMORY = "peak_memory_mb"
TABLES = {
    "phrases": Table("phrases", (1_000, 10_000, 100_000), _phrases, (*_OF_OPENING, "step_s", _MEMORY, "own_memory_mb")),
    "z_dim": Table("latent dimensions", (16, 32, 64, 128, 256), _z_dim, ("step_s", _MEMORY)),
    "batch": Table("phrases a step", (32, 128, 512, 2048, 4096), _batch, ("step_s", _MEMORY)),
    "evaluate": Table("samples", (512, 2048, 8192, 16384), _evaluate, (*_OF_EVALUATION, _MEMORY)),
    "u_statistic": Table("codes", (512, 2048, 8192, 16384), _u_statistic, ("mmd_s", _MEMORY)),
    "page": Table("samples", (16, 64, 256), _page, ("page_s", "page_mb", _MEMORY)),
}


def measure_table(name: str, sizes: Sequence[int], flags: argparse.Namespace) -> bool:
    """Prints a line for each size and one for all of them; returns whether all that fit into memory were measured."""
    table = TABLES[name]
    lines: list[Line] = []
    is_complete = True
    for size in sorted(sizes or table.sizes):
        heading = {"table": name, "size": size, "of": table.of}
        expected_mb = predicted_memory_mb(lines, size)
        if expected_mb > flags.most_memory_mb:
            error = f"would take {expected_mb:,.0f} MB, more than --most-memory-mb {flags.most_memory_mb:,}"
            report.emit("growth", **heading, error=error)
            continue
        try:
            line = {**heading, **table.measure(size, flags)}
        except ContenderError as failure:
            report.emit("growth", **heading, error=str(failure))
            is_complete = False
            continue
        if lines:
            line["exponent"] = exponents(table.costs, lines[-1], line)
        lines.append(line)
        report.emit("growth", **line)
    grown = [
        (exponent, cost, [before["size"], now["size"]])
        for before, now in itertools.pairwise(lines)
        for cost, exponent in now["exponent"].items()
    ]
    if grown:
        largest, cost, between = max(grown)
        report.emit("growth_summary", table=name, largest_exponent=largest, cost=cost, between=between)
    return is_complete


def main(argv: Sequence[str] | None = None) -> int:
    """Measures the tables one after the other; the exit status is 1 if a process has failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", choices=tuple(TABLES), nargs="+", default=list(TABLES), help="default: all")
    parser.add_argument("--sizes", type=int, nargs="+", default=[], help="of the one table that is named")
    parser.add_argument("--penalty", choices=("mmd", "gan"), default="mmd", help="of training steps (default: mmd)")
    parser.add_argument("--network", default="meter", help="a row of wae_jax/models/networks.py (default: meter)")
    parser.add_argument("--h-dim", type=int, default=16, help="base number of filters (default: 16)")
    parser.add_argument("--z-dim", type=int, default=32, help="latent dimensions where they do not grow (default: 32)")
    parser.add_argument("--batch-size", type=int, default=32, help="phrases a step where they do not (default: 32)")
    parser.add_argument("--dtype", choices=report.DTYPES, default="float32")
    parser.add_argument("--phrases-per-turn", type=int, default=640, help="to train on (default: 640), or a batch")
    parser.add_argument("--rounds", type=int, default=2, help="turns of what is fast enough (default: 2)")
    parser.add_argument("--devices", type=int, default=0, help="host devices on a CPU, at most (default: one a core)")
    parser.add_argument("--most-memory-mb", type=int, default=16_000, help="of a process (default: 16000)")
    flags = parser.parse_args(argv)
    if flags.sizes and len(flags.table) > 1:
        parser.error(f"--sizes {flags.sizes} needs one --table; given or by default are {', '.join(flags.table)}")
    if min(flags.sizes, default=1) < 1 or len(set(flags.sizes)) < len(flags.sizes):
        parser.error(f"--sizes {flags.sizes} expected different numbers of at least 1")
    failed = [name for name in flags.table if not measure_table(name, flags.sizes, flags)]
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
