"""Paths between codes, against geometry."""

import numpy as np
import pytest

from wae_jax.generation.latent_paths import at_distance, slerp


def test_slerp_keeps_the_norm_between_points_of_one_sphere():
    start, end = np.array([3.0, 0.0]), np.array([0.0, 3.0])
    np.testing.assert_allclose(slerp(start, end, 0.5), 3 * np.array([1, 1]) / 2**0.5)
    np.testing.assert_allclose(slerp(start, end, 0.0), start)
    np.testing.assert_allclose(slerp(start, end, 1.0), end, atol=1e-12)
    np.testing.assert_allclose(slerp(start, 2 * start, 0.5), 1.5 * start)
    np.testing.assert_allclose(slerp(np.zeros(2), end, 0.5), end / 2)


def test_a_code_at_a_distance_lies_on_the_way():
    rng = np.random.default_rng(0)
    start, end = 2 * rng.normal(size=8), 3 * rng.normal(size=8)
    whole = np.linalg.norm(end - start)
    found = [at_distance(start, end, share * whole) for share in (0.0, 0.1, 0.5, 0.9, 1.0)]
    np.testing.assert_allclose([np.linalg.norm(each - start) / whole for each in found], [0, 0.1, 0.5, 0.9, 1])
    np.testing.assert_allclose(found[-1], end)
    for each in found:
        # In the plane of the two.
        plane = np.stack([start, end])
        rest = each - np.linalg.lstsq(plane.T, each, rcond=None)[0] @ plane
        assert np.abs(rest).max() < 1e-9
    with pytest.raises(ValueError, match="nearer than"):
        at_distance(start, end, 1.1 * whole)
