from __future__ import annotations

import csv
import errno
import hashlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import mido
import numpy as np
import pytest

import wae_jax
from wae_jax import build_dataset, pianoroll
from wae_jax.data import dataset
from wae_jax.data.build.sources import Input
from wae_jax.data.statistics import track_densities

ROOT = pathlib.Path(__file__).parents[3]
SHAPE = (4, 48, 84, 5)
FILES = {"phrases.npy", "dataset.json", "index.tsv", "skipped.tsv"}


def make_rolls(num_phrases, seed=0):
    return np.random.default_rng(seed).random((num_phrases, *SHAPE)) < 0.01


def packed(rolls):
    return np.packbits(rolls.reshape(len(rolls), -1), axis=1)


def save(path, rolls, songs=None):
    if path.suffix == ".npz":
        np.savez(path, nonzero=np.array(np.nonzero(rolls)), shape=rolls.shape)
    else:
        np.save(path, rolls)
    if songs is not None:
        lines = [f"{i}\t{song}\t{4 * i}" for i, song in enumerate(songs)]
        path.with_suffix(".tsv").write_text("\n".join(["phrase\tsong\tfirst_bar", *lines, ""]))
    return path


def run(*arguments):
    return build_dataset.main([str(argument) for argument in arguments])


def read_json(folder):
    return json.loads((folder / "dataset.json").read_text())


def read_tsv(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_a_mix_of_inputs_split_by_song(tmp_path, capsys):
    first, second = make_rolls(30, 0), make_rolls(20, 1)
    second[[3, 7]] = first[[4, 5]]
    second[9] = False
    songs = [f"one {i // 3}" for i in range(30)], [f"two {i // 2}" for i in range(20)]
    inputs = save(tmp_path / "a.npz", first, songs[0]), save(tmp_path / "b.npy", second, songs[1])
    assert run("--input", *inputs, "--output", tmp_path / "set") == 0

    assert names(tmp_path / "set") == FILES
    data = dataset.load_dataset(tmp_path / "set")
    described = read_json(tmp_path / "set")
    assert described["num_phrases"] == len(data.phrases) == 47
    assert described["wae_jax_version"] == wae_jax.__version__
    assert described["phrases_sha256"] == hashlib.sha256(np.load(tmp_path / "set/phrases.npy").tobytes()).hexdigest()
    assert (described["duplicates_dropped"], described["duplicates_across_splits"]) == (2, 0)
    assert described["silent_dropped"] == 1
    assert described["songs"] == 20
    assert described["sources"] == [
        {"path": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "phrases": count, "songs": 10}
        for path, count in zip(inputs, (30, 17), strict=True)
    ]
    assert described["split_rule"].startswith("by song")

    index = read_tsv(tmp_path / "set/index.tsv")
    assert index[0] == ["row", "split", "source", "song", "first_bar", "tempo", "semitones"]
    assert [int(line[0]) for line in index[1:]] == list(range(47))
    everything = packed(np.concatenate([first, second]))
    split_of = {}
    for (row, split, source, song, first_bar, _, semitones), phrase in zip(index[1:], data.phrases, strict=True):
        start, stop = data.splits[split]
        assert start <= int(row) < stop
        assert semitones == ""
        place = int(first_bar) // 4
        assert song == songs[int(source)][place]
        np.testing.assert_array_equal(phrase, everything[30 * int(source) + place])
        assert split_of.setdefault(song, split) == split
    assert list(data.splits) == ["train", "valid", "test"]
    assert split_of["one 1"] == split_of["two 1"] == split_of["two 3"]

    assert (tmp_path / "set/skipped.tsv").read_text() == "path\treason\n"
    out, err = capsys.readouterr()
    assert "phrases: 47 (train " in out
    assert "songs: 20" in out
    assert "dropped: 2 duplicates (0 of a phrase in another split), 1 silent, 0 with too few tracks" in out
    assert "skipped: 0 of 2 files" in out
    # Of cells at random, seven pitch classes of twelve.
    assert f"{described['kept_in_c_major']:.0%} in the scale of C major: taken to be in any key" in out
    assert (described["tonality"], described["kept"], data.tonality) == ("all", 47, "all")
    assert described["kept_in_c_major"] == pytest.approx(7 / 12, abs=0.01)
    assert err == ""


def test_the_same_command_makes_the_same_files(tmp_path):
    path = save(tmp_path / "a.npy", make_rolls(40), range(40))
    for output, options in [("one", []), ("two", []), ("three", ["--seed", 1])]:
        assert run("--input", path, "--output", tmp_path / output, *options) == 0
    one, two, three = (
        [(tmp_path / output / name).read_bytes() for name in sorted(FILES)] for output in ("one", "two", "three")
    )
    assert one == two
    assert one != three


def test_blocks_where_songs_are_unknown(tmp_path, capsys):
    rolls = make_rolls(20)
    path = save(tmp_path / "a.npy", rolls)
    options = ["--valid-fraction", 0.2, "--test-fraction", 0]
    assert run("--input", path, "--output", tmp_path / "set", *options) == 0
    data = dataset.load_dataset(tmp_path / "set")
    assert data.splits == {"train": (0, 16), "valid": (16, 20)}
    np.testing.assert_array_equal(data.phrases, packed(rolls))
    described = read_json(tmp_path / "set")
    assert "contiguous blocks" in described["split_rule"]
    assert described["songs"] is None
    assert described["sources"][0]["songs"] is None
    assert read_tsv(tmp_path / "set/index.tsv")[20] == ["19", "valid", "0", "", "", "", ""]
    out, err = capsys.readouterr()
    assert err == f"note: no songs known for {path}: split into contiguous blocks, so a song may lie across a border\n"
    assert "songs: unknown" in out


def test_splits_as_given_with_rows_of_one_file(tmp_path, capsys):
    rolls = make_rolls(12)
    rolls[10] = rolls[1]
    path = save(tmp_path / "a.npz", rolls, songs="aaaabbbbccca")
    # The order of the options does not matter: training has the first choice.
    arguments = ["--test", path, "--rows=-3:", "--train", path, "--rows", "0:6", "--output", tmp_path / "set"]
    assert run(*arguments) == 0
    data = dataset.load_dataset(tmp_path / "set")
    assert data.splits == {"train": (0, 6), "test": (6, 8)}
    np.testing.assert_array_equal(data.phrases, packed(rolls)[[0, 1, 2, 3, 4, 5, 9, 11]])
    described = read_json(tmp_path / "set")
    assert [(source["rows"], source["phrases"], source["songs"]) for source in described["sources"]] == [
        ([0, 6], 6, 2),
        ([9, 12], 2, 2),
    ]
    assert (described["duplicates_dropped"], described["duplicates_across_splits"]) == (1, 1)
    out, err = capsys.readouterr()
    assert "dropped: 1 duplicates (1 of a phrase in another split), 0 silent" in out
    assert err == "note: 1 song names are in more than one split\n"


def test_bad_inputs_are_listed_and_the_others_used(tmp_path, capsys):
    good = save(tmp_path / "good.npy", make_rolls(10), range(10))
    again = save(tmp_path / "again.npy", make_rolls(10))
    silent = save(tmp_path / "silent.npy", np.zeros((2, *SHAPE), bool))
    floats = save(tmp_path / "floats.npy", make_rolls(2).astype(np.float32))
    sidecar = save(tmp_path / "sidecar.npy", make_rolls(3), range(2))
    strange = save(tmp_path / "tab\tand\nline.npy", np.zeros((1, 3)))
    undecodable = tmp_path / "caf\udce9.npy"
    header = save(tmp_path / "header.npy", make_rolls(2))
    header.write_bytes(header.read_bytes().replace(b"}", b" ", 1))  # a dictionary that never ends
    paths = [strange, good, again, silent, floats, sidecar, undecodable, header]
    assert run("--input", *paths, "--output", tmp_path / "set") == 0
    assert [source["path"] for source in read_json(tmp_path / "set")["sources"]] == [str(good)]
    skipped = read_tsv(tmp_path / "set/skipped.tsv")
    assert skipped[0] == ["path", "reason"]
    assert [(pathlib.Path(path).name, reason.split(";")[0]) for path, reason in skipped[1:]] == [
        ("tab\\tand\\nline.npy", "has shape (1, 3)"),
        ("again.npy", "every phrase equals one read before"),
        ("silent.npy", "every phrase is silent"),
        ("floats.npy", "is float32"),
        ("sidecar.npy", f"its sidecar {tmp_path}/sidecar.tsv, line 3: the file ends after 2 phrases"),
        ("caf\\udce9.npy", "does not exist"),
        ("header.npy", "cannot be read (TokenError: ('EOF in multi-line statement', (2, 0)))"),
    ]
    out, err = capsys.readouterr()
    assert "skipped: 7 of 8 files" in out
    assert [line.split(":")[0] for line in err.splitlines() if line.startswith("skipped")] == [
        f"skipped {tmp_path}/{name}"
        for name in (
            *("tab\\tand\\nline.npy", "floats.npy", "sidecar.npy", "caf\\udce9.npy", "header.npy"),
            *("again.npy", "silent.npy"),
        )
    ]
    assert run("--input", floats, "--threshold", 0.5, "--output", tmp_path / "floats") == 0
    np.testing.assert_array_equal(dataset.load_dataset(tmp_path / "floats").phrases, packed(make_rolls(2)))


def test_nothing_readable_is_an_error_that_leaves_nothing(tmp_path, capsys):
    save(tmp_path / "silent.npy", np.zeros((2, *SHAPE), bool))
    before = names(tmp_path)
    assert run("--input", tmp_path / "nowhere.npz", tmp_path / "silent.npy", "--output", tmp_path / "set") == 1
    assert names(tmp_path) == before
    assert capsys.readouterr().err.splitlines() == [
        f"skipped {tmp_path}/nowhere.npz: does not exist; expected a MIDI, .npz or .npy file",
        f"skipped {tmp_path}/silent.npy: every phrase is silent",
        "error: none of the 2 inputs gives a phrase; the reasons are above",
    ]


def test_a_split_that_comes_out_empty_is_told(tmp_path, capsys):
    good = save(tmp_path / "good.npy", make_rolls(3))
    assert run("--train", good, "--valid", good, "--output", tmp_path / "set") == 0
    assert "note: valid is empty" in capsys.readouterr().err.splitlines()
    assert dataset.load_dataset(tmp_path / "set").splits == {"train": (0, 3)}
    assert run("--input", save(tmp_path / "song.npy", make_rolls(3), "aaa"), "--output", tmp_path / "song") == 0
    assert capsys.readouterr().err.splitlines() == ["note: valid is empty", "note: test is empty"]


def test_a_dataset_is_replaced_only_on_request(tmp_path, capsys):
    first, second = save(tmp_path / "a.npy", make_rolls(3, 0)), save(tmp_path / "b.npy", make_rolls(4, 1))
    assert run("--input", first, "--output", tmp_path / "set") == 0
    assert run("--input", second, "--output", tmp_path / "set") == 1
    assert "already holds a dataset" in capsys.readouterr().err
    assert len(dataset.load_dataset(tmp_path / "set").phrases) == 3
    assert run("--input", second, "--output", tmp_path / "set", "--overwrite") == 0
    assert len(dataset.load_dataset(tmp_path / "set").phrases) == 4
    (tmp_path / "set" / "notes.txt").write_text("mine")
    assert run("--input", first, "--output", tmp_path / "set", "--overwrite") == 1
    assert names(tmp_path / "set") == FILES | {"notes.txt"}


def test_a_full_disk_is_said_plainly(tmp_path, capsys, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = save(tmp_path / "a.npy", make_rolls(3))
    monkeypatch.setattr(os, "fsync", full)
    assert run("--input", path, "--output", tmp_path / "set") == 1
    assert names(tmp_path) == {"a.npy"}
    assert f"error: cannot write {tmp_path}/set: the disk is full" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_said_plainly(tmp_path, capsys):
    path = save(tmp_path / "a.npy", make_rolls(3))
    assert run("--input", path, "--output", path / "set") == 1
    assert f"error: cannot write {path}/set: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--output o", "expected either --input, or --train"),
        ("--input a --train b --output o", "expected either --input, or --train"),
        ("--input a", "expected --output, or --describe or --verify"),
        ("--input a --describe b", "--describe and --verify are used alone"),
        ("--describe a --verify b", "--describe and --verify are used alone"),
        ("--input a --output o --min-tracks 6", "invalid choice: 6"),
        ("--input a --output o --workers 0", "'0'; expected a whole number of at least 1"),
        ("--input a --output o --hop-bars x", "'x'; expected a whole number"),
        ("--input a --output o --tonality minor", "invalid choice: 'minor'"),
        ("--rows 0:1 --input a --output o", "argument --rows: follows 0 inputs; expected exactly one before it"),
        ("--input a b --rows 0:1 --output o", "argument --rows: follows 2 inputs; expected exactly one"),
        ("--input a --rows 0:1 --rows 1:2 --output o", "argument --rows: given twice after a"),
        ("--input a --rows 5 --output o", "'5'; expected a:b"),
        ("--input a --rows 0:9:2 --output o", "'0:9:2'; expected a:b"),
        ("--input a --output o --valid-fraction .6 --test-fraction .4", "sum is below 1"),
        ("--train a --output o --seed 1", "--seed applies only to --input"),
        ("--train a --output o --test-fraction 0", "--test-fraction applies only to --input"),
        ("--input  --output o", "argument --input: the path is empty; expected a file or a folder"),
        ("--input a --output ", "argument --output: the path is empty"),
        ("--input a --output gs://b/o", "argument --output: gs://b/o is a URL; expected a local path"),
        ("--input file:///a --output o", "argument --input: file:///a is a URL; expected a local path"),
        ("--verify gs://b/o", "argument --verify: gs://b/o is a URL; expected a local path"),
        ("--input a --output o --over", "unrecognized arguments: --over"),
    ],
)
def test_a_command_line_without_sense_is_refused(arguments, message, capsys):
    with pytest.raises(SystemExit) as raised:
        build_dataset.parse_arguments(arguments.split(" "))
    assert raised.value.code == 2
    assert message in capsys.readouterr().err


def test_rows_belong_to_the_input_before_them():
    line = "--input a --rows 1: --input b c --input d --rows=:-2 --output o"
    arguments = build_dataset.parse_arguments(line.split())
    assert [item[:4] for item in arguments.inputs] == [
        ("a", None, slice(1, None), None), ("b", None, None, None), ("c", None, None, None),
        ("d", None, slice(None, -2), None),
    ]  # fmt: skip
    assert (arguments.seed, arguments.valid_fraction, arguments.test_fraction) == (0, 0.1, 0.1)
    # The defaults of one call are not filled by another.
    assert build_dataset.parse_arguments(["--train", "a", "--output", "o"]).inputs == [Input("a", "train")]


def test_the_command_itself(tmp_path):
    path = save(tmp_path / "a.npz", make_rolls(5), "aabbc")
    command = [sys.executable, "-m", "wae_jax.build_dataset", "--output", tmp_path / "set", "--input", path]
    done = subprocess.run([*command, tmp_path / "nowhere"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (0, 1)
    assert done.stderr.startswith("skipped ")
    assert done.stdout.splitlines()[-1].startswith(f"written: {tmp_path}/set in ")
    assert len(dataset.load_dataset(tmp_path / "set").phrases) == 5
    failed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.startswith("error: ")
    assert failed.stderr.count("\n") == 1


def test_a_terminal_of_ascii_and_a_reader_that_goes_away_lose_no_dataset(tmp_path):
    path = save(tmp_path / "caf\u00e9.npy", make_rolls(3))
    reader, writer = os.pipe()
    os.close(reader)
    for output, stdout in (("one", subprocess.PIPE), ("two", writer)):
        done = subprocess.run(
            [sys.executable, "-m", "wae_jax.build_dataset", "--input", path, "--output", tmp_path / output],
            cwd=ROOT,
            env=os.environ | {"PYTHONIOENCODING": "ascii"},
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        assert (done.returncode, "error" in done.stderr) == (0, False)
        assert len(dataset.load_dataset(tmp_path / output).phrases) == 3
        if done.stdout is not None:
            assert "caf\\xe9.npy: 3 phrases" in done.stdout
    os.close(writer)


# The real command, but for a phrase that takes a minute to look at.
SLOW_COMMAND = """
import runpy, signal, sys, time
from wae_jax.data import splits
# A shell that starts the tests in the background has them, and all that they start, ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
splits.phrase_keys = lambda rows: time.sleep(60)
runpy.run_module("wae_jax.build_dataset", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_killed_run_leaves_nothing_half_made(tmp_path, sent, status):
    path = save(tmp_path / "a.npy", make_rolls(3))
    (tmp_path / "out").mkdir()
    command = [sys.executable, "-c", SLOW_COMMAND, "--input", path, "--output", tmp_path / "out" / "set"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("out/.set.*.partial/rows")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(sent)
        _, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == status
    assert "Traceback" not in err
    if sent == signal.SIGKILL:
        assert not (tmp_path / "out" / "set").exists()
    else:
        what = "interrupted" if sent == signal.SIGINT else "terminated"
        assert err.splitlines()[-1] == f"{what}: no dataset was written"
        assert names(tmp_path / "out") == set()


def test_real_music(shared_data, tmp_path):
    folder = shared_data / "lpd5"
    paths = folder / "free_train.npz", folder / "free_valid.npz"
    assert run("--train", paths[0], "--valid", paths[1], "--output", tmp_path / "set") == 0
    data = dataset.load_dataset(tmp_path / "set")
    assert data.splits == {"train": (0, 4449), "valid": (4449, 4981)}
    assert [source["songs"] for source in read_json(tmp_path / "set")["sources"]] == [312, 37]
    for path, split, rows in [(paths[0], "train", (0, 255, 256, 4448)), (paths[1], "valid", (0, 531))]:
        with np.load(path) as file:
            nonzero = file["nonzero"]
        for row in rows:
            dense = np.zeros(SHAPE, bool)
            _, bar, step, pitch, track = nonzero[:, nonzero[0] == row]
            dense[bar, step, pitch, track] = True
            np.testing.assert_array_equal(
                pianoroll.unpack(data.split(split)[row : row + 1])[0], dense.reshape(192, 84, 5)
            )
        density = np.bincount(nonzero[4], minlength=5) / (len(data.split(split)) * 192 * 84)
        np.testing.assert_allclose(track_densities(data.split(split)), density, rtol=1e-12)
    index = read_tsv(tmp_path / "set/index.tsv")
    sidecar = read_tsv(folder / "free_valid.tsv")
    assert [line[3:5] for line in index[4450:]] == [line[1:] for line in sidecar[1:]]


def save_midi(path, *programs, bars=8, transpose=0):
    """A song whose tracks play a note a beat, another one each; a program of None is the drums."""
    file = mido.MidiFile(ticks_per_beat=96)
    for channel, program in enumerate(programs):
        track = mido.MidiTrack()
        channel = 9 if program is None else channel
        track.append(mido.Message("program_change", channel=channel, program=program or 0))
        for beat in range(4 * bars):
            pitch = 40 + 5 * len(file.tracks) + beat % 7 + transpose
            track.append(mido.Message("note_on", channel=channel, note=pitch, velocity=90))
            track.append(mido.Message("note_off", channel=channel, note=pitch, time=96))
        file.tracks.append(track)
    path.parent.mkdir(parents=True, exist_ok=True)
    file.save(path)
    return path


def test_a_folder_of_songs_gives_the_same_bytes_whatever_the_workers(tmp_path, capsys):
    folder = tmp_path / "music"
    for i in range(6):
        save_midi(folder / f"deep/er/{i}.MID", 0, 33, None, transpose=i)
    save_midi(folder / "thin.kar", 0)
    save_midi(folder / "short.mid", 0, 33, None, bars=3)
    save_midi(folder / "high.smf", 0, 33, None, transpose=60)
    (folder / "broken.midi").write_bytes(b"MThd\0\0\0\6 no more")
    (folder / "notes.txt").write_text("not music")
    rolls = save(tmp_path / "a.npy", make_rolls(4), "abcd")
    for workers in (1, 2):
        command = [
            "--input",
            folder,
            rolls,
            "--min-tracks",
            2,
            "--workers",
            workers,
            "--output",
            tmp_path / f"{workers}",
        ]
        assert run(*command) == 0
    out, err = capsys.readouterr()
    assert [(tmp_path / "1" / name).read_bytes() for name in sorted(FILES)] == [
        (tmp_path / "2" / name).read_bytes() for name in sorted(FILES)
    ]
    described = read_json(tmp_path / "1")
    songs = [f"{folder}/deep/er/{i}.MID" for i in range(6)]
    assert [source["path"] for source in described["sources"]] == [*songs, f"{folder}/high.smf", str(rolls)]
    assert all(
        source["sha256"] == hashlib.sha256(pathlib.Path(source["path"]).read_bytes()).hexdigest()
        for source in described["sources"]
    )
    assert described["notes_out_of_range"] > 0
    assert described["options"]["min_tracks"] == 2
    skipped = dict(read_tsv(tmp_path / "1/skipped.tsv"))
    assert list(skipped) == ["path", *(f"{folder}/{name}" for name in ("broken.midi", "short.mid", "thin.kar"))]
    assert skipped[f"{folder}/thin.kar"] == "no phrase has 2 active tracks"
    index = read_tsv(tmp_path / "1/index.tsv")
    assert {line[3] for line in index[1:]} == {*"abcd", "music/high.smf", *(f"music/deep/er/{i}.MID" for i in range(6))}
    assert {line[5] for line in index[1:]} == {"", "120"}
    assert f"read {folder}: " in out
    assert "skipped: 3 of 11 files" in out
    assert f"skipped {folder}/short.mid: " in err
    assert f"skipped {folder}/notes.txt" not in err


def test_a_folder_without_music_and_rows_of_a_folder_are_refused(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert run("--input", tmp_path / "empty", "--output", tmp_path / "set") == 1
    assert "empty: holds no file named *.kar, *.mid, *.midi, *.npy, *.npz, *.smf" in capsys.readouterr().err
    assert run("--input", tmp_path / "empty", "--rows", "0:1", "--output", tmp_path / "set") == 1
    assert "is a folder; expected a file" in capsys.readouterr().err
    assert names(tmp_path) == {"empty"}


def test_songs_of_one_file_name_are_two(tmp_path, capsys):
    first, second = save_midi(tmp_path / "x/a.mid", 0, None), save_midi(tmp_path / "y/a.mid", 25, 33)
    assert run("--input", first, second, "--output", tmp_path / "set") == 0
    assert "songs: 2" in capsys.readouterr().out
    assert {line[3] for line in read_tsv(tmp_path / "set/index.tsv")[1:]} == {"x/a.mid", "y/a.mid"}


def test_a_table_ties_renditions(tmp_path, capsys):
    for i in range(20):
        for groove, program in (("jazz", 0), ("rock", 26)):
            save_midi(tmp_path / f"midi/{i}__{groove}.mid", program, 33, None, transpose=i)
    lines = [f"midi/{i}__{groove}.mid\tSong {i}" for i in range(20) for groove in ("jazz", "rock")]
    table = tmp_path / "songs.tsv"
    table.write_text("\n".join(["path\tsong", *lines, "midi/gone.mid\tGone"]))
    save_midi(tmp_path / "midi/other.mid", 48, 0)
    options = ["--valid-fraction", 0.4, "--test-fraction", 0.3]
    assert run("--input", tmp_path / "midi", "--songs", table, "--output", tmp_path / "set", *options) == 0
    split_of = {}
    for _, split, _, song, *_ in read_tsv(tmp_path / "set/index.tsv")[1:]:
        assert split_of.setdefault(song, split) == split
    assert set(split_of) == {*(f"Song {i}" for i in range(20)), "midi/other.mid"}
    assert set(split_of.values()) == {"train", "valid", "test"}
    described = read_json(tmp_path / "set")
    assert described["songs"] == 21
    assert described["options"]["song_table"] == str(table)
    out, err = capsys.readouterr()
    assert "songs: 21" in out
    assert err.splitlines() == [
        f"note: {table} does not list 1 of 41 files",
        f"note: 1 paths of {table} are not read, such as {tmp_path}/midi/gone.mid",
    ]


def test_a_table_names_no_array_and_must_be_there(tmp_path, capsys):
    array = save(tmp_path / "a.npy", make_rolls(2))
    (tmp_path / "songs.tsv").write_text("path\tsong\na.npy\tA\n")
    command = ["--input", array, "--output", tmp_path / "set", "--songs"]
    assert run(*command, tmp_path / "songs.tsv") == 1
    assert "holds many phrases, and the table of songs names it as one song" in capsys.readouterr().err
    assert run(*command, tmp_path / "gone.tsv") == 1
    message = f"error: the table of songs {tmp_path}/gone.tsv cannot be read: No such file or directory"
    assert message in capsys.readouterr().err
    for wrong in ([*command, ""], ["--verify", tmp_path, "--songs", tmp_path / "songs.tsv"]):
        with pytest.raises(SystemExit, match="2"):
            run(*wrong)
    assert names(tmp_path) == {"a.npy", "songs.tsv"}


def test_near_duplicates_across_splits_are_told_and_verified(tmp_path, capsys):
    rolls = make_rolls(6)
    rolls[4] = rolls[1]
    rolls[4, 2, :20, 0, 0] = True
    train, valid = save(tmp_path / "a.npy", rolls[:3]), save(tmp_path / "b.npy", rolls[3:])
    assert run("--train", train, "--valid", valid, "--output", tmp_path / "set") == 0
    assert "note: 1 phrases are near-duplicates of one in an earlier split" in capsys.readouterr().err
    assert read_json(tmp_path / "set")["near_duplicates_across_splits"] == 1
    assert run("--verify", tmp_path / "set") == 0
    assert "1 of 3 held-out phrases are near-duplicates of one in an earlier split" in capsys.readouterr().out


def test_song_names_of_two_arrays_are_told(tmp_path, capsys):
    first, second = save(tmp_path / "a.npy", make_rolls(4), "1123"), save(tmp_path / "b.npy", make_rolls(3, 1), "124")
    assert run("--input", first, "--rows", "0:2", "--input", first, "--output", tmp_path / "one") == 0
    assert "more than one file" not in capsys.readouterr().err
    assert run("--input", first, second, "--output", tmp_path / "two") == 0
    assert "note: 2 song names are in more than one file; each is taken as one song\n" in capsys.readouterr().err
