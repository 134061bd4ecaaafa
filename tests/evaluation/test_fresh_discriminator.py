from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from wae_jax.evaluation.fresh_discriminator import fresh_jensen_shannon


def divergence(shift):
    """The Jensen-Shannon divergence of N(0, 1) and N(shift, 1), by quadrature."""
    p, q = scipy.stats.norm(0, 1).pdf, scipy.stats.norm(shift, 1).pdf

    def integrand(x):
        middle = (p(x) + q(x)) / 2
        return (p(x) * math.log(p(x) / middle) + q(x) * math.log(q(x) / middle)) / 2

    return scipy.integrate.quad(integrand, -8, 8 + shift)[0]


@pytest.mark.parametrize("shift", [0.0, 1.0, 2.5])
def test_the_divergence_of_two_gaussians(shift):
    rng = np.random.default_rng(0)
    codes, samples = rng.normal(size=(4000, 3)), 5.0 * rng.normal(size=(4000, 3))
    codes[:, 1] += shift
    # Shifted in one of three dimensions; their scale has no influence.
    found = fresh_jensen_shannon(5.0 * codes, samples, songs=None, seed=0)
    assert found == pytest.approx(divergence(shift), abs=0.02)


def test_codes_of_one_song_do_not_help_to_recognize_it():
    # Each song is a cluster of its own; the songs are distributed like the samples. A discriminator that is tested on
    # songs that it has seen would tell clusters from samples.
    rng = np.random.default_rng(1)
    codes = np.repeat(rng.normal(size=(60, 8)), 20, axis=0)
    songs = np.repeat(np.arange(60), 20)
    samples = rng.normal(size=(1200, 8))
    assert fresh_jensen_shannon(codes, samples, songs=songs, seed=0) < 0.15
    mixed = rng.permutation(len(codes))
    assert fresh_jensen_shannon(codes[mixed], samples, songs=None, seed=0) > 0.4


def test_too_few_songs_have_no_divergence():
    codes = np.random.default_rng(0).normal(size=(12, 2))
    assert math.isnan(fresh_jensen_shannon(codes, codes, songs=np.repeat([0, 1, 2], 4), seed=0))
