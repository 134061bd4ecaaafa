"""How steps are grouped into calls, and that a call of several steps is these steps."""

import functools

import jax
import numpy as np
import pytest

from tests.helpers import DENSITIES, random_rolls, run_steps, tiny_config
from wae_jax import pianoroll
from wae_jax.data.dataset import batch_indices
from wae_jax.data.pipeline import InputPipeline, replicate
from wae_jax.training.calls import max_steps_per_call, num_train_steps, parallel_step, steps_of_call
from wae_jax.training.state import create_train_state
from wae_jax.training.step import make_train_step


def calls(start, **options):
    step, counts = start, []
    while step < options["total"]:
        counts.append(steps_of_call(step, **options))
        step += counts[-1]
    assert step == options["total"]
    return counts


def test_calls_are_as_long_as_they_may_be_and_end_at_stops():
    assert calls(0, at_most=8, total=60, stops=(25, 40)) == [8, 8, 8, 1, 8, *[1] * 7, 8, *[1] * 2, 8, *[1] * 2]
    assert calls(0, at_most=1, total=5, stops=(2,)) == [1] * 5
    assert calls(0, at_most=10, total=30, stops=(10, 30)) == [10, 10, 10]
    assert calls(0, at_most=100, total=7, stops=(50,)) == [1] * 7


@pytest.mark.parametrize("at_most", [2, 3, 8])
def test_a_resumed_run_makes_the_calls_of_an_uninterrupted_one(at_most):
    options = {"at_most": at_most, "total": 97, "stops": (7, 20, 25)}
    whole = calls(0, **options)
    ends = np.cumsum(whole)
    for i, end in enumerate(ends[:-1]):
        assert calls(int(end), **options) == whole[i + 1 :]


def test_steps_per_call():
    assert max_steps_per_call(0, stops=(25, 200)) == 1  # on CPUs
    assert max_steps_per_call(5, stops=(25, 200)) == 5


def test_more_steps_a_call_than_fit_between_two_stops_are_as_many_as_fit():
    stops = (50, 75, 200)
    at_most = max_steps_per_call(100, stops=stops)
    assert at_most == 50
    # Stops are at 50, 75, 100, 150 and so on.
    assert calls(0, at_most=at_most, total=150, stops=stops) == [50, *[1] * 50, 50]
    assert set(calls(0, at_most=at_most, total=1000, stops=(50, 200))) == {50}


@pytest.mark.parametrize("configured", [1, 8, 20, 25, 100])
@pytest.mark.parametrize("stops", [(25, 200, 200), (7, 20, 25), (1, 5, 5)])
def test_at_most_two_programs_are_compiled(configured, stops):
    """And neither resumption from any stop nor the length of a call changes the calls after it."""
    at_most = max_steps_per_call(configured, stops=stops)
    counts = calls(0, at_most=at_most, total=200, stops=stops)
    assert len(set(counts) | {1}) <= 2
    assert max(counts) <= configured
    if at_most > 1:
        assert max(counts) > 1
    ends = np.cumsum(counts)
    for i, end in enumerate(ends[:-1]):
        assert calls(int(end), at_most=at_most, total=200, stops=stops) == counts[i + 1 :]


def test_number_of_steps():
    config = tiny_config(num_train_steps=0, num_epochs=3, batch_size=8, pretrain_steps=5)
    assert num_train_steps(config, 100) == 5 + 38
    assert num_train_steps(tiny_config(num_train_steps=7), 100) == 7


@pytest.mark.slow  # `test_loop` runs calls of two steps as well
def test_three_steps_in_a_call_are_three_steps():
    config = tiny_config("gan", ema_decay=0.9, data__transpose_semitones=2)
    packed = pianoroll.pack(random_rolls(8))
    batches = InputPipeline(packed, batch_size=8, placement="device").training_batches(0, 0, 3)
    one_step = make_train_step(config, num_train_steps=3)
    step = parallel_step(functools.partial(jax.lax.scan, one_step), donate_state=True)
    fresh = create_train_state(config, track_densities=DENSITIES, num_train_steps=3)
    state, metrics = jax.device_get(step(replicate(fresh), batches))
    # In the same order: the keys of a phrase come from its position in the batch.
    rows = [packed[batch_indices(0, i, num_rows=8, batch_size=8)] for i in range(3)]
    *_, (expected, _) = every = list(run_steps(config, 4, 3, batches=rows))
    assert int(state.step) == 3
    for i, (_, wanted) in enumerate(every):
        for name, value in wanted.items():
            assert float(metrics[name][i]) == pytest.approx(float(value), rel=1e-4, abs=1e-5), (name, i)
    for one, other in zip(jax.tree.leaves(state.ema_params), jax.tree.leaves(expected.ema_params), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)
