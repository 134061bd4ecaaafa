"""Common parts of the benchmarks: flags, medians with their spread, and one JSON object a line."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from tests.bench.contender import Process, take_turns

DTYPES = ("float32", "bfloat16")


def parser(
    description: str | None, *, peers: Sequence[str], steps: int, rounds: int = 5, unused: Sequence[str] = ()
) -> argparse.ArgumentParser:
    """A command line with the flags that benches have in common.

    Args:
      description: the docstring of the bench.
      peers: what `--peer` may name.
      steps: in a turn, by default.
      rounds: how many turns, by default.
      unused: flags that mean nothing to this bench.
    """
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags: dict[str, dict[str, Any]] = {
        "network": {"default": "alt", "help": "a row of wae_jax/models/networks.py (default: alt)"},
        "batch-size": {"type": int, "default": 64, "help": "phrases a step (default: 64)"},
        "h-dim": {"type": int, "default": 16, "help": "base number of filters (default: 16)"},
        "z-dim": {"type": int, "default": 16, "help": "latent dimensions (default: 16)"},
        "dtype": {"choices": DTYPES, "default": "float32"},
        "steps": {"type": int, "default": steps, "help": f"steps of a turn (default: {steps})"},
        "rounds": {"type": int, "default": rounds, "help": f"turns of each contender (default: {rounds})"},
    }
    for name in (name for name in flags if name not in unused):
        made.add_argument(f"--{name}", **flags[name])
    if peers:
        made.add_argument("--peer", choices=peers, action="append", default=[], help="may be given several times")
    return made


def sizes(arguments: argparse.Namespace) -> dict[str, Any]:
    """The flags that describe the network, as arguments of a contender."""
    names = ("network", "batch_size", "h_dim", "z_dim", "dtype")
    return {name: getattr(arguments, name) for name in names}


def host_devices(number: int) -> dict[str, str]:
    """Environment variables for this number of jax devices on a CPU; 0 leaves the default."""
    return {"JAX_NUM_CPU_DEVICES": str(number)} if number else {}


def rates(seconds: Sequence[float], amount: float, unit: str) -> dict[str, float]:
    """Median, lowest and highest of `amount` a turn over its seconds, under the unit's name."""
    every = [amount / each for each in seconds]
    return {
        unit: rounded(statistics.median(every)),
        f"{unit}_min": rounded(min(every)),
        f"{unit}_max": rounded(max(every)),
    }


def share_of_ceiling(
    seconds: Sequence[float], gflop: float, ceiling_seconds: Sequence[float], ceiling_gflop: float
) -> dict[str, float]:
    """GFLOP/s beside those of a plain matrix product in the same rounds."""
    achieved = gflop / statistics.median(seconds)
    ceiling = ceiling_gflop / statistics.median(ceiling_seconds)
    return {
        "gflop_per_s": rounded(achieved),
        "matmul_ceiling_gflop_per_s": rounded(ceiling),
        "share_of_ceiling": round(achieved / ceiling, 3),
    }


def share_of_roofline(
    seconds: Sequence[float], gigabytes: float, copy_seconds: Sequence[float], copy_gigabytes: float, arithmetic: float
) -> dict[str, float]:
    """The share of the bandwidth of a plain copy in the same rounds, and the larger of this and that of arithmetic."""
    achieved = gigabytes / statistics.median(seconds)
    bandwidth = copy_gigabytes / statistics.median(copy_seconds)
    return {
        "least_gb_per_s": rounded(achieved),
        "copy_gb_per_s": rounded(bandwidth),
        "share_of_bandwidth": round(achieved / bandwidth, 3),
        "share_of_roofline": round(max(achieved / bandwidth, arithmetic), 3),
    }


def cost(process: Process) -> dict[str, float]:
    """Seconds to compile and to start, and peak memory, of a contender."""
    return {
        "compile_s": round(process.compile_s, 2),
        "start_s": round(process.start_s, 2),
        "peak_memory_mb": rounded(process.peak_memory_mb),
    }


def ratio(ours: Sequence[float], peer: Sequence[float]) -> dict[str, float]:
    """Speed as a multiple of a peer's: the ratio of medians, and the lowest and highest ratio of a round."""
    pairs = [theirs / own for own, theirs in zip(ours, peer, strict=True)]
    return {
        "ratio": round(statistics.median(peer) / statistics.median(ours), 3),
        "ratio_min": round(min(pairs), 3),
        "ratio_max": round(max(pairs), 3),
    }


def emit(case: str, **fields: Any) -> None:
    """Prints the line of a case, with the load of the machine: above the number of cores, others had a share of it."""
    load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
    print(json.dumps({"case": case, **fields, "load_average": load}), flush=True)


def compare(
    case: str,
    ours: Process,
    peers: Mapping[str, Process],
    *,
    steps: int,
    rounds: int,
    amount: float,
    unit: str = "phrases_per_s",
    gflop: float = 0.0,
    ceiling: Process | None = None,
    gigabytes: float = 0.0,
    copy: Process | None = None,
    **fields: Any,
) -> None:
    """Times ours and its peers in turns and prints a line for each peer, or one where there is none.

    Args:
      case: its name.
      ours: the process of this package.
      peers: those of other libraries, by name.
      steps: of a turn.
      rounds: how many turns.
      amount: amount of work of a turn, in `unit` times seconds.
      unit: the name of the rate.
      gflop: of a turn.
      ceiling: a process of `ours.matmul`.
      gigabytes: that a turn has to move at the least.
      copy: a process of `ours.copy`; with `ceiling` only.
      fields: further fields of the line.
    """
    contenders = [(ours, steps), *((peer, steps) for peer in peers.values())]
    contenders += [(process, 1) for process in (ceiling, copy) if process]
    own, *others = take_turns(contenders, rounds)
    copied = others.pop() if copy else None
    limit = others.pop() if ceiling else None

    def measurements(process: Process, seconds: Sequence[float]) -> dict[str, Any]:
        line = {**rates(seconds, amount, unit), **cost(process), **process.facts}
        if ceiling and limit:
            line |= share_of_ceiling(seconds, gflop, limit, ceiling.facts["gflop"])
        if copy and copied:
            line |= share_of_roofline(seconds, gigabytes, copied, copy.facts["gigabytes"], line["share_of_ceiling"])
        return line

    line = {**fields, "steps": steps, "rounds": rounds, **measurements(ours, own)}
    if not peers:
        emit(case, **line)
    for (name, peer), seconds in zip(peers.items(), others, strict=True):
        _check_same("parameters", ours, peer, name)
        emit(case, **line, peer={"name": name, **measurements(peer, seconds)}, **ratio(own, seconds))


def markdown_table(first: str, columns: Sequence[str], rows: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """A Markdown table of means over runs, with Student's t intervals where there are several.

    Args:
      first: the heading of the names of the rows.
      columns: names of values.
      rows: by name, the values of each run.
    """
    # Most benches need none of it, and the peak memory of a process is at least that of the one that starts it.
    import numpy as np

    from wae_jax.metrics import intervals

    lines = [f"| {first} | {' | '.join(columns)} |", "|---" * (1 + len(columns)) + "|"]
    for name, runs in rows.items():
        values = np.array([[run[column] for column in columns] for run in runs])
        cells = [f"{mean:.3f}" for mean in values.mean(axis=0)]
        if len(runs) > 1:
            ends = intervals.paired_difference(values)
            bounds = zip(cells, ends.low, ends.high, strict=True)
            cells = [f"{cell} [{low:.3f}, {high:.3f}]" for cell, low, high in bounds]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _check_same(fact: str, ours: Process, peer: Process, name: str) -> None:
    """Ends the program if a fact of a peer differs."""
    mine, theirs = ours.facts.get(fact), peer.facts.get(fact)
    if mine != theirs:
        sys.exit(f"error: {fact}: {mine} here, {theirs} of {name}; these are not the same network")


def rounded(number: float) -> float:
    """Four digits: more would be noise."""
    return float(f"{number:.4g}")
