"""The benches are run by hand; what they configure must be enough for the step of today."""

import dataclasses
import hashlib
import importlib
import json

import jax
import numpy as np
import pytest

import wae_jax
from tests.bench import arithmetic, fine_tuning, growth, growth_contenders, ours, quality_by_time
from tests.bench.contender import ContenderError
from tests.helpers import DENSITIES, changed, make_batch, read_metrics, train_briefly
from wae_jax.data.dataset import load_dataset
from wae_jax.data.pipeline import BATCH_AXIS
from wae_jax.training.state import create_train_state
from wae_jax.training.step import make_train_step


@pytest.mark.parametrize("penalty", ["mmd", "gan"])
def test_the_benches_configuration_makes_a_step(penalty):
    config = ours.make_config(network="tiny", batch_size=4, h_dim=1, z_dim=2, dtype="bfloat16", penalty=penalty)
    state = create_train_state(config, track_densities=DENSITIES, num_train_steps=1)
    batch = make_batch(4)

    def step(rows):
        return make_train_step(config, num_train_steps=1)(state, batch._replace(packed=rows))

    _, metrics = jax.eval_shape(jax.vmap(step, axis_name=BATCH_AXIS), batch.packed[None])
    assert "train/reconstruction" in metrics


def test_arms_of_fine_tuning_differ_in_where_they_start(monkeypatch):
    monkeypatch.setattr(fine_tuning, "use_all_cores", lambda batch_size: None)  # these tests have four devices
    configs = fine_tuning.make_configs("configs/wae_gan.py:songs", "here")
    assert configs.keys() == set(fine_tuning.ARMS)
    assert changed(configs["shipped"], init_from="") == configs["random"]
    shipped = wae_jax.load().config.model
    assert configs["random"].model == dataclasses.replace(shipped, dropout_rate=0.2)
    assert configs["configured"] == dataclasses.replace(configs["random"], model=configs["configured"].model)


def test_fine_tuning_measures_reconstructions_and_samples(tmp_path):
    model = wae_jax.load(train_briefly(tmp_path))
    found = fine_tuning.score(model, model.data(), num=8, seed=0)
    assert found.keys() == {"f1", "coverage", "precision", "frechet_distance", "cells"}


def test_quality_by_time_reads_the_evaluations_of_a_run(tmp_path):
    workdir = train_briefly(tmp_path)
    (last,) = [line for line in read_metrics(workdir) if "eval/f1" in line]
    nothing, reached = (quality_by_time.reached(workdir, minutes) for minutes in (0, 60))
    assert np.isnan(list(nothing.values())).all()
    assert reached["step"] == last["step"] == 3
    assert reached["eval/f1"] == pytest.approx(last["eval/f1"], rel=1e-6)


def test_the_least_traffic_of_a_step_counts_each_result_five_times():
    # Encoder, code, dense layer and decoder of "tiny", from its row in conftest.py.
    results = 32 * 14 * 2 + 4 * 2 * 4 + 3 + 4 * 2 * 4 + 32 * 14 * 2 + 192 * 84 * 5
    found = arithmetic.training_gigabytes("tiny", h_dim=2, z_dim=3, bytes_each=2)
    assert found == pytest.approx(5 * 2 * results * 1e-9)


def lines_of(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def with_table(monkeypatch, measure):
    monkeypatch.setitem(growth.TABLES, "page", growth.Table("samples", (10, 100, 1000, 2000), measure, ("a_s", "b_s")))


def test_exponents_of_growth_are_powers_of_the_size(monkeypatch, capsys):
    with_table(monkeypatch, lambda size, flags: {"a_s": 3.0 * size**2, "b_s": 5.0, "peak_memory_mb": 100.0 + size})
    # A line through 200 MB at 100 and 1,100 MB at 1,000 is at 2,100 MB at 2,000.
    assert growth.main(["--table=page", "--most-memory-mb=1100"]) == 0
    *measured, too_large, summary = lines_of(capsys)
    assert [line["size"] for line in measured] == [10, 100, 1000]
    assert "exponent" not in measured[0]
    assert [line["exponent"] for line in measured[1:]] == [{"a_s": 2.0, "b_s": 0.0}] * 2
    assert too_large["size"] == 2000
    assert "would take 2,100 MB, more than" in too_large["error"]
    assert (summary["case"], summary["largest_exponent"], summary["cost"]) == ("growth_summary", 2.0, "a_s")


def test_a_size_that_fails_leaves_the_others(monkeypatch, capsys):
    def measure(size, flags):
        if size == 100:
            raise ContenderError("page ended with status 1")
        return {"a_s": float(size), "b_s": 0.0, "peak_memory_mb": 1.0}

    with_table(monkeypatch, measure)
    assert growth.main(["--table=page", "--sizes", "1000", "10", "100"]) == 1
    first, failed, last, summary = lines_of(capsys)
    assert (failed["size"], failed["error"]) == (100, "page ended with status 1")
    assert last["exponent"] == {"a_s": 1.0}
    assert summary["between"] == [first["size"], last["size"]] == [10, 1000]


class InThisProcess:
    """A contender without a process of its own, which would not know the network of the tests."""

    peak_memory_mb = 1000.0

    def __init__(self, name, function, arguments, environment=None):
        module, make = function.split(":")
        self._contender = getattr(importlib.import_module(module), make)(**arguments)
        self.facts = self._contender.facts

    def measure(self):
        return {**self._contender.measure(), "seconds": 0.0}

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass


def test_growth_with_phrases_is_measured_on_a_run(monkeypatch, capsys):
    monkeypatch.setattr(growth, "Process", InThisProcess)
    flags = ["--network=tiny", "--h-dim=1", "--z-dim=2", "--batch-size=4", "--phrases-per-turn=8"]
    assert growth.main(["--table=phrases", "--sizes=32", *flags]) == 0
    (line,) = lines_of(capsys)
    assert line["steps"] == 2
    assert line["phrases_per_s"] == pytest.approx(4 / line["step_s"], rel=2e-3)
    assert line["open_s"] == pytest.approx(line["load_s"] + line["songs_s"] + line["densities_s"], rel=2e-3)
    assert line["own_memory_mb"] == pytest.approx(1000 - line["mapped_mb"], rel=1e-3)
    assert line.keys() >= {*growth.TABLES["phrases"].costs}


def test_the_dataset_of_growth_is_one(tmp_path, monkeypatch):
    monkeypatch.setattr(ours, "MOST_PHRASES", 10)
    growth_contenders.written_dataset(folder=str(tmp_path), num=32)
    data = load_dataset(tmp_path)
    assert data.songs("train").tolist() == np.repeat([0, 1, 2], 8).tolist()
    assert data.songs("valid").tolist() == [0] * 8
    assert len(np.unique(data.phrases, axis=0)) == 10
    density = np.unpackbits(data.phrases).mean()
    assert density == pytest.approx(ours.DENSITY, rel=0.02)
    promised = json.loads((tmp_path / "dataset.json").read_text())["phrases_sha256"]
    assert promised == hashlib.sha256(np.asarray(data.phrases).tobytes()).hexdigest()


def test_pages_of_a_mapped_file_are_told_apart(tmp_path):
    np.save(tmp_path / "one.npy", np.ones(2**21, np.uint8))
    mapped = np.load(tmp_path / "one.npy", mmap_mode="r")
    assert growth_contenders.mapped_mb(tmp_path / "other.npy") == 0
    assert mapped.sum() == 2**21
    assert growth_contenders.mapped_mb(tmp_path / "one.npy") == pytest.approx(2, abs=0.1)


def test_the_parts_of_an_evaluation_are_costs_of_its_table():
    parts = [f"{name}_s" for names in growth_contenders.PARTS_OF_EVALUATION.values() for name in names]
    assert {*growth.TABLES["evaluate"].costs} == {"evaluate_s", *parts, "rest_s", "peak_memory_mb"}
