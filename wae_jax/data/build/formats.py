"""Opens an input of any format, which its content tells, and finds the inputs in a folder."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import zipfile
from collections.abc import Callable, Iterator

from wae_jax.data.build import array_files, song_files
from wae_jax.data.build.sources import Chunk, Options, Source, reasons
from wae_jax.errors import SourceError

# The files that are read in folders; a file named by itself may have any name.
EXTENSIONS = frozenset({".mid", ".midi", ".kar", ".smf", ".npz", ".npy"})
_EXPECTED = "expected a MIDI, .npz or .npy file"


@dataclasses.dataclass(frozen=True)
class Format:
    """A file format."""

    open: Callable[[pathlib.Path, slice | None, Options], Source]
    is_song: bool  # small, read at once, and named after the file


_FORMAT_OF_MAGIC = {
    b"MThd": Format(song_files.open_midi, is_song=True),
    b"\x93NUMPY": Format(array_files.open_dense_npy, is_song=False),
}
_FORMAT_OF_ZIP_MEMBER = {
    "nonzero.npy": Format(array_files.open_musegan_npz, is_song=False),
    "info.json": Format(song_files.open_multitrack_npz, is_song=True),
}


def open_source(path: pathlib.Path, *, rows: slice | None = None, options: Options | None = None) -> Source:
    """Opens an input of any name; without `rows`, all of its phrases.

    It is a MIDI file, MuseGAN's sparse phrases (npz with `nonzero` and `shape` = (N, 4, 48, 84, 5)), a Multitrack of
    pypianoroll (npz with `info.json`), or a dense array (npy of shape (N, 4, 48, 84, 5) or (N, 192, 84, 5)).

    Raises:
      SourceError: whatever is wrong with the file; no other exception leaves this function.
    """
    with reasons():
        source = format_of(path).open(path, rows, options or Options())
    return dataclasses.replace(source, chunks=_guarded(source.chunks))


def _guarded(chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    with reasons():
        yield from chunks


def format_of(path: pathlib.Path) -> Format:
    """The format of a file, by its content. Raises SourceError if there is no such file or its format is unknown."""
    with reasons():
        if not path.is_file():
            problem = "is a folder" if path.is_dir() else "is not a regular file" if path.exists() else "does not exist"
            raise SourceError(f"{problem}; {_EXPECTED}")
        with path.open("rb") as file:
            start = file.read(8)
        if not start:
            raise SourceError(f"is empty; {_EXPECTED}")
        if start.startswith(b"PK"):
            with zipfile.ZipFile(path) as archive:
                members = archive.namelist()
            for member, found in _FORMAT_OF_ZIP_MEMBER.items():
                if member in members:
                    return found
            held = ", ".join(sorted(members)[:5]) or "nothing"
            raise SourceError(f"is a zip that holds {held}; expected {' or '.join(_FORMAT_OF_ZIP_MEMBER)} in it")
        for magic, found in _FORMAT_OF_MAGIC.items():
            if start.startswith(magic):
                return found
        raise SourceError(f"is neither MIDI nor .npz nor .npy: it starts with the bytes {start.hex(' ')}")


def find_files(folder: pathlib.Path) -> list[pathlib.Path]:
    """All files in a folder and its subfolders with one of the `EXTENSIONS`, in upper or lower case, sorted by name.

    Hidden files and folders are left out: systems leave companions such as `._song.mid` there. Links are followed;
    each folder is entered once.
    """
    found = []
    seen: set[str] = set()
    for parent, subfolders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        found += [pathlib.Path(parent, name) for name in files if not name.startswith(".")]
    return sorted(path for path in found if path.suffix.lower() in EXTENSIONS)
