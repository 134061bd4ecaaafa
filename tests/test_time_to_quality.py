"""The bench that trains beside other libraries; of these it needs none here."""

import contextlib
import importlib.util
import json
import os
import signal
import sys

import numpy as np
import pytest

from tests.bench import ours, phrases, time_to_quality
from tests.bench.contender import ContenderError, Process
from tests.bench.time_to_quality import Course, Score, missing_packages, start, take_slices
from tests.helpers import random_rolls
from wae_jax import pianoroll
from wae_jax.data.dataset import load_dataset
from wae_jax.data.pipeline import InputPipeline

_COUNTER = """
from tests.bench.contender import Contender

def make(data, batch_size, scores):
    done = 0

    def run(steps):
        nonlocal done
        done += steps
        return 2.0 * steps

    return Contender(run, {}, measure=lambda: {"f1": scores[min(done, len(scores) - 1)], "steps": done})
"""


class _Steady:
    """A contender whose steps take so many seconds, and whose F1 is a function of them."""

    start_s, compile_s, peak_memory_mb = 10.0, 5.0, 100.0

    def __init__(self, step_s, f1, total=10**9, fails_at=10**9):
        self.step_s, self.f1, self.total, self.fails_at, self.done = step_s, f1, total, fails_at, 2

    def run(self, steps):
        steps = min(steps, self.total - self.done)
        self.done += steps
        if self.done >= self.fails_at:
            raise ContenderError("ended with status 1")
        return steps * self.step_s

    def measure(self):
        finished = {"is_finished": True} if self.done == self.total else {}
        return {"f1": self.f1(self.done), "steps": self.done, "seconds": 3.0, **finished}


def _course(name, step_s, f1=lambda steps: 0.0, **options):
    process = _Steady(step_s, f1, **options)
    return Course(name, process, {"batch_size": 4}, [Score(step_s, 2, 0.0, 6.0)], step_s=step_s)


def _train(*courses, slice_s=10.0, budget_s=40.0):
    """The names of the contenders, in the order of their evaluations."""
    order = []
    take_slices(
        courses, slice_s=slice_s, budget_s=budget_s, on_evaluation=lambda each: order.append(each.name), pause_s=0
    )
    return order


def test_contenders_take_turns_of_the_same_length():
    fast, slow = _course("fast", 0.5), _course("slow", 2.5)
    assert _train(fast, slow, budget_s=30.0) == ["fast", "slow", "slow", "fast", "fast", "slow"]
    assert [score.train_s for score in fast.scores] == [0.5, 10.5, 20.5, 30.0]
    assert [score.steps for score in slow.scores] == [2, 6, 10, 13]


def test_a_line_tells_when_scores_were_seen_and_the_best():
    rising = _course("rising", 1.0, lambda steps: 0.01 * steps if steps < 30 else 0.05)
    _train(rising)
    line = rising.line([0.1, 0.2, 0.3])
    assert line["reached"] == [
        {"f1": 0.1, "steps": 12, "train_s": 11.0, "with_start_s": 21.0},
        {"f1": 0.2, "steps": 22, "train_s": 21.0, "with_start_s": 31.0},
    ]
    assert line["best"]["f1"] == 0.22
    assert line["last"] == {"f1": 0.05, "steps": 41, "train_s": 40.0, "with_start_s": 50.0}
    assert (line["phrases_per_s"], line["first_evaluation_s"], line["evaluation_s"]) == (4.0, 6.0, 3.0)


def test_the_others_go_on_when_one_is_finished_or_fails():
    short, broken, long = _course("short", 1.0, total=7), _course("broken", 1.0, fails_at=20), _course("long", 1.0)
    order = _train(short, broken, long)
    assert order.count("short") == order.count("broken") == 1
    assert order.count("long") == 4
    assert short.line([])["is_finished"]
    assert short.line([])["last"]["steps"] == 7
    assert broken.line([])["error"] == "ended with status 1"
    assert "error" not in long.line([])


@pytest.mark.parametrize("interrupted", [False, True])
def test_nothing_measured_is_lost(small_data, monkeypatch, capsys, interrupted):
    def rises(steps):
        if interrupted and steps > 30:
            raise KeyboardInterrupt
        return steps / 100

    monkeypatch.setattr(time_to_quality, "start", lambda name, *_: _course(name, 1.0, rises))
    monkeypatch.setattr(time_to_quality, "missing_packages", lambda peer: f"{peer} needs what is not here")
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    flags = ["--config=configs/wae_gan.py", "--peer=torch", "--minutes=1", "--slice=10"]
    monkeypatch.setattr(sys, "argv", ["time_to_quality", f"--data={small_data}", *flags])
    with pytest.raises(SystemExit) as ended:
        time_to_quality.main()
    assert ended.value.code == (130 if interrupted else 1)
    without, *evaluations, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert without["error"] == "torch needs what is not here"
    assert len(evaluations) == (2 if interrupted else 6)
    assert evaluations[1]["f1"] == 0.22
    assert [found["train_s"] for found in last["reached"]] == ([21.0] if interrupted else [21.0, 31.0])
    assert [last["train_phrases"], last["valid_phrases"]] == [
        len(load_dataset(small_data).split(name)) for name in ("train", "valid")
    ]


def test_a_process_is_measured_between_its_turns(tmp_path):
    (tmp_path / "counter.py").write_text(_COUNTER)
    scores = [0.0, 0.0, 0.1, 0.2, 0.3]
    with contextlib.ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
        course = start("counter", "counter:make", {"batch_size": 4, "scores": scores, "data": "here"}, stack)
        assert (course.scores[0].steps, course.scores[0].f1) == (2, 0.1)
        assert course.facts["batch_size"] == 4
        assert "data" not in course.facts
        course.step_s = 2.0
        course.train(4.0)
        assert course.scores[1][:3] == (course.scores[0].train_s + 4.0, 4, 0.3)


def test_a_process_that_ends_says_so(tmp_path):
    with Process("nobody", "no_such_module:make") as process, pytest.raises(ContenderError, match="nobody ended"):
        process.begin({})


def test_f1_is_that_of_all_cells_together():
    rolls = random_rolls(5)
    probabilities = np.clip(rolls * 0.7 + np.random.default_rng(1).random(rolls.shape, np.float32) - 0.49, 0, 1)
    calls = []

    def reconstruct(x):
        calls.append(len(x))
        (index,) = [i for i in range(0, 5, 2) if np.array_equal(rolls[i], x[0])]
        return np.resize(probabilities[index : index + 2], x.shape)

    found = phrases.f1_of_reconstructions(reconstruct, pianoroll.pack(rolls), batch_size=2)
    wrong = np.count_nonzero((probabilities > 0.5) != rolls)
    right = np.count_nonzero((probabilities > 0.5) & rolls)
    assert found == pytest.approx(2 * right / (2 * right + wrong))
    assert 0.3 < found < 0.9
    assert calls == [2, 2, 2]


def test_other_libraries_train_on_the_batches_of_this_one(small_data):
    train, _ = phrases.open_splits(str(small_data))
    pipeline = InputPipeline(train, batch_size=8)
    for step in (0, 5):
        expected = pianoroll.unpack(pipeline.training_batches(3, step, 1).packed.reshape(8, -1))
        np.testing.assert_array_equal(phrases.training_batch(train, step, seed=3, batch_size=8), expected)


def test_a_configuration_is_trained_to_its_last_step(small_data):
    tiny = {"model.network": "tiny", "model.h_dim": 1, "model.z_dim": 2, "discriminator.widths": (4,), "batch_size": 8}
    changes = {**tiny, "num_epochs": 2, "prior": "normal"}
    made = ours.training_run(config="configs/wae_gan.py:songs", data=str(small_data), changes=changes)
    total = made.facts["num_train_steps"]
    assert total == round(2 * len(load_dataset(small_data).split("train")) / 8)
    assert made.facts["dropout_rate"] == 0.2
    made.run(3)
    measured = made.measure()
    assert (measured["steps"], measured["is_finished"]) == (3, False)
    assert 0 <= measured["f1"] <= 1
    made.run(100)
    measured = made.measure()
    assert (measured["steps"], measured["is_finished"]) == (total, True)


def test_what_a_peer_lacks_is_told_in_a_sentence(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert missing_packages("keras").startswith("keras needs keras and tensorflow, not installed here; pip install")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    assert missing_packages("torch") == ""
