"""The convolutions against loops in NumPy, and every form of them against every other."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.checking import unchecked
from wae_jax.models import conv, conv_cpu, conv_plain
from wae_jax.models.modules import density_logit, dropout

# Height, width, input channels, output channels, kernel, strides: those of the networks, and odd ones.
CASES = [
    (8, 12, 5, 3, (6, 6), (2, 1)),
    (8, 6, 3, 4, (6, 6), (2, 2)),
    (9, 6, 2, 4, (6, 6), (3, 3)),
    (4, 6, 2, 3, (6, 6), (1, 1)),
    (12, 14, 2, 3, (6, 6), (6, 7)),
    (8, 6, 1, 2, (3, 2), (4, 3)),
    (4, 4, 2, 2, (1, 5), (2, 2)),
    (12, 8, 2, 3, (12, 12), (2, 1)),
    (12, 9, 5, 4, (6, 6), (6, 1)),
    (10, 15, 5, 2, (6, 6), (1, 1)),
    (3, 5, 3, 2, (6, 4), (1, 1)),
    (4, 9, 5, 4, (2, 3), (2, 3)),
    (4, 6, 4, 3, (2, 2), (2, 2)),
]


def arrays(case, dtype=np.float32, batch=3):
    height, width, inputs, outputs, kernel, strides = case
    rng = np.random.default_rng(0)
    x = rng.normal(size=(batch, height, width, inputs)).astype(dtype)
    w = rng.normal(size=(*kernel, inputs, outputs)).astype(dtype)
    y = rng.normal(size=(batch, height // strides[0], width // strides[1], outputs)).astype(dtype)
    return *map(jnp.asarray, (x, w, y)), strides


def conv_in_numpy(x, w, strides):
    """TensorFlow's definition of "same" padding, cell by cell, for sizes that the stride divides."""
    x, w = np.asarray(x), np.asarray(w)
    sizes = [x.shape[1] // strides[0], x.shape[2] // strides[1]]
    before = [max(k - s, 0) // 2 for k, s in zip(w.shape[:2], strides, strict=True)]
    padded = np.zeros((x.shape[0], x.shape[1] + 32, x.shape[2] + 32, x.shape[3]))
    padded[:, before[0] : before[0] + x.shape[1], before[1] : before[1] + x.shape[2]] = x
    y = np.zeros((x.shape[0], *sizes, w.shape[3]))
    for i in range(sizes[0]):
        for j in range(sizes[1]):
            top, left = i * strides[0], j * strides[1]
            window = padded[:, top : top + w.shape[0], left : left + w.shape[1]]
            y[:, i, j] = np.einsum("bhwc,hwco->bo", window, w)
    return y


def conv_transpose_in_numpy(y, w, strides):
    """Every input cell adds its kernel to the output, which is then cropped to size."""
    y, w = np.asarray(y), np.asarray(w)
    height, width = y.shape[1] * strides[0], y.shape[2] * strides[1]
    before = [max(k - s, 0) // 2 for k, s in zip(w.shape[:2], strides, strict=True)]
    full = np.zeros((y.shape[0], height + 32, width + 32, w.shape[2]))
    for i in range(y.shape[1]):
        for j in range(y.shape[2]):
            top, left = i * strides[0], j * strides[1]
            full[:, top : top + w.shape[0], left : left + w.shape[1]] += np.einsum("bo,hwco->bhwc", y[:, i, j], w)
    return full[:, before[0] : before[0] + height, before[1] : before[1] + width]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("form", [conv.conv, conv_plain.conv_plain, conv_cpu.conv_by_blocks])
def test_every_form_of_the_convolution_is_the_loop(case, form):
    x, w, _, strides = arrays(case)
    y = jax.jit(form, static_argnums=2)(x, w, strides)
    np.testing.assert_allclose(y, conv_in_numpy(x, w, strides), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("form", [conv.conv_transpose, conv_plain.adjoint_plain, conv_cpu.adjoint_by_blocks])
def test_every_form_of_the_transpose_is_the_loop(case, form):
    _, w, y, strides = arrays(case)
    x = jax.jit(form, static_argnums=2)(y, w, strides)
    np.testing.assert_allclose(x, conv_transpose_in_numpy(y, w, strides), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("form", [conv_plain.kernel_gradient_plain, conv_cpu.kernel_gradient_by_products])
def test_every_form_of_the_kernel_gradient_is_the_adjoint(case, form):
    x, w, y, strides = arrays(case)
    gradient = np.asarray(jax.jit(form, static_argnums=(2, 3))(x, y, w.shape[:2], strides), np.float64)
    assert gradient.shape == w.shape
    # <y, conv(x, w)> is linear in w, so that its gradient's product with any kernel is the value at that kernel.
    rng = np.random.default_rng(1)
    for _ in range(3):
        other = rng.normal(size=w.shape)
        expected = np.sum(np.asarray(y) * conv_in_numpy(x, other, strides))
        np.testing.assert_allclose(np.sum(gradient * other), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("operation", ["conv", "conv_transpose"])
def test_gradients_are_those_of_the_plain_convolution(case, operation):
    x, w, y, strides = arrays(case)

    def plain_conv(x, w):
        padding = [
            (max(k - s, 0) // 2, max(k - s, 0) - max(k - s, 0) // 2) for k, s in zip(w.shape[:2], strides, strict=True)
        ]
        return jax.lax.conv_general_dilated(x, w, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))

    def plain_transpose(y, w):
        return jax.linear_transpose(lambda x: plain_conv(x, w), jnp.zeros(x.shape))(y)[0]

    ours = functools.partial(getattr(conv, operation), strides=strides)
    plain, given = (plain_conv, x) if operation == "conv" else (plain_transpose, y)
    weights = np.random.default_rng(2).normal(size=plain(given, w).shape).astype(np.float32)
    expected = jax.jit(jax.grad(lambda a, b: jnp.sum(weights * plain(a, b)), argnums=(0, 1)))(given, w)
    found = jax.jit(jax.grad(lambda a, b: jnp.sum(weights * ours(a, b)), argnums=(0, 1)))(given, w)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-3)


def test_kernel_gradient_does_not_depend_on_the_number_of_phrases_at_a_time():
    x, w, y, strides = arrays((96, 84, 5, 8, (6, 6), (2, 1)), batch=5)
    gradient = jax.jit(conv_cpu.kernel_gradient_by_products, static_argnums=(2, 3))
    found = gradient(x, y, w.shape[:2], strides)
    expected = sum(gradient(x[i : i + 1], y[i : i + 1], w.shape[:2], strides) for i in range(5))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("case", [CASES[1], (4, 9, 5, 4, (2, 3), (2, 3))])
def test_bfloat16_keeps_its_type_and_is_near(case):
    x, w, _, strides = arrays(case)
    y = conv.conv(x.astype(jnp.bfloat16), w.astype(jnp.bfloat16), strides)
    assert y.dtype == jnp.bfloat16
    expected = conv_in_numpy(x, w, strides)
    assert np.abs(np.asarray(y, np.float32) - expected).max() < 0.02 * np.abs(expected).max()


def test_what_does_not_fit_is_refused_with_its_numbers():
    x, w, y, _ = arrays(CASES[0])
    with unchecked(), pytest.raises(ValueError, match=r"strides \(3, 1\) do not divide .*\(8, 12\)"):
        conv.conv(x, w, (3, 1))
    with unchecked(), pytest.raises(ValueError, match=r"expected \[B, H, W, 5\]"):
        conv.conv(y, w, (1, 1))
    with unchecked(), pytest.raises(ValueError, match=r"expected \[B, H, W, 3\]"):
        conv.conv_transpose(x, w, (2, 1))


def test_dropout_scales_and_drops_at_its_rate():
    keys = jax.random.split(jax.random.key(0), 4)
    x = jnp.ones((4, 100, 50))
    y = np.asarray(dropout(keys, x, 0.2))
    assert set(np.unique(y)) == {0.0, np.float32(1.25)}
    # 20,000 draws: the share dropped is .2 with a standard deviation of .0028.
    assert abs((y == 0).mean() - 0.2) < 0.015


def test_dropout_of_a_phrase_depends_on_its_key_alone():
    keys = jax.random.split(jax.random.key(0), 4)
    x = jax.random.normal(jax.random.key(1), (4, 30))
    whole = dropout(keys, x, 0.5)
    np.testing.assert_array_equal(whole[2:3], dropout(keys[2:3], x[2:3], 0.5))
    assert not np.array_equal(whole[0] == 0, whole[1] == 0)
    np.testing.assert_array_equal(dropout(keys, x, 0.0), x)


def test_density_logit_inverts_the_sigmoid_and_stays_finite():
    for density in (0.013, 0.5, 0.9):
        assert 1 / (1 + np.exp(-density_logit(density))) == pytest.approx(density)
    assert np.isfinite(density_logit(0.0))
    assert np.isfinite(density_logit(1.0))
