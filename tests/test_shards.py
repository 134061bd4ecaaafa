"""Shards joined against one run, byte by byte, and what is said where they cannot be joined."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import mido
import numpy as np
import pytest

from wae_jax import build_dataset, dataset, dataset_folder, gathering, openers
from wae_jax.shards import Shard
from wae_jax.song_readers import SongReaders
from wae_jax.sources import SourceError

ROOT = pathlib.Path(__file__).parents[1]
SHAPE = (4, 48, 84, 5)
FILES = ["dataset.json", "index.tsv", "phrases.npy", "skipped.tsv"]


def run(*arguments):
    return build_dataset.main([str(argument) for argument in arguments])


def save_song(path, seed, *, bars=8, key=None, repeat=()):
    """A song of random notes; four bars that have the same number in `repeat` are the same in every song."""
    rng = np.random.default_rng(seed)
    file = mido.MidiFile(ticks_per_beat=24)
    for channel, program in enumerate((0, 33)):
        track = mido.MidiTrack()
        if key and not channel:
            track.append(mido.MetaMessage("key_signature", key=key))
        track.append(mido.Message("program_change", channel=channel, program=program))
        for bar in range(bars):
            if not bar % 4:
                notes = np.random.default_rng(repeat[bar // 4]) if bar // 4 < len(repeat) else rng
            for _ in range(4):
                pitch = int(notes.integers(20, 110))
                track.append(mido.Message("note_on", channel=channel, note=pitch, velocity=90))
                track.append(mido.Message("note_off", channel=channel, note=pitch, time=24))
        file.tracks.append(track)
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save(path)
    return path


def make_rolls(num_phrases, seed=0):
    return np.random.default_rng(seed).random((num_phrases, *SHAPE)) < 0.01


def save_array(path, rolls, songs=None):
    if path.suffix == ".npz":
        np.savez(path, nonzero=np.array(np.nonzero(rolls)), shape=rolls.shape)
    else:
        np.save(path, rolls)
    if songs is not None:
        lines = [f"{i}\t{song}\t{4 * i}" for i, song in enumerate(songs)]
        path.with_suffix(".tsv").write_text("\n".join(["phrase\tsong\tfirst_bar", *lines, ""]))


class HereReader(SongReaders):
    """Reads songs in this process: others take a second to start, and `test_song_readers` has them."""

    def read(self, requests):
        for request in requests:
            try:
                yield openers.open_source(pathlib.Path(request.path), rows=request.rows, options=self._options)
            except SourceError as error:
                yield error


@pytest.fixture(scope="module", autouse=True)
def _read_here():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gathering, "SongReaders", HereReader)
        yield


@pytest.fixture(scope="module")
def music(tmp_path_factory):
    """Songs and arrays of uneven lengths, equal phrases within and across them, and files that are no good."""
    folder = tmp_path_factory.mktemp("music")
    for i in range(9):
        save_song(folder / f"{i % 3}/{i}.mid", i, bars=4 + 4 * (i % 4), key=(None, "D", "Am")[i % 3])
    for i in range(4):
        save_song(folder / f"shared/{i}.mid", 20 + i, bars=12, repeat=(i // 2, 1 + i // 3))
    shutil.copy(folder / "1/7.mid", folder / "copy.mid")
    save_song(folder / "short.mid", 30, bars=3)
    (folder / "broken.midi").write_bytes(b"MThd\0\0\0\6 no more")
    (folder / "caf\udce9.kar").write_bytes(b"nothing of music")
    rolls = make_rolls(40)
    rolls[[3, 9, 30]] = rolls[[2, 1, 1]]
    rolls[5] = False
    save_array(folder / "blocks.npz", rolls)
    mixed = make_rolls(9, seed=1)
    mixed[[0, 8]] = rolls[[4, 39]]
    save_array(folder / "named.npy", mixed, songs="aabbbcc\u00e9d")
    values = np.zeros((70, *SHAPE), np.uint8)
    values[:, 0, 0, 0, 0] = 1
    values[69, 0, 0, 0, 1] = 2
    save_array(folder / "half_way.npy", values)
    save_array(folder / "silent.npy", np.zeros((2, *SHAPE), bool))
    return folder


COMMANDS = {
    "a folder": lambda music: ["--input", music, "--valid-fraction", 0.3, "--test-fraction", 0.2],
    "in C": lambda music: ["--input", music, "--tonality=signature", "--hop-bars=2", "--min-tracks=2", "--seed=3"],
    "files twice": lambda music: [
        *("--input", music / "named.npy", "--rows=2:7", "--input", music / "blocks.npz", "--rows=:-5"),
        *("--input", music / "shared", music / "named.npy", music / "nowhere.mid"),
    ],
    "given splits": lambda music: [
        *("--test", music / "shared", "--train", music / "blocks.npz", music / "0", "--valid", music / "named.npy"),
    ],
}


@pytest.mark.parametrize("num_shards", [1, 2, 3, 40])
@pytest.mark.parametrize("name", COMMANDS)
def test_joined_shards_are_one_run_byte_by_byte(music, tmp_path, capsys, name, num_shards):
    command = [*COMMANDS[name](music), "--workers", 1]
    assert run(*command, "--output", tmp_path / "one") == 0
    told = capsys.readouterr().out.splitlines()
    # In any order, as tasks of an array end.
    for index in np.random.default_rng(num_shards).permutation(num_shards).tolist():
        assert run(*command, "--output", tmp_path / "shards", "--shard", f"{index}/{num_shards}") == 0
    capsys.readouterr()
    before = sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "shards").rglob("*"))
    assert run("--merge", tmp_path / "shards", "--output", tmp_path / "many") == 0
    assert sorted(path.name for path in (tmp_path / "many").iterdir()) == FILES
    for file in FILES:
        assert (tmp_path / "many" / file).read_bytes() == (tmp_path / "one" / file).read_bytes(), file
    assert sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "shards").rglob("*")) == before
    # All that is told of the whole, but for the line with the folder and the time.
    joined = capsys.readouterr().out.splitlines()[:-1]
    assert joined == told[-1 - len(joined) : -1]
    assert joined[0].startswith("phrases: ")


def test_the_music_is_a_test(music, tmp_path):
    """What the test above is to hold is in its music."""
    assert run(*COMMANDS["a folder"](music), "--workers", 1, "--output", tmp_path / "one") == 0
    described = json.loads((tmp_path / "one" / "dataset.json").read_text())
    assert list(described["splits"]) == ["train", "valid", "test"]
    assert described["duplicates_dropped"] >= 8
    assert described["silent_dropped"] >= 1
    assert described["notes_out_of_range"] > 0
    reasons = (tmp_path / "one" / "skipped.tsv").read_text()
    for reason in ("every phrase equals one read before", "no four whole bars", "hold values from 0 to 2", "neither"):
        assert reason in reasons
    assert "by song" in described["split_rule"]
    assert "by contiguous blocks" in described["split_rule"]


@pytest.fixture(scope="module")
def made(music, tmp_path_factory):
    """Three shards of songs, whole."""
    folder = tmp_path_factory.mktemp("made") / "shards"
    for index in range(3):
        assert run("--input", music / "shared", "--workers", 1, "--output", folder, "--shard", f"{index}/3") == 0
    return folder


@pytest.fixture
def shards(made, tmp_path):
    """A copy that a test may damage."""
    return pathlib.Path(shutil.copytree(made, tmp_path / "shards"))


def merge_error(shards, capsys):
    """What the command says where it does not join; it leaves nothing."""
    before = sorted(shards.parent.iterdir())
    capsys.readouterr()
    assert run("--merge", shards, "--output", shards.parent / "out") == 1
    assert sorted(shards.parent.iterdir()) == before
    return capsys.readouterr().err


def test_missing_and_half_written_shards_are_named(shards, capsys):
    shutil.rmtree(shards / "00000-of-00003")
    rows = shards / "00002-of-00003" / "rows"
    rows.write_bytes(rows.read_bytes()[:-1])
    err = merge_error(shards, capsys)
    assert f"2 of the 3 shards in {shards} cannot be joined: 0/3 (missing), 2/3 (half-written: " in err
    assert "1/3" not in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("file", ["rows", "table.npy", "shard.json"])
@pytest.mark.parametrize("change", ["gone", "empty", "cut", "no sense"])
def test_a_file_that_is_not_what_was_written_is_noticed(shards, capsys, file, change):
    path = shards / "00001-of-00003" / file
    data = path.read_bytes()
    if change == "gone":
        path.unlink()
    else:
        path.write_bytes({"empty": b"", "cut": data[: len(data) // 2], "no sense": b"[1, 2]\n"}[change])
    err = merge_error(shards, capsys)
    assert "1 of the 3 shards" in err
    assert "1/3 (" in err
    # The task makes it again.
    assert run("--input", *_inputs(shards), "--output", shards, "--workers", 1, "--shard", "1/3") == 0
    assert path.read_bytes() == data
    assert run("--merge", shards, "--output", shards.parent / "out") == 0


def _inputs(shards):
    return {json.loads((shards / "work.json").read_text())["inputs"][0][3]}


def test_a_row_that_changed_on_the_disk_is_noticed(shards, capsys):
    path = shards / "00001-of-00003" / "rows"
    data = bytearray(path.read_bytes())
    data[25000] ^= 1
    path.write_bytes(data)
    err = merge_error(shards, capsys)
    assert "shard 1/3 is damaged: a phrase of " in err
    assert "shared/1.mid is not what was written; make it again with --shard 1/3 --overwrite" in err
    assert run("--input", *_inputs(shards), "--output", shards, "--workers=1", "--shard=1/3", "--overwrite") == 0
    assert run("--merge", shards, "--output", shards.parent / "out") == 0


def test_a_shard_that_is_there_is_left_alone_unless_asked(shards, capsys):
    place = shards / "00001-of-00003"
    before = place.stat().st_ino
    command = ["--input", *_inputs(shards), "--output", shards, "--workers", 1, "--shard", "1/3"]
    assert run(*command) == 0
    assert f"shard 1/3 is in {shards} already; --overwrite makes it again" in capsys.readouterr().out
    assert place.stat().st_ino == before
    content = {path.name: path.read_bytes() for path in place.iterdir()}
    assert run(*command, "--overwrite") == 0
    assert place.stat().st_ino != before
    assert {path.name: path.read_bytes() for path in place.iterdir()} == content
    assert sorted(path.name for path in shards.iterdir()) == [*(Shard(i, 3).folder for i in range(3)), "work.json"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--shard=1/4"], "--shard is of 4 and not 3"),
        (["--shard=1/3", "--min-tracks=2"], "--min-tracks is 2 and not 1"),
        (["--shard=1/3", "--seed=1", "--hop-bars=2"], "--hop-bars is 2 and not 4, --seed is 1 and not 0"),
        (["--shard=1/3", "--tonality=estimate"], "--tonality is estimate and not keep"),
        (["--shard=1/3", "--test-fraction=.2"], "--test-fraction is 0.2 and not 0.1"),
        (["--shard=1/3", "--threshold=.5"], "--threshold is 0.5 and not None"),
    ],
)
def test_other_flags_are_refused_by_name(shards, capsys, flags, message):
    before = sorted(shards.rglob("*"))
    assert run("--input", *_inputs(shards), "--output", shards, "--workers", 1, *flags) == 1
    err = capsys.readouterr().err
    assert f"this shard differs from the work that {shards}/work.json tells of: {message}; expected the same" in err
    assert sorted(shards.rglob("*")) == before


def test_other_sources_are_refused_by_name(music, shards, capsys):
    def error(*inputs):
        assert run("--input", *inputs, "--output", shards, "--workers", 1, "--shard", "1/3") == 1
        return capsys.readouterr().err

    shared = music / "shared"
    assert f"its list has 5 files and not 4, with {music}/copy.mid;" in error(shared, music / "copy.mid")
    names = [shared / f"{i}.mid" for i in range(4)]
    assert f"its list has 3 files and not 4, without {shared}/2.mid;" in error(*names[:2], names[3])
    err = error(music / "0")
    assert f"with {music}/0/0.mid, {music}/0/3.mid, {music}/0/6.mid, without {shared}/0.mid" in err
    assert f"{shared}/2.mid and 1 more;" in err
    assert "of which some stand twice" in error(shared, names[0])
    # The same files, named one by one, would be called otherwise.
    assert f"split or folder, from {shared}/0.mid on" in error(*names)


def test_a_shard_of_other_work_is_refused_where_shards_are_joined(music, shards, tmp_path, capsys):
    """As when two tasks begin at the same time, or a folder is filled by hand."""
    for name, flags in [("seed", ["--seed=1"]), ("files", [music / "copy.mid"])]:
        command = ["--input", *_inputs(shards), *flags, "--output", tmp_path / name, "--workers=1", "--shard=2/3"]
        assert run(*command) == 0
        shutil.rmtree(shards / "00002-of-00003")
        shutil.copytree(tmp_path / name / "00002-of-00003", shards / "00002-of-00003")
        err = merge_error(shards, capsys)
        expected = {"seed": "--seed is 1 and not 0", "files": "its list of sources is another"}[name]
        assert f"2/3 (of other work than work.json tells of: {expected})" in err


def test_another_version_is_refused(shards, capsys, monkeypatch):
    monkeypatch.setattr("wae_jax.__version__", "0.0.1")
    assert run("--input", *_inputs(shards), "--output", shards, "--workers", 1, "--shard", "1/3") == 1
    assert "wae_jax is 0.0.1 and not " in capsys.readouterr().err
    assert "are of another version: wae_jax is " in merge_error(shards, capsys)


def test_what_is_no_folder_of_shards_is_left_alone(music, shards, tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").write_text("cat")
    assert run("--input", music, "--output", tmp_path / "photos", "--shard", "0/2") == 1
    assert "photos holds cat.png and no work.json; expected a folder of shards" in capsys.readouterr().err
    assert os.listdir(tmp_path / "photos") == ["cat.png"]
    assert run("--merge", tmp_path / "photos", "--output", tmp_path / "out") == 1
    assert "photos holds no work.json; expected a folder that --shard has written to" in capsys.readouterr().err
    for text in (
        "{",
        "[]",
        '{"format": "wae_jax shards", "format_version": 1}',
        '{"format": "x", "format_version": 1}',
    ):
        (shards / "work.json").write_text(text)
        assert run("--merge", shards, "--output", tmp_path / "out") == 1
        assert f"error: {shards}/work.json " in capsys.readouterr().err
    # The data set does not take the place of the shards.
    assert run("--merge", shards, "--output", shards, "--overwrite") == 1
    assert "holds something else than a data set and is left alone" in capsys.readouterr().err


def test_shards_without_a_phrase_are_joined_and_told(music, tmp_path, capsys):
    for index in range(2):
        command = ["--input", music / "short.mid", "--output", tmp_path / "shards", "--shard", f"{index}/2"]
        assert run(*command, "--workers", 1) == 0
    assert run("--merge", tmp_path / "shards", "--output", tmp_path / "out") == 1
    assert "none of the 1 inputs gives a phrase" in capsys.readouterr().err


# The real command, but for a phrase that takes a minute to look at.
SLOW_COMMAND = """
import runpy, time
from wae_jax import splits
splits.phrase_keys = lambda rows: time.sleep(60)
runpy.run_module("wae_jax.build_dataset", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_task_is_named_and_run_again(shards, capsys, sent):
    whole = {path.name: path.read_bytes() for path in (shards / "00001-of-00003").iterdir()}
    shutil.rmtree(shards / "00001-of-00003")
    command = [
        *("--input", *_inputs(shards), "--output", str(shards), "--workers", "1", "--shard", "1/3"),
    ]
    process = subprocess.Popen([sys.executable, "-c", SLOW_COMMAND, *command], cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not list(shards.glob(".00001-of-00003.*.partial/*/rows")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert "1/3 (begun, but not finished: its task was stopped or is at work)" in merge_error(shards, capsys)
        process.send_signal(sent)
        process.wait(30)
    finally:
        process.kill()
    reason = "begun, but not finished" if sent == signal.SIGKILL else "missing"
    assert f"1/3 ({reason}" in merge_error(shards, capsys)
    assert run(*command) == 0
    assert {path.name: path.read_bytes() for path in (shards / "00001-of-00003").iterdir()} == whole
    assert run("--merge", shards, "--output", shards.parent / "out") == 0


def test_neither_a_shard_nor_joining_holds_many_rows(music, tmp_path, monkeypatch):
    """However many phrases there are, at most so many are in memory at a time."""
    monkeypatch.setattr(dataset_folder, "_ROWS_AT_A_TIME", 4)
    sizes = []
    real = dataset_folder.write_phrases

    def watched(path, num_rows, parts):
        def seen():
            for part in parts:
                sizes.append(len(part))
                yield part

        return real(path, num_rows, seen())

    monkeypatch.setattr(dataset_folder, "write_phrases", watched)
    command = [*COMMANDS["a folder"](music), "--workers", 1]
    for index in range(2):
        assert run(*command, "--output", tmp_path / "shards", "--shard", f"{index}/2") == 0
    assert run("--merge", tmp_path / "shards", "--output", tmp_path / "out") == 0
    assert sum(sizes) == len(dataset.load_dataset(tmp_path / "out").phrases)
    assert max(sizes) == 4
