"""A run that starts from a trained model: its weights at step 0, what is refused, and that it resumes without it."""

import dataclasses
import json
import re
import shutil

import jax
import numpy as np
import pytest

from tests.helpers import CONSTANT, DENSITIES, ROOT, assert_same_run, changed, last_state, load_config, tiny_config
from wae_jax.config import read_config
from wae_jax.errors import ConfigError, WorkdirError
from wae_jax.generation.export_file import write_model
from wae_jax.generation.load import load
from wae_jax.hooks import HOOKS
from wae_jax.training.initial_weights import start_from
from wae_jax.training.loop import train_and_evaluate
from wae_jax.training.run import Hooks
from wae_jax.training.state import create_train_state

# Rates that do not depend on the length of the run.
_CONSTANT = {**CONSTANT, "discriminator_optimizer.schedule": "constant"}
# A learning rate with which parameters stay what they are, but for those that are 0.
_STILL = {
    **_CONSTANT,
    "autoencoder_optimizer.learning_rate": 1e-30,
    "discriminator_optimizer.learning_rate": 1e-30,
    "num_train_steps": 1,
}
LOADS = Hooks(load_model=HOOKS.load_model)


def leaves(tree):
    """The leaves of a tree by path, on the host."""
    paths = jax.tree_util.tree_leaves_with_path(jax.device_get(tree))
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in paths}


def assert_equal(one, other):
    one, other = leaves(one), leaves(other)
    assert one.keys() == other.keys()
    assert one
    for name, leaf in one.items():
        np.testing.assert_allclose(leaf, other[name], rtol=0, atol=1e-20, err_msg=name)


def assert_different(one, other):
    one, other = leaves(one), leaves(other)
    assert any(not np.array_equal(leaf, other[name]) for name, leaf in one.items())


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A run of six steps of a WAE-GAN, and its configuration."""
    workdir = tmp_path_factory.mktemp("source")
    config = tiny_config(seed=5)
    train_and_evaluate(config, str(workdir))
    return workdir, config


@pytest.fixture(scope="module")
def exported(source, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "model.npz"
    write_model(path, load(source[0]))
    return path


def test_weights_are_those_of_the_source_and_optimizers_are_fresh(source):
    workdir, _ = source
    model = load(workdir)
    fresh = create_train_state(tiny_config(ema_decay=0.9), track_densities=DENSITIES, num_train_steps=2)
    state = start_from(fresh, model)
    assert int(state.step) == 0
    assert_equal(state.autoencoder.params, model.variables["params"])
    assert_equal(state.autoencoder.batch_stats, model.variables["batch_stats"])
    assert_equal(state.ema_params, model.variables["params"])
    assert_equal(state.discriminator.params, model.discriminator)
    for player, before in ((state.autoencoder, fresh.autoencoder), (state.discriminator, fresh.discriminator)):
        assert_equal(player.opt_state, before.opt_state)
        assert_different(player.params, before.params)
    trained, _ = last_state(workdir)
    assert_different(trained.discriminator.params, fresh.discriminator.params)
    assert load(workdir, "latest").discriminator.keys() == trained.discriminator.params.keys()


@pytest.mark.parametrize("kind", ["workdir", "file"])
def test_the_first_step_of_a_run_is_made_from_them(source, exported, kind, tmp_path):
    workdir, config = source
    path = workdir if kind == "workdir" else exported
    train_and_evaluate(changed(config, init_from=str(path), seed=6, **_STILL), str(tmp_path / "run"), hooks=LOADS)
    state, _ = last_state(tmp_path / "run")
    model = load(path)
    assert_equal(state.autoencoder.params, model.variables["params"])
    if kind == "workdir":
        assert_equal(state.discriminator.params, model.discriminator)
    else:  # the file has none
        fresh = create_train_state(changed(config, seed=6), track_densities=DENSITIES, num_train_steps=1)
        assert_equal(state.discriminator.params, fresh.discriminator.params)


def test_types_are_those_of_the_run(source):
    state = create_train_state(tiny_config(dtype="bfloat16"), track_densities=DENSITIES, num_train_steps=1)
    started = start_from(state, load(source[0]))
    for before, after in zip(jax.tree.leaves(state), jax.tree.leaves(started), strict=True):
        assert (before.dtype, before.shape) == (after.dtype, after.shape)


def test_the_evaluation_weights_of_averages_are_taken(source, tmp_path):
    config = changed(source[1], ema_decay=0.9)
    train_and_evaluate(config, str(tmp_path / "averaged"))
    model = load(tmp_path / "averaged", "latest")
    trained, _ = last_state(tmp_path / "averaged")
    state = start_from(create_train_state(config, track_densities=DENSITIES, num_train_steps=1), model)
    assert_equal(state.autoencoder.params, trained.ema_params)
    assert_different(state.autoencoder.params, trained.autoencoder.params)


def test_a_run_resumes_bit_for_bit_when_its_source_is_gone(source, tmp_path):
    path = tmp_path / "source"
    shutil.copytree(source[0], path)
    config = changed(source[1], init_from=str(path), ema_decay=0.9, log_every_steps=3, **_CONSTANT)
    train_and_evaluate(config, str(tmp_path / "whole"), hooks=LOADS)
    train_and_evaluate(changed(config, num_train_steps=3), str(tmp_path / "broken"), hooks=LOADS)
    shutil.rmtree(path)
    train_and_evaluate(config, str(tmp_path / "broken"), hooks=LOADS)
    assert_same_run(tmp_path / "whole", tmp_path / "broken")
    with pytest.raises(WorkdirError, match=r'init_from: ".*source" in the workdir, "" now'):
        train_and_evaluate(changed(config, init_from=""), str(tmp_path / "broken"), hooks=LOADS)


def test_a_run_of_before_the_field_resumes(source, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(source[0], workdir)
    stored = json.loads((workdir / "config.json").read_text())
    del stored["init_from"]
    (workdir / "config.json").write_text(json.dumps(stored))
    assert load(workdir).config == load(source[0]).config
    assert train_and_evaluate(source[1], str(workdir))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"z_dim": 5}, r"params/decoder/.* is \[4, .*\] where that of this run is \[5, .*: --config\.model\.z_dim=4$"),
        ({"h_dim": 3}, r"expected the same network: --config\.model\.h_dim=2"),
        ({"encoder": "gaussian"}, r"--config\.model\.encoder=deterministic"),
        ({"normalization": "layer"}, r"--config\.model\.normalization=batch"),
        ({"model.kernel_size": (4, 8)}, r"'--config\.model\.kernel_size=\(8,8\)'"),
        ({"refiner.num_units": 1}, r"is missing where that of this run is \[.*: --config\.refiner\.num_units=0$"),
        ({"discriminator.widths": (9,)}, r"discriminator/.*: '--config\.discriminator\.widths=\(8,\)'$"),
        ({"activation": "leaky_relu"}, r"of another network; expected the same: --config\.model\.activation=relu$"),
    ],
)
def test_another_network_is_refused_before_anything_is_written(source, changes, message, tmp_path):
    workdir, config = source
    with pytest.raises(ConfigError, match=message):
        train_and_evaluate(changed(config, init_from=str(workdir), **changes), str(tmp_path / "run"), hooks=LOADS)
    assert not (tmp_path / "run" / "config.json").exists()


def test_another_penalty_is_not(source):
    state = create_train_state(tiny_config("mmd"), track_densities=DENSITIES, num_train_steps=1)
    model = load(source[0])
    assert start_from(state, model).discriminator.params == {}
    other = dataclasses.replace(model, discriminator=None)
    assert_equal(start_from(state, other).autoencoder.params, model.variables["params"])


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "nowhere",
            "init_from is 'nowhere', neither 'shipped' nor a model that can be opened: no config.json in nowhere",
        ),
        ("memory://nowhere/x", "a model that can be opened: there is nothing at memory://nowhere/x"),
        ("README.md", "README.md cannot be read: it is damaged, or not made by"),
    ],
)
def test_what_cannot_be_opened_is_named_before_anything_is_written(path, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        train_and_evaluate(tiny_config(init_from=path), str(tmp_path / "run"), hooks=LOADS)
    assert not (tmp_path / "run" / "config.json").exists()


def test_a_program_without_the_hook_says_so(tmp_path):
    with pytest.raises(ConfigError, match=r"init_from is 'shipped', and this program opens no trained models"):
        train_and_evaluate(tiny_config(init_from="shipped"), str(tmp_path / "run"))


def test_the_shipped_model_has_a_name():
    assert load("shipped").digest == load().digest


def test_the_documented_run_is_of_the_network_of_the_shipped_model():
    text = (ROOT / "docs" / "training.md").read_text().replace("\\\n", "")
    (name, variant, flags), *others = re.findall(
        r"--config=configs/(\w+)\.py:(\w+) (.*--config\.init_from=shipped.*)", text
    )
    assert not others
    config = load_config(name, variant)
    for field, value in re.findall(r"--config\.(model\.\w+)=(\S+)", flags):
        config.update_from_flattened_dict({field: int(value)})
    expected, shipped = read_config(config), load().config
    # Dropout has no weights.
    assert shipped.model == dataclasses.replace(expected.model, dropout_rate=shipped.model.dropout_rate)
    assert shipped.refiner == expected.refiner
