"""The refiner: its initial parameters, which cells its filters see, and its training."""

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
    random_rolls,
    run_steps,
    tiny_config,
)
from wae_jax.generation.load import load
from wae_jax.training.loop import train_and_evaluate
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


@pytest.mark.slow  # `test_network_layers` computes a refined decoder by loops
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
    _, autoencoded = model.apply(variables, x, method="autoencode")
    np.testing.assert_array_equal(autoencoded, logits)
    assert np.abs(unrefined - decoded).max() > 0.1


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


@pytest.mark.slow
def test_a_run_with_a_refiner_is_resumed_opened_and_sampled_from(tmp_path):
    each = {"eval_every_steps": 2, "checkpoint_every_steps": 2, "steps_per_call": 2}
    config = constant(tiny_config("mmd", num_train_steps=4, **each, **UNITS))
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
