"""Reading MIDI into packed phrases.

    python -m tests.bench.build_dataset --input midi/ --peer=pypianoroll

Cases: `read_midi` is one process on one core, file to phrases, beside pypianoroll's file to Multitrack, which does
less: it neither cuts phrases nor joins tracks; `build` is the whole command, with the start of its processes, once a
number of workers. `files_per_s` and the ratio count files; `--files` of those found, evenly spread, are read in turns.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

from tests.bench import report
from tests.bench.contender import ROOT, Process

_ENDINGS = (".mid", ".midi", ".kar", ".smf")


def _one_core() -> None:
    """From here on, and for processes started from here."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def _build(paths: Sequence[str], workers: int) -> dict[str, Any]:
    """Runs the command; its seconds and what it made."""
    import json

    with tempfile.TemporaryDirectory(prefix="wae_jax_bench_") as folder:
        command = [sys.executable, "-m", "wae_jax.build_dataset", "--output", f"{folder}/data", "--tonality=keep"]
        command += ["--workers", str(workers), "--input", *paths]
        started = time.perf_counter()
        subprocess.run(command, cwd=ROOT, check=True, stdout=sys.stderr)
        seconds = time.perf_counter() - started
        description = json.loads(pathlib.Path(folder, "data", "dataset.json").read_text())
    return {"seconds": seconds, "phrases": description["num_phrases"]}


def main() -> None:
    """Times one file after the other, then the command."""
    unused = ("network", "batch-size", "h-dim", "z-dim", "dtype", "steps")
    parser = report.parser(__doc__, peers=("pypianoroll",), steps=0, rounds=3, unused=unused)
    parser.add_argument("--input", required=True, help="folder of MIDI files")
    parser.add_argument("--files", type=int, default=50, help="how many of them to read in turns (default: 50)")
    parser.add_argument("--workers", type=int, action="append", help="of `build` (default: 1, and one a CPU)")
    arguments = parser.parse_args()
    found = sorted(str(p.resolve()) for p in pathlib.Path(arguments.input).rglob("*") if p.suffix.lower() in _ENDINGS)
    if not found:
        parser.error(f"no MIDI file in {arguments.input}")
    some = found[:: -(-len(found) // arguments.files)]
    every_core = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))

    _one_core()
    peers = {"pypianoroll": "tests.bench.peers.pypianoroll_peer:read_midi"}
    with contextlib.ExitStack() as stack:
        report.compare(
            "read_midi",
            stack.enter_context(Process("ours", "tests.bench.ours:read_midi", {"paths": some})),
            {n: stack.enter_context(Process(n, peers[n], {"paths": some})) for n in dict.fromkeys(arguments.peer)},
            steps=len(some),
            rounds=arguments.rounds,
            amount=len(some),
            unit="files_per_s",
        )
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, every_core)
    for workers in arguments.workers or sorted({1, len(every_core)}):
        built = [_build(found, workers) for _ in range(arguments.rounds)]
        seconds = [each["seconds"] for each in built]
        report.emit(
            "build",
            workers=workers,
            files=len(found),
            phrases=built[0]["phrases"],
            rounds=arguments.rounds,
            **report.rates(seconds, len(found), "files_per_s"),
            **report.rates(seconds, built[0]["phrases"], "phrases_per_s"),
        )


if __name__ == "__main__":
    main()
