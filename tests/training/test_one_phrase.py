"""Splits of one phrase: what is undefined for them is left out, and the run goes on."""

import logging

import numpy as np
import pytest

from tests.helpers import tiny_config
from wae_jax import build_dataset
from wae_jax.errors import RequestError
from wae_jax.generation.load import load
from wae_jax.hooks import HOOKS
from wae_jax.pianoroll import unpack
from wae_jax.training.loop import train_and_evaluate


@pytest.fixture(scope="module")
def one_each(tmp_path_factory, small_data):
    """A dataset with one phrase to train on, and one to validate."""
    folder = tmp_path_factory.mktemp("one")
    rolls = unpack(np.load(small_data / "phrases.npy")[:2])
    for name, roll in zip(("train", "valid"), rolls, strict=True):
        np.save(folder / f"{name}.npy", roll[None])
    flags = [f"--{name}={folder / name}.npy" for name in ("train", "valid")]
    assert build_dataset.main([*flags, f"--output={folder / 'data'}"]) == 0
    return folder / "data"


def test_a_run_on_one_phrase_has_no_distribution_metrics_and_says_what_it_samples(one_each, tmp_path, caplog):
    config = tiny_config(
        data__path=str(one_each),
        prior="kernel_density",
        num_train_steps=2,
        eval_every_steps=1,
        eval__num_samples=8,
        eval__num_train_phrases=8,
        eval__num_page_samples=2,
        binarization__thresholds="fit",
        objective__prior_variance=2.0,
    )
    with caplog.at_level(logging.WARNING, logger="wae_jax"):
        metrics = train_and_evaluate(config, str(tmp_path), hooks=HOOKS)
    assert "samples/cells" in metrics
    assert np.isfinite(list(metrics.values())).all()
    assert not metrics.keys() & {f"samples/{name}" for name in ("precision", "recall", "coverage", "frechet_distance")}
    assert "two training phrases, and there is 1: samples come from N(0, 2 I)" in caplog.text
    model = load(str(tmp_path), "latest")
    said = "N(0, 2 I), since a density estimate takes at least two training phrases"
    assert str(model.kernel_density) == said
    assert said in (tmp_path / "listen.html").read_text(encoding="utf-8")
    # And that is what they are.
    codes = model.sample_codes(0, 4000)
    np.testing.assert_allclose(np.cov(codes.T), 2 * np.eye(4), atol=0.25)


def test_no_density_is_estimated_from_one_phrase(one_each, tmp_path):
    train_and_evaluate(tiny_config(data__path=str(one_each), num_train_steps=1), str(tmp_path))
    model = load(str(tmp_path), "latest")
    with pytest.raises(RequestError, match=f"two training phrases, and {one_each} has 1; expected the normal prior"):
        model.with_prior("kernel_density")
