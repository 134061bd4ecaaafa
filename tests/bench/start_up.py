"""From the start of the process to the end of the first step.

    python -m tests.bench.start_up --peer=keras --peer=torch

Runs `python -m wae_jax.main` as a user would, until the first line of metrics.jsonl: with an empty compilation cache
(`start_up_first`), then with the one that this has filled (`start_up_again`). `greeting_s` of these seconds pass until
the program has its libraries and devices and says so. Peers are their bare training step, from the start of their
process: no data to prepare, nothing to log; `ratio` is ours / peer of phrases of the first step a second, so above 1 is
the faster start, and `phrases_per_s` counts the whole start. `compile_s` is the difference of first and second start.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

from tests.bench import report
from tests.bench.contender import ROOT, Process, process_memory_mb
from tests.bench.train_step import PEERS

_POLL_S = 0.02


def _start(config: str, sizes: dict[str, Any], data: str, cache: str) -> dict[str, float]:
    """Seconds until the program greets, and until its first step is done."""
    with tempfile.TemporaryDirectory(prefix="wae_jax_bench_") as folder:
        command = [
            *(sys.executable, "-m", "wae_jax.main", f"--config={config}", f"--workdir={folder}"),
            *(f"--config.model.{name}={sizes[name]}" for name in ("network", "h_dim", "z_dim")),
            *(f"--config.{name}={sizes[name]}" for name in ("batch_size", "dtype")),
            *(f"--config.data.path={data}", "--config.num_train_steps=1000", "--config.log_every_steps=1"),
        ]
        environment = {
            **os.environ,
            "JAX_COMPILATION_CACHE_DIR": cache,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        try:
            process.stdout.readline()
            greeting = time.perf_counter() - started
            metrics = pathlib.Path(folder, "metrics.jsonl")
            while not metrics.exists() or not metrics.stat().st_size:
                if process.poll() is not None:
                    sys.exit(f"error: the run ended with status {process.returncode} before its first step")
                time.sleep(_POLL_S)
            first_step = time.perf_counter() - started
        finally:
            process.kill()
            process.stdout.close()
        # Not `process.wait`, which does not tell the memory.
        _, _, usage = os.wait4(process.pid, 0)
        return {"greeting_s": greeting, "first_step_s": first_step, "peak_memory_mb": process_memory_mb(usage)}


def _peer(name: str, sizes: dict[str, Any]) -> dict[str, Any]:
    """A peer's first step."""
    function, further = PEERS[name]
    with Process(name, function, {**sizes, **further}) as process:
        return {"first_step_s": process.start_s, "peak_memory_mb": process.peak_memory_mb, **process.facts}


def main() -> None:
    """Starts everything in turns."""
    parser = report.parser(__doc__, peers=tuple(PEERS), steps=1, rounds=3, unused=("steps",))
    parser.add_argument("--config", default="configs/wae_mmd.py", help="default: configs/wae_mmd.py")
    parser.add_argument("--data", default="", help="folder made by build_dataset (default: the built-in corpus)")
    arguments = parser.parse_args()
    sizes = report.sizes(arguments)
    data = str(pathlib.Path(arguments.data).resolve()) if arguments.data else ""
    starts: dict[str, list[dict[str, Any]]] = {}
    for _ in range(arguments.rounds):
        with contextlib.ExitStack() as stack:
            cache = stack.enter_context(tempfile.TemporaryDirectory(prefix="wae_jax_bench_"))
            for case in ("start_up_first", "start_up_again"):
                starts.setdefault(case, []).append(_start(arguments.config, sizes, data, cache))
        for name in arguments.peer:
            starts.setdefault(name, []).append(_peer(name, sizes))
    seconds = {name: [each["first_step_s"] for each in every] for name, every in starts.items()}
    medians = {name: statistics.median(every) for name, every in seconds.items()}
    compile_s = max(medians["start_up_first"] - medians["start_up_again"], 0.0)
    for case in ("start_up_first", "start_up_again"):
        line = {
            **sizes,
            "config": arguments.config,
            "rounds": arguments.rounds,
            "first_step_s": round(medians[case], 2),
            "first_step_s_min": round(min(seconds[case]), 2),
            "first_step_s_max": round(max(seconds[case]), 2),
            "greeting_s": round(statistics.median(each["greeting_s"] for each in starts[case]), 2),
            "compile_s": round(compile_s, 2) if case == "start_up_first" else 0.0,
            "peak_memory_mb": round(max(each["peak_memory_mb"] for each in starts[case])),
            **report.rates(seconds[case], arguments.batch_size, "phrases_per_s"),
        }
        if not arguments.peer:
            report.emit(case, **line)
        for name in arguments.peer:
            peer = {**starts[name][-1], "name": name, "first_step_s": round(medians[name], 2)}
            report.emit(case, **line, peer=peer, **report.ratio(seconds[case], seconds[name]))


if __name__ == "__main__":
    main()
