"""MuseGAN's sparse phrases, streamed out of an npz whose indices would fill six times the memory of the phrases.

The file has `shape`, the shape of the dense array, and `nonzero`, the result of `np.nonzero` for it: the phrase, bar,
step, pitch and track of each active cell. As a rule it holds the phrases of all cells first, then all bars, and so on.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import pathlib
import warnings
import zipfile
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
from jaxtyping import Bool, Int64, Integer, Shaped, UInt32

from wae_jax import pianoroll
from wae_jax.errors import SourceError

BARS_SHAPE = (pianoroll.NUM_BARS, pianoroll.STEPS_PER_BAR, pianoroll.NUM_PITCHES, pianoroll.NUM_TRACKS)
_NUM_AXES = 1 + len(BARS_SHAPE)
# Distance in a flat phrase between neighbours along each axis of `nonzero` after the first.
_STRIDES = tuple(np.uint32(math.prod(BARS_SHAPE[axis:])) for axis in range(1, _NUM_AXES))

# A hundred times the largest known dataset. The shape of a damaged file must not request all memory.
_MAX_PHRASES = 10_000_000
# zipfile copies its unused input again and again in larger reads.
_BYTES_AT_A_TIME = 1 << 16
# Large enough to hide the overhead of NumPy calls, small enough to stay in the processor's cache.
_NUMBERS_AT_A_TIME = 1 << 16


@dataclasses.dataclass(frozen=True)
class ActiveCells:
    """The active cells of consecutive phrases, the first of which has index `start`."""

    start: int
    borders: Int64[np.ndarray, " borders"]  # where in `cells` each phrase begins, and the last ends
    cells: UInt32[np.ndarray, " cells"]  # index of each cell in its flat phrase

    def dense(self, start: int, stop: int) -> Bool[np.ndarray, "{stop}-{start} cells=80640"]:
        """The phrases from index `start` to before `stop`."""
        borders = self.borders[start - self.start : stop - self.start + 1]
        rolls = np.zeros((stop - start, pianoroll.CELLS_PER_PHRASE), bool)
        rolls[np.repeat(np.arange(stop - start), np.diff(borders)), self.cells[borders[0] : borders[-1]]] = True
        return rolls


def read_shape(path: pathlib.Path) -> tuple[int, ...]:
    """The shape of the dense array, (N, 4, 48, 84, 5). Raises SourceError if the file holds something else."""
    with zipfile.ZipFile(path) as archive:
        names = sorted(name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy"))
    if not {"nonzero", "shape"} <= set(names):
        raise SourceError(f"has the keys {', '.join(names) or '(none)'}; expected nonzero and shape")
    with open_array(path, "shape") as array:
        # A long array is not read for a message.
        is_short = array.dtype.kind in "iu" and len(array.shape) == 1 and array.shape[0] <= _NUM_AXES
        shape = tuple(array.read(array.shape[0]).tolist()) if is_short else ()
        found = str(list(shape)) if is_short else f"an array of {array.dtype} {array.shape}"
    if shape[1:] != BARS_SHAPE or shape[0] < 0:
        raise SourceError(f"has shape = {found}; expected [N, {str(list(BARS_SHAPE))[1:]}")
    if shape[0] > _MAX_PHRASES:
        raise SourceError(f"has shape = {found}; expected at most {_MAX_PHRASES} phrases")
    with open_array(path, "nonzero") as array:
        if array.dtype.kind not in "iu" or len(array.shape) != 2 or array.shape[0] != _NUM_AXES:
            raise SourceError(
                f"has nonzero of {array.dtype} {array.shape}; expected integers of shape ({_NUM_AXES}, number of cells)"
            )
    return shape


def read_cells(path: pathlib.Path, num_phrases: int, start: int, stop: int) -> ActiveCells:
    """Reads the active cells of phrases `start` to before `stop` of `num_phrases`.

    The rest of the file is read too, so that damage anywhere in it is found. Takes four bytes of memory a cell. Only a
    file whose phrases are out of order, or whose array is in Fortran order, is read into memory as a whole; `np.savez`
    of `np.nonzero` makes neither.

    Raises:
      SourceError: if an index is out of range.
      Exception: whatever the parsers of zips raise on damaged files.
    """
    cells = _stream_in_order(path, num_phrases, start, stop)
    return _read_and_sort(path, num_phrases, start, stop) if cells is None else cells


def _stream_in_order(path: pathlib.Path, num_phrases: int, start: int, stop: int) -> ActiveCells | None:
    """Streams the cells; None if their phrases are out of order or the array is in Fortran order."""
    with open_array(path, "nonzero") as array:
        if array.fortran_order:
            return None
        counts = np.zeros(num_phrases, np.int64)
        newest = 0
        for _, phrases in _row_parts(array, 0, num_phrases):
            if phrases[0] < newest or (phrases[1:] < phrases[:-1]).any():
                return None
            oldest, newest = int(phrases[0]), int(phrases[-1])
            counts[oldest : newest + 1] += np.bincount(phrases - oldest)
        borders = np.append(0, np.cumsum(counts))[start : stop + 1]
        first, end = borders[0], borders[-1]
        cells = np.zeros(end - first, np.uint32)
        for axis in range(1, _NUM_AXES):
            for column, indices in _row_parts(array, axis, BARS_SHAPE[axis - 1]):
                low, high = np.clip((first - column, end - column), 0, len(indices))
                chosen = indices[low:high].astype(np.uint32)
                cells[column + low - first : column + high - first] += chosen * _STRIDES[axis - 1]
    return ActiveCells(start, borders - first, cells)


def _row_parts(array: ArrayStream, axis: int, size: int) -> Iterator[tuple[int, Int64[np.ndarray, " numbers"]]]:
    """Reads one row of `nonzero` in parts; yields the first column of each, and its indices."""
    num_columns = array.shape[1]
    for column in range(0, num_columns, _NUMBERS_AT_A_TIME):
        indices = array.read(min(_NUMBERS_AT_A_TIME, num_columns - column))
        if indices.min() < 0 or indices.max() >= size:
            # To the checksum: if that is wrong too, this is not the content of the file.
            while array.file.read(_BYTES_AT_A_TIME):
                pass
            _check_range(indices, axis, size)
        yield column, indices.astype(np.int64)


def _check_range(indices: Integer[np.ndarray, " cells"], axis: int, size: int) -> None:
    if indices.size and (indices.min() < 0 or indices.max() >= size):
        raise SourceError(f"nonzero[{axis}] reaches from {indices.min()} to {indices.max()}; expected 0 to {size - 1}")


def _read_and_sort(path: pathlib.Path, num_phrases: int, start: int, stop: int) -> ActiveCells:
    with open_array(path, "nonzero") as array:
        numbers = array.read(math.prod(array.shape))
        nonzero = numbers.reshape(array.shape, order="F" if array.fortran_order else "C")
    for axis, size in enumerate((num_phrases, *BARS_SHAPE)):
        _check_range(nonzero[axis], axis, size)
    phrases = nonzero[0].astype(np.int64)
    borders = np.append(0, np.cumsum(np.bincount(phrases, minlength=num_phrases)))[start : stop + 1]
    order = np.argsort(phrases, kind="stable")[borders[0] : borders[-1]]
    cells = np.zeros(len(order), np.uint32)
    for axis in range(1, _NUM_AXES):
        cells += nonzero[axis][order].astype(np.uint32) * _STRIDES[axis - 1]
    return ActiveCells(start, borders - borders[0], cells)


@dataclasses.dataclass(frozen=True)
class ArrayStream:
    """An array of an npz that is read once, from its first number to its last."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran_order: bool
    file: IO[bytes]  # the member of the zip, after its header

    def read(self, count: int) -> Shaped[np.ndarray, " count"]:
        """The next `count` numbers.

        Raises:
          SourceError: if the file ends before them.
          zipfile.BadZipFile: if the last number is among them and the checksum of the member is wrong.
        """
        size = count * self.dtype.itemsize
        starts = range(0, size, _BYTES_AT_A_TIME)
        content = b"".join([self.file.read(min(_BYTES_AT_A_TIME, size - start)) for start in starts])
        if len(content) != size:
            raise SourceError(f"its array {self.name} ends early")
        return np.frombuffer(content, self.dtype)


@contextlib.contextmanager
def open_array(path: pathlib.Path, name: str) -> Iterator[ArrayStream]:
    """Opens one array of an npz, compressed or not, of any size.

    Raises:
      SourceError: if the array holds Python objects, which are never unpickled, or has another length than its header
        says.
      Exception: whatever the parsers of zips and headers raise on damaged files.
    """
    member = f"{name}.npy"
    with zipfile.ZipFile(path) as archive, archive.open(member) as file:
        shape, fortran_order, dtype = _read_header(file)
        if dtype.hasobject:
            raise SourceError(f"its array {name} holds Python objects ({dtype}); expected numbers")
        # Before the header makes anybody allocate memory.
        size, expected = archive.getinfo(member).file_size, file.tell() + math.prod(shape) * dtype.itemsize
        if size != expected:
            raise SourceError(f"its array {name} has {size} bytes; expected {expected} for {dtype} {shape}")
        yield ArrayStream(name, shape, dtype, fortran_order, file)


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    # Only arrays with named fields need more than 2.0.
    if version not in ((1, 0), (2, 0)):
        raise SourceError(f"has an array in version {version} of the npy format; expected 1.0 or 2.0")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    with warnings.catch_warnings():
        # NumPy would advise to save again what Python 2 has saved.
        warnings.simplefilter("ignore", UserWarning)
        return read(file)
