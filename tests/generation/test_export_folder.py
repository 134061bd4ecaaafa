"""Exported models in a folder."""

import dataclasses
import json
import pickle
import struct

import numpy as np
import pytest
import safetensors.numpy

import wae_jax
from tests.decoding import small_model
from tests.helpers import CORPUS_MODEL, changed
from wae_jax.errors import CheckpointError, ConfigError, WorkdirError
from wae_jax.generation import exported
from wae_jax.generation.export_file import write_model
from wae_jax.generation.export_folder import read_model_folder, write_model_folder
from wae_jax.training.learned_prior import fit_kernel_density

WEIGHTS, DESCRIPTION = "model.safetensors", "config.json"


@pytest.fixture
def model():
    codes = np.random.default_rng(0).normal(size=(50, 3))
    return dataclasses.replace(small_model(), kernel_density=fit_kernel_density(codes))


@pytest.fixture
def folder(model, tmp_path):
    write_model_folder(tmp_path / "model", model)
    return tmp_path / "model"


def read_by_hand(path):
    """The arrays of a safetensors file, by its published format: length of the head, head as JSON, bytes."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    head, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    types = {"F16": np.float16, "F32": np.float32}
    return {
        name: np.frombuffer(data[slice(*entry["data_offsets"])], types[entry["dtype"]]).reshape(entry["shape"])
        for name, entry in head.items()
    }


def test_the_folder_holds_what_the_file_holds(model, folder, tmp_path):
    digest = write_model(tmp_path / "a.npz", model)
    with np.load(tmp_path / "a.npz") as members:
        held = {name.removeprefix("variables/"): members[name] for name in members.files}
    assert json.loads((folder / DESCRIPTION).read_text()) == json.loads(held.pop("meta").tobytes())
    found = read_by_hand(folder / WEIGHTS)
    assert found.keys() == held.keys()
    for name, array in held.items():
        np.testing.assert_array_equal(found[name], array, strict=True)
    assert read_model_folder(folder).digest == digest
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    write_model_folder(folder, model)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files


def test_from_file_to_folder_the_samples_are_bit_for_bit_the_same(tmp_path):
    one = wae_jax.load(CORPUS_MODEL)
    write_model_folder(tmp_path, one)
    other = wae_jax.load(tmp_path)
    assert one.prior == other.prior == "kernel_density"
    probabilities = one.sample(3, seed=5)
    np.testing.assert_array_equal(other.sample(3, seed=5), probabilities, strict=True)
    assert other.rule == one.rule
    np.testing.assert_array_equal(other.binarize(probabilities), one.binarize(probabilities))
    assert (other.step, other.config, other.statistics()) == (one.step, one.config, one.statistics())


def test_a_folder_is_one_checkpoint_and_no_workdir(folder):
    for checkpoint in ("best", "latest", "7"):
        assert wae_jax.load(folder, checkpoint).step == 7
    with pytest.raises(CheckpointError, match=r"model has no checkpoint '8'.* expected best, latest or 7"):
        wae_jax.load(folder, "8")
    (folder / WEIGHTS).unlink()
    with pytest.raises(CheckpointError, match=r"there is no model\.safetensors in .*model; expected a folder made by"):
        wae_jax.load(folder)
    (folder / DESCRIPTION).write_text("{}")
    with pytest.raises(WorkdirError, match="was written by wae_jax before"):
        wae_jax.load(folder)


def test_weights_without_a_description_are_refused(folder):
    (folder / DESCRIPTION).unlink()
    with pytest.raises(CheckpointError, match=r"there is no config\.json in"):
        wae_jax.load(folder)


def describe(folder, change):
    """Changes the description, whose digest stays as it was."""
    content = json.loads((folder / DESCRIPTION).read_text())
    change(content)
    (folder / DESCRIPTION).write_text(json.dumps(content))


def forge(folder, change):
    """Changes description and arrays, with the digest that they should have."""
    description, arrays = json.loads((folder / DESCRIPTION).read_text()), read_by_hand(folder / WEIGHTS)
    change(description, arrays)
    description.pop("digest")
    description["digest"] = exported.digest_of(description, arrays)
    (folder / DESCRIPTION).write_text(json.dumps(description))
    safetensors.numpy.save_file(arrays, folder / WEIGHTS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.pop("config"), "is damaged: its digest"),
        (lambda content: content["config"].update(seed=5), "is damaged: its digest"),
        (lambda content: content.pop("digest"), "is damaged: its digest"),
        (lambda content: content.update(version=6), "is of version 6 of the format .* reads version 5"),
        (lambda content: content.update(format="a song"), "is no exported model"),
    ],
)
def test_changes_of_the_description_are_noticed(folder, change, message):
    describe(folder, change)
    with pytest.raises(CheckpointError, match=f"{folder} {message}"):
        wae_jax.load(folder)


KERNEL = "params/decoder/conv_0/kernel"


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda description, arrays: description.pop("config"), CheckpointError, "cannot be read: it is damaged"),
        (lambda description, arrays: description["config"].pop("model"), ConfigError, "field model is missing"),
        (lambda description, arrays: description.pop("step"), CheckpointError, r"cannot be read: .*'step'"),
        (lambda description, arrays: arrays.pop(KERNEL), CheckpointError, f"different are {KERNEL}"),
        (lambda description, arrays: arrays.update({KERNEL: arrays[KERNEL][:1]}), CheckpointError, "different are"),
        (lambda description, arrays: arrays.update(more=np.zeros(3)), CheckpointError, "different are more"),
        (
            lambda description, arrays: arrays.update({"learned_prior/factor": np.eye(2)}),
            CheckpointError,
            "has a learned prior of shapes",
        ),
    ],
)
def test_what_is_forged_with_its_digest_is_refused(folder, change, error, message):
    forge(folder, change)
    with pytest.raises(error, match=message):
        wae_jax.load(folder)


def test_weights_of_another_model_are_refused(folder, model, tmp_path):
    other = dataclasses.replace(model, config=changed(model.config, seed=9), step=8)
    write_model_folder(tmp_path / "other", other)
    (folder / DESCRIPTION).write_bytes((tmp_path / "other" / DESCRIPTION).read_bytes())
    wae_jax.load(folder)  # the same arrays with another description are another model, whole
    other.variables["params"]["decoder"]["conv_0"]["kernel"][0, 0, 0, 0] += 1
    write_model_folder(tmp_path / "other", other)
    (folder / DESCRIPTION).write_bytes((tmp_path / "other" / DESCRIPTION).read_bytes())
    with pytest.raises(CheckpointError, match="is damaged: its digest"):
        wae_jax.load(folder)


def test_damage_anywhere_is_one_kind_of_error(folder):
    whole = {name: (folder / name).read_bytes() for name in (WEIGHTS, DESCRIPTION)}
    for name, content in whole.items():
        for length in (0, 7, 100, len(content) // 2, len(content) - 2):
            (folder / name).write_bytes(content[:length])
            with pytest.raises(CheckpointError, match=str(folder)):
                read_model_folder(folder)
        for place in np.linspace(0, len(content) - 1, 40).astype(int):
            flipped = bytearray(content)
            flipped[place] ^= 0x55
            (folder / name).write_bytes(flipped)
            with pytest.raises(CheckpointError, match=str(folder)):
                read_model_folder(folder)
        (folder / name).write_bytes(content)
    read_model_folder(folder)


class _Program:
    def __reduce__(self):
        return (open, ("made_by_a_pickle", "w"))


def test_nothing_in_a_folder_is_run(folder, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (folder / WEIGHTS).write_bytes(pickle.dumps({KERNEL: _Program()}))
    with pytest.raises(CheckpointError, match="cannot be read"):
        wae_jax.load(folder)
    assert not (tmp_path / "made_by_a_pickle").exists()


@pytest.mark.parametrize("value", [np.inf, np.nan, 7e4])
def test_what_16_bits_cannot_hold_is_refused(model, tmp_path, value):
    model.variables["params"]["decoder"]["conv_0"]["kernel"][0, 0, 0, 0] = value
    with pytest.raises(CheckpointError, match="params/decoder/conv_0/kernel cannot be stored as float16"):
        write_model_folder(tmp_path / "a", model)
    assert not list(tmp_path.iterdir())
