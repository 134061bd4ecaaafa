"""Model cards, read by the library of the hub, and the command that writes them."""

import json

import pytest
from huggingface_hub import ModelCard

from tests.decoding import small_model
from tests.evaluation.test_comparison import write as write_evaluation
from wae_jax import export
from wae_jax.evaluation.model_card import CardFacts, make_model_card
from wae_jax.evaluation.table import read_evaluation
from wae_jax.generation.export_file import write_model
from wae_jax.generation.load import training_data_of_shipped

FACTS = CardFacts(name="songs", source="hf://me/songs")


@pytest.fixture(scope="module")
def model():
    return small_model()


def card_of(model, evaluation=None, facts=FACTS):
    return ModelCard(make_model_card(model, {"digest": "d" * 64}, evaluation, facts))


def evaluation_of(folder, **provenance):
    given = {"data": "/home/me/data/lpd5", "training_data_digest": "d", "prior": "normal", **provenance}
    write_evaluation(folder, penalty="mmd", seed=0, cells=1234.5, precision=0.625, **given)
    return read_evaluation(folder)


def test_what_is_unknown_is_said_to_be(model):
    card = card_of(small_model(data__path="/home/me/data/lpd5"))
    assert card.data.license == "unknown"
    assert card.data.library_name == "wae_jax"
    assert {"music", "midi"} <= set(card.data.tags)
    assert card.data.datasets is None
    assert card.data.eval_results is None
    assert "Unknown: the author of this model has not described them." in card.text
    assert "License of the data: unknown. License of the model: unknown." in card.text
    assert "This model has not been evaluated" in card.text
    assert "/home/me" not in card.content
    built_in = card_of(model)
    assert "built-in corpus" in built_in.text
    assert "knows the built-in corpus alone" in built_in.text
    assert "knows the built-in corpus alone" not in card.text


def test_what_is_given_is_there(model):
    facts = CardFacts("songs", "hf://me/songs", "cc-by-4.0", "CC0", "Songs | of *mine*.", ["me/data"])
    card = card_of(model, facts=facts)
    assert (card.data.license, card.data.datasets) == ("cc-by-4.0", ["me/data"])
    assert "Songs | of *mine*." in card.text
    assert "[me/data](https://huggingface.co/datasets/me/data)" in card.text
    assert "License of the data: CC0. License of the model: cc-by-4.0." in card.text
    assert 'wae_jax.load("hf://me/songs")' in card.text
    assert "--workdir=hf://me/songs" in card.text


def test_metrics_are_those_of_the_evaluation(model, tmp_path):
    card = card_of(model, evaluation_of(tmp_path))
    values = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert values["cells"] == 1234.5
    assert values["precision"] == 0.625
    assert values["qualified_note_rate_pitched"] == 0.25
    (first, *_) = card.data.eval_results
    assert (first.dataset_name, first.dataset_type, first.dataset_split) == ("lpd5", "lpd5", "valid")
    assert card.data.model_name == "songs"
    assert "| precision | 0.625 |" in card.text
    # Each word of the table is explained.
    for word in (
        "Cells are",
        "qualified notes",
        "Precision is",
        "recall the",
        "coverage",
        "Near copies",
        "The floor is",
    ):
        assert word in card.text
    # This evaluation was made where the training data are missing.
    assert "near copies of training phrases has not been measured" in card.text
    assert "training music is" not in card.text
    assert "/home/me" not in card.content


@pytest.mark.parametrize(("digest", "expected"), [("d", "me/data"), ("another", "lpd5")])
def test_metrics_on_other_data_do_not_go_by_the_name_of_the_training_data(model, tmp_path, digest, expected):
    facts = CardFacts("songs", "songs", datasets=["me/data"])
    card = card_of(model, evaluation_of(tmp_path, training_data_digest=digest), facts)
    assert {result.dataset_type for result in card.data.eval_results} == {expected}


@pytest.fixture
def exported(model, tmp_path):
    write_model(tmp_path / "a.npz", model)
    return tmp_path / "a.npz"


def test_the_command_takes_the_metrics_of_this_checkpoint_alone(exported, tmp_path, capsys):
    command = [f"--workdir={exported}", "--num=2", f"--output={tmp_path / 'model'}", "--overwrite"]
    write_evaluation(tmp_path / "other", penalty="mmd", seed=0, cells=2, checkpoint_digest="e" * 64)
    assert export.main([*command, f"--evaluation={tmp_path / 'other'}"]) == 1
    assert "the evaluation is of checkpoint eeeeeeeeeeee, and the model is " in capsys.readouterr().err
    assert export.main(command) == 0
    said = capsys.readouterr().out
    assert "no metrics on the model card: the model has not been evaluated" in said
    assert "F1 between 256 samples of both" in said
    assert ModelCard.load(tmp_path / "model" / "README.md").data.eval_results is None
    digest = json.loads((tmp_path / "model" / "config.json").read_text())["source_digest"]
    write_evaluation(tmp_path / "mine", penalty="mmd", seed=0, cells=2.5, checkpoint_digest=digest)
    assert export.main([*command, f"--evaluation={tmp_path / 'mine'}"]) == 0
    card = ModelCard.load(tmp_path / "model" / "README.md")
    assert card.data.eval_results[0].metric_value == 2.5


def test_another_folder_is_not_written_into(exported, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text('{"seed": 0}')
    command = [f"--workdir={exported}", "--overwrite"]
    for output, message in (
        (tmp_path / "run", "holds other files, which are no exported model"),
        (tmp_path / "model.safetensors", "expected a folder, in which model.safetensors is written"),
        ("hf://me/songs", "--push=hf://me/songs uploads a model"),
        (exported / "model", "is no folder"),
    ):
        assert export.main([*command, f"--output={output}"]) == 1
        assert message in capsys.readouterr().err
    assert (tmp_path / "run" / "config.json").read_text() == '{"seed": 0}'


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "expected --output, a file or folder to write, or --push"),
        (["--output=a.npz", "--license=mit"], "--license applies only to a folder"),
        (["--output=a", "--private"], "--private applies only to --push"),
        (["--output=a", "--license=Public Domain"], "expected an identifier of the hub"),
        (["--output=a", "--dataset=a/b/c"], "expected the name of a dataset on the hub"),
    ],
)
def test_flags_without_an_effect_are_refused(flags, message, capsys):
    with pytest.raises(SystemExit):
        export.parse_arguments(["--workdir=run", *flags])
    assert message in capsys.readouterr().err


def test_the_model_that_ships_has_the_license_of_the_package_and_the_music_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where none of its training data are
    for flags, license_ in (((), "apache-2.0"), (("--license=mit", "--overwrite"), "mit")):
        assert export.main(["--workdir=shipped", f"--output={tmp_path / 'model'}", "--num=8", *flags]) == 0
        card = ModelCard.load(tmp_path / "model" / "README.md")
        assert card.data.license == license_
        of_data = "License of the data: that of each source, as listed."
        assert f"{of_data} License of the model: {license_}." in card.text
        assert "and this folder, by the path from where they run" in card.text
        music = training_data_of_shipped()
        assert "Freedoom" in music
        assert f"## Training data\n\n{music}\n\n{of_data}" in card.text
        assert "wae_free.npz" not in card.text


def test_what_is_given_of_the_model_that_ships_is_taken(tmp_path):
    given = ["--data-license=CC0", "--data-description=Other songs."]
    assert export.main(["--workdir=shipped", f"--output={tmp_path / 'model'}", "--num=8", *given]) == 0
    card = ModelCard.load(tmp_path / "model" / "README.md")
    assert "Other songs.\n\nLicense of the data: CC0. License of the model: apache-2.0." in card.text
