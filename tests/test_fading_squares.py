"""The bench of fading squares: its images, the distance to them, and that a short training lowers the errors."""

import jax
import numpy as np
import pytest
import scipy.optimize

from tests.bench import fading_squares
from wae_jax.models.encoder_decoder import Encoded
from wae_jax.objective.mmd import mmd_squared
from wae_jax.training.latent_penalties import GlobalBatch


def test_one_square_is_in_the_middle_and_four_are_in_the_quarters():
    (one,) = fading_squares.draw(np.array([[0.3]]), 8)[..., 0]
    expected = np.zeros((8, 8))
    expected[2:6, 2:6] = 0.3
    np.testing.assert_allclose(one, expected, rtol=1e-6)
    (four,) = fading_squares.draw(np.array([[0.1, 0.2, 0.3, 0.4]]), 8)[..., 0]
    quarter = np.pad(np.ones((2, 2)), 1)
    np.testing.assert_allclose(four, np.kron([[0.1, 0.2], [0.3, 0.4]], quarter), rtol=1e-6)
    with pytest.raises(ValueError, match="expected n = k"):
        fading_squares.square_masks(2, 8)
    with pytest.raises(ValueError, match="4 k divides"):
        fading_squares.square_masks(4, 12)


@pytest.mark.parametrize("n", [1, 4])
def test_the_variance_of_images_is_that_of_the_uniform_distribution(n):
    images = fading_squares.draw(np.random.default_rng(0).uniform(size=(5000, n)), 8)
    # A quarter of the pixels is lit, with a variance of 1/12.
    assert images.var(axis=0).mean() == pytest.approx(1 / 48, rel=0.05)


@pytest.mark.parametrize("n", [1, 4])
def test_the_nearest_image_is_that_of_constrained_least_squares(n):
    images = np.random.default_rng(n).normal(0.5, 2, size=(12, 8, 8, 1)).astype(np.float32)
    basis = fading_squares.square_masks(n, 8).reshape(n, -1).T.astype(np.float64)
    expected = [scipy.optimize.lsq_linear(basis, image.ravel(), bounds=(0, 1)).x for image in images]
    found = fading_squares.nearest_brightness(images, n)
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert 0 < np.mean((found == 0) | (found == 1)) < 1  # some are at an end
    # An image of fading squares is its own.
    np.testing.assert_allclose(fading_squares.nearest_brightness(fading_squares.draw(found, 8), n), found, atol=1e-6)


def test_codes_with_zeros_have_the_penalty_of_their_dimensions():
    trainer = fading_squares.make_trainer(8, fading_squares.Sizes(image=8))
    _, lanes = fading_squares.make_lanes(3, 1, 0.0)
    rng = np.random.default_rng(0)
    z, z_prior = rng.normal(size=(2, 10, 3)).astype(np.float32)
    padded = [trainer.stretch(np.pad(each, ((0, 0), (0, 5))), lanes._replace(z_dim=3)) for each in (z + 1, z_prior)]
    batch = GlobalBatch(lambda points: points, 0, jax.random.key(0))
    found = trainer.penalty.penalty({}, Encoded(padded[0], padded[0], None), padded[1], batch)
    assert float(found) == pytest.approx(float(mmd_squared(z + 1, z_prior, prior_variance=1.0)), rel=1e-5)


def test_a_short_training_lowers_the_errors(tmp_path, capsys):
    sizes = fading_squares.Sizes(image=8, width=16, images=64, held_out=40, batch=16, steps=120, rate=1e-2)
    rows = fading_squares.sweep([1, 2], 1, 0.02, sizes)
    assert rows.keys() == {(n, encoder, z) for n in (1, 4) for encoder in fading_squares.ENCODERS for z in (1, 2)}
    (deterministic,) = rows[1, "deterministic", 2]
    # The pixels are one half at the start, and vary by 208 around their mean.
    assert deterministic["reconstruction"] < 100
    assert deterministic["noise_dims"] == 0
    assert deterministic["dim_codes"] == deterministic["dim_means"] == pytest.approx(1, abs=0.4)
    # Noise fills the plane, of which the codes of images of one square are a curve.
    (noisy,) = rows[1, "gaussian, penalized", 2]
    assert noisy["dim_codes"] > 1.5
    assert abs(noisy["mmd"]) < 0.1 < deterministic["mmd"]
    fading_squares.write_figure(rows, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert len(capsys.readouterr().out.splitlines()) == len(rows)
