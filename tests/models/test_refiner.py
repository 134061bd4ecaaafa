"""The refiner: what it starts as, whose filters see what, and who is trained at which step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.decoding import Z_DIM, random_model
from tests.helpers import (
    DENSITIES,
    assert_same_run,
    autoencoder_of,
    changed,
    last_state,
    make_batch,
    random_rolls,
    run_steps,
    tiny_config,
)
from wae_jax.generation.load import load
from wae_jax.training.loop import train_and_evaluate
from wae_jax.training.optimizers import make_autoencoder_schedule, make_schedule
from wae_jax.training.state import create_train_state

UNITS = {"refiner__num_units": 2, "refiner__filters": 3, "refiner__kernel_size": (9, 16), "refiner__strides": (8, 14)}


def refined_model(**changes):
    """A model with a refiner, and variables none of which is what training starts with."""
    config, variables = random_model("tiny", **UNITS | changes)
    return autoencoder_of(config), variables


def random_logits(num=2):
    return jnp.asarray(np.random.default_rng(3).normal(size=(num, 192, 84, 5)).astype(np.float32))


def test_it_starts_as_nothing():
    config, plain = tiny_config("mmd", **UNITS), tiny_config("mmd")
    state, without = (
        create_train_state(one, track_densities=DENSITIES, num_train_steps=1).evaluation_variables()
        for one in (config, plain)
    )
    x = random_rolls(2).astype(np.float32)
    found, expected = (
        jax.jit(lambda variables, one=one: autoencoder_of(one).apply(variables, x, method="autoencode"))(variables)[1]
        for one, variables in ((config, state), (plain, without))
    )
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    logits = random_logits()
    for train in (False, True):
        refined, _ = autoencoder_of(config).apply(state, logits, train=train, mutable=["batch_stats"], method="refine")
        np.testing.assert_array_equal(refined, logits)


def test_parameters_by_hand():
    config = tiny_config("mmd", refiner__num_units=2)
    params = create_train_state(config, track_densities=DENSITIES, num_train_steps=1).autoencoder.params["refiner"]
    shapes = {
        "norm_in": {"scale": (5,), "bias": (5,)},
        "conv_in": {"kernel": (12, 12, 1, 5 * 8)},
        "norm_out": {"scale": (5 * 8,), "bias": (5 * 8,)},
        "conv_out": {"kernel": (12, 12, 5, 8)},
    }
    assert jax.tree.map(np.shape, params) == {"unit_0": shapes, "unit_1": shapes}


def test_tracks_see_their_own_units_alone():
    model, variables = refined_model()
    logits = random_logits()

    @jax.jit
    def gradients(params, logits, track):
        def of_track(params, logits):
            refined = model.apply({**variables, "params": params}, logits, train=False, method="refine")
            return jnp.sum(jnp.sin(refined[:, :, :, track]))

        return jax.grad(of_track, argnums=(0, 1))(params, logits)

    for track in range(5):
        of_params, of_logits = gradients(variables["params"], logits, track)
        alone = [other == track for other in range(5)]
        assert [bool(np.abs(of_logits[:, :, :, other]).max() > 0) for other in range(5)] == alone
        for unit in ("unit_0", "unit_1"):
            # A track's filters lie together.
            for leaf in jax.tree.leaves(of_params["refiner"][unit]):
                axis = next(i for i, n in reversed(list(enumerate(leaf.shape))) if n in (5 * 3, 5))
                assert [bool(np.abs(share).max() > 0) for share in np.split(leaf, 5, axis=axis)] == alone


def test_training_normalizes_by_the_batch_and_remembers_it():
    model, variables = refined_model(model__batch_norm_momentum=0.0)
    logits = random_logits(num=3)
    trained, updated = model.apply(variables, logits, train=True, mutable=["batch_stats"], method="refine")
    first = updated["batch_stats"]["refiner"]["unit_0"]["norm_in"]
    np.testing.assert_allclose(first["mean"], logits.mean(axis=(0, 1, 2)), atol=1e-5)
    np.testing.assert_allclose(first["var"], logits.var(axis=(0, 1, 2)), rtol=1e-4)
    # By what is remembered, evaluation does the same as training did.
    evaluated = model.apply({"params": variables["params"], **updated}, logits, train=False, method="refine")
    np.testing.assert_allclose(evaluated, trained, rtol=1e-4, atol=1e-4)
    assert np.abs(trained - logits).max() > 0.1


def test_all_that_decodes_has_it():
    model, variables = refined_model()
    z = np.random.default_rng(1).normal(size=(2, Z_DIM)).astype(np.float32)
    x = random_rolls(2).astype(np.float32)
    decoded = model.apply(variables, z, method="decode")
    unrefined = model.apply(variables, z, method=lambda self, z: self.decoder(z, dropout_keys=None))
    by_hand = model.apply(variables, unrefined, train=False, method="refine")
    np.testing.assert_allclose(decoded, by_hand, rtol=1e-5, atol=1e-5)
    codes, logits = model.apply(variables, x)
    np.testing.assert_allclose(logits, model.apply(variables, codes, method="decode"), rtol=1e-4, atol=1e-4)
    _, plain = model.apply(variables, x, refined=False, method="autoencode")
    assert np.abs(plain - logits).max() > 0.1


def constant(config, learning_rate=0.01):
    return changed(
        config,
        autoencoder_optimizer__learning_rate=learning_rate,
        autoencoder_optimizer__warmup_steps=0,
        autoencoder_optimizer__schedule="constant",
    )


def leaves(state, *names):
    return jax.tree.leaves([state.autoencoder.params[name] for name in names])


def same(one, other):
    return [np.array_equal(a, b) for a, b in zip(one, other, strict=True)]


@pytest.mark.slow
def test_trained_with_the_rest_it_moves_from_the_first_step_on():
    config = constant(tiny_config("mmd", **UNITS))
    begin = create_train_state(config, track_densities=DENSITIES, num_train_steps=2)
    (first, _), (second, _) = run_steps(config, 2, 2)
    for half in ("encoder", "decoder"):
        assert not any(same(leaves(begin, half), leaves(first, half)))
    for unit in ("unit_0", "unit_1"):
        start, one, two = (state.autoencoder.params["refiner"][unit] for state in (begin, first, second))
        # Before its last kernel has moved, there is nothing to learn for the others.
        assert not np.array_equal(one["conv_out"]["kernel"], start["conv_out"]["kernel"])
        np.testing.assert_array_equal(one["conv_in"]["kernel"], start["conv_in"]["kernel"])
        assert not np.array_equal(two["conv_in"]["kernel"], one["conv_in"]["kernel"])


def test_a_stage_of_its_own_begins_where_the_rest_ends():
    staged = tiny_config("mmd", refiner__first_step=2, ema_decay=0.5, **UNITS)
    plain = tiny_config("mmd", ema_decay=0.5)
    begin = create_train_state(staged, track_densities=DENSITIES, num_train_steps=4)
    states, history = zip(*run_steps(staged, 2, 4), strict=True)
    # Two steps as of a run of two steps that has no refiner.
    for (alone, metrics), state, found in zip(run_steps(plain, 2, 2), states, history, strict=False):
        for one, other in zip(leaves(state, "encoder", "decoder"), leaves(alone, "encoder", "decoder"), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)
        for name, value in metrics.items():
            # The gradient's norm is that of all gradients.
            assert name == "train/gradient_norm" or float(found[name]) == pytest.approx(float(value), rel=1e-4), name
        assert all(same(leaves(state, "refiner"), leaves(begin, "refiner")))
        averages = (one.autoencoder.batch_stats["refiner"] for one in (state, begin))
        assert all(same(*map(jax.tree.leaves, averages)))
    # From then on it alone is trained, by a schedule that begins anew.
    for state in states[2:]:
        assert all(same(leaves(state, "encoder", "decoder"), leaves(states[1], "encoder", "decoder")))
    last, before = (state.autoencoder.params["refiner"]["unit_1"]["conv_out"]["kernel"] for state in states[:1:-1])
    assert not np.array_equal(last, before)
    rates = [float(metrics["train/learning_rate"]) for metrics in history]
    assert rates[:2] == rates[2:]
    assert rates[1] > rates[0]
    # So does its average: a tenth of what it was at the stage's first step, two elevenths at the second.
    start, first, second = (state.autoencoder.params["refiner"]["unit_0"]["conv_out"]["kernel"] for state in states[1:])
    by_hand = 2 / 11 * (0.1 * start + 0.9 * first) + 9 / 11 * second
    averaged = states[-1].ema_params["refiner"]["unit_0"]["conv_out"]["kernel"]
    assert np.abs(second - first).max() > 1e-6
    np.testing.assert_allclose(averaged, by_hand, rtol=1e-5, atol=1e-9)


@pytest.mark.slow
def test_the_first_update_of_a_late_refiner_is_that_of_a_fresh_adam():
    """As large as the learning rate; an Adam that had counted the steps before would make it twice so."""
    config = constant(tiny_config("mmd", refiner__first_step=3, **UNITS))
    *_, (before, _), (after, _) = run_steps(config, 1, 4)
    moved = np.abs(
        after.autoencoder.params["refiner"]["unit_0"]["conv_out"]["kernel"]
        - before.autoencoder.params["refiner"]["unit_0"]["conv_out"]["kernel"]
    )
    assert np.median(moved) == pytest.approx(0.01, rel=0.01)


@pytest.mark.slow
def test_both_stages_on_one_device_and_on_two():
    config = tiny_config("mmd", dtype="float64", refiner__first_step=2, **UNITS | {"refiner__num_units": 1})
    with jax.enable_x64(True):
        one, two = ([state.autoencoder for state, _ in run_steps(config, count, 4)] for count in (1, 2))
    for found, expected in zip(jax.tree.leaves(two), jax.tree.leaves(one), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-10)


def test_the_schedule_of_both_stages():
    config = tiny_config("mmd", refiner__first_step=300, **UNITS)
    schedule = make_autoencoder_schedule(config.autoencoder_optimizer, refiner_first_step=300, num_train_steps=1000)
    for first, length in ((0, 300), (300, 700)):
        alone = make_schedule(config.autoencoder_optimizer, num_train_steps=length)
        for step in (0, 25, 50, 100, length - 1):
            assert float(schedule(first + step)) == pytest.approx(float(alone(step)), abs=1e-9)


@pytest.mark.slow
def test_the_cost_goes_down_while_it_alone_is_trained():
    # It has to learn that most cells are silent: the decoder begins with one in two, and stops.
    config = constant(tiny_config("none", refiner__first_step=1, model__output_bias="zero", **UNITS), 0.02)
    batch = make_batch(config.batch_size)
    history = [metrics for _, metrics in run_steps(config, 1, 6, batches=[batch.packed] * 6)]
    costs = [float(metrics["train/reconstruction"]) for metrics in history]
    assert costs[-1] < 0.9 * costs[1]


@pytest.mark.slow
def test_a_run_in_stages_is_resumed_opened_and_sampled_from(tmp_path):
    each = {"eval_every_steps": 2, "checkpoint_every_steps": 2, "steps_per_call": 2}
    config = constant(tiny_config("mmd", refiner__first_step=1, num_train_steps=4, **each, **UNITS))
    train_and_evaluate(config, str(tmp_path / "whole"))
    for steps in (2, 4):
        train_and_evaluate(changed(config, num_train_steps=steps), str(tmp_path / "parts"))
    assert_same_run(tmp_path / "whole", tmp_path / "parts")
    state, meta = last_state(tmp_path / "whole")
    assert meta["step"] == 4
    units = state.autoencoder.params["refiner"]
    assert all(np.abs(unit["conv_out"]["kernel"]).max() > 0 for unit in units.values())
    model = load(tmp_path / "whole", "latest")
    codes = model.sample_codes(0, 2)
    logits = autoencoder_of(config).apply(state.evaluation_variables(), codes, method="decode")
    np.testing.assert_allclose(model.decode(codes), 1 / (1 + np.exp(-logits)), rtol=1e-4, atol=1e-5)
