"""Contenders of tests.bench.growth: a dataset and a run on it, an evaluation, and a listening page."""

from __future__ import annotations

import contextlib
import functools
import json
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from unittest import mock

import jax
import numpy as np

import wae_jax
from tests.bench import ours, report
from tests.bench.contender import Contender
from tests.helpers import CORPUS_MODEL, changed
from wae_jax import pianoroll
from wae_jax.config import Config
from wae_jax.data import dataset
from wae_jax.data.build.dataset_writer import copy_phrases, write_tsv
from wae_jax.data.pipeline import InputPipeline, replicate
from wae_jax.data.statistics import track_densities
from wae_jax.evaluation import measure as sections
from wae_jax.evaluation.evaluate_model import EvaluationSpec, evaluate_model
from wae_jax.generation import model as models
from wae_jax.listening.page import write_run_page
from wae_jax.training.calls import parallel_step
from wae_jax.training.state import create_train_state
from wae_jax.training.step import make_train_step

_PHRASES_PER_SONG = 8
_VALID_SHARE = 0.1
_FIRST_STEPS = 2  # the first compiles
_FIRST_SAMPLES = 128  # of the evaluation that compiles
PARTS_OF_EVALUATION: dict[object, tuple[str, ...]] = {
    sections: ("measure_music", "count_note_lengths", "compare_distributions", "find_copies", "measure_codes"),
    models.Model: ("sample_codes", "encode", "decode", "binarize"),
    models: ("fit_rule",),
}


def written_dataset(*, folder: str, num: int) -> Contender:
    """Writes a dataset as `build_dataset` does, of random phrases that repeat; no step is left to do."""
    path = pathlib.Path(folder)
    staged = path / "rows"
    staged.write_bytes(pianoroll.pack(ours.random_phrases(min(num, ours.MOST_PHRASES), 0)).tobytes())
    # Some at a time, from the file.
    digest = copy_phrases(staged, np.arange(num) % ours.MOST_PHRASES, path / dataset.PHRASES_FILE)
    staged.unlink()
    border = int(num * (1 - _VALID_SHARE)) // _PHRASES_PER_SONG * _PHRASES_PER_SONG

    def index_line(row: int) -> tuple[str, ...]:
        song, number = divmod(row, _PHRASES_PER_SONG)
        split = "train" if row < border else "valid"
        return (str(row), split, str(song), f"songs/{song}.mid", str(4 * number), "120.0", "0")

    write_tsv(path / dataset.INDEX_FILE, [dataset.INDEX_COLUMNS, *map(index_line, range(num))])
    description = {
        "format": dataset.FORMAT,
        "format_version": dataset.FORMAT_VERSION,
        "num_phrases": num,
        "tracks": pianoroll.TRACK_NAMES,
        "splits": {"train": [0, border], "valid": [border, num]},
        "phrases_sha256": digest,
    }
    (path / dataset.DESCRIPTION_FILE).write_text(json.dumps(description))
    return Contender(lambda steps: None)


def opened_run(*, data: str, sizes: Mapping[str, Any], penalty: str, steps: int) -> Contender:
    """A dataset opened as the loop opens it, and training steps on it; all of it in `measure`."""
    total = _FIRST_STEPS + steps
    config = changed(Config(), objective__penalty=penalty, num_train_steps=total, **sizes)

    def measure() -> dict[str, float]:
        times = [time.perf_counter()]
        opened = dataset.load_dataset(data)
        rows = opened.split("train")
        times.append(time.perf_counter())
        opened.songs("train")
        times.append(time.perf_counter())
        densities = track_densities(rows)
        times.append(time.perf_counter())

        state = replicate(create_train_state(config, track_densities=densities, num_train_steps=total))
        pipeline = InputPipeline(rows, batch_size=config.batch_size, placement=config.data.placement)
        one_step = make_train_step(config, num_train_steps=total)
        train_steps = parallel_step(functools.partial(jax.lax.scan, one_step), donate_state=True)
        started = 0.0
        for step in range(total):
            if step == _FIRST_STEPS:
                jax.block_until_ready(state)
                started = time.perf_counter()
            state, _ = train_steps(state, pipeline.training_batches(config.seed, step, 1))
        jax.block_until_ready(state)
        step_s = (time.perf_counter() - started) / steps
        load_s, songs_s, densities_s = np.diff(times).tolist()
        found = {
            "open_s": times[-1] - times[0],
            "load_s": load_s,
            "songs_s": songs_s,
            "densities_s": densities_s,
            "step_s": step_s,
            "phrases_per_s": config.batch_size / step_s,
            "mapped_mb": mapped_mb(pathlib.Path(data, dataset.PHRASES_FILE)),
        }
        return {name: report.rounded(value) for name, value in found.items()}

    return Contender(lambda steps: None, ours.device_facts(), ours.device_memory, measure)


def mapped_mb(path: pathlib.Path) -> float:
    """Memory of this process that is pages of a file; 0 where the system does not tell, as only Linux does."""
    maps = pathlib.Path("/proc/self/smaps")
    name, total, is_of_file = str(path.resolve()), 0, False
    for line in maps.read_text().splitlines() if maps.exists() else ():
        first, *others = line.split()
        if not first.endswith(":"):
            is_of_file = line.endswith(name)
        elif first == "Rss:" and is_of_file:
            total += int(others[0])
    return total / 1024


def evaluation(*, num: int) -> Contender:
    """The evaluation of the model of the tests on so many samples, after a smaller one; all of it in `measure`."""
    model = wae_jax.load(CORPUS_MODEL)

    def evaluate(num: int) -> None:
        spec = EvaluationSpec(num=num, seed=0, split="valid", compat="")
        evaluate_model(model, model.data(), spec, model.config.binarization)

    def measure() -> dict[str, float]:
        evaluate(min(num, _FIRST_SAMPLES))
        with contextlib.ExitStack() as stack:
            parts = [stack.enter_context(_timing(*each)) for each in PARTS_OF_EVALUATION.items()]
            started = time.perf_counter()
            evaluate(num)
            evaluate_s = time.perf_counter() - started
        seconds = {name: value for part in parts for name, value in part.items()}
        found = {"evaluate": evaluate_s, **seconds, "rest": evaluate_s - sum(seconds.values())}
        return {f"{name}_s": report.rounded(value) for name, value in found.items()}

    return Contender(lambda steps: None, ours.device_facts(), ours.device_memory, measure)


@contextlib.contextmanager
def _timing(owner: object, names: Sequence[str]) -> Iterator[dict[str, float]]:
    """Adds up the seconds in functions of a module or methods of a class, none of which calls another of them."""
    seconds = dict.fromkeys(names, 0.0)

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*arguments: Any, **named: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                seconds[name] += time.perf_counter() - started

        return call

    with contextlib.ExitStack() as stack:
        for name in names:
            stack.enter_context(mock.patch.object(owner, name, timed(name, getattr(owner, name))))
        yield seconds


def page(*, num: int, output: str) -> Contender:
    """The listening page of the model of the tests with so many samples; a step writes it."""
    model = wae_jax.load(CORPUS_MODEL)
    facts = ours.device_facts()

    def run(steps: int) -> None:
        for _ in range(steps):
            facts["page_mb"] = report.rounded(write_run_page(model, output, source=str(CORPUS_MODEL), num=num) / 1e6)

    return Contender(run, facts, ours.device_memory)
