"""The command that measures, on a small trained run."""

import json

import numpy as np
import pytest

from tests.helpers import tiny_config, train_briefly
from wae_jax import evaluate, generate
from wae_jax.pianoroll import pack
from wae_jax.training.loop import train_and_evaluate


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return train_briefly(tmp_path_factory.mktemp("run"))


FLAGS = ["--num=12", "--threshold=0.03", "--seed=3"]


@pytest.fixture(scope="module")
def content(workdir):
    assert evaluate.main([f"--workdir={workdir}", *FLAGS]) == 0
    return json.loads((workdir / "evaluation" / "evaluation.json").read_text())


def test_what_is_measured_is_what_generate_makes(workdir, content, tmp_path):
    generate.main([f"--workdir={workdir}", f"--output={tmp_path / 'g'}", "--no-audio", "--no-pictures", *FLAGS])
    stored = np.load(tmp_path / "g" / "phrases.npz")
    cells = stored["nonzero"].shape[1] / 12
    assert content["music"]["cells"]["sets"]["generated"]["mean"][0] == pytest.approx(cells)


def test_everything_has_its_origin(workdir, content):
    provenance = content["provenance"]
    assert provenance["config"] == json.loads((workdir / "config.json").read_text())
    assert provenance["data_digest"] == json.loads((workdir / "data.json").read_text())["digest"]
    assert provenance["checkpoint_step"] == 3
    assert len(provenance["checkpoint_digest"]) == 64
    assert (provenance["seed"], provenance["num"], provenance["threshold"]) == (3, 12, 0.03)
    assert set(provenance["versions"]) == {"wae_jax", "jax", "numpy", "python"}
    assert content["sets"]["held_out"]["songs"] >= 1


def test_what_was_asked_for_is_told_from_what_was_found(workdir, tmp_path):
    flags = [f"--workdir={workdir}", "--num=12", f"--output={tmp_path}", "--threshold=density", "--track_gates=data"]
    assert evaluate.main(flags) == 0
    provenance = json.loads((tmp_path / "evaluation.json").read_text())["provenance"]
    assert (provenance["threshold"], provenance["track_gates"]) == ("density", "data")
    found = provenance["calibrated"]
    assert len(found["threshold"]) == 5
    assert found["track_gates"] == "none" or len(found["track_gates"]) == 5


def test_it_is_the_same_the_next_time(workdir, content, tmp_path, capsys):
    assert evaluate.main([f"--workdir={workdir}", *FLAGS, f"--output={tmp_path}"]) == 0
    assert json.loads((tmp_path / "evaluation.json").read_text()) == content
    table = capsys.readouterr().out
    assert "qualified_note_rate, Pitched" in table
    assert "held-out" in table


def test_the_report_is_one_file_that_asks_for_nothing(workdir, content):
    page = (workdir / "evaluation" / "report.html").read_text()
    assert page.count("data:image/png;base64,") >= 8
    assert "http" not in page.split("<body>")[1]
    assert content["provenance"]["checkpoint_digest"] in page
    for heading in ("Metrics", "Phrases", "Memorisation", "Latent space", "Training"):
        assert f"<h2>{heading}</h2>" in page


def test_draws_of_a_mixture_are_told_from_those_of_the_prior(workdir, content, tmp_path, monkeypatch):
    decoded = []
    decode = evaluate._decode
    monkeypatch.setattr(
        evaluate, "_decode", lambda run, codes, *others: decoded.append(codes) or decode(run, codes, *others)
    )
    flags = [f"--workdir={workdir}", *FLAGS, f"--output={tmp_path}", "--latent=mixture", "--components=2"]
    assert evaluate.main(flags) == 0
    found = json.loads((tmp_path / "evaluation.json").read_text())
    assert (found["provenance"]["latent"], found["provenance"]["components"]) == ("mixture", 2)
    assert (content["provenance"]["latent"], content["provenance"]["components"]) == ("prior", None)
    # The prior's deviation is 1; a run of a few steps has codes near one another.
    assert decoded[0].std(axis=0).max() < 0.5
    # Codes are compared with the prior in either case.
    assert found["codes"]["mmd"] == content["codes"]["mmd"]
    assert found["codes"]["log_density"]["prior"] == content["codes"]["log_density"]["prior"]
    assert found["codes"]["log_density"]["mixture"] > found["codes"]["log_density"]["prior"]
    assert "The draws are from the mixture." in (tmp_path / "report.html").read_text()


def test_anybodys_phrases_are_judged(workdir, content, tmp_path, small_data, capsys):
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
    assert "slips included" in table


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
def test_what_cannot_be_done_is_said_in_a_sentence(workdir, capsys, flags, message):
    assert evaluate.main([flag.format(workdir=workdir) for flag in flags]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error


@pytest.mark.parametrize("flag", ["--num=2", "--threshold=2", "--seed=-1", "--binarize=soft", "--compat=theirs"])
def test_flags_out_of_range_are_refused(workdir, flag):
    with pytest.raises(SystemExit, match="2"):
        evaluate.main([f"--workdir={workdir}", flag])


def test_json_has_no_nan():
    values = {"a": np.array([1.0, np.nan]), "b": (np.float32(np.inf), np.int64(3)), "c": np.bool_(True)}
    assert evaluate.to_json(values) == {"a": [1.0, None], "b": [None, 3], "c": True}


def test_packing_and_decoding_in_parts_keeps_the_order(workdir, monkeypatch):
    from wae_jax.generation.binarization import BinarizationRule
    from wae_jax.generation.model import load_run

    run = load_run(str(workdir), "best")
    codes = run.sampler.sample_codes(0, 7)
    rule = BinarizationRule(thresholds=(0.03,) * 5)
    whole = evaluate._decode(run, codes, rule, 0)
    monkeypatch.setattr(evaluate, "_PHRASES_AT_A_TIME", 3)
    np.testing.assert_array_equal(evaluate._decode(run, codes, rule, 0), whole)
    np.testing.assert_array_equal(whole, pack(run.sampler.decode(codes) > 0.03))


def test_held_out_music_of_one_song_is_refused_in_a_sentence(tmp_path, capsys):
    config = tiny_config(num_train_steps=1, data__num_songs=12, data__phrases_per_song=8)
    train_and_evaluate(config, str(tmp_path))
    assert evaluate.main([f"--workdir={tmp_path}", "--num=8"]) == 1
    told = capsys.readouterr().err
    assert "8 phrases of one song; expected at least two songs" in told
    assert not (tmp_path / "evaluation").exists()
