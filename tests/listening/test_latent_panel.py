"""The data of the latent panel: the decoder's layers as text, and the directions of codes."""

import base64
import dataclasses
import json

import numpy as np
import pytest

from tests.helpers import random_rolls, train_briefly
from wae_jax.config import BinarizationRule
from wae_jax.data.dataset import spread
from wae_jax.errors import CheckpointError
from wae_jax.generation.attributes import ATTRIBUTES
from wae_jax.generation.code_statistics import Components
from wae_jax.generation.load import load
from wae_jax.listening.document import embed
from wae_jax.listening.latent_panel import components_to_json, latent_panel
from wae_jax.listening.network_layers import decoder_layers, encoder_layers
from wae_jax.training.learned_prior import KernelDensity

RULE = BinarizationRule(thresholds=(0.4,) * 5, min_note_length=2)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load(train_briefly(tmp_path_factory.mktemp("run")))


@pytest.fixture(scope="module")
def panel(model):
    return json.loads(embed(latent_panel(model, rule=RULE)))


def numbers(text, dtype):
    return np.frombuffer(base64.b64decode(text), dtype)


def test_layers_are_stored_exactly_but_for_kernels_of_16_bits(model, panel):
    layers = decoder_layers(model.config.model, model.config.refiner, model.variables)
    layers += encoder_layers(model.config.model, model.variables)
    for stored, layer in zip(panel["decoder"] + panel["encoder"], layers, strict=True):
        for name, value in layer.items():
            if name == "kernel":
                found = numbers(stored["kernel"], "<f2").reshape(stored["kernel_shape"])
                np.testing.assert_array_equal(found, value.astype(np.float16))
            elif isinstance(value, np.ndarray):
                np.testing.assert_array_equal(numbers(stored[name], "<f4"), value)
            else:
                assert stored[name] == (list(value) if isinstance(value, tuple) else value)


def test_a_model_of_transposed_music_knows_many_keys(model, panel):
    config = dataclasses.replace(model.config, data=dataclasses.replace(model.config.data, transpose_semitones=3))
    assert panel["is_in_one_tonality"]
    changed = latent_panel(dataclasses.replace(model, config=config), rule=RULE)
    assert not changed["is_in_one_tonality"]


def test_codes_that_16_bits_cannot_hold_are_refused(model):
    density = KernelDensity(np.full((2, model.config.model.z_dim), 1e5), np.eye(model.config.model.z_dim), np.int32(2))
    with pytest.raises(CheckpointError, match=r"centers cannot be stored as float16: its largest value is 1e\+05"):
        latent_panel(dataclasses.replace(model, kernel_density=density), rule=RULE)


def test_directions_are_those_of_the_codes_of_training_phrases(model, panel):
    rows = np.asarray(model.phrases("train"))
    rolls = np.unpackbits(rows[spread(len(rows), 2048)], axis=1).reshape(-1, 192, 84, 5).astype(bool)
    codes = model.encode(rolls).astype(np.float64)
    np.testing.assert_allclose(panel["mean"], codes.mean(axis=0), atol=1e-6)
    components = np.array([direction["component"] for direction in panel["directions"]])
    np.testing.assert_allclose(components @ components.T, np.eye(len(components)), atol=1e-9)
    deviations = [direction["deviation"] for direction in panel["directions"]]
    np.testing.assert_allclose(((codes - codes.mean(axis=0)) @ components.T).std(axis=0), deviations, rtol=1e-5)
    assert deviations == sorted(deviations, reverse=True)
    assert panel["rule"] == json.loads(json.dumps(dataclasses.asdict(RULE)))
    assert panel["shape"] == [192, 84, 5]
    assert panel["lowest_pitch"] == 24
    assert panel["prior_deviation"] == pytest.approx(model.config.objective.prior_variance**0.5)


def test_components_are_named_after_what_follows_them():
    correlation = np.array([[0.1, -0.6, 0.7, 0, 0], [0.39, 0.2, 0, 0, 0], [0.9, 0, 0, 0, 0]])
    components = Components(np.eye(3), np.array([3, 2, 1e-4]), np.array([0.7, 0.3, 0.0]), correlation)
    first, second = components_to_json(components, min_deviation=1e-3)
    assert first == {"component": [1, 0, 0], "name": "note length", "correlation": 0.7, "deviation": 3, "share": 0.7}
    assert second == {"component": [0, 1, 0], "name": None, "correlation": None, "deviation": 2, "share": 0.3}


def test_attributes_by_hand():
    rolls = np.zeros((3, 192, 84, 5), bool)
    rolls[0, 0:6, 10, 1] = True  # a piano note of six steps
    rolls[0, 0:2, 40, 3] = True  # a bass note of two, with the piano's no chord of one track
    rolls[0, [0, 12, 24, 36, 48], 12, 0] = True  # five strokes of a drum
    rolls[1, 0:96, [20, 24], 4] = True  # two notes of the strings, half of the time
    found = {name: measure(rolls) for name, measure in ATTRIBUTES.items()}
    np.testing.assert_array_equal(found["density"], [13, 192, 0])
    np.testing.assert_allclose(found["polyphony"], [0, 0.5 / 4, 0])
    np.testing.assert_allclose(found["note length"], [4, 96, np.nan])
    np.testing.assert_allclose(found["register"], [25, 22, np.nan])
    np.testing.assert_allclose(found["drum busyness"], [5 / 4, 0, 0])
    assert all(len(measure(random_rolls(2))) == 2 for measure in ATTRIBUTES.values())
