from __future__ import annotations

import os
import pathlib

import pytest

from wae_jax.data.build.read_inputs import expand_inputs
from wae_jax.data.build.song_names import name_songs, names_from_paths, read_table
from wae_jax.data.build.sources import Input
from wae_jax.errors import DatasetError


def make_files(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"MThd")


def names(*paths):
    return names_from_paths(expand_inputs([Input(str(path)) for path in paths]))


def test_a_folder_and_its_files_name_songs_alike(tmp_path, monkeypatch):
    make_files(tmp_path, "midi/b.mid", "midi/a.mid", "midi/deep/a.mid")
    expected = ["midi/a.mid", "midi/b.mid", "midi/deep/a.mid"]
    assert names(tmp_path / "midi") == expected
    assert names(tmp_path / "midi/a.mid", tmp_path / "midi/b.mid") == expected[:2]
    monkeypatch.chdir(tmp_path / "midi")
    assert names(".") == expected
    assert names("a.mid", "deep/../b.mid") == expected[:2]
    os.symlink(tmp_path / "midi", tmp_path / "link")
    assert names(tmp_path / "link", tmp_path / "link/b.mid") == [*expected, "midi/b.mid"]


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (["x/a.mid", "y/a.mid"], ["x/a.mid", "y/a.mid"]),
        (["p/x/a.mid", "q/x/a.mid", "q/x/b.mid"], ["p/x/a.mid", "q/x/a.mid", "x/b.mid"]),
        (["p/x", "q/x"], ["p/x/a.mid", "q/x/a.mid", "x/b.mid"]),
        (["p/x", "q/x/a.mid"], ["p/x/a.mid", "q/x/a.mid"]),
        # Of one file named twice the longer name holds.
        (["q", "q/x/b.mid"], ["q/x/a.mid", "q/x/b.mid", "q/x/b.mid"]),
        (["x/a.mid", "x/a.mid"], ["x/a.mid", "x/a.mid"]),
    ],
)
def test_different_files_have_different_names(tmp_path, inputs, expected):
    make_files(tmp_path, "x/a.mid", "y/a.mid", "p/x/a.mid", "q/x/a.mid", "q/x/b.mid")
    assert names(*(tmp_path / path for path in inputs)) == expected


def test_files_in_the_root_folder():
    assert names_from_paths([Input("/a.mid"), Input("/x/a.mid")]) == ["a.mid", "x/a.mid"]


def test_a_table_names_songs(tmp_path):
    make_files(tmp_path, "midi/one__jazz.mid", "midi/one__rock.mid", "midi/two.mid", "midi/tw\udcf6.mid")
    os.symlink(tmp_path / "midi", tmp_path / "link")
    table = tmp_path / "link/songs.tsv"
    table.write_bytes(
        b"\xef\xbb\xbfpath\tcomposer\tsong\r\none__jazz.mid\tA\tOne\r\n./one__rock.mid\tB\tOne\r\n"
        b"tw\xf6.mid\tC\tTw\xf6\r\ngone.mid\tD\tGone\n"
    )
    named = name_songs(expand_inputs([Input(str(tmp_path / "midi"))]), read_table(table))
    assert [(pathlib.Path(item.path).name, item.song, item.is_listed) for item in named.inputs] == [
        ("one__jazz.mid", "One", True),
        ("one__rock.mid", "One", True),
        ("two.mid", "midi/two.mid", False),
        ("tw\udcf6.mid", "Tw\udcf6", True),
    ]
    assert named.num_unlisted == 1
    assert named.unused_paths == [tmp_path / "link/gone.mid"]


def test_a_table_of_other_files_is_refused(tmp_path):
    make_files(tmp_path, "midi/a.mid")
    (tmp_path / "songs.tsv").write_text("path\tsong\na.mid\tA\n")
    inputs = expand_inputs([Input(str(tmp_path / "midi"))])
    with pytest.raises(DatasetError, match=r"lists none of the 1 files to read, but .*/a.mid; expected paths relative"):
        name_songs(inputs, read_table(tmp_path / "songs.tsv"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: the columns are ['']; expected path and song, each once"),
        ("path\tname\na\tb\n", "line 1: the columns are ['path', 'name']; expected path and song, each once"),
        ("path\tsong\tsong\n", "line 1: the columns are"),
        ("path\tsong\na.mid\tA\nb.mid\n", "line 3: 1 columns; expected 2, with a tab between them"),
        ("path\tsong\n\n", "line 2: 1 columns"),
        ("path\tsong\na.mid\t\n", "line 2: no song; expected both"),
        ("path\tsong\n\tA\n", "line 2: no path; expected both"),
        ("path\tsong\na.mid\tA\nx/../a.mid\tB\n", "line 3: x/../a.mid is of 'B' here, and of 'A' before"),
    ],
)
def test_a_wrong_table_is_refused_by_line(tmp_path, text, message):
    path = tmp_path / "songs.tsv"
    path.write_text(text)
    with pytest.raises(DatasetError) as error:
        read_table(path)
    assert str(error.value).startswith(f"the table of songs {path}, {message}")


def test_one_file_by_two_paths_is_one_song(tmp_path):
    make_files(tmp_path, "midi/a.mid")
    os.symlink(tmp_path / "midi", tmp_path / "link")
    path = tmp_path / "songs.tsv"
    path.write_text("path\tsong\nmidi/a.mid\tA\nlink/a.mid\tB\n")
    with pytest.raises(DatasetError, match=r"line 3: link/a.mid is of 'B' here, and of 'A' before"):
        read_table(path)


def test_paths_of_a_table_through_a_pipe_follow_the_current_folder(tmp_path, monkeypatch):
    make_files(tmp_path, "midi/a.mid")
    monkeypatch.chdir(tmp_path)
    read, write = os.pipe()
    os.write(write, b"path\tsong\nmidi/a.mid\tA\n")
    os.close(write)
    try:
        table = read_table(pathlib.Path(f"/dev/fd/{read}"))
    finally:
        os.close(read)
    assert [item.song for item in name_songs(expand_inputs([Input("midi")]), table).inputs] == ["A"]
