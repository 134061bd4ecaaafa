from __future__ import annotations

import io
import os
import pathlib
import zipfile

import mido
import numpy as np
import pypianoroll
import pytest

from wae_jax.data.build import formats
from wae_jax.errors import SourceError


def midi_bytes():
    track = mido.MidiTrack()
    for start in range(16):
        track.append(mido.Message("note_on", note=60 + start % 5, velocity=80, time=0))
        track.append(mido.Message("note_off", note=60 + start % 5, time=480))
    file = mido.MidiFile(ticks_per_beat=480)
    file.tracks.append(track)
    buffer = io.BytesIO()
    file.save(file=buffer)
    return buffer.getvalue()


def save_multitrack(path):
    roll = np.zeros((192, 128), bool)
    roll[:100, 60] = True
    pypianoroll.Multitrack(
        resolution=12, tempo=np.full(192, 120.0), tracks=[pypianoroll.BinaryTrack(program=0, pianoroll=roll)]
    ).save(path)


def save_arrays(folder):
    rolls = np.zeros((2, 4, 48, 84, 5), bool)
    rolls[:, 0, :3, 40, 1] = True
    np.save(folder / "a.npy", rolls)
    np.savez(folder / "a.npz", nonzero=np.array(np.nonzero(rolls)), shape=rolls.shape)


def test_kinds_are_told_by_content(tmp_path):
    save_arrays(tmp_path)
    (tmp_path / "a.mid").write_bytes(midi_bytes())
    save_multitrack(tmp_path / "b.npz")
    found = {}
    for name in ("a.npy", "a.npz", "a.mid", "b.npz"):
        renamed = tmp_path / f"{name}.data"
        (tmp_path / name).rename(renamed)
        found[name] = formats.format_of(renamed)
        source = formats.open_source(renamed)
        assert sum(len(chunk.rows) for chunk in source.chunks) == (1 if found[name].is_song else 2)
        assert source.is_song == found[name].is_song
    assert [found[name].is_song for name in found] == [False, False, True, True]
    assert len({each.open for each in found.values()}) == 4


def save_zip(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("readme.txt", "x")


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: None, "does not exist; expected a MIDI, .npz or .npy file"),
        (pathlib.Path.mkdir, "is a folder"),
        (pathlib.Path.touch, "is empty"),
        (os.mkfifo, "is not a regular file"),
        (lambda path: path.write_bytes(b"RIFF1234"), "is neither MIDI nor .npz nor .npy: it starts with the bytes 52"),
        (save_zip, "is a zip that holds readme.txt; expected nonzero.npy or info.json in it"),
        (lambda path: path.write_bytes(b"PK\x03\x04 and no more"), "cannot be read .*zip"),
    ],
)
def test_what_is_of_no_kind_is_refused_with_the_reason(tmp_path, write, message):
    write(tmp_path / "a")
    with pytest.raises(SourceError, match=message):
        formats.format_of(tmp_path / "a")


def test_files_are_found_in_folders_in_any_case_and_in_order(tmp_path):
    names = ["b/2.MID", "a.kar", "b/c/1.Midi", "b/c/x.smf", "z.npz", "z.npy"]
    others = [".hidden.mid", "b/._2.mid", ".git/x.mid", "b/readme.txt", "mid"]
    for name in names + others:
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "e.mid").touch()
    (tmp_path / "set" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set" / "b" / "loop").symlink_to(tmp_path / "set")
    found = [path.relative_to(tmp_path / "set").as_posix() for path in formats.find_files(tmp_path / "set")]
    assert found == ["a.kar", "b/2.MID", "b/c/1.Midi", "b/c/x.smf", "link/e.mid", "z.npy", "z.npz"]
