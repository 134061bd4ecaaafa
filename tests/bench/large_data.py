"""A large data set in one run: time and memory.

    python -m tests.bench.many_midi --input midi/ --output /tmp/many --files 100000
    python -m tests.bench.large_data --input /tmp/many --scratch /tmp/large --workers 2

`peak_memory_mb` is that of the command with all its
processes, what they share counted once, five times a second; `largest_process_mb` is that of the largest. Only Linux
tells these. What is made is removed again.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import pathlib
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from tests.bench import report
from tests.bench.contender import ROOT

_SECONDS_BETWEEN_LOOKS = 0.2


def _tree(process: int) -> list[int]:
    """A process and all its descendants."""
    found = [process]
    for parent in found:
        for tasks in pathlib.Path("/proc", str(parent), "task").glob("*/children"):
            found += map(int, tasks.read_text().split())
    return found


def _memory_mb(process: int) -> float:
    """Memory of a process in bytes, with its share of memory that several processes use."""
    text = pathlib.Path("/proc", str(process), "smaps_rollup").read_text()
    fields = dict(line.split(":") for line in text.splitlines()[1:])
    return int(fields["Pss"].split()[0]) / 1024


def measured(arguments: Sequence[str]) -> dict[str, Any]:
    """Runs `build_dataset`; its seconds, the CPU's seconds and its peak memory."""
    import resource

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    command = [sys.executable, "-m", "wae_jax.build_dataset", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stdout=sys.stderr)
    peak = largest = 0.0
    while process.poll() is None:
        # Where one of them has just ended.
        with contextlib.suppress(OSError, ValueError):
            each = [_memory_mb(member) for member in _tree(process.pid)]
            peak, largest = max(peak, sum(each)), max(largest, *each)
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    seconds = time.perf_counter() - started
    if process.returncode:
        sys.exit(f"error: {' '.join(command)} ended with status {process.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "peak_memory_mb": round(peak),
        "largest_process_mb": round(largest),
    }


def main() -> None:
    """Prints a line for each command, and one that compares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", required=True, type=pathlib.Path, help="folder of many files")
    parser.add_argument("--scratch", required=True, type=pathlib.Path, help="folder to make, and to remove at the end")
    parser.add_argument("--workers", type=int, default=2, help="default: 2")
    arguments = parser.parse_args()
    data = arguments.scratch / "data"
    files = sum(path.is_file() for path in arguments.input.rglob("*"))
    from_files = ["--input", str(arguments.input), "--workers", str(arguments.workers)]

    one = measured([*from_files, "--output", str(data)])
    description = json.loads((data / "dataset.json").read_text())
    fields = {"files": files, "phrases": description["num_phrases"], "workers": arguments.workers}
    report.emit("one_run", **fields, **one, files_per_s=round(files / one["seconds"], 1))
    shutil.rmtree(arguments.scratch)


if __name__ == "__main__":
    main()
