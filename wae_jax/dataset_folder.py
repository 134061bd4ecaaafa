"""Making a data set's folder so that its name never stands for something half-made.

The files are written into a temporary folder beside the final one and renamed at the end. What breaks
off before, by an error, Ctrl-C or a full disk, takes the temporary folder with it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from jaxtyping import Integer

from wae_jax import dataset, pianoroll

# What `build_dataset --describe` adds to a data set.
PICTURE_FILE = "phrases.png"
MIDI_FILE = "phrases.mid"
FILES = frozenset(
    {
        *(dataset.PHRASES_FILE, dataset.DESCRIPTION_FILE, dataset.INDEX_FILE, dataset.SKIPPED_FILE),
        *(PICTURE_FILE, MIDI_FILE),
    }
)

_ROWS_AT_A_TIME = 1024


@dataclasses.dataclass(frozen=True)
class Workshop:
    """Where a data set is being made.

    Attributes:
      folder: the future data set; what lies here at the end is published.
      scratch: room for what is needed on the way; deleted at the end.
    """

    folder: pathlib.Path
    scratch: pathlib.Path


def check_output(output: pathlib.Path, *, overwrite: bool) -> None:
    """Raises DatasetError unless a data set may be put at `output`.

    It may where there is nothing or an empty folder, and with `overwrite` also where there is a data set
    and nothing besides.
    """
    if not output.exists():
        return
    if not output.is_dir():
        raise dataset.DatasetError(f"{output} is a file; expected a folder, or a name that is free")
    present = {entry.name for entry in output.iterdir()}
    if not present:
        return
    try:
        dataset.load_dataset(output)
    except dataset.DatasetError as error:
        raise dataset.DatasetError(
            f"{output} holds something else than a data set and is left alone ({error}); name another folder"
        ) from error
    if present - FILES:
        raise dataset.DatasetError(
            f"{output} holds {', '.join(sorted(present - FILES))} beside a data set and is left alone; "
            "name another folder"
        )
    if not overwrite:
        raise dataset.DatasetError(f"{output} already holds a data set; name another folder, or give --overwrite")


@contextlib.contextmanager
def new_dataset_folder(output: pathlib.Path, *, overwrite: bool = False) -> Iterator[Workshop]:
    """Gives a place to make a data set in, and moves it to `output` when the block ends well.

    Args:
      output: the final folder; its parents are made where they are missing.
      overwrite: whether a data set that is there may be replaced.

    Raises:
      DatasetError: if `output` may not be written, see `check_output`; looked at before and after.
      OSError: if the disk does not do what is asked.
    """
    output = output.resolve()
    check_output(output, overwrite=overwrite)
    output.parent.mkdir(parents=True, exist_ok=True)
    scratch = pathlib.Path(tempfile.mkdtemp(prefix=f".{output.name}.", suffix=".partial", dir=output.parent))
    try:
        # A folder inside, because mkdtemp's own may be entered by nobody else.
        workshop = Workshop(scratch / "dataset", scratch)
        workshop.folder.mkdir()
        yield workshop
        check_output(output, overwrite=overwrite)
        for file in workshop.folder.iterdir():
            _sync(file)
        _publish(workshop, output)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _sync(file: pathlib.Path) -> None:
    """Waits until the file lies on the disk: some file systems only notice here that they are full."""
    with file.open("rb") as opened:
        os.fsync(opened.fileno())


def _publish(workshop: Workshop, output: pathlib.Path) -> None:
    """Renames the finished folder; a data set that was there before comes back where that fails."""
    replaced = workshop.scratch / "replaced"
    try:
        if output.exists():
            output.rename(replaced)
        workshop.folder.rename(output)
    finally:
        if replaced.exists() and not output.exists():
            replaced.rename(output)


def write_phrases(path: pathlib.Path, scratch: pathlib.Path, rows: Integer[np.ndarray, " N"]) -> str:
    """Copies rows of a scratch file into an .npy file, without ever holding them all.

    Args:
      path: the .npy file to write.
      scratch: packed phrases, one after another and nothing else.
      rows: which of them to copy, in this order.

    Returns:
      The sha256 of the rows' bytes (those of the file without its header), in hexadecimal.
    """
    digest = hashlib.sha256()
    shape = (len(rows), pianoroll.BYTES_PER_PHRASE)
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for start in range(0, len(rows), _ROWS_AT_A_TIME):
            # Mapped anew each time, which gives back the memory of the pages read before.
            staged = np.memmap(scratch, np.uint8, "r").reshape(-1, pianoroll.BYTES_PER_PHRASE)
            part = np.ascontiguousarray(staged[rows[start : start + _ROWS_AT_A_TIME]])
            digest.update(part.data)
            file.write(part.data)
    return digest.hexdigest()


def write_tsv(path: pathlib.Path, lines: Iterable[Sequence[str]]) -> None:
    """Writes lines of columns, each column through `escape`."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines("\t".join(map(escape, line)) + "\n" for line in lines)


def escape(text: str) -> str:
    r"""The text on one line and in one column: `\t`, `\n`, `\\`, `\x1b` for what would not print as itself."""
    return "".join(c if c.isprintable() and c != "\\" else c.encode("unicode_escape").decode() for c in text)
