"""The default WAE-GAN on the built-in corpus, from its first step to its end.

    python -m tests.bench.whole_run

Trains, evaluates and saves as `main` does, without music, pictures and the page, which need packages of their own; at
the end it measures samples. `seconds` leaves out the start of the process and the measuring of samples.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from typing import Any

from tests.bench import ours, report
from tests.helpers import changed
from wae_jax.config import Config
from wae_jax.evaluation.sample_metrics import Reference, measure_samples
from wae_jax.generation.model import Model
from wae_jax.training.loop import train_and_evaluate
from wae_jax.training.run import Hooks, Run
from wae_jax.training.state import TrainState

_OF_SAMPLES = ("cells", "notes_per_bar", "in_scale_share", "precision", "recall", "coverage", "frechet_distance")


def main() -> None:
    """Trains."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=0, help="to train (default: as configured)")
    parser.add_argument("--num-samples", type=int, default=512, help="to measure (default: 512)")
    arguments = parser.parse_args()
    line: dict[str, Any] = {}

    def finish(run: Run, state: TrainState) -> None:
        line.update(steps=run.total_steps, seconds=round(time.perf_counter() - started, 2))
        model = Model.of_state(run.config, state, run.statistics)
        reference = Reference.of(run.valid_rows, run.train_rows, num=arguments.num_samples)
        measured = measure_samples(
            model, model.rule, num=arguments.num_samples, seed=run.config.seed, reference=reference
        )
        line.update({f"samples/{name}": report.rounded(measured[f"samples/{name}"]) for name in _OF_SAMPLES})

    config = changed(Config(), num_train_steps=arguments.steps)
    with tempfile.TemporaryDirectory(prefix="wae_jax_bench_") as workdir:
        started = time.perf_counter()
        metrics = train_and_evaluate(config, workdir, hooks=Hooks(finish=finish))
    evaluated = {name: report.rounded(value) for name, value in metrics.items()}
    memory = ours.device_memory()
    if memory is not None:
        line["peak_memory_mb"] = report.rounded(memory / 2**20)
    report.emit("whole_run", **line, **evaluated, **ours.device_facts())


if __name__ == "__main__":
    main()
