"""Which phrases the training steps get, and several steps in one call."""

import jax
import numpy as np
import pytest

from tests.helpers import DENSITIES, random_rolls, run_steps, tiny_config
from wae_jax import pianoroll
from wae_jax.data import pipeline
from wae_jax.data.dataset import batch_indices
from wae_jax.training import devices
from wae_jax.training.state import create_train_state
from wae_jax.training.step import BATCH_AXIS, make_train_step


def calls(start, **options):
    step, counts = start, []
    while step < options["total"]:
        counts.append(pipeline.steps_of_call(step, **options))
        step += counts[-1]
    assert step == options["total"]
    return counts


def test_calls_are_as_long_as_they_may_be_and_stop_where_they_must():
    assert calls(0, at_most=8, total=60, stops=(25, 40)) == [8, 8, 8, 1, 8, *[1] * 7, 8, *[1] * 2, 8, *[1] * 2]
    assert calls(0, at_most=1, total=5, stops=(2,)) == [1] * 5
    assert calls(0, at_most=10, total=30, stops=(10, 30)) == [10, 10, 10]
    assert calls(0, at_most=100, total=7, stops=(50,)) == [1] * 7


@pytest.mark.parametrize("at_most", [2, 3, 8])
def test_a_run_that_goes_on_makes_the_calls_it_would_have_made(at_most):
    options = {"at_most": at_most, "total": 97, "stops": (7, 20, 25)}
    whole = calls(0, **options)
    ends = np.cumsum(whole)
    for i, end in enumerate(ends[:-1]):
        assert calls(int(end), **options) == whole[i + 1 :]


@pytest.mark.parametrize("placement", ["device", "host"])
def test_phrases_come_in_the_order_of_the_shuffling(placement):
    packed = pianoroll.pack(random_rolls(10))
    feeder = pipeline.Feeder(packed, seed=3, batch_size=8, placement=placement)
    fed = feeder.feed(1, 3)  # the fourth batch is of the second epoch
    assert feeder.in_axes == (None, None if placement == "device" else 0, 0, 0)
    assert fed.rows.shape == (4, 3, 2)
    np.testing.assert_array_equal(fed.position, [[0, 1], [2, 3], [4, 5], [6, 7]])
    for device in range(4):
        source = np.asarray(fed.phrases if placement == "device" else fed.phrases[device])
        for i, step in enumerate((1, 2, 3)):
            expected = packed[batch_indices(3, step, num_rows=10, batch_size=8)[2 * device : 2 * device + 2]]
            np.testing.assert_array_equal(source[fed.rows[device, i]], expected)


def test_on_a_cpu_nothing_is_copied_unless_asked_for():
    assert not pipeline.lies_on_device("auto", 1)
    assert pipeline.lies_on_device("device", 10**15)
    assert not pipeline.lies_on_device("host", 1)
    assert pipeline.steps_per_call(0) == 1
    assert pipeline.steps_per_call(5) == 5


def test_three_steps_in_a_call_are_three_steps():
    config = tiny_config("gan", ema_decay=0.9, data__transpose_semitones=2)
    packed = pianoroll.pack(random_rolls(8))
    feeder = pipeline.Feeder(packed, seed=0, batch_size=8, placement="device")
    fed = feeder.feed(0, 3)
    step = devices.parallel_step(
        pipeline.make_several_steps(make_train_step(config, num_train_steps=3)),
        BATCH_AXIS,
        in_axes=feeder.in_axes,
        returns_state=True,
    )
    fresh = create_train_state(config, track_densities=DENSITIES, num_train_steps=3)
    state, metrics = jax.device_get(step(devices.replicate(fresh, BATCH_AXIS), *fed))
    # Another order of the rows means another place in the batch for each, and so other keys: it has to be the same one.
    batches = [packed[batch_indices(0, i, num_rows=8, batch_size=8)] for i in range(3)]
    *_, (expected, _) = every = list(run_steps(config, 4, 3, batches=batches))
    assert int(state.step) == 3
    for i, (_, wanted) in enumerate(every):
        for name, value in wanted.items():
            assert float(metrics[name][i]) == pytest.approx(float(value), rel=1e-4, abs=1e-5), (name, i)
    for one, other in zip(jax.tree.leaves(state.ema_params), jax.tree.leaves(expected.ema_params), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)
