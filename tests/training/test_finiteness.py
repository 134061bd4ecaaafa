"""Runs end where numbers are no longer finite, also where the last step makes them so."""

import jax
import numpy as np
import pytest

from tests.helpers import CONSTANT, DENSITIES, read_metrics, tiny_config
from wae_jax.errors import NonFiniteLossError
from wae_jax.training.finiteness import check_state, non_finite_error
from wae_jax.training.loop import train_and_evaluate
from wae_jax.training.state import create_train_state


def test_parameters_that_the_last_step_makes_infinite_end_the_run_with_an_error(tmp_path):
    """All metrics of that step are finite, but Adam divides its small gradients by 0: float32 has not their squares."""
    changes = {"objective.reconstruction_weight": 1e-30, "autoencoder_optimizer.eps": 1e-46, **CONSTANT}
    config = tiny_config("none", num_train_steps=1, log_every_steps=1, **changes)
    with pytest.raises(NonFiniteLossError, match=r"^autoencoder/\S+, .* not finite after step 1; .*A lower learning"):
        train_and_evaluate(config, str(tmp_path))
    assert not list((tmp_path / "checkpoints").glob("*"))
    assert read_metrics(tmp_path) == []


def test_the_arrays_of_a_state_that_are_not_finite_are_named():
    state = create_train_state(tiny_config("gan", ema_decay=0.5), track_densities=DENSITIES, num_train_steps=1)
    check_state(state)
    for broken in (np.nan, np.inf, -np.inf):
        params = jax.tree.map(np.array, state.discriminator.params)
        path, leaf = jax.tree_util.tree_leaves_with_path(params)[0]
        leaf.flat[-1] = broken
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        with pytest.raises(NonFiniteLossError, match=f"^discriminator/params/{name} not finite after step 0; "):
            check_state(state.replace(discriminator=state.discriminator.replace(params=params)))
    every = jax.tree.map(lambda leaf: np.full_like(leaf, np.nan), state.ema_params)
    more = len(jax.tree.leaves(every)) - 3
    with pytest.raises(NonFiniteLossError, match=rf"^ema_params/\S+, \S+, \S+ and {more} more"):
        check_state(state.replace(ema_params=every))


def test_a_message_names_few_of_many():
    assert str(non_finite_error(["a", "b"], "at step 3")).startswith("a, b not finite at step 3; ")
    assert str(non_finite_error(list("abcde"), "at step 3")).startswith("a, b, c and 2 more not finite at step 3; ")
