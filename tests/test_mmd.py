"""The estimator against double loops, golden values, an independent library, and its own expectation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wae_jax import mmd

X = np.array([(0, 0), (1, 0), (0, 2)], np.float64)
Y = np.array([(1, 1), (2, 0), (-1, 0)], np.float64)


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


def by_loops(x, y, kernel):
    n = len(x)
    within = sum(kernel(x[i], x[j]) + kernel(y[i], y[j]) for i in range(n) for j in range(n) if i != j)
    between = sum(kernel(x[i], y[j]) for i in range(n) for j in range(n))
    return within / (n * (n - 1)) - 2 * between / n**2


def imq_by_hand(latent_dim, prior_variance):
    def kernel(a, b):
        constants = [2 * latent_dim * prior_variance * s for s in (0.1, 0.2, 0.5, 1, 2, 5, 10)]
        return sum(c / (c + np.sum((a - b) ** 2)) for c in constants)

    return kernel


def test_golden_values(float64):
    single = mmd.u_statistic(X, Y, lambda *distances: tuple(4.0 / (4.0 + d2) for d2 in distances))
    assert float(single) == pytest.approx(-0.17027540360873705, abs=1e-12)
    assert float(mmd.mmd_squared(X, Y, prior_variance=1.0)) == pytest.approx(-0.8337830347732158, abs=1e-12)


@pytest.mark.parametrize("prior_variance", [0.5, 1.0, 3.0])
def test_is_the_double_loop(float64, prior_variance):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(9, 4)), rng.normal(size=(9, 4)) * prior_variance**0.5 + 0.3
    expected = by_loops(x, y, imq_by_hand(4, prior_variance))
    assert float(mmd.mmd_squared(x, y, prior_variance=prior_variance)) == pytest.approx(expected, abs=1e-12)


def test_rbf_is_the_double_loop_with_the_references_bandwidth(float64):
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(8, 3)), rng.normal(size=(8, 3)) + 1
    half = (64 - 8) // 2
    cross = sorted((np.sum((a - b) ** 2) for a in x for b in y), reverse=True)
    codes = sorted((np.sum((a - b) ** 2) for a in x for b in x), reverse=True)
    variance = cross[half - 1] + codes[half - 1]
    expected = by_loops(x, y, lambda a, b: np.exp(-np.sum((a - b) ** 2) / (2 * variance)))
    assert float(mmd.mmd_squared_rbf(x, y)) == pytest.approx(expected, abs=1e-12)


def test_energy_distance_of_another_library(float64):
    dcor = pytest.importorskip("dcor")
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(20, 5)), rng.normal(size=(20, 5)) + 0.5
    ours = mmd.u_statistic(x, y, lambda *distances: tuple(-jnp.sqrt(d2) for d2 in distances))
    theirs = dcor.energy_distance(x, y, estimation_stat=dcor.EstimationStatistic.U_STATISTIC)
    assert float(ours) == pytest.approx(theirs, abs=1e-10)


def test_is_unbiased_and_may_be_negative():
    keys = jax.random.split(jax.random.key(0), 300)

    @jax.jit
    @jax.vmap
    def estimate(key):
        x, y = jax.random.normal(key, (2, 100, 8))
        return mmd.mmd_squared(x, y, prior_variance=1.0)

    estimates = np.asarray(estimate(keys))
    # Independently measured for 8 dimensions and 100 points: deviation .0111, mean near 0.
    assert 0.009 < estimates.std() < 0.0135
    assert abs(estimates.mean()) < 4 * 0.0111 / 300**0.5
    assert (estimates < 0).mean() > 0.2


def test_grows_with_the_distance_of_the_samples():
    x = jax.random.normal(jax.random.key(0), (64, 8))
    y = jax.random.normal(jax.random.key(1), (64, 8))
    values = [float(mmd.mmd_squared(x + shift, y, prior_variance=1.0)) for shift in (0.0, 0.5, 1.0, 2.0)]
    assert values == sorted(values)
    # A collapsed encoder: 1.83 in 8 dimensions.
    assert float(mmd.mmd_squared(jnp.zeros((64, 8)), y, prior_variance=1.0)) == pytest.approx(1.83, abs=0.05)


def test_gradient_agrees_with_finite_differences(float64):
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(6, 3)), rng.normal(size=(6, 3))
    for function in (lambda x: mmd.mmd_squared(x, y, prior_variance=1.0), lambda x: mmd.mmd_squared_rbf(x, y)):
        gradient = jax.grad(function)(x)
        direction = rng.normal(size=x.shape)
        step = 1e-6
        slope = (function(x + step * direction) - function(x - step * direction)) / (2 * step)
        assert float(np.sum(gradient * direction)) == pytest.approx(float(slope), rel=1e-5)


def test_float32_far_from_the_origin(float64):
    rng = np.random.default_rng(4)
    away = np.zeros(8)
    away[0] = 100.0
    x, y = rng.normal(size=(32, 8)) + away, rng.normal(size=(32, 8)) + away
    exact = float(mmd.mmd_squared(x, y, prior_variance=1.0))
    single = float(mmd.mmd_squared(x.astype(np.float32), y.astype(np.float32), prior_variance=1.0))
    assert single == pytest.approx(exact, abs=2e-5)


def test_what_has_no_estimate_is_refused():
    with pytest.raises(ValueError, match="n >= 2; n is 1"):
        mmd.mmd_squared(X[:1], Y[:1], prior_variance=1.0)
    with pytest.raises(ValueError, match=r"x \(3, 2\) and y \(2, 2\)"):
        mmd.mmd_squared(X, Y[:2], prior_variance=1.0)
    with pytest.raises(ValueError, match=r"\[n, Z\]"):
        mmd.mmd_squared(X[0], Y[0], prior_variance=1.0)


@pytest.mark.parametrize("tile", [1, 4, 7, 16, 100])
def test_tiled_form_equals_the_plain_form(float64, tile):
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(16, 3)) + 40.0, rng.normal(size=(16, 3))
    plain = mmd.mmd_squared(x, y, prior_variance=2.0)
    assert float(mmd.mmd_squared_tiled(x, y, prior_variance=2.0, tile=tile)) == pytest.approx(float(plain), abs=1e-12)
    with pytest.raises(ValueError, match="n >= 2"):
        mmd.mmd_squared_tiled(x[:1], y[:1], prior_variance=1.0)


def test_tiled_form_needs_memory_for_tiles_only():
    points = jax.ShapeDtypeStruct((65_536, 16), jnp.float32)
    compiled = jax.jit(lambda x, y: mmd.mmd_squared_tiled(x, y, prior_variance=1.0)).lower(points, points).compile()
    # The plain form holds three matrices of 17 GB.
    assert compiled.memory_analysis().temp_size_in_bytes < 100e6
