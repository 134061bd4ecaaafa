"""The benches are run by hand; what they configure must be enough for the step of today."""

import jax

from tests.bench import ours
from tests.helpers import DENSITIES, make_batch
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
