"""Opening an input of any kind: `open_source` tells the kind by the first bytes, so names do not matter."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Mapping

from wae_jax import array_files
from wae_jax.sources import Chunk, Options, Source, SourceError, reasons


def open_source(path: pathlib.Path, *, rows: slice | None = None, options: Options | None = None) -> Source:
    """Opens an input of any known kind.

    Args:
      path: a file with MuseGAN's sparse phrases (npz with `nonzero` and `shape` = (N, 4, 48, 84, 5)), or
        a dense array (npy of shape (N, 4, 48, 84, 5) or (N, 192, 84, 5)).
      rows: which phrases to take, as Python slices do; None takes all.
      options: how to read it.

    Raises:
      SourceError: whatever is wrong with the file; no other exception leaves this function.
    """
    with reasons():
        source = OPENERS[_kind_of(path)](path, rows, options or Options())
    return dataclasses.replace(source, chunks=_guarded(source.chunks))


def _guarded(chunks: Iterator[Chunk]) -> Iterator[Chunk]:
    with reasons():
        yield from chunks


def _kind_of(path: pathlib.Path) -> str:
    """The kind of a file by its first bytes, a key of `OPENERS`."""
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "is not a regular file" if path.exists() else "does not exist"
        raise SourceError(f"{what}; expected a .npz or .npy file")
    with path.open("rb") as file:
        start = file.read(8)
    if not start:
        raise SourceError("is empty; expected a .npz or .npy file")
    for magic, kind in _MAGIC.items():
        if start.startswith(magic):
            return kind
    raise SourceError(f"is neither a .npz nor a .npy file: it starts with the bytes {start.hex(' ')}")


_MAGIC: Mapping[bytes, str] = {
    b"PK\x03\x04": "musegan_npz",
    b"PK\x05\x06": "musegan_npz",  # A zip without a member.
    b"\x93NUMPY": "dense_npy",
}

OPENERS: Mapping[str, Callable[[pathlib.Path, slice | None, Options], Source]] = {
    "musegan_npz": array_files.open_musegan_npz,
    "dense_npy": array_files.open_dense_npy,
}
