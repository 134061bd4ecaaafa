"""Making folders, above all that of a data set, so that a name never stands for something half-made.

The files are written into a temporary folder beside the final one and renamed at the end. What breaks
off before, by an error, Ctrl-C or a full disk, takes the temporary folder with it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from jaxtyping import Int64

from wae_jax import pianoroll
from wae_jax.data import dataset
from wae_jax.errors import DatasetError
from wae_jax.pianoroll import PackedPhrases

# What `build_dataset --describe` adds to a data set.
PICTURE_FILE = "phrases.png"
MIDI_FILE = "phrases.mid"
FILES = frozenset(
    {
        *(dataset.PHRASES_FILE, dataset.DESCRIPTION_FILE, dataset.INDEX_FILE, dataset.SKIPPED_FILE),
        *(PICTURE_FILE, MIDI_FILE),
    }
)

# What the folder is called, beside its final name, in which one is being made or was when it broke off.
UNFINISHED = ".{}.*.partial"

_ROWS_AT_A_TIME = 1024


@dataclasses.dataclass(frozen=True)
class Workshop:
    """Where a folder is being made.

    Attributes:
      folder: the future folder; what lies here at the end is published.
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
        raise DatasetError(f"{output} is a file; expected a folder, or a name that is free")
    present = {entry.name for entry in output.iterdir()}
    if not present:
        return
    try:
        dataset.load_dataset(output)
    except DatasetError as error:
        raise DatasetError(
            f"{output} holds something else than a data set and is left alone ({error}); name another folder"
        ) from error
    if present - FILES:
        raise DatasetError(
            f"{output} holds {', '.join(sorted(present - FILES))} beside a data set and is left alone; "
            "name another folder"
        )
    if not overwrite:
        raise DatasetError(f"{output} already holds a data set; name another folder, or give --overwrite")


@contextlib.contextmanager
def new_folder(output: pathlib.Path, check: Callable[[], None] = lambda: None) -> Iterator[Workshop]:
    """Gives a place to fill a folder in, and moves it to `output` when the block ends well.

    Args:
      output: the final folder, of which the path holds no link; its parents are made where they are missing. What is
        there is replaced.
      check: raises where `output` may not be written; called before and after.

    Raises:
      OSError: if the disk does not do what is asked.
    """
    check()
    output.parent.mkdir(parents=True, exist_ok=True)
    prefix, suffix = UNFINISHED.format(output.name).split("*")
    scratch = pathlib.Path(tempfile.mkdtemp(prefix=prefix, suffix=suffix, dir=output.parent))
    try:
        # A folder inside, because mkdtemp's own may be entered by nobody else.
        workshop = Workshop(scratch / "folder", scratch)
        workshop.folder.mkdir()
        yield workshop
        check()
        for file in workshop.folder.iterdir():
            _sync(file)
        _publish(workshop, output)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def new_dataset_folder(output: pathlib.Path, *, overwrite: bool = False) -> contextlib.AbstractContextManager[Workshop]:
    """Gives a place to make a data set in, and moves it to `output` when the block ends well.

    Args:
      output: the final folder; its parents are made where they are missing.
      overwrite: whether a data set that is there may be replaced.

    Raises:
      DatasetError: if `output` may not be written, see `check_output`; looked at before and after.
      OSError: if the disk does not do what is asked.
    """
    output = output.resolve()
    return new_folder(output, functools.partial(check_output, output, overwrite=overwrite))


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


def read_rows(files: Sequence[pathlib.Path], places: Int64[np.ndarray, " N"]) -> Iterator[PackedPhrases]:
    """Reads packed phrases, some at a time.

    Args:
      files: packed phrases, one after another and nothing else.
      places: which of them to read, in this order; they are numbered through all files.
    """
    stops = np.cumsum([file.stat().st_size // pianoroll.BYTES_PER_PHRASE for file in files])
    for start in range(0, len(places), _ROWS_AT_A_TIME):
        wanted = places[start : start + _ROWS_AT_A_TIME]
        file_of = np.searchsorted(stops, wanted, side="right")
        rows = np.empty((len(wanted), pianoroll.BYTES_PER_PHRASE), np.uint8)
        for number in np.unique(file_of).tolist():
            mine = file_of == number
            # Mapped anew each time, which gives back the memory of the pages read before.
            staged = np.memmap(files[number], np.uint8, "r").reshape(-1, pianoroll.BYTES_PER_PHRASE)
            rows[mine] = staged[wanted[mine] - stops[number] + len(staged)]
        yield rows


def write_phrases(path: pathlib.Path, num_rows: int, parts: Iterable[PackedPhrases]) -> str:
    """Writes rows into an .npy file, without ever holding them all.

    Args:
      path: the .npy file to write.
      num_rows: how many there are.
      parts: the rows, some at a time.

    Returns:
      The sha256 of the rows' bytes (those of the file without its header), in hexadecimal.
    """
    digest = hashlib.sha256()
    shape = (num_rows, pianoroll.BYTES_PER_PHRASE)
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for part in parts:
            digest.update(part.data)
            file.write(part.data)
    return digest.hexdigest()


def write_tsv(path: pathlib.Path, lines: Iterable[Sequence[str]]) -> None:
    """Writes lines of columns, each column through `escape`."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines("\t".join(map(escape, line)) + "\n" for line in lines)


def escape(text: str) -> str:
    r"""The text on one line and in one column: `\t`, `\n`, `\\`, `\x1b` for what would not print as itself."""
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(c if c.isprintable() and c != "\\" else c.encode("unicode_escape").decode() for c in text)
