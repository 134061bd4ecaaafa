"""Unpacking and transposition as jitted functions."""

import jax
import jax.numpy as jnp
import numpy as np

from tests.helpers import random_rolls
from wae_jax import pianoroll
from wae_jax.pianoroll import device


def test_unpacking_undoes_packing():
    rolls = random_rolls(3, density=0.3)
    on_device = jax.jit(device.unpack_on_device)(pianoroll.pack(rolls))
    assert on_device.dtype == jnp.float32
    np.testing.assert_array_equal(on_device, rolls)


def test_transposition_moves_pitched_tracks_and_drops_what_leaves():
    rolls = np.zeros((3, *pianoroll.PHRASE_SHAPE), np.float32)
    rolls[:, 5, 80, :] = 1
    moved = np.asarray(device.transpose_pitched(jnp.asarray(rolls), jnp.array([2, -80, 4])))
    np.testing.assert_array_equal(moved[..., 0], rolls[..., 0])
    assert moved[0, 5, 82, 1] == moved[1, 5, 0, 4] == 1
    assert moved[0, :, :, 1:].sum() == moved[1, :, :, 1:].sum() == 4
    assert moved[2, :, :, 1:].sum() == 0
