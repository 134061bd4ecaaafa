"""The real loop beside the bare step: what data, logs, evaluation, samples and checkpoints cost.

    python -m tests.bench.loop --data data/mine
    python -m tests.bench.loop --steps 20 --log-every 10 --eval-phrases 64

Cases: `loop` trains and logs, `loop_evaluating` also evaluates, writes samples and saves a checkpoint, all once a turn;
`share_of_bare_step` is its rate over that of the bare step in the same rounds. An evaluation once a turn is more often
than a run has it: `share_at_configured_cadence` is the share where it comes as often as in the configuration.

The loop is a black box: `train_and_evaluate` as it is, timed by when the lines of metrics.jsonl appear, between two of
them that are a turn apart. So what happens before the first step and after the last does not count.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import statistics
import tempfile
import threading
import time
from typing import Any

from tests.bench import arithmetic, report
from tests.bench.contender import Contender, Process, take_turns

_POLL_S = 0.005
_NEVER = 10**9


class _Watch:
    """Notes when the line of each step appears in a metrics file."""

    def __init__(self, path: pathlib.Path) -> None:
        self.seen: dict[int, float] = {}
        self._path = path
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self) -> None:
        size = 0
        while not self._stop.wait(_POLL_S):
            now = time.perf_counter()
            if not self._path.exists() or self._path.stat().st_size == size:
                continue
            content = self._path.read_bytes()
            size = len(content)
            for line in content.splitlines(keepends=True):
                if line.endswith(b"\n"):
                    self.seen.setdefault(json.loads(line)["step"], now)

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()


def real_loop(
    *, sizes: dict[str, Any], data: str, log_every: int, eval_phrases: int, evaluating: bool, showing: bool
) -> Contender:
    """`train_and_evaluate` in a new workdir for each turn, with main's hooks where it is `showing`."""
    from tests.bench import ours
    from tests.helpers import changed
    from wae_jax.hooks import HOOKS
    from wae_jax.training.loop import train_and_evaluate
    from wae_jax.training.run import NO_HOOKS

    # The step is that of the bare one: the same cost and penalty.
    base = changed(
        ours.make_config(**sizes),
        **({"eval.num_phrases": eval_phrases, "eval.num_train_phrases": 0} if eval_phrases else {}),
        **{"data.path": data},
    )

    def run(steps: int) -> float:
        period = steps if evaluating else _NEVER
        # The turn begins at the first line of a period and ends before the last step, which always evaluates.
        before = steps if evaluating else min(log_every, steps)
        config = changed(
            base,
            log_every_steps=min(log_every, steps),
            eval_every_steps=period,
            checkpoint_every_steps=period,
            num_train_steps=before + steps + 1,
        )
        with tempfile.TemporaryDirectory(prefix="wae_jax_bench_") as workdir:
            with _Watch(pathlib.Path(workdir, "metrics.jsonl")) as watch:
                train_and_evaluate(config, workdir, hooks=HOOKS if showing else NO_HOOKS)
                time.sleep(2 * _POLL_S)
            return watch.seen[before + steps] - watch.seen[before]

    facts = {"evaluation_every": base.eval_every_steps, **ours.device_facts()}
    return Contender(run, facts, ours.device_memory)


def main() -> None:
    """Times the bare step, the loop, and the loop with evaluation in turns."""
    parser = report.parser(__doc__, peers=(), steps=50, rounds=3)
    parser.add_argument("--data", default="", help="folder made by build_dataset (default: the built-in corpus)")
    parser.add_argument("--log-every", type=int, default=25, help="divides --steps (default: 25)")
    parser.add_argument("--eval-phrases", type=int, default=0, help="to evaluate on (default: as configured)")
    parser.add_argument("--show", action="store_true", help="with the samples, pictures and sound of main")
    parser.add_argument("--devices", type=int, default=0, help="host devices on a CPU")
    arguments = parser.parse_args()
    if arguments.steps % arguments.log_every:
        parser.error(f"--steps {arguments.steps} is no multiple of --log-every {arguments.log_every}")
    sizes = report.sizes(arguments)
    loop = {
        "sizes": sizes,
        "data": str(pathlib.Path(arguments.data).resolve()) if arguments.data else "",
        "log_every": arguments.log_every,
        "eval_phrases": arguments.eval_phrases,
        "showing": arguments.show,
    }
    with contextlib.ExitStack() as stack:
        # Every turn compiles the same programs again, which is not what is to be measured.
        cache = stack.enter_context(tempfile.TemporaryDirectory(prefix="wae_jax_bench_"))
        environment = {
            **report.host_devices(arguments.devices),
            "JAX_COMPILATION_CACHE_DIR": cache,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }

        def start(name: str, function: str, given: dict[str, Any]) -> tuple[Process, int]:
            return stack.enter_context(Process(name, function, given, environment)), arguments.steps

        contenders = {
            "bare_step": start("bare step", "tests.bench.ours:train_step", sizes),
            "loop": start("loop", "tests.bench.loop:real_loop", {**loop, "evaluating": False}),
            "loop_evaluating": start("loop, evaluating", "tests.bench.loop:real_loop", {**loop, "evaluating": True}),
        }
        ceiling = Process("matmul", "tests.bench.ours:matmul", {"dtype": arguments.dtype})
        stack.enter_context(ceiling)
        *turns, limit = take_turns([*contenders.values(), (ceiling, 1)], arguments.rounds)
    seconds = dict(zip(contenders, turns, strict=True))
    bare, plain, evaluating = (statistics.median(each) for each in turns)
    cadence = contenders["loop"][0].facts["evaluation_every"]
    evaluation_s = max(evaluating - plain, 0.0)
    expected = cadence * bare / (cadence * plain + evaluation_s * arguments.steps)
    phrases = arguments.steps * arguments.batch_size
    gflop = phrases * arithmetic.training_gflop(arguments.network, h_dim=arguments.h_dim, z_dim=arguments.z_dim)
    further: dict[str, dict[str, float]] = {
        "loop": {"share_of_bare_step": round(bare / plain, 3)},
        "loop_evaluating": {
            "share_of_bare_step": round(bare / evaluating, 3),
            "evaluation_s": round(evaluation_s, 2),
            "share_at_configured_cadence": round(expected, 3),
        },
    }
    for case, (process, steps) in contenders.items():
        report.emit(
            case,
            **sizes,
            steps=steps,
            rounds=arguments.rounds,
            **report.rates(seconds[case], phrases, "phrases_per_s"),
            **report.cost(process),
            **process.facts,
            **report.share_of_ceiling(seconds[case], gflop, limit, ceiling.facts["gflop"]),
            **further.get(case, {}),
        )


if __name__ == "__main__":
    main()
