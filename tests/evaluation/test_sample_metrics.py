"""The light evaluation within a run; that a run writes it is in `test_train.py`."""

import numpy as np
import pytest

from tests.helpers import DENSITIES, tiny_config
from wae_jax.config import BinarizationRule
from wae_jax.data.demo_corpus import make_demo_corpus
from wae_jax.evaluation import measure, sample_metrics
from wae_jax.evaluation.measure import PhraseSet
from wae_jax.generation.model import Model
from wae_jax.pianoroll import PHRASE_SHAPE, pack, unpack
from wae_jax.training.state import create_train_state


@pytest.fixture(scope="module")
def real():
    packed, songs = make_demo_corpus(num_songs=12, phrases_per_song=4, seed=3)
    return PhraseSet(packed, songs.astype(np.int64))


def compare(sets):
    reference = sample_metrics.Reference.of(sets["held_out"].packed, sets["training"].packed, num=24)
    return reference.compare(sets["generated"].packed)


def halves(real):
    return {name: PhraseSet(real.packed[rows], real.songs[rows]) for name, rows in HALVES.items()}


HALVES = {"generated": slice(0, 24), "held_out": slice(0, 24), "training": slice(24, 48)}


def test_metrics_by_hand():
    """Two phrases of four-step notes beside two of one-step notes; a drum in the latter alone."""
    long, short = np.zeros((2, 2, *PHRASE_SHAPE), bool)
    long[:, :, 40, 1] = np.arange(192) % 6 < 4
    short[:, ::6, 40, 1] = True
    short[1, ::12, 12, 0] = True
    sets = {"generated": PhraseSet(pack(short)), "held_out": PhraseSet(pack(long)), "training": PhraseSet(pack(long))}
    metrics = compare(sets)
    assert (metrics["samples/cells"], metrics["held_out/cells"]) == (32 + 16 / 2, 32 * 4)
    assert metrics["samples_distance/cells"] == 128 - 40
    assert (metrics["samples/one_step_share"], metrics["held_out/one_step_share"]) == (1, 0)
    assert (metrics["samples/note_length"], metrics["held_out/note_length"]) == (1, 4)
    # 32 notes in four bars of one of four pitched tracks; 16 drums in one of two phrases.
    assert metrics["samples/notes_per_bar"] == 8 / 4
    assert metrics["samples/notes_per_bar_drums"] == 4 / 2
    assert metrics["held_out/notes_per_bar_drums"] == 0
    assert "held_out/note_length_drums" not in metrics
    assert "samples/frechet_distance" not in metrics  # too few phrases for distribution metrics


def test_equal_sets_have_no_distance(real):
    metrics = compare(halves(real))
    distances = {name: value for name, value in metrics.items() if name.startswith("samples_distance/")}
    assert len(distances) > 25
    assert set(distances.values()) == {0.0}
    assert metrics["samples/frechet_distance"] == pytest.approx(0, abs=1e-6)
    for name in ("precision", "recall", "coverage"):
        assert metrics[f"samples/{name}"] == 1


def test_the_names_of_metrics_are_known_without_the_samples(real):
    """All of them are defined in these."""
    metrics = compare(halves(real))
    names = sample_metrics.metric_names(24)
    assert sorted(names) == sorted(metrics)
    assert set(names) - set(sample_metrics.metric_names(5)) == {
        f"samples/{name}" for name in ("precision", "recall", "density", "coverage", "frechet_distance")
    }
    assert len(names) == len(set(names))
    assert sample_metrics.metric_names(0) == []


def test_the_density_of_samples_is_that_of_neighborhoods_and_not_of_cells(real):
    sets = halves(real)
    metrics = compare(sets)
    found = measure.compare_distributions(sets, seed=0)["sets"]["generated"]
    assert metrics["samples/density"] == found["density"] > 1  # of equal sets
    for group, name in (("samples", "generated"), ("held_out", "held_out")):
        rolls = unpack(sets[name].packed)
        assert metrics[f"{group}/active_cell_rate"] == pytest.approx(rolls[..., 1:].mean())
        assert metrics[f"{group}/active_cell_rate_drums"] == pytest.approx(rolls[..., 0].mean())
    assert "held_out/density" not in metrics
    assert "samples_distance/density" not in metrics


def test_splinters_are_told_from_music(real):
    sets = halves(real)
    splinters = unpack(sets["held_out"].packed)
    splinters[:, 1::2] = False
    metrics = compare(sets | {"generated": PhraseSet(pack(splinters))})
    assert metrics["samples/one_step_share"] == 1
    assert metrics["held_out/one_step_share"] < 0.1
    assert metrics["samples/frechet_distance"] > 0.1
    assert metrics["samples/recall"] < 1


def test_samples_are_those_of_the_model(real):
    """An untrained decoder with an output bias at 20 fills every cell, at -20 none."""
    config = tiny_config()
    for bias, cells in ((1 - 1e-9, np.prod(PHRASE_SHAPE)), (1e-9, 0)):
        state = create_train_state(config, track_densities=(bias,) * len(DENSITIES), num_train_steps=1)
        held_out, training = (real.packed[HALVES[name]] for name in ("held_out", "training"))
        reference = sample_metrics.Reference.of(held_out, training, num=7)
        model = Model.of_state(config, state)
        metrics = sample_metrics.measure_samples(model, BinarizationRule(), num=7, seed=0, reference=reference)
        assert metrics["samples/cells"] == cells
        assert 500 < metrics["held_out/cells"] < 3000
