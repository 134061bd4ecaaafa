"""The programs, on a work folder at an address, do what they do on the same folder here."""

import argparse
import json
import os
import pathlib
import re
import shutil

import pytest

from tests.helpers import train_briefly
from tests.shelf import Shelf, objects
from wae_jax import build_dataset, evaluate, export, generate, listen
from wae_jax.dataset import load_dataset
from wae_jax.local_paths import local_paths, renamed
from wae_jax.mirror import open_workdir
from wae_jax.modes.flags import asked_for
from wae_jax.remote import Store
from wae_jax.trained_run import open_run

ADDRESS = "shelf://bucket/runs/gan"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A work folder here."""
    return train_briefly(tmp_path_factory.mktemp("runs") / "gan")


@pytest.fixture
def workdir(folder, shelf):
    """The same at an address."""
    with open_workdir(ADDRESS, process=0) as work:
        shutil.copytree(folder, work.folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".lock"))
        work.publish(lambda: None, now=True)
    Shelf.writes.clear()
    return ADDRESS


def assert_nothing_is_left(tmp_path):
    """Of what was copied to be read or uploaded."""
    assert not [name for name in os.listdir(tmp_path / "cache") if name.startswith(("input", "output"))]


def test_music_is_made_and_uploaded(folder, workdir, shelf, tmp_path, capsys):
    flags = ["--num=2", "--no-audio", "--no-pictures", "--threshold=0.03"]
    assert generate.main([f"--workdir={folder}", f"--output={tmp_path / 'music'}", *flags]) == 0
    here = capsys.readouterr().out
    assert generate.main([f"--workdir={workdir}", "--output=shelf://bucket/music", *flags]) == 0
    there = capsys.readouterr().out
    assert there == here.replace(str(folder), workdir).replace(str(tmp_path / "music"), "shelf://bucket/music")
    expected, found = objects(tmp_path / "music"), objects(shelf / "bucket" / "music")
    assert found.keys() == expected.keys() >= {"codes.npy", "phrase_0001.mid", "listen.html", "report.json"}
    assert json.loads(found.pop("report.json"))["run"]["source"] == workdir
    assert found == {name: data for name, data in expected.items() if name != "report.json"}
    assert_nothing_is_left(tmp_path)
    assert generate.main([f"--workdir={workdir}", "--output=shelf://bucket/music", *flags]) == 1
    assert "error: shelf://bucket/music is there already; choose another, or pass --over" in capsys.readouterr().err
    assert generate.main([f"--workdir={workdir}", "--output=shelf://bucket/music", "--overwrite", *flags]) == 0


def test_music_of_ones_own_may_be_there_too(shelf, tmp_path):
    Store("shelf://bucket").write("song.mid", b"music")
    given = generate.parse_arguments(["--mode=vary", "--input=shelf://bucket/song.mid", f"--output={tmp_path}"])
    with local_paths(given, {}) as local:
        assert pathlib.Path(local.input).read_bytes() == b"music"
        assert asked_for(local)["input"] == "shelf://bucket/song.mid"
        assert (local.mode, local.output) == (given.mode, given.output)


@pytest.mark.slow
def test_runs_are_evaluated_and_compared(folder, workdir, shelf, tmp_path, capsys):
    assert evaluate.main([f"--workdir={workdir}", "--num=12", "--threshold=0.03"]) == 0
    assert f"wrote {workdir}/evaluation/evaluation.json and {workdir}/evaluation/report" in capsys.readouterr().out
    found = objects(shelf / "bucket/runs/gan/evaluation")
    assert found.keys() == {"evaluation.json", "report.html"}
    provenance = json.loads(found["evaluation.json"])["provenance"]
    assert provenance["checkpoint_digest"] == open_run(str(folder)).digest
    assert f"<h1>Evaluation of {workdir}</h1>".encode() in found["report.html"]
    read = []
    get = Store.get
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "get", lambda store, name, path: read.append(name) or get(store, name, path))
        assert evaluate.main(["--compare", workdir, "shelf://bucket/runs"]) == 1
    assert "shelf://bucket/runs has not been evaluated" in capsys.readouterr().err
    assert "evaluation/evaluation.json" in read
    assert evaluate.main(["--compare", workdir]) == 0
    assert "| qualified_note_rate" in capsys.readouterr().out
    assert_nothing_is_left(tmp_path)


def test_evaluations_alone_are_read_to_compare_runs(workdir):
    compared = argparse.Namespace(compare=[workdir], output=None)
    with local_paths(compared, {}) as local:
        [path] = map(pathlib.Path, local.compare)
        assert (path / "config.json").is_file()
        assert not (path / "checkpoints").exists()


@pytest.mark.slow
def test_a_run_is_put_into_one_file_and_taken_from_there(folder, workdir, shelf, tmp_path, capsys):
    for where, output in ((folder, tmp_path / "model.npz"), (workdir, "shelf://bucket/model.npz")):
        assert export.main([f"--workdir={where}", f"--output={output}", "--num=8"]) == 0
    digests = re.findall("digest ([0-9a-f]{64})", capsys.readouterr().out)
    assert len(digests) == 2
    assert digests[0] == digests[1]
    flags = ["--num=2", "--no-audio", "--no-pictures", "--no-page", "--threshold=0.03"]
    for where, output in ((tmp_path / "model.npz", "a"), ("shelf://bucket/model.npz", "b")):
        assert generate.main([f"--workdir={where}", f"--output={tmp_path / output}", *flags]) == 0
    assert (tmp_path / "a" / "codes.npy").read_bytes() == (tmp_path / "b" / "codes.npy").read_bytes()


def test_pages_are_made_and_uploaded(folder, workdir, shelf, tmp_path, capsys):
    for where, output in ((folder, tmp_path / "page.html"), (workdir, "shelf://bucket/page.html")):
        assert listen.main(["page", f"--workdir={where}", f"--output={output}", "--num=2", "--threshold=0.03"]) == 0
    assert "wrote shelf://bucket/page.html, " in capsys.readouterr().out
    assert (shelf / "bucket/page.html").read_bytes() == (tmp_path / "page.html").read_bytes()
    for runs, output in (([folder], tmp_path / "survey.html"), ([workdir], "shelf://bucket/survey.html")):
        command = ["survey", "--runs", *map(str, runs), f"--output={output}", "--num=4", "--threshold=0.03"]
        assert listen.main(command) == 0
    assert (shelf / "bucket/survey.html").read_bytes() == (tmp_path / "survey.html").read_bytes()
    assert listen.main(["survey", "--runs", workdir, workdir, "--output=survey.html"]) == 1
    assert f"--runs has {workdir} twice; expected each run once" in capsys.readouterr().err


def test_what_is_not_there_is_told(shelf, tmp_path, capsys):
    assert generate.main(["--workdir=shelf://bucket/none", f"--output={tmp_path / 'music'}"]) == 1
    assert capsys.readouterr().err == "error: there is nothing at shelf://bucket/none\n"
    Store("shelf://bucket/none").write("config.json", b"{")
    assert generate.main(["--workdir=shelf://bucket/none", f"--output={tmp_path / 'music'}"]) == 1
    assert capsys.readouterr().err.startswith("error: shelf://bucket/none/config.json cannot be read")
    assert not (tmp_path / "music").exists()


def build(small_data, *flags):
    return build_dataset.main([f"--input={small_data.parent / 'phrases.npy'}", *map(str, flags)])


def test_a_data_set_is_made_at_an_address(small_data, shelf, tmp_path, capsys):
    assert build(small_data, f"--output={tmp_path / 'data'}") == 0
    assert build(small_data, "--output=shelf://bucket/data") == 0
    assert "written: shelf://bucket/data in" in capsys.readouterr().out
    assert Shelf.writes[-1] == "+bucket/data/dataset.json"
    assert objects(shelf / "bucket/data") == objects(tmp_path / "data")
    assert build_dataset.main(["--verify=shelf://bucket/data"]) == 0
    assert build(small_data, "--output=shelf://bucket/data", "--seed=5") == 1
    assert "error: shelf://bucket/data is there already; choose another, or pass --over" in capsys.readouterr().err
    assert build(small_data, "--output=shelf://bucket/data", "--seed=5", "--overwrite") == 0
    assert objects(shelf / "bucket/data") != objects(tmp_path / "data")
    shards = tmp_path / "shards"
    assert build(small_data, f"--output={shards}", "--shard=0/1") == 0
    assert build_dataset.main([f"--merge={shards}", "--output=shelf://bucket/merged"]) == 0
    assert objects(shelf / "bucket/merged") == objects(tmp_path / "data")


@pytest.mark.parametrize(
    "flags",
    [["--input=gs://b/x", "--output=o"], ["--describe=gs://b/x"], ["--input=x", "--output=gs://b/x", "--shard=0/2"]],
)
def test_a_data_set_is_made_of_folders(flags, capsys):
    with pytest.raises(SystemExit) as caught:
        build_dataset.main(flags)
    assert caught.value.code == 2
    assert "gs://b/x: inputs, shards and what --describe writes are in folders" in capsys.readouterr().err


def test_music_to_compare_with_is_fetched(small_data, shelf):
    for file in small_data.iterdir():
        Store("shelf://bucket/data").put(file, file.name)
    with local_paths(argparse.Namespace(data="shelf://bucket/data", output="out"), {}) as local:
        data, expected = load_dataset(local.data), load_dataset(small_data)
        assert (data.name, data.digest) == ("shelf://bucket/data", expected.digest)
    assert load_dataset(local.data).digest == expected.digest  # it is kept


def test_a_command_line_of_paths_is_left_alone(shelf, tmp_path):
    arguments = argparse.Namespace(workdir="runs/x", runs=["a", "b"], output=None, num=3)
    with local_paths(arguments, {}) as local:
        assert local is arguments
    assert not (tmp_path / "cache").exists()


def test_copies_are_told_by_their_address():
    assert renamed("/c/0/x/a and /c/1/y", {"/c/0/x": "gs://x", "/c/1/y": "gs://y"}) == "gs://x/a and gs://y"
