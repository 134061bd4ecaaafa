"""The command that measures, on a small trained run."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from tests.helpers import changed, train_briefly
from wae_jax import evaluate, generate
from wae_jax.config import BinarizationRule
from wae_jax.errors import DatasetError, RequestError
from wae_jax.evaluation import evaluate_model, report
from wae_jax.evaluation.table import read_evaluation, to_json
from wae_jax.generation import export_file
from wae_jax.generation.load import load
from wae_jax.pianoroll import pack


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return train_briefly(tmp_path_factory.mktemp("run"))


FLAGS = ["--num=12", "--threshold=0.03", "--seed=3"]


@pytest.fixture(scope="module")
def content(workdir):
    assert evaluate.main([f"--workdir={workdir}", *FLAGS]) == 0
    return json.loads((workdir / "evaluation" / "evaluation.json").read_text())


@pytest.fixture
def no_report(monkeypatch):
    """Reports without pictures, which take most of the time of a small evaluation."""
    monkeypatch.setattr(report, "make_report", lambda *_, **__: "")


def test_what_is_measured_is_what_generate_makes(workdir, content, tmp_path):
    generate.main([f"--workdir={workdir}", f"--output={tmp_path / 'g'}", "--no-audio", "--no-pictures", *FLAGS])
    stored = np.load(tmp_path / "g" / "phrases.npz")
    cells = stored["nonzero"].shape[1] / 12
    assert content["music"]["cells"]["sets"]["generated"]["mean"][0] == pytest.approx(cells)


def test_everything_has_its_origin(workdir, content):
    provenance = content["provenance"]
    assert provenance["config"] == json.loads((workdir / "config.json").read_text())
    assert provenance["data_digest"] == json.loads((workdir / "run.json").read_text())["data"]["digest"]
    assert provenance["checkpoint_step"] == 3
    assert len(provenance["checkpoint_digest"]) == 64
    params = load(str(workdir)).variables["params"]
    assert provenance["num_parameters"] == sum(np.size(leaf) for leaf in jax.tree.leaves(params)) > 1000
    assert (provenance["seed"], provenance["num"], provenance["split"]) == (3, 12, "valid")
    assert provenance["binarization"]["thresholds"] == [0.03] * 5
    assert set(provenance["versions"]) == {"wae_jax", "jax", "numpy", "python"}
    assert content["sets"]["held_out"]["songs"] >= 1


def test_the_requested_and_the_fitted_rule_are_recorded(workdir, tmp_path, no_report):
    flags = [f"--workdir={workdir}", "--num=12", f"--output={tmp_path}", "--threshold=fit", "--track-gate=fit"]
    assert evaluate.main(flags) == 0
    provenance = json.loads((tmp_path / "evaluation.json").read_text())["provenance"]
    requested, fitted = provenance["binarization"], provenance["calibrated_binarization"]
    assert (requested["thresholds"], requested["track_gates"]) == ("fit", "fit")
    assert len(fitted["thresholds"]) == len(fitted["track_gates"]) == 5


def test_it_is_the_same_the_next_time(workdir, content, tmp_path, no_report, capsys):
    assert evaluate.main([f"--workdir={workdir}", *FLAGS, f"--output={tmp_path}"]) == 0
    assert json.loads((tmp_path / "evaluation.json").read_text()) == content
    table = capsys.readouterr().out
    assert "qualified_note_rate, Pitched" in table
    assert "held-out" in table


def test_a_report_is_made_unless_it_is_not_wanted(workdir, content, tmp_path, capsys):
    assert (workdir / "evaluation" / "report.html").is_file()
    assert evaluate.main([f"--workdir={workdir}", *FLAGS, f"--output={tmp_path}", "--report=none"]) == 0
    assert [each.name for each in tmp_path.iterdir()] == ["evaluation.json"]
    assert capsys.readouterr().out.endswith(f"wrote {tmp_path / 'evaluation.json'}\n")


def test_the_report_is_one_file_that_asks_for_nothing(workdir, content):
    page = (workdir / "evaluation" / "report.html").read_text()
    assert page.count("data:image/png;base64,") >= 8
    assert "http" not in page.split("<body>")[1]
    assert content["provenance"]["checkpoint_digest"] in page
    for heading in ("Metrics", "Phrases", "Memorization", "Latent space", "Training", "Provenance"):
        assert f"<h2>{heading}</h2>" in page


def test_samples_of_a_density_estimate_are_told_from_those_of_the_normal_prior(
    workdir, content, tmp_path, no_report, monkeypatch
):
    decoded = []
    decode = evaluate_model._decode
    monkeypatch.setattr(
        evaluate_model, "_decode", lambda model, codes, *others: decoded.append(codes) or decode(model, codes, *others)
    )
    flags = [f"--workdir={workdir}", *FLAGS, f"--output={tmp_path}", "--prior=kernel_density"]
    assert evaluate.main(flags) == 0
    found = json.loads((tmp_path / "evaluation.json").read_text())
    assert (found["provenance"]["prior"], content["provenance"]["prior"]) == ("kernel_density", "normal")
    # The prior's deviation is 1; a run of a few steps has codes near one another.
    assert decoded[0].std(axis=0).max() < 0.5
    # Codes are compared with the prior in either case.
    assert found["codes"]["mmd"] == content["codes"]["mmd"]
    assert found["codes"]["log_density"]["normal"] == content["codes"]["log_density"]["normal"]
    assert found["codes"]["log_density"]["kernel_density"] > found["codes"]["log_density"]["normal"]


def test_anybodys_phrases_are_judged(tmp_path, small_data, no_report, capsys):
    rng = np.random.default_rng(0)
    rolls = rng.random((10, 192, 84, 5)) < 0.02
    np.save(tmp_path / "noise.npy", rolls)
    flags = [f"--phrases={tmp_path / 'noise.npy'}", f"--data={small_data}", f"--output={tmp_path / 'out'}"]
    assert evaluate.main([*flags, "--num=8", "--compat=musegan"]) == 0
    judged = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert judged["music"]["cells"]["sets"]["generated"]["mean"][0] == pytest.approx(rolls[:8].sum() / 8)
    assert "codes" not in judged
    table = capsys.readouterr().out
    assert "musegan" in table
    assert "errors included" in table


@pytest.mark.slow
def test_five_phrases_are_judged_without_distribution_metrics(tmp_path, small_data, capsys):
    rolls = np.random.default_rng(0).random((5, 192, 84, 5)) < 0.02
    np.save(tmp_path / "noise.npy", rolls)
    assert evaluate.main([f"--phrases={tmp_path / 'noise.npy'}", f"--data={small_data}"]) == 0
    judged = json.loads((tmp_path / "noise.evaluation" / "evaluation.json").read_text())
    assert judged["sets"]["generated"]["phrases"] == 5
    assert judged["music"]["cells"]["sets"]["generated"]["mean"][0] == pytest.approx(rolls.sum() / 5)
    assert set(judged["distribution"]["sets"]["generated"].values()) == {None}
    assert "coverage" in capsys.readouterr().out


@pytest.mark.parametrize(
    "flag",
    ["--threshold=.5", "--prior=kernel_density", "--binarization=bernoulli", "--checkpoint=latest", "--track-gate=1"],
)
def test_flags_of_a_model_are_refused_for_loose_phrases(flag, capsys):
    with pytest.raises(SystemExit, match="2"):
        evaluate.main(["--phrases=mine.npz", "--data=data", flag])
    assert f"{flag.partition('=')[0]} applies only to a model" in capsys.readouterr().err


@pytest.mark.slow
def test_an_exported_model_is_evaluated(workdir, content, tmp_path, no_report):
    from wae_jax import export

    file = tmp_path / "model.npz"
    assert export.main([f"--workdir={workdir}", f"--output={file}"]) == 0
    assert evaluate.main([f"--workdir={file}", *FLAGS]) == 0
    found = json.loads((tmp_path / "model.evaluation" / "evaluation.json").read_text())
    assert found["provenance"]["config"] == content["provenance"]["config"]
    assert found["provenance"]["checkpoint_step"] == 3
    # Its parameters are rounded; held-out music is the same.
    for metric, entry in content["music"].items():
        assert found["music"][metric]["sets"]["held_out"] == entry["sets"]["held_out"]


def test_a_model_without_its_data_is_evaluated_on_others(workdir, small_data, tmp_path, capsys):
    model = load(workdir)
    given = {"track_statistics": model.statistics(), "code_statistics": model.statistics_of_codes()}
    config = changed(model.config, data__path=str(tmp_path / "gone"))
    export_file.write_model(tmp_path / "a.npz", dataclasses.replace(model, config=config, **given))
    command = [f"--workdir={tmp_path / 'a.npz'}", *FLAGS, f"--output={tmp_path / 'out'}"]
    assert evaluate.main(command) == 1
    told = capsys.readouterr().err
    assert f"error: the training data of the model are missing: {tmp_path / 'gone'} holds no dataset.json" in told
    assert told.endswith("; or --data with other music\n")
    assert evaluate.main([*command, f"--data={small_data}"]) == 0
    assert "without training music and near copies" in capsys.readouterr().out
    found = read_evaluation(tmp_path / "out")
    assert list(found["sets"]) == ["generated", "reconstructed", "held_out"]
    assert "copies" not in found
    assert found["distribution"]["sets"].keys() == {"generated", "reconstructed"}
    assert found["provenance"]["training_data_digest"] is None
    # What does not depend on training music is as ever.
    assert evaluate.main([f"--workdir={workdir}", *FLAGS, f"--data={small_data}", f"--output={tmp_path / 'all'}"]) == 0
    whole = read_evaluation(tmp_path / "all")
    assert "training" in whole["sets"]
    assert found["music"]["cells"]["sets"]["held_out"] == whole["music"]["cells"]["sets"]["held_out"]
    # Weights of the file are rounded.
    one, other = (each["reconstruction"]["f1"] for each in (found, whole))
    assert one == pytest.approx(other, abs=0.01)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<h2>Phrases</h2>" in page
    assert "<h2>Memorization</h2>" not in page


def test_damaged_training_data_are_not_taken_for_missing_ones(workdir, small_data, tmp_path, monkeypatch, capsys):
    def damaged(spec):
        raise DatasetError("data/mine is damaged")

    monkeypatch.setattr("wae_jax.generation.model.open_data", damaged)
    command = [f"--workdir={workdir}", *FLAGS, f"--data={small_data}", f"--output={tmp_path / 'out'}"]
    assert evaluate.main(command) == 1
    assert capsys.readouterr().err == "error: data/mine is damaged\n"
    assert not (tmp_path / "out").exists()


def test_the_shipped_model_is_evaluated_by_its_name(small_data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shipped").mkdir()  # another thing of that name, which is ./shipped

    def stop(model, *_):
        raise RequestError(f"it is {model.digest}")

    monkeypatch.setattr(evaluate, "evaluate_model", stop)
    assert evaluate.main(["--workdir=shipped", f"--data={small_data}"]) == 1
    assert f"it is {load().digest}" in capsys.readouterr().err
    assert evaluate.parse_arguments(["--workdir=shipped"]).output == "shipped.evaluation"
    assert evaluate.parse_arguments(["--workdir=./shipped"]).output == "./shipped/evaluation"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--phrases=nothing.npz"], "needs --data"),
        (["--workdir={workdir}", "--split=dev"], "has no dev split; it has train"),
        (["--workdir={workdir}", "--data=nowhere"], "nowhere"),
        (["--workdir={workdir}", "--checkpoint=77"], "77"),
        (["--compare", "nowhere"], "has not been evaluated"),
    ],
)
def test_impossible_requests_are_refused_in_a_sentence(workdir, capsys, flags, message):
    assert evaluate.main([flag.format(workdir=workdir) for flag in flags]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error


@pytest.mark.parametrize("flag", ["--num=2", "--threshold=2", "--seed=-1", "--binarization=soft", "--compat=theirs"])
def test_flags_out_of_range_are_refused(workdir, flag):
    with pytest.raises(SystemExit, match="2"):
        evaluate.main([f"--workdir={workdir}", flag])


def test_json_has_no_nan():
    values = {"a": np.array([1.0, np.nan]), "b": (np.float32(np.inf), np.int64(3)), "c": np.bool_(True)}
    assert to_json(values) == {"a": [1.0, None], "b": [None, 3], "c": True}


def test_decoding_in_parts_keeps_the_order(workdir, monkeypatch):
    model = load(workdir)
    codes = model.sample_codes(0, 7)
    rule = BinarizationRule(thresholds=(0.03,) * 5)
    whole = evaluate_model._decode(model, codes, rule, 0)
    monkeypatch.setattr(evaluate_model, "_PHRASES_AT_A_TIME", 3)
    np.testing.assert_array_equal(evaluate_model._decode(model, codes, rule, 0), whole)
    np.testing.assert_array_equal(whole, pack(model.decode(codes) > 0.03))


def test_held_out_music_of_one_song_is_refused(workdir, monkeypatch):
    model = load(workdir)
    data = model.data()
    monkeypatch.setattr(type(data), "songs", lambda self, split: np.zeros(len(self.split(split)), np.int64))
    spec = evaluate_model.EvaluationSpec(num=8, seed=0, split="valid", compat="")
    with pytest.raises(RequestError, match="8 phrases of one song; expected at least two songs"):
        evaluate_model.evaluate_model(model, data, spec, BinarizationRule())


def test_held_out_music_of_two_songs_has_no_divergence_of_codes(workdir, monkeypatch, tmp_path):
    data = type(load(workdir).data())
    monkeypatch.setattr(data, "songs", lambda self, split: np.arange(len(self.split(split))) % 2)
    assert evaluate.main([f"--workdir={workdir}", "--num=8", f"--output={tmp_path}", "--threshold=0.03"]) == 0
    codes = json.loads((tmp_path / "evaluation.json").read_text())["codes"]
    assert set(codes["jensen_shannon"].values()) == {None}
    assert codes["intrinsic_dimension"] is None  # of one code a song
    assert "unknown of the normal" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("flag", "output"),
    [
        ("--workdir=runs/gan/", "runs/gan/evaluation"),
        ("--workdir=gs://bucket/runs/gan/", "gan.evaluation"),
        ("--phrases=music/mine.npz", "music/mine.evaluation"),
    ],
)
def test_where_the_files_go(flag, output):
    assert evaluate.parse_arguments([flag]).output == output
