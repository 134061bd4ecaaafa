"""A trained model: its samples, and that its rule is fitted on none of them."""

from __future__ import annotations

import subprocess
import sys

import jax
import numpy as np
import pytest

import wae_jax
from tests.decoding import random_model
from tests.helpers import ROOT, STATISTICS
from wae_jax.config import FIT, BinarizationRule
from wae_jax.generation.calibration import fit_rule
from wae_jax.generation.model import Model


@pytest.fixture(scope="module")
def model():
    config, variables = random_model("tiny")
    return Model(config, variables, 7, "", STATISTICS)


def test_no_sample_of_any_seed_is_one_that_the_rule_is_fitted_on(model):
    calibration = {code.tobytes() for code in model.calibration_codes()}
    assert len(calibration) == 512
    for seed in (0, 1, 2, 0xCA11B, 2**31, 2**32 - 1):
        for num in (1, 128, 600):
            assert calibration.isdisjoint(code.tobytes() for code in model.sample_codes(seed, num))
    # A seed of 32 bits is the second word of its key, whose first word is 0; that of the calibration is not.
    key = jax.random.fold_in(jax.random.key(0), 0xCA11B)
    assert jax.random.key_data(key)[0] != 0
    for seed in (0, 2**32 - 1):
        np.testing.assert_array_equal(jax.random.key_data(jax.random.key(seed)), [0, seed])


def test_a_rule_is_fitted_on_the_calibration_samples_once_a_model(model):
    rule = BinarizationRule(thresholds=FIT, min_note_length=2, track_gates=FIT)
    found = model.calibrated(rule)
    assert found == fit_rule(model.decode(model.calibration_codes()), STATISTICS, rule)
    assert not found.fitted_parts
    assert model.calibrated(found) is found


def test_samples_depend_on_the_seed_and_not_on_their_number(model):
    codes = model.sample_codes(3, 40)
    assert codes.dtype == np.float32
    np.testing.assert_array_equal(model.sample_codes(3, 7), codes[:7])
    assert not np.allclose(model.sample_codes(4, 7), codes[:7])
    np.testing.assert_array_equal(model.sample(7, seed=3), model.decode(codes[:7]))


def test_parts_are_joined_in_order(model):
    codes = model.sample_codes(0, 33)
    probabilities = model.decode(codes)
    np.testing.assert_allclose(model.decode(codes[20:]), probabilities[20:], rtol=1e-5)
    assert model.decode(codes[:0]).shape == (0, 192, 84, 5)
    assert model.encode(probabilities[:0] > 0.5).shape == (0, codes.shape[1])


def test_the_public_names_are_imported_when_they_are_used():
    program = (
        "import sys, wae_jax; assert 'jax' not in sys.modules; from wae_jax import Model, load; print(load, Model)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "Model" in done.stdout
    with pytest.raises(AttributeError, match="no attribute 'Sampler'"):
        _ = wae_jax.Sampler
