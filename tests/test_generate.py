"""The command that makes music, on a small trained run."""

import json
import shutil

import ml_collections
import numpy as np
import pytest

from tests.helpers import train_briefly
from wae_jax import generate
from wae_jax.sampling import binarize
from wae_jax.train import train_and_evaluate


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return train_briefly(tmp_path_factory.mktemp("run"))


def run(workdir, output, *flags):
    return generate.main(
        [f"--workdir={workdir}", f"--output={output}", "--no-audio", "--no-pictures", "--threshold=0.03", *flags]
    )


def load(folder):
    stored = np.load(folder / "phrases.npz", allow_pickle=False)
    dense = np.zeros(stored["shape"], bool)
    dense[tuple(stored["nonzero"])] = True
    return dense


def test_draws_depend_on_the_seed_and_not_on_their_number(workdir, tmp_path, capsys):
    assert run(workdir, tmp_path / "a", "--num=3", "--probabilities") == 0
    table = capsys.readouterr().out
    assert "cells a phrase" in table
    assert "training data" in table
    assert run(workdir, tmp_path / "b", "--num=2") == 0
    assert run(workdir, tmp_path / "c", "--num=2", "--seed=1") == 0
    first, second, other = (np.load(tmp_path / name / "codes.npy") for name in "abc")
    np.testing.assert_array_equal(first[:2], second)
    assert not np.allclose(second, other)
    np.testing.assert_array_equal(load(tmp_path / "a")[:2], load(tmp_path / "b"))
    probabilities = np.load(tmp_path / "a" / "probabilities.npy")
    assert probabilities.shape == (3, 192, 84, 5)
    assert len(list((tmp_path / "a").glob("phrase_*.mid"))) == 3


def test_reconstructions_lie_beside_their_originals(workdir, tmp_path):
    assert run(workdir, tmp_path / "r", "--mode=reconstruct", "--num=2") == 0
    assert load(tmp_path / "r").shape == load(tmp_path / "r" / "originals").shape == (2, 4, 48, 84, 5)
    assert load(tmp_path / "r" / "originals").any()
    assert len(np.load(tmp_path / "r" / "rows.npy")) == 2


def test_a_run_from_before_some_fields_is_read_and_goes_on(workdir, tmp_path):
    old = tmp_path / "run"
    shutil.copytree(workdir, old)
    stored = json.loads((old / "config.json").read_text())
    now = ml_collections.ConfigDict(json.loads((old / "config.json").read_text()))
    del stored["steps_per_call"], stored["data"]["placement"]
    (old / "config.json").write_text(json.dumps(stored))
    assert run(old, tmp_path / "old", "--num=2") == 0
    assert run(workdir, tmp_path / "new", "--num=2") == 0
    np.testing.assert_array_equal(load(tmp_path / "old"), load(tmp_path / "new"))
    now.num_train_steps = 4
    train_and_evaluate(now, str(old))
    assert json.loads((old / "config.json").read_text()) == now.to_dict()


def test_codes_alone(workdir, tmp_path):
    assert run(workdir, tmp_path / "e", "--mode=encode", "--num=3") == 0
    assert {path.name for path in (tmp_path / "e").iterdir()} == {"codes.npy", "rows.npy"}


def test_interpolation_begins_and_ends_at_codes_of_phrases(workdir, tmp_path):
    assert run(workdir, tmp_path / "i", "--mode=interpolate", "--num=9") == 0
    run(workdir, tmp_path / "e", "--mode=encode", "--num=3")
    path, ends = np.load(tmp_path / "i" / "codes.npy"), np.load(tmp_path / "e" / "codes.npy")
    assert path.shape == (9, 4)
    assert any(np.allclose(path[0], end, atol=1e-5) for end in ends)
    assert any(np.allclose(path[8], end, atol=1e-5) for end in ends)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--mode=reconstruct", "--num=100000"], "validation split has"),
        (["--checkpoint=newest"], "expected best, latest or the number of a step"),
        (["--checkpoint=77"], "77"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(workdir, tmp_path, capsys, flags, message):
    assert run(workdir, tmp_path / "out", *flags) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert not (tmp_path / "out").exists()


def test_folders_that_are_not_right_are_refused(workdir, tmp_path, capsys):
    assert run(tmp_path, tmp_path / "out") == 1
    assert "config.json" in capsys.readouterr().err
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    assert run(workdir, tmp_path / "full") == 1
    assert "not an empty folder" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--num=0", "--threshold=2", "--tempo=0", "--seed=-1", "--binarize=soft"])
def test_flags_out_of_range_are_refused(workdir, tmp_path, flag):
    with pytest.raises(SystemExit, match="2"):
        run(workdir, tmp_path / "out", flag)


def test_binarisation():
    probabilities = np.full((4, 192, 84, 5), 0.25, np.float32)
    probabilities[:, 0] = 0.75
    hard = binarize(probabilities, method="hard", threshold=0.5, seed=0)
    assert hard[:, 0].all()
    assert not hard[:, 1:].any()
    drawn = binarize(probabilities, method="bernoulli", threshold=0.5, seed=0)
    # 4 x 80,220 draws: a deviation of .0008.
    assert drawn[:, 1:].mean() == pytest.approx(0.25, abs=0.004)
    np.testing.assert_array_equal(drawn[:2], binarize(probabilities[:2], method="bernoulli", threshold=0.5, seed=0))
    assert not np.array_equal(drawn, binarize(probabilities, method="bernoulli", threshold=0.5, seed=1))
    with pytest.raises(ValueError, match="'hard' and 'bernoulli'"):
        binarize(probabilities, method="soft", threshold=0.5, seed=0)
