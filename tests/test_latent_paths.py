"""Paths between codes, against geometry."""

import numpy as np

from wae_jax.latent_paths import slerp


def test_slerp_keeps_the_norm_between_points_of_one_sphere():
    start, end = np.array([3.0, 0.0]), np.array([0.0, 3.0])
    np.testing.assert_allclose(slerp(start, end, 0.5), 3 * np.array([1, 1]) / 2**0.5)
    np.testing.assert_allclose(slerp(start, end, 0.0), start)
    np.testing.assert_allclose(slerp(start, end, 1.0), end, atol=1e-12)
    np.testing.assert_allclose(slerp(start, 2 * start, 0.5), 1.5 * start)
    np.testing.assert_allclose(slerp(np.zeros(2), end, 0.5), end / 2)
