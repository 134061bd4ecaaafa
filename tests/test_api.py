"""What `import wae_jax` offers: the examples of its docstrings, its errors, and music that comes back as it went."""

import doctest
import importlib
import re

import numpy as np
import pytest

import wae_jax
from tests.helpers import ROOT, random_rolls
from wae_jax.data.demo_corpus import make_demo_corpus
from wae_jax.errors import RequestError
from wae_jax.metrics.suite import METRICS
from wae_jax.pianoroll import find_notes, unpack


@pytest.mark.parametrize("name", ["wae_jax.api", "wae_jax.generation.model", "wae_jax.generation.load"])
def test_examples_of_docstrings(name):
    failed, tried = doctest.testmod(importlib.import_module(name))
    assert tried >= 3
    assert not failed


def test_every_public_name_has_an_example_and_no_other_name_is_there():
    functions = [getattr(wae_jax, name) for name in wae_jax.__all__ if not name.startswith("__")]
    methods = [getattr(wae_jax.Model, name) for name in ("encode", "decode", "binarize", "sample", "interpolate")]
    assert [each.__name__ for each in (*functions, *methods) if ">>>" not in each.__doc__] == ["Model"]
    with pytest.raises(AttributeError, match="no attribute 'sampel'"):
        _ = wae_jax.sampel


def test_the_metrics_of_the_documents_run_on_rolls_of_ones_own(capsys):
    text = (ROOT / "docs" / "api.md").read_text()
    section = text[text.index("## Metrics of your own rolls") : text.index("## A trained model")]
    packed, _ = make_demo_corpus(num_songs=6, phrases_per_song=4, seed=1)
    rolls = unpack(packed)
    names = {"rolls": rolls[:8], "held_out": rolls[8:16], "training": rolls}
    blocks = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        exec(block, names)
    told = capsys.readouterr().out
    assert all(f"\n{metric.name} {{" in told for metric in METRICS)
    assert "DistributionMetrics(precision=" in told


@pytest.fixture(scope="module")
def model(corpus_model):
    return corpus_model


def test_interpolation_begins_and_ends_with_the_codes_that_were_given(model):
    codes = model.sample_codes(0, 2)
    path = model.interpolate(codes[0], codes[1], 4)
    np.testing.assert_allclose(path[[0, 3]], model.decode(codes), atol=1e-5)
    # Phrases and codes may be mixed.
    phrase = random_rolls(1, seed=3)[0]
    mixed = model.interpolate(phrase, codes[1], 2)
    np.testing.assert_allclose(mixed[0], model.decode(model.encode(phrase[None]))[0], atol=1e-5)
    with pytest.raises(RequestError, match="num is 1; expected at least 2"):
        model.interpolate(codes[0], codes[1], 1)


def test_phrases_are_transposed_as_build_dataset_does_unless_they_are_kept(model, tmp_path):
    music = model.binarize(model.sample(6, seed=2))
    raised = np.zeros_like(music)
    raised[:, :, 2:, 1:] = music[:, :, :-2, 1:]
    raised[..., 0] = music[..., 0]
    wae_jax.to_midi(raised, tmp_path / "in_d.mid")
    assert (wae_jax.read_phrases(tmp_path / "in_d.mid", tonality="keep") == raised).all()
    back = wae_jax.read_phrases(tmp_path / "in_d.mid")
    assert set(np.flatnonzero(back[..., 1:].any(axis=(0, 1, 3))) % 12) == set(
        np.flatnonzero(music[..., 1:].any(axis=(0, 1, 3))) % 12
    )


def test_arrays_are_read_as_they_are(tmp_path):
    rolls = random_rolls(3, seed=1)
    np.save(tmp_path / "rolls.npy", rolls)
    assert (wae_jax.read_phrases(tmp_path / "rolls.npy") == rolls).all()


def test_unreadable_files_are_told_by_name(tmp_path):
    (tmp_path / "song.mid").write_bytes(b"no music")
    with pytest.raises(RequestError, match=r"song\.mid is neither MIDI nor"):
        wae_jax.read_phrases(tmp_path / "song.mid")
    with pytest.raises(RequestError, match=r"none\.mid does not exist"):
        wae_jax.read_phrases(tmp_path / "none.mid")
    with pytest.raises(RequestError, match="tonality is 'C'; expected one of keep"):
        wae_jax.read_phrases(tmp_path / "song.mid", tonality="C")


def test_several_phrases_are_one_piece():
    rolls = random_rolls(3, seed=1)
    piece = wae_jax.to_multitrack(rolls)
    cells = sum(int(track.pianoroll.sum()) for track in piece.tracks)
    assert piece.tracks[0].pianoroll.shape == (3 * 192, 128)
    assert cells == rolls.sum()


def test_sound_lasts_as_long_as_the_phrases_and_pictures_show_each(model):
    music = model.binarize(model.sample(2))
    assert find_notes(music).onset.size
    sound = wae_jax.to_audio(music, tempo=120)
    assert 16.0 <= len(sound) / 44_100 <= 17.5
    assert np.abs(sound).max() == pytest.approx(0.9)
    assert [axes.get_title(loc="left") for axes in wae_jax.plot(music, titles=["a", "b"]).axes] == ["a", "b"]
    assert len(wae_jax.plot(music[0]).axes) == 1
    with pytest.raises(ValueError, match="1 titles for 2 phrases"):
        wae_jax.plot(music, titles=["a"])
