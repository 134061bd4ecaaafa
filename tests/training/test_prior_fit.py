from __future__ import annotations

import shutil

import jax
import numpy as np
import pytest

import wae_jax
from tests.helpers import tiny_config
from wae_jax.errors import DatasetError
from wae_jax.generation.model import Model
from wae_jax.pianoroll import unpack
from wae_jax.training.learned_prior import fit_kernel_density
from wae_jax.training.loop import train_and_evaluate
from wae_jax.training.run import Hooks


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The workdir of a run, and its models at the evaluations."""
    workdir = tmp_path_factory.mktemp("prior")
    models = []

    def evaluate(run, state):
        models.append(Model.of_state(run.config, state))
        return {}

    train_and_evaluate(tiny_config("mmd", prior="kernel_density"), str(workdir), hooks=Hooks(evaluate=evaluate))
    return workdir, models


def test_the_estimate_is_that_of_the_codes_of_training_phrases(run):
    models = run[1]
    for model in models:
        codes = model.encode(unpack(np.asarray(model.phrases("train"))))
        expected = fit_kernel_density(codes, songs=model.data().songs("train"))
        for name in ("centers", "factor"):
            np.testing.assert_allclose(
                getattr(model.kernel_density, name), getattr(expected, name), rtol=1e-3, atol=1e-5, err_msg=name
            )
    assert [model.step for model in models] == [3, 6]
    assert not np.allclose(models[0].kernel_density.centers, models[1].kernel_density.centers)


def test_a_checkpoint_holds_it(run):
    workdir, models = run
    opened = wae_jax.load(workdir, "latest")
    np.testing.assert_array_equal(opened.sample_codes(1, 9), models[1].sample_codes(1, 9))
    assert opened.digest == models[1].digest
    earlier = wae_jax.load(workdir, "3")
    np.testing.assert_array_equal(earlier.sample_codes(1, 9), models[0].sample_codes(1, 9))
    # The normal prior stays at hand.
    normal = opened.with_prior("normal").sample_codes(1, 4000)
    np.testing.assert_allclose(normal.std(axis=0), 1, atol=0.05)
    assert opened.with_prior("kernel_density") is opened


def test_training_does_not_depend_on_it(run, tmp_path):
    train_and_evaluate(tiny_config("mmd"), str(tmp_path))
    with_estimate, without = (wae_jax.load(workdir, "latest") for workdir in (run[0], tmp_path))
    jax.tree.map(np.testing.assert_array_equal, with_estimate.variables, without.variables)
    assert without.kernel_density is None
    # One is fitted when it is asked for.
    found = without.with_prior("kernel_density").sample_codes(0, 5)
    np.testing.assert_allclose(found, with_estimate.sample_codes(0, 5), rtol=1e-3, atol=1e-4)


def test_songs_are_read_only_for_a_learned_prior(small_data, tmp_path):
    for name in ("dataset.json", "phrases.npy"):
        (tmp_path / "data" / name).parent.mkdir(exist_ok=True)
        shutil.copy(small_data / name, tmp_path / "data")
    options = {"data__path": str(tmp_path / "data"), "num_train_steps": 1}
    assert train_and_evaluate(tiny_config(prior="normal", **options), str(tmp_path / "normal"))
    with pytest.raises(DatasetError, match=r"index\.tsv"):
        train_and_evaluate(tiny_config(prior="kernel_density", **options), str(tmp_path / "learned"))
