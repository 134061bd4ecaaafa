"""The benches are run by hand; what they configure must be enough for the step of today."""

import dataclasses

import jax
import pytest

import wae_jax
from tests.bench import arithmetic, fine_tuning, ours
from tests.helpers import DENSITIES, changed, make_batch
from wae_jax.data.pipeline import BATCH_AXIS
from wae_jax.training.state import create_train_state
from wae_jax.training.step import make_train_step


def test_the_benches_configuration_makes_a_step():
    config = ours.make_config(network="tiny", batch_size=4, h_dim=1, z_dim=2, dtype="bfloat16")
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


def test_the_least_traffic_of_a_step_counts_each_result_five_times():
    # Encoder, code, dense layer and decoder of "tiny", from its row in conftest.py.
    results = 32 * 14 * 2 + 4 * 2 * 4 + 3 + 4 * 2 * 4 + 32 * 14 * 2 + 192 * 84 * 5
    found = arithmetic.training_gigabytes("tiny", h_dim=2, z_dim=3, bytes_each=2)
    assert found == pytest.approx(5 * 2 * results * 1e-9)
