"""Where the time of one training step goes, by operation of XLA.

    python -m tests.bench.profile_step --network=meter --z-dim=32 --dtype=bfloat16 --batch-size=2048 --output=profile

`device_ms` is the sum over all operations, `step_ms` the step as the host sees it while it is profiled. `operations`
are the longest, each with its kernel. The folder gets the trace, which https://ui.perfetto.dev shows. On CPUs a loop
counts with all that it contains.
"""

from __future__ import annotations

import collections
import pathlib
import shutil
import tempfile
import time
from collections.abc import Iterator

import jax

from tests.bench import ours, report

_LONGEST = 20
_WARM_UP_STEPS = 3


def _operations(profile: jax.profiler.ProfileData) -> Iterator[tuple[str, str, float]]:
    """Operation, kernel and milliseconds of all that ran on the first device."""
    planes = {plane.name: plane for plane in profile.planes}
    devices = sorted(name for name in planes if name.startswith(("/device:GPU:", "/device:TPU:")))
    lines = list(planes[devices[0] if devices else "/host:CPU"].lines)
    # A GPU's streams; what a TPU ran. Other lines of these devices sum up the same events.
    chosen = [line for line in lines if line.name.startswith("Stream")]
    chosen = chosen or [line for line in lines if line.name == "XLA Ops"] or lines
    for line in chosen:
        for event in line.events:
            operation = dict(event.stats).get("hlo_op")
            if operation or devices:  # on a CPU, whatever else the host does has no operation
                yield str(operation or event.name), event.name, 1e-6 * event.duration_ns


def main() -> None:
    """Profiles a step."""
    parser = report.parser(__doc__, peers=(), steps=1, unused=("steps", "rounds"))
    parser.add_argument("--output", type=pathlib.Path, required=True, help="folder for the trace")
    arguments = parser.parse_args()
    sizes = report.sizes(arguments)
    contender = ours.train_step(**sizes)
    contender.run(_WARM_UP_STEPS)
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0  # which would fill the trace with calls of Python
    with tempfile.TemporaryDirectory(prefix="wae_jax_bench_") as folder:
        with jax.profiler.trace(folder, profiler_options=options):
            started = time.perf_counter()
            contender.run(1)
            step_ms = 1e3 * (time.perf_counter() - started)
        (found,) = pathlib.Path(folder).rglob("*.xplane.pb")
        every = list(_operations(jax.profiler.ProfileData.from_file(str(found))))
        arguments.output.mkdir(parents=True, exist_ok=True)
        for trace in found.parent.glob("*.trace.json.gz"):
            shutil.copyfile(trace, arguments.output / "step.trace.json.gz")
    total: dict[str, float] = collections.defaultdict(float)
    times: collections.Counter[str] = collections.Counter()
    for operation, _, milliseconds in every:
        total[operation] += milliseconds
        times[operation] += 1
    kernels = {operation: kernel for operation, kernel, _ in every}
    report.emit(
        "profile_step",
        **sizes,
        step_ms=round(step_ms, 3),
        device_ms=round(sum(total.values()), 3),
        operations=[
            {"name": name, "kernel": kernels[name][:120], "ms": round(milliseconds, 4), "times": times[name]}
            for name, milliseconds in sorted(total.items(), key=lambda item: -item[1])[:_LONGEST]
        ],
        **ours.device_facts(),
    )


if __name__ == "__main__":
    main()
