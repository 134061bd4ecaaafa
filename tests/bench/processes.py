"""Two processes with a core each, joined by jax.distributed, beside one process with one core.

    python -m tests.bench.processes --batch-size 32

The batch of each process is the same, so that two do twice the work; `speed_up` is the ratio of phrases a second, 2
where joining them costs nothing.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import socket
import statistics
import time

from tests.bench import report
from tests.bench.contender import Process

_FUNCTION = "tests.bench.ours:train_step_on_a_core"


def main() -> None:
    """Times both in turns."""
    parser = report.parser(__doc__, peers=(), steps=5)
    arguments = parser.parse_args()
    sizes = report.sizes(arguments)
    one, other = sorted(os.sched_getaffinity(0))[:2]
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    alone = {"core": one, "coordinator": "", "num_processes": 1, "process_id": 0, **sizes}
    together = {**sizes, "batch_size": 2 * arguments.batch_size, "coordinator": f"localhost:{port}", "num_processes": 2}
    pair = [{"core": core, "process_id": i, **together} for i, core in enumerate((one, other))]
    environment = report.host_devices(1)
    with concurrent.futures.ThreadPoolExecutor(2) as pool, contextlib.ExitStack() as stack:
        single = stack.enter_context(Process("one", _FUNCTION, alone, environment))
        # Neither of the two is ready before the other is.
        started = [pool.submit(Process, f"process {i}", _FUNCTION, given, environment) for i, given in enumerate(pair)]
        joined = [process.result() for process in started]
        # Nor does one end before the other.
        stack.callback(lambda: list(pool.map(lambda process: process.__exit__(), joined)))
        seconds: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(arguments.rounds):
            seconds[1].append(single.run(arguments.steps))
            begun = time.perf_counter()
            list(pool.map(lambda process: process.run(arguments.steps), joined))
            seconds[2].append(time.perf_counter() - begun)
    phrases = arguments.steps * arguments.batch_size
    for number, each in seconds.items():
        further = {}
        if number == 2:
            further["speed_up"] = round(2 * statistics.median(seconds[1]) / statistics.median(each), 3)
        report.emit(
            "processes",
            processes=number,
            **sizes,
            steps=arguments.steps,
            rounds=arguments.rounds,
            **report.rates(each, number * phrases, "phrases_per_s"),
            **further,
        )


if __name__ == "__main__":
    main()
