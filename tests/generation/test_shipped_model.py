"""The model that ships: a small file that opens anywhere, makes music, and takes none of its training data."""

import json
import subprocess
import sys

import numpy as np
import pytest

import wae_jax
from tests.helpers import ROOT
from tests.listening.parsing import data_of
from tests.searching import shorten_searches
from wae_jax import generate, listen
from wae_jax.data.demo_corpus import make_demo_corpus
from wae_jax.errors import DatasetError
from wae_jax.generation import export_file
from wae_jax.generation.load import SHIPPED, training_data_of_shipped
from wae_jax.metrics.reconstruction import cell_f1
from wae_jax.pianoroll import unpack
from wae_jax.render.midi import write_midi

FOLDER = ROOT / "wae_jax" / "shipped"


@pytest.fixture(scope="module")
def model():
    return wae_jax.load()


@pytest.fixture(scope="module")
def music(model):
    return model.binarize(model.sample(64, seed=3))


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """An empty folder to work in, so that no dataset lies at the relative path of the configuration."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_is_small_and_opens_in_a_fresh_process(tmp_path):
    assert (FOLDER / SHIPPED).stat().st_size <= 12_000_000
    program = (
        "import wae_jax; model = wae_jax.load(); p = model.sample(4); "
        "print(model.digest, model.step, p.shape, (p > .5).sum((1, 2, 3)).min() > 20)"
    )
    environment = {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    held = export_file.read_model(FOLDER / SHIPPED)
    assert done.stdout.split(maxsplit=2) == [held.digest, str(held.step), "(4, 192, 84, 5) True\n"]


def test_it_is_the_model_that_the_documents_describe(model):
    config = model.config
    assert (config.objective.penalty, config.model.network, config.model.z_dim) == ("mmd", "meter", 128)
    assert (config.data.path, config.data.is_in_one_tonality) == ("data/free", True)
    assert model.prior == config.prior == "kernel_density"
    assert model.config.init_from == ""


def test_samples_are_as_dense_as_its_training_data_and_differ(model, music):
    probabilities = model.sample(64, seed=3)
    assert np.isfinite(probabilities).all()
    assert 0 <= probabilities.min() < 0.01 < 0.9 < probabilities.max() <= 1
    cells = music.sum(axis=(1, 2, 3))
    assert 50 < cells.min() < cells.max() < 8000
    # The binarization rule is fitted so on other samples.
    share = music.mean(axis=(0, 1, 2)) / np.array(model.statistics().densities)
    assert share == pytest.approx(1, abs=0.5)
    pairs = [cell_f1(music[[i]], music[[j]])[0] for i in range(16) for j in range(i)]
    assert np.mean(pairs) < 0.3


def test_samples_are_in_c_major_or_a_minor_and_have_drums(music):
    # The lowest pitch is C1, so that row i has pitch class i % 12.
    by_pitch_class = music[..., 1:].sum(axis=(0, 1, 3)).reshape(-1, 12).sum(axis=0)
    assert by_pitch_class[[0, 2, 4, 5, 7, 9, 11]].sum() > 0.85 * by_pitch_class.sum()
    assert music[..., 0].any(axis=(1, 2)).mean() > 0.8


def test_samples_are_much_the_same_when_they_are_encoded_and_decoded(model, music):
    again = model.binarize(model.decode(model.encode(music)))
    assert np.median(cell_f1(again, music)) > 0.6
    assert cell_f1(again, np.roll(music, 1, axis=0)).mean() < 0.3


def test_it_carries_what_generation_takes_of_the_training_data(model, elsewhere):
    held = export_file.read_model(FOLDER / SHIPPED)
    assert held.track_statistics is not None
    assert held.code_statistics is not None
    with pytest.raises(DatasetError, match="the training data of the model are missing: data/free holds no dataset"):
        model.phrases("valid")


@pytest.fixture
def song(tmp_path):
    packed, _ = make_demo_corpus(num_songs=1, phrases_per_song=2, seed=3)
    write_midi(tmp_path / "song.mid", unpack(packed))
    return tmp_path / "song.mid"


@pytest.mark.parametrize(
    "flags",
    [
        ["--mode=sample", "--prior=normal", "--num=2"],
        ["--mode=edit", "--attribute=density:1", "--num=2"],
        ["--mode=continue", "--num=4"],
        ["--mode=vary", "--input=SONG", "--num=2"],
        ["--mode=accompany", "--input=SONG", "--keep=drums,bass", "--num=2"],
    ],
    ids=lambda flags: flags[0].partition("=")[2],
)
def test_modes_take_no_training_data(elsewhere, song, monkeypatch, capsys, flags):
    shorten_searches(monkeypatch, num_steps=5)
    flags = [flag.replace("SONG", str(song)) for flag in flags]
    assert generate.main(["--output=made", "--no-audio", "--no-pictures", "--no-page", *flags]) == 0
    told = capsys.readouterr().out
    assert "the model that ships with wae_jax: step" in told
    assert "nothing to compare with in the table below: the training data of the model are missing" in told
    made = wae_jax.read_phrases(elsewhere / "made" / "phrases.npz", tonality="keep", drum_length="full")
    assert made.any(axis=(1, 2, 3)).all()
    assert json.loads((elsewhere / "made" / "report.json").read_text())["model"]["digest"] == wae_jax.load().digest


def test_its_page_has_samples_and_opens_songs(elsewhere):
    assert listen.main(["page", "--num=2", "--output=page.html"]) == 0
    data = data_of((elsewhere / "page.html").read_text(encoding="utf-8"))
    (section,) = data["sections"]
    assert "There is no other music here: the training data of the model are missing" in section["description"]
    assert [len(group["phrases"]) for group in section["groups"]] == [2]
    # Decoder and encoder are not too large for a page.
    assert data["panel"]["decoder"]
    assert data["panel"]["encoder"]
    assert "opened here" not in data["summary"]


def rows_of_table(text):
    """The rows of the first table of a text in Markdown, with its head."""
    lines = [*text[text.index("\n| source") :].strip().splitlines(), ""]
    return [line for line in lines[: lines.index("")] if not line.startswith("|---")]


def test_sources_and_licences_are_those_of_the_documents():
    listed = rows_of_table((ROOT / "docs" / "free_music.md").read_text())
    assert len(listed) > 4
    assert rows_of_table(training_data_of_shipped()) == listed
    for licence in ("BSD-3-Clause", "Artistic-1.0", "CC BY 4.0", "CC0", "GPL-2"):
        assert any(licence in row for row in listed)
        assert f"[{licence}](https://" in training_data_of_shipped()
