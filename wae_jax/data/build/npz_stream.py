"""Arrays of an npz read a part at a time, where `np.load` would hold them whole."""

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
from jaxtyping import Shaped

from wae_jax.errors import SourceError

# Bytes decompressed in one go: in larger ones zipfile is busy copying the input that it has not used yet.
_BYTES_AT_A_TIME = 1 << 16
# In one part: enough to hide what a call of NumPy costs, few enough to stay in the processor's cache.
_NUMBERS_AT_A_TIME = 1 << 16

_SUFFIX = ".npy"
_HEADER_READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


@dataclasses.dataclass(frozen=True)
class ArrayStream:
    """An array in an npz that is read from its first number to its last, once.

    Attributes:
      name: its key.
      shape: of the array.
      dtype: of its numbers, which may be of either byte order.
      fortran_order: whether neighbours in the file are neighbours along the first axis, and not along the last.
      file: the member, from the first number on.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran_order: bool
    file: IO[bytes]

    def read(self, count: int) -> Shaped[np.ndarray, " count"]:
        """The next `count` numbers of the file.

        Raises:
          SourceError: if it ends before them.
          zipfile.BadZipFile: if the last number was among them and the member's checksum does not fit.
        """
        numbers = np.empty(count, self.dtype)
        content = numbers.view(np.uint8)
        for start in range(0, len(content), _BYTES_AT_A_TIME):
            piece = content[start : start + _BYTES_AT_A_TIME]
            read = self.file.read(len(piece))
            if len(read) != len(piece):
                raise SourceError(f"its array {self.name} ends early")
            piece[:] = np.frombuffer(read, np.uint8)
        return numbers

    def row_parts(self) -> Iterator[tuple[int, int, Shaped[np.ndarray, " numbers"]]]:
        """Reads a two-dimensional array in parts of rows, in the order of the file.

        Yields:
          The row, the column of the part's first number, and the part. At any time the rows above have been read
          at least as far as the one below.
        """
        num_rows, num_columns = self.shape
        if not self.fortran_order:
            for row in range(num_rows):
                for column in range(0, num_columns, _NUMBERS_AT_A_TIME):
                    yield row, column, self.read(min(_NUMBERS_AT_A_TIME, num_columns - column))
            return
        width = max(1, _NUMBERS_AT_A_TIME // num_rows)
        for column in range(0, num_columns, width):
            columns = self.read(num_rows * min(width, num_columns - column)).reshape(-1, num_rows)
            for row in range(num_rows):
                yield row, column, columns[:, row]


def array_names(path: pathlib.Path) -> list[str]:
    """The keys of the arrays in an npz, sorted."""
    with zipfile.ZipFile(path) as archive:
        return sorted(name.removesuffix(_SUFFIX) for name in archive.namelist() if name.endswith(_SUFFIX))


@contextlib.contextmanager
def open_array(path: pathlib.Path, name: str) -> Iterator[ArrayStream]:
    """Opens one array of an npz; of either compression, of any size.

    Args:
      path: the npz.
      name: the array's key.

    Raises:
      SourceError: if the array holds Python objects, which are never unpickled, or is not as long as it says.
      Exception: parsers of zips and headers raise all sorts of them on damaged files.
    """
    with zipfile.ZipFile(path) as archive, archive.open(name + _SUFFIX) as file:
        shape, fortran_order, dtype = _read_header(file)
        if dtype.hasobject:
            raise SourceError(f"its array {name} holds Python objects ({dtype}); expected numbers")
        # Before any memory is asked for on the word of the header.
        size, needed = archive.getinfo(name + _SUFFIX).file_size, file.tell() + math.prod(shape) * dtype.itemsize
        if size != needed:
            raise SourceError(f"its array {name} has {size} bytes; expected {needed} for {dtype} {shape}")
        yield ArrayStream(name, shape, dtype, fortran_order, file)


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    if version not in _HEADER_READERS:
        # Only arrays with named fields need more than 2.0.
        raise SourceError(f"has an array in version {version} of the npy format; expected 1.0 or 2.0")
    with warnings.catch_warnings():
        # NumPy would advise to save what Python 2 has saved again.
        warnings.simplefilter("ignore", UserWarning)
        return _HEADER_READERS[version](file)
