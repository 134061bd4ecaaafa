"""What the shipped model brings a run on few songs: F1 of other songs and coverage of samples, by minutes of training.

    python -m wae_jax.build_dataset --input FORTY_SONGS --valid-fraction .15 --test-fraction .15 --output forty
    python -m tests.bench.fine_tuning --data forty --minutes 1 3 10

Three arms train with the settings of `--config` and the learning rates of a run of so many minutes each: `shipped`
starts from the shipped model, `random` from random weights of its network, and `configured` from random weights of the
network of `--config`. A step of `random` is timed first; all arms make as many steps in a minute. Minutes are those of
training alone, without the start of the program, its compilation and the measuring.

Nothing is chosen: the state after the last step is measured on the phrases of the splits valid and test together. F1
is that of the cells of all their reconstructions, at a probability of one half; coverage, precision and Fréchet
distance are those of `--num` samples. The first line, with 0 minutes, is the shipped model as it is.
"""

from __future__ import annotations

import argparse
import dataclasses
import runpy
import tempfile
import time
from typing import Any

import numpy as np

from tests.bench import ours, report
from tests.bench.contender import ROOT
from tests.bench.phrases import f1_of_reconstructions
from tests.helpers import changed
from wae_jax.config import Config, read_config
from wae_jax.data.dataset import Dataset
from wae_jax.data.load import open_data
from wae_jax.evaluation.sample_metrics import Reference, measure_samples
from wae_jax.generation.load import load
from wae_jax.generation.model import Model
from wae_jax.hooks import HOOKS
from wae_jax.training.host_devices import use_all_cores
from wae_jax.training.loop import train_and_evaluate
from wae_jax.training.run import Hooks, Run
from wae_jax.training.state import TrainState

ARMS = ("shipped", "random", "configured")
_OF_SAMPLES = ("coverage", "precision", "frechet_distance", "cells")
_TIMED_STEPS = 20


def make_configs(path: str, data: str) -> dict[str, Config]:
    """The configuration of each arm, on the dataset in the folder `data`; `path` names a file of `configs/`.

    Chooses the devices, before anything is computed.
    """
    file, *variant = path.split(":")
    configured = read_config(runpy.run_path(str(ROOT / file))["get_config"](*variant))
    # That of a variant may be a metric of samples, of which there are none here until the end; it chooses nothing.
    ranked = {"best_metric": "eval/reconstruction", "best_mode": "min"}
    configured = changed(configured, data__path=data, eval__num_train_phrases=0, **ranked)
    use_all_cores(configured.batch_size)
    shipped = load("shipped").config
    network = dataclasses.replace(shipped.model, dropout_rate=configured.model.dropout_rate)
    random = dataclasses.replace(configured, model=network, refiner=shipped.refiner)
    return {"shipped": changed(random, init_from="shipped"), "random": random, "configured": configured}


def seconds_of_a_step(path: str, config: Config) -> float:
    """Seconds of a training step, once compiled."""
    changes = {f"model.{name}": value for name, value in dataclasses.asdict(config.model).items()}
    made = ours.training_run(config=path, data=config.data.path, changes=changes)
    made.run(2)
    started = time.perf_counter()
    made.run(_TIMED_STEPS)
    return (time.perf_counter() - started) / _TIMED_STEPS


def train(config: Config, steps: int) -> tuple[Model, dict[str, Any]]:
    """The model after so many steps, and what the run took."""
    every = {f"{what}_every_steps": steps for what in ("log", "eval", "checkpoint")}
    config = changed(config, num_train_steps=steps, **every)
    found: list[Model] = []

    def finish(run: Run, state: TrainState) -> None:
        found.append(Model.of_state(run.config, state, run.statistics))

    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="wae_jax_bench_") as workdir:
        train_and_evaluate(config, workdir, hooks=Hooks(finish=finish, load_model=HOOKS.load_model))
    return found[0], {"steps": steps, "run_s": round(time.perf_counter() - started, 1)}


def score(model: Model, data: Dataset, *, num: int, seed: int) -> dict[str, float]:
    """Metrics of a model on the songs that no arm is trained on."""
    held_out = np.concatenate([np.asarray(data.split(name)) for name in ("valid", "test")])
    f1 = f1_of_reconstructions(lambda x: model.decode(model.encode(x)), held_out, batch_size=64)
    reference = Reference.of(held_out, np.asarray(data.split("train")), num=num)
    measured = measure_samples(model, model.rule, num=num, seed=seed, reference=reference)
    found = {name: measured[f"samples/{name}"] for name in _OF_SAMPLES if f"samples/{name}" in measured}
    return {name: report.rounded(value) for name, value in {"f1": f1, **found}.items()}


def main() -> None:
    """Trains and measures every arm for every number of minutes and every seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder made by build_dataset, with the splits valid and test")
    parser.add_argument("--config", default="configs/wae_gan.py:songs", help="settings (default: %(default)s)")
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 3, 10], help="of training (default: 1 3 10)")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS, help="(default: all three)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="(default: 0)")
    parser.add_argument("--num", type=int, default=512, help="samples to measure (default: 512)")
    arguments = parser.parse_args()
    configs = make_configs(arguments.config, arguments.data)
    data = open_data(configs["random"].data)
    sizes = {f"{name}_phrases": len(data.split(name)) for name in ("train", "valid", "test")}
    step_s = seconds_of_a_step(arguments.config, configs["random"])
    facts = {**sizes, "step_s": report.rounded(step_s), **ours.device_facts()}
    untrained = score(load("shipped"), data, num=arguments.num, seed=0)
    report.emit("fine_tuning", arm="shipped", minutes=0, **untrained, **facts)
    for seed in arguments.seeds:
        for minutes in arguments.minutes:
            for arm in arguments.arms:
                model, took = train(changed(configs[arm], seed=seed), max(round(60 * minutes / step_s), 1))
                found = score(model, data, num=arguments.num, seed=seed)
                report.emit("fine_tuning", arm=arm, minutes=minutes, seed=seed, **found, **took)


if __name__ == "__main__":
    main()
