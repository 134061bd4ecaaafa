"""The bench of the original measures anything that encodes and decodes."""

import numpy as np
import pytest

from tests.bench import original
from tests.bench.judging import Reference
from tests.helpers import train_briefly
from wae_jax.data.dataset import load_dataset
from wae_jax.evaluation import measure
from wae_jax.evaluation.evaluate_model import EvaluationSpec, choose_phrases
from wae_jax.evaluation.measure import PhraseSet
from wae_jax.metrics import distribution
from wae_jax.pianoroll import unpack


@pytest.fixture(scope="module")
def data(small_data):
    return load_dataset(small_data)


@pytest.fixture(scope="module")
def reference(data):
    return Reference.of(data, "valid", 24)


def remember(phrases):
    """An autoencoder that knows some phrases by heart, surely enough for a threshold of .3 and not for one of .5."""
    project = np.random.default_rng(0).normal(size=(phrases[0].size, 4)).astype(np.float32) / 100

    def encode(x):
        return x.reshape(len(x), -1).astype(np.float32) @ project

    known = encode(phrases)

    def decode(codes):
        nearest = np.square(codes[:, None] - known).sum(axis=2).argmin(axis=1)
        return 0.4 * phrases[nearest].astype(np.float32)

    return original.Trained(encode, decode, 7.0)


def test_samples_are_measured_by_one_half_and_by_a_fitted_rule(data, reference):
    trained = remember(unpack(np.asarray(data.split("train"))))
    found = original.measure(trained, data, reference, num=24)
    assert found.keys() == {"½", "rule", "density, rule", "held-out"}
    assert {row["seconds"] for name, row in found.items() if name != "held-out"} == {7.0}
    # Nothing is above one half; the rule finds cells, and they are those of training phrases.
    assert found["½"]["cells"] == found["½"]["f1"] == found["½"]["coverage"] == 0
    assert found["density, rule"]["near_copies"] > 0.9  # some lose a short note
    # All cells of a track have one probability, so that a track is as dense as the sampled phrases, or silent.
    assert 0.2 < found["density, rule"]["cells"] / found["held-out"]["cells"] < 1.2
    assert found["held-out"]["cells"] == pytest.approx(unpack(reference.held_out).sum() / len(reference.held_out))


def test_reconstructions_are_scored_at_one_half(data, reference):
    held_out = unpack(reference.held_out)
    trained = remember(np.concatenate([held_out, unpack(np.asarray(data.split("train")))]))
    sure = trained._replace(decode=lambda codes: 2 * trained.decode(codes))
    assert original.measure(sure, data, reference, num=8)["rule"]["f1"] == 1


def test_the_reference_is_that_of_an_evaluation(data, reference):
    spec = EvaluationSpec(24, 0, "valid", compat="")
    samples = np.roll(reference.held_out, 7, axis=1)
    sets = {name: choose_phrases(data, split, spec) for name, split in (("held_out", "valid"), ("training", "train"))}
    # All sets of one size, from which an evaluation takes all phrases.
    sets = {name: PhraseSet(each.packed[: len(samples)]) for name, each in sets.items()}
    expected = measure.compare_distributions({**sets, "generated": PhraseSet(samples)}, seed=0)["sets"]
    space = distribution.fit_feature_space(measure.features(sets["training"].packed))
    same_space = reference._replace(space=space, points=space.transform(measure.features(reference.held_out)))
    for name, phrases in (("generated", samples), ("training", sets["training"].packed)):
        found = same_space.measure(phrases)
        assert {metric: found[metric] for metric in expected[name]} == pytest.approx(expected[name]), name
    assert reference.measure(np.asarray(data.split("train")))["near_copies"] == 1


def test_a_run_is_opened(tmp_path):
    run = original.open_run(str(train_briefly(tmp_path)))
    codes = run.encode(np.zeros((3, 192, 84, 5), bool))
    assert run.decode(codes).shape == (3, 192, 84, 5)
    assert run.seconds > 0
