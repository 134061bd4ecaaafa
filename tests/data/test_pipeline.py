"""The input pipeline: which phrases a step gets, on which device."""

import jax
import numpy as np
import pytest

from tests.helpers import random_rolls
from wae_jax import pianoroll
from wae_jax.data import pipeline
from wae_jax.data.dataset import batch_indices, random_bars


@pytest.mark.parametrize("placement", ["device", "host"])
def test_training_batches_are_those_of_the_shuffling(placement):
    packed = pianoroll.pack(random_rolls(10))
    batches = pipeline.InputPipeline(packed, batch_size=8, placement=placement).training_batches(3, 1, 3)
    assert batches.packed.shape == (4, 3, 2, pianoroll.BYTES_PER_PHRASE)  # devices, steps, phrases
    assert batches.position.shape == (4, 3, 2)
    for i, step in enumerate((1, 2, 3)):  # the fourth batch is of the second epoch
        expected = packed[batch_indices(3, step, num_rows=10, batch_size=8)]
        np.testing.assert_array_equal(np.concatenate(np.asarray(batches.packed)[:, i]), expected)
        np.testing.assert_array_equal(np.concatenate(batches.position[:, i]), np.arange(8))


@pytest.mark.parametrize("placement", ["device", "host"])
def test_training_phrases_begin_later_where_others_follow(placement):
    # A song of five phrases, one whose next phrase is missing, and one alone.
    rolls = random_rolls(7)
    following = np.array([1, 2, 3, 4, -1, -1, -1])
    batches = pipeline.InputPipeline(
        pianoroll.pack(rolls), batch_size=8, placement=placement, following=following
    ).training_batches(3, 0, 25)
    rows = np.stack([batch_indices(3, step, num_rows=7, batch_size=8) for step in range(25)])
    found = pianoroll.unpack(np.moveaxis(np.asarray(batches.packed), 0, 1).reshape(200, -1))
    begun = set()
    for row, roll in zip(rows.ravel(), found, strict=True):
        music = rolls[row] if following[row] < 0 else np.concatenate([rolls[row], rolls[following[row]]])
        bars = [bar for bar in range(4) if np.array_equal(roll, music[48 * bar :][:192])]
        assert len(bars) == 1
        begun.add((int(row), bars[0]))
    assert begun == {(row, bar) for row in range(4) for bar in range(4)} | {(row, 0) for row in (4, 5, 6)}


def test_how_many_bars_later_is_a_function_of_seed_and_step():
    found = np.stack([random_bars(seed, step, batch_size=500) for seed in (0, 1) for step in (0, 1)])
    np.testing.assert_array_equal(found[3], random_bars(1, 1, batch_size=500))
    counts = np.stack([np.bincount(each, minlength=4) for each in found])
    assert counts.shape == (4, 4)
    assert counts.min() > 90  # of 125 expected, three deviations
    assert len({each.tobytes() for each in found}) == 4


def test_an_evaluation_sees_every_phrase_once_in_order():
    packed = pianoroll.pack(random_rolls(11))
    found = []
    for batch in pipeline.InputPipeline(packed, batch_size=8).evaluation_batches():
        assert batch.packed.shape == (4, 2, pianoroll.BYTES_PER_PHRASE)
        counted = batch.position.ravel() != pipeline.PADDING
        found.append(np.concatenate(batch.packed)[counted])
        np.testing.assert_array_equal(batch.position.ravel()[counted], np.arange(counted.sum()))
    assert [len(each) for each in found] == [8, 3]
    np.testing.assert_array_equal(np.concatenate(found), packed)


@pytest.mark.parametrize("process_count", [2, 4])
def test_the_shares_of_all_processes_are_the_global_batch(process_count, monkeypatch):
    packed = pianoroll.pack(random_rolls(20))
    monkeypatch.setattr(jax, "process_count", lambda: process_count)
    shares = []
    for i in range(process_count):
        monkeypatch.setattr(jax, "process_index", lambda i=i: i)
        shares.append(pipeline.InputPipeline(packed, batch_size=16).training_batches(7, 0, 2))
    for step in (0, 1):
        expected = packed[batch_indices(7, step, num_rows=20, batch_size=16)]
        np.testing.assert_array_equal(
            np.concatenate([np.concatenate(share.packed[:, step]) for share in shares]), expected
        )
        positions = np.concatenate([share.position[:, step].ravel() for share in shares])
        np.testing.assert_array_equal(positions, np.arange(16))


def test_on_a_cpu_rows_stay_on_the_host_unless_configured():
    assert not pipeline.should_keep_on_device("auto", 1)
    assert pipeline.should_keep_on_device("device", 10**15)
    assert not pipeline.should_keep_on_device("host", 1)
