"""Codes found by descent, on a model of the built-in corpus."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.helpers import autoencoder_of, random_rolls
from tests.searching import shorten_searches
from wae_jax.generation.modes import code_search
from wae_jax.generation.modes.code_search import cost, find_codes, search_codes
from wae_jax.metrics.reconstruction import cell_f1

KEPT = np.array([True, False, False, True, False])


@pytest.fixture(scope="module")
def run(corpus_model):
    return corpus_model.with_prior("normal")


@functools.partial(jax.jit, static_argnums=0)
def costs_of(model, variables, z, target, prior_variance=1.0):
    return cost(model, variables, z, jnp.asarray(target, jnp.float32), KEPT, prior_variance)


def hard(probabilities):
    return probabilities > 0.5


def test_the_cost_by_hand(run):
    z = np.asarray(run.sample_codes(3, 2))
    target = random_rolls(2)
    found = np.asarray(costs_of(autoencoder_of(run.config), run.variables, z, target, 2.0))
    probabilities = run.decode(z).astype(np.float64)
    for i in range(2):
        both = total = 0.0
        for k in (0, 3):
            both += (probabilities[i, ..., k] * target[i, ..., k]).sum()
            total += probabilities[i, ..., k].sum() + target[i, ..., k].sum()
        # The density of the norm of 32 normal values of variance 2, but for a constant.
        norm = np.linalg.norm(z[i])
        log_density = 31 * np.log(norm / 2**0.5) - norm**2 / 4
        assert found[i] == pytest.approx(100 * (1 - 2 * both / total) - log_density, rel=1e-4)


def test_kept_tracks_of_the_decoders_own_music_are_found_again(run):
    target = hard(run.decode(run.sample_codes(11, 2)))
    codes, costs = search_codes(run, target, KEPT, num_starts=3, seed=0, num_steps=30)
    assert codes.shape == (2, 3, 32)
    assert costs.shape == (2, 3)
    best = hard(run.decode(codes[np.arange(2), costs.argmin(axis=1)]))
    at_encoder = hard(run.decode(run.encode(target & KEPT)))
    found, before = (cell_f1(rolls & KEPT, target & KEPT) for rolls in (best, at_encoder))
    assert (found > before + 0.1).all()
    assert found.mean() > 0.7
    # What it costs is what is told.
    again = costs_of(autoencoder_of(run.config), run.variables, codes[:, 1], target)
    np.testing.assert_allclose(costs[:, 1], again, rtol=1e-3)


def test_tracks_that_are_not_kept_have_no_say_and_parts_none_either(run, monkeypatch):
    target = hard(run.decode(run.sample_codes(12, 1)))
    codes, costs = search_codes(run, target, KEPT, num_starts=5, seed=1, num_steps=3)
    other = np.where(KEPT, target, random_rolls(1))
    monkeypatch.setattr(code_search, "_CODES_AT_A_TIME", 2)
    again, costs_again = search_codes(run, other, KEPT, num_starts=5, seed=1, num_steps=3)
    np.testing.assert_allclose(again, codes, atol=1e-3)
    np.testing.assert_allclose(costs_again, costs, rtol=1e-3)
    seeded, _ = search_codes(run, target, KEPT, num_starts=5, seed=2, num_steps=3)
    np.testing.assert_allclose(seeded[:, 0], codes[:, 0], atol=1e-3)  # the encoder's start
    assert (np.abs(seeded[:, 1:] - codes[:, 1:]).max(axis=2) > 0.1).all()


def test_the_gradient_is_finite_at_the_origin(run):
    model, target = autoencoder_of(run.config), random_rolls(1)
    variables = jax.device_put(run.variables)

    @jax.jit
    def total(variables, z):
        return jax.grad(lambda z: costs_of(model, variables, z, target).sum())(z)

    gradient = total(variables, jnp.zeros((1, 32)))
    assert np.isfinite(gradient).all()


def test_codes_of_ones_own_music_are_those_of_that_music(run, monkeypatch):
    shorten_searches(monkeypatch, num_starts=3, num_steps=40)
    draws = hard(run.decode(run.sample_codes(13, 2)))
    # Shifted by half a beat: unlike all that the encoder knows.
    rolls = np.roll(draws, 6, axis=1)
    codes, encoded, used = find_codes(run, rolls, binarize=hard, seed=0)
    decoded = hard(run.decode(codes))
    np.testing.assert_allclose(cell_f1(decoded, rolls), used, atol=1e-3)
    np.testing.assert_allclose(cell_f1(hard(run.decode(run.encode(rolls))), rolls), encoded, atol=1e-3)
    assert (used > encoded + 0.02).all()
    assert (used > cell_f1(decoded, rolls[::-1]) + 0.1).all()
