"""Opening an input of any kind, told by its content, and finding the inputs in a folder."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import zipfile
from collections.abc import Callable, Iterator, Mapping

from wae_jax.data.build import array_files, song_files
from wae_jax.data.build.sources import Chunk, Options, Source, reasons
from wae_jax.errors import SourceError

# What is looked for in folders; a file that is named by itself may have any name.
EXTENSIONS = frozenset({".mid", ".midi", ".kar", ".smf", ".npz", ".npy"})
_EXPECTED = "expected a MIDI, .npz or .npy file"


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of input.

    Attributes:
      open: its opener.
      is_song: whether a file is one song: small, read in one go, and named after the file.
    """

    open: Callable[[pathlib.Path, slice | None, Options], Source]
    is_song: bool


def open_source(path: pathlib.Path, *, rows: slice | None = None, options: Options | None = None) -> Source:
    """Opens an input of any known kind; names do not matter.

    Args:
      path: a MIDI file, a file with MuseGAN's sparse phrases (npz with `nonzero` and `shape` = (N, 4, 48, 84, 5)),
        a Multitrack of pypianoroll (npz with `info.json`), or a dense array (npy of shape (N, 4, 48, 84, 5) or
        (N, 192, 84, 5)).
      rows: which phrases to take, as Python slices do; None takes all.
      options: how to read it.

    Raises:
      SourceError: whatever is wrong with the file; no other exception leaves this function.
    """
    with reasons():
        source = kind_of(path).open(path, rows, options or Options())
    return dataclasses.replace(source, chunks=_guarded(source.chunks))


def _guarded(chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    with reasons():
        yield from chunks


def kind_of(path: pathlib.Path) -> Kind:
    """The kind of a file by its content. Raises SourceError if there is no such file or it is of no known kind."""
    with reasons():
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "is not a regular file" if path.exists() else "does not exist"
            raise SourceError(f"{what}; {_EXPECTED}")
        with path.open("rb") as file:
            start = file.read(8)
        if not start:
            raise SourceError(f"is empty; {_EXPECTED}")
        if start.startswith(b"PK"):
            return _kind_of_zip(path)
        for magic, kind in _MAGIC.items():
            if start.startswith(magic):
                return kind
        raise SourceError(f"is neither MIDI nor .npz nor .npy: it starts with the bytes {start.hex(' ')}")


def _kind_of_zip(path: pathlib.Path) -> Kind:
    with zipfile.ZipFile(path) as file:
        members = set(file.namelist())
    for member, kind in _ZIP_MEMBERS.items():
        if member in members:
            return kind
    held = ", ".join(sorted(members)[:5]) or "nothing"
    raise SourceError(f"is a zip that holds {held}; expected {' or '.join(_ZIP_MEMBERS)} in it")


def find_files(folder: pathlib.Path) -> list[pathlib.Path]:
    """All files in a folder and the folders in it whose extension is one of `EXTENSIONS`, in any case.

    Hidden files and folders are left out: systems leave companions such as `._song.mid` there. Links are followed,
    each folder is entered once.

    Returns:
      The paths, sorted by name.
    """
    found = []
    seen: set[str] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        folders[:] = [] if real in seen else [name for name in folders if not name.startswith(".")]
        if real not in seen:
            found += [pathlib.Path(place, name) for name in files if not name.startswith(".")]
        seen.add(real)
    return sorted(path for path in found if path.suffix.lower() in EXTENSIONS)


_MAGIC: Mapping[bytes, Kind] = {
    b"MThd": Kind(song_files.open_midi, is_song=True),
    b"\x93NUMPY": Kind(array_files.open_dense_npy, is_song=False),
}

_ZIP_MEMBERS: Mapping[str, Kind] = {
    "nonzero.npy": Kind(array_files.open_musegan_npz, is_song=False),
    "info.json": Kind(song_files.open_multitrack_npz, is_song=True),
}
