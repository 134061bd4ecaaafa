"""Writes a dataset into a staging folder that takes its final name once it is complete.

A build that breaks off, by an error, Ctrl-C or a full disk, removes the staging folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from wae_jax import pianoroll
from wae_jax.data import dataset
from wae_jax.errors import DatasetError

# Added by `build_dataset --describe`.
PICTURE_FILE = "phrases.png"
MIDI_FILE = "phrases.mid"
_WRITTEN = {dataset.PHRASES_FILE, dataset.DESCRIPTION_FILE, dataset.INDEX_FILE, dataset.SKIPPED_FILE}
_ROWS_AT_A_TIME = 1024


class StagingFolder(NamedTuple):
    """A folder in the making."""

    folder: pathlib.Path  # becomes the dataset
    scratch: pathlib.Path  # for temporary files; deleted at the end


def check_output(output: pathlib.Path, *, overwrite: bool) -> None:
    """Raises DatasetError unless a dataset may be written at `output`.

    Allowed are a free name and an empty folder; with `overwrite` also a folder that holds a dataset and nothing else.
    """
    if not output.exists():
        return
    if not output.is_dir():
        raise DatasetError(f"{output} is a file; expected a folder or a free name")
    present = {entry.name for entry in output.iterdir()}
    if not present:
        return
    try:
        dataset.load_dataset(output)
    except DatasetError as error:
        raise DatasetError(f"{output} holds something other than a dataset ({error}); name another folder") from error
    if others := present - _WRITTEN - {PICTURE_FILE, MIDI_FILE}:
        raise DatasetError(f"{output} holds {', '.join(sorted(others))} beside a dataset; name another folder")
    if not overwrite:
        raise DatasetError(f"{output} already holds a dataset; name another folder, or give --overwrite")


@contextlib.contextmanager
def staging_folder(output: pathlib.Path, *, overwrite: bool = False) -> Iterator[StagingFolder]:
    """Creates a staging folder beside `output`, and renames it to `output` when the block ends without an error.

    Raises:
      DatasetError: if `output` may not be written (see `check_output`), before or after the block.
      OSError: if the file system fails.
    """
    output = output.resolve()
    check_output(output, overwrite=overwrite)
    output.parent.mkdir(parents=True, exist_ok=True)
    scratch = pathlib.Path(tempfile.mkdtemp(prefix=f".{output.name}.", suffix=".partial", dir=output.parent))
    try:
        staging = StagingFolder(scratch / "new", scratch)
        staging.folder.mkdir()  # with the usual permissions, which mkdtemp does not give
        yield staging
        check_output(output, overwrite=overwrite)
        for file in staging.folder.iterdir():
            with file.open("rb") as opened:
                os.fsync(opened.fileno())  # some file systems only notice here that they are full
        _publish(staging, output)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _publish(staging: StagingFolder, output: pathlib.Path) -> None:
    """Renames the finished folder; if that fails, puts a replaced dataset back."""
    replaced = staging.scratch / "replaced"
    try:
        if output.exists():
            output.rename(replaced)
        staging.folder.rename(output)
    finally:
        if replaced.exists() and not output.exists():
            replaced.rename(output)


def copy_phrases(staged: pathlib.Path, indices: Int64[np.ndarray, " N"], path: pathlib.Path) -> str:
    """Copies packed phrases from the staging file to an .npy file, without holding all of them in memory.

    Returns:
      The sha256 of the rows (of the .npy file without its header), in hexadecimal.
    """
    digest = hashlib.sha256()
    shape = (len(indices), pianoroll.BYTES_PER_PHRASE)
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for start in range(0, len(indices), _ROWS_AT_A_TIME):
            # A new map each time gives back the memory of the pages read before.
            rows = np.memmap(staged, np.uint8, "r").reshape(-1, pianoroll.BYTES_PER_PHRASE)
            part = np.asarray(rows[indices[start : start + _ROWS_AT_A_TIME]])
            digest.update(part.data)
            file.write(part.data)
    return digest.hexdigest()


def write_tsv(path: pathlib.Path, lines: Iterable[Sequence[str]]) -> None:
    """Writes lines of columns, each column through `escape`."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines("\t".join(map(escape, line)) + "\n" for line in lines)


def escape(text: str) -> str:
    r"""Text on one line and in one column: `\t`, `\n`, `\\`, `\x1b` stand for characters that do not print."""
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(c if c.isprintable() and c != "\\" else c.encode("unicode_escape").decode() for c in text)
