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
from wae_jax.generation.load import load
from wae_jax.listening.document import embed
from wae_jax.listening.latent_panel import ATTRIBUTES, MIN_CORRELATION, find_directions, latent_panel
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
    changed = latent_panel(dataclasses.replace(model, config=config), rule=RULE, num_phrases=4)
    assert not changed["is_in_one_tonality"]


def test_codes_that_16_bits_cannot_hold_are_refused(model):
    density = KernelDensity(np.full((2, model.config.model.z_dim), 1e5), np.eye(model.config.model.z_dim), np.int32(2))
    with pytest.raises(CheckpointError, match=r"centers cannot be stored as float16: its largest value is 1e\+05"):
        latent_panel(dataclasses.replace(model, kernel_density=density), rule=RULE, num_phrases=4)


def test_directions_are_those_of_the_codes_of_training_phrases(model, panel):
    rows = np.asarray(model.phrases("train"))
    rolls = np.unpackbits(rows[spread(len(rows), 1024)], axis=1).reshape(-1, 192, 84, 5).astype(bool)
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


def spread_out(num=400):
    """Codes whose principal components are the axes 2, 0 and 1, with deviations 3, 2 and 1, and their sources."""
    rng = np.random.default_rng(0)
    sources = np.linalg.qr(rng.normal(size=(num, 4)))[0]
    sources = sources - sources.mean(axis=0)
    sources /= sources.std(axis=0)
    # Whitened, so that deviations and correlations are what they are said to be.
    sources = sources @ np.linalg.inv(np.linalg.cholesky(np.cov(sources.T, bias=True))).T
    codes = np.zeros((num, 3))
    codes[:, 2], codes[:, 0], codes[:, 1] = 3 * sources[:, 0], 2 * sources[:, 1], sources[:, 2]
    return codes + np.array([5.0, -7.0, 1.0]), sources


# Which way round a decomposition gives its components is left to chance.
@pytest.mark.parametrize("way", [1, -1])
def test_a_direction_is_named_after_what_grows_along_it(way):
    codes, sources = spread_out()
    codes = codes * [1, way, 1]
    mixed = way * (-0.5 * sources[:, 0] - 0.7 * sources[:, 1] + (1 - 0.25 - 0.49) ** 0.5 * sources[:, 3])
    attributes = {"density": mixed, "register": 0.3 * sources[:, 1] + (1 - 0.09) ** 0.5 * sources[:, 3]}
    first, second, third = find_directions(codes, attributes, num=8, min_deviation=1e-3)
    np.testing.assert_allclose(first["component"], [0, 0, -way], atol=1e-9)
    np.testing.assert_allclose(second["component"], [-way, 0, 0], atol=1e-9)
    assert (first["name"], second["name"], third["name"]) == ("density", "density", None)
    assert (first["correlation"], second["correlation"]) == pytest.approx((0.5, 0.7))
    assert third["correlation"] is None
    # Nothing is measured along it, so it points to where its largest part is positive.
    np.testing.assert_allclose(third["component"], [0, 1, 0], atol=1e-9)
    assert [each["deviation"] for each in (first, second, third)] == pytest.approx([3, 2, 1])
    assert [each["share"] for each in (first, second, third)] == pytest.approx([9 / 14, 4 / 14, 1 / 14])


@pytest.mark.parametrize(("correlation", "is_named"), [(MIN_CORRELATION - 0.01, False), (MIN_CORRELATION + 0.01, True)])
def test_below_the_bound_there_is_no_name(correlation, is_named):
    codes, sources = spread_out()
    values = correlation * sources[:, 0] + (1 - correlation**2) ** 0.5 * sources[:, 3]
    first = find_directions(codes, {"register": values}, num=1, min_deviation=0)[0]
    assert (first["name"] == "register") == is_named


def test_phrases_without_a_value_do_not_count_and_constants_name_nothing():
    codes, sources = spread_out()
    values = sources[:, 0].copy()
    values[::3] = np.nan
    attributes = {"note length": np.full(len(codes), 4.0), "register": values, "polyphony": np.full(len(codes), np.nan)}
    first = find_directions(codes, attributes, num=1, min_deviation=0)[0]
    assert first["name"] == "register"
    assert first["correlation"] == pytest.approx(1)


def test_there_are_no_more_directions_than_codes_differ_in():
    codes, _ = spread_out()
    codes[:, 1] = 4.0
    assert len(find_directions(codes, {"density": codes[:, 2]}, num=8, min_deviation=1e-3)) == 2
    assert len(find_directions(codes, {"density": codes[:, 2]}, num=1, min_deviation=1e-3)) == 1
    assert find_directions(np.ones((5, 3)), {"density": np.arange(5.0)}, num=8, min_deviation=1e-3) == []


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
