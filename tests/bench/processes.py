"""Two processes with a core each, joined by jax.distributed, beside one process with one core.

    python -m tests.bench.processes --batch-size 32

The batch of each process is the same, so that two do twice the work; `speed_up` is the ratio of phrases a second to
that of one. Two processes that know nothing of each other (`joined` false) tell what the machine has to give: cores
that share caches, memory and heat do not do twice the work of one. Joining costs the rest.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import socket
import statistics
import time
from typing import Any

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
    alone = {"coordinator": "", "num_processes": 1, "process_id": 0, **sizes}
    together = {**sizes, "batch_size": 2 * arguments.batch_size, "coordinator": f"localhost:{port}", "num_processes": 2}
    cores = (one, other)
    with concurrent.futures.ThreadPoolExecutor(2) as pool, contextlib.ExitStack() as stack:

        def start(name: str, given: list[dict[str, Any]]) -> list[Process]:
            # At once, since of processes that are joined neither is ready before the other is, nor ends before it.
            environment = report.host_devices(1)
            waiting = [
                pool.submit(Process, f"{name} {i}", _FUNCTION, each, environment) for i, each in enumerate(given)
            ]
            processes = [process.result() for process in waiting]
            stack.callback(lambda: list(pool.map(lambda process: process.__exit__(), processes)))
            return processes

        apart = start("apart", [{"core": core, **alone} for core in cores])
        joined = start("joined", [{"core": core, **together, "process_id": i} for i, core in enumerate(cores)])
        cases = {(1, False): apart[:1], (2, False): apart, (2, True): joined}
        seconds: dict[tuple[int, bool], list[float]] = {case: [] for case in cases}
        for _ in range(arguments.rounds):
            for case, processes in cases.items():
                begun = time.perf_counter()
                list(pool.map(lambda process: process.run(arguments.steps), processes))
                seconds[case].append(time.perf_counter() - begun)
    phrases = arguments.steps * arguments.batch_size
    first = statistics.median(seconds[1, False])
    for (number, is_joined), each in seconds.items():
        report.emit(
            "processes",
            processes=number,
            joined=is_joined,
            **sizes,
            steps=arguments.steps,
            rounds=arguments.rounds,
            **report.rates(each, number * phrases, "phrases_per_s"),
            speed_up=round(number * first / statistics.median(each), 3),
        )


if __name__ == "__main__":
    main()
