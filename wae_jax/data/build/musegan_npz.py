"""The cells of MuseGAN's sparse phrases, streamed out of an npz whose indices would fill six times the memory.

The file has `shape`, that of the dense array, and `nonzero`, what `np.nonzero` gives for it: the phrase, the bar, the
step, the pitch and the track of each cell that is on, as a rule first those of all phrases, then all bars, and so on.
"""

from __future__ import annotations

import dataclasses
import math
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Int64, Integer

from wae_jax import pianoroll
from wae_jax.data.build import npz_stream
from wae_jax.errors import SourceError

BARS_SHAPE = (pianoroll.NUM_BARS, pianoroll.STEPS_PER_BAR, pianoroll.NUM_PITCHES, pianoroll.NUM_TRACKS)

# A hundred times the largest that is known. The shape of a damaged file must not ask for all memory.
_LARGEST_NUMBER_OF_PHRASES = 10_000_000

# How far apart two cells are, all phrases laid out one after another, that are neighbours along one axis.
_STRIDES = tuple(math.prod(BARS_SHAPE[axis:]) for axis in range(len(BARS_SHAPE) + 1))


@dataclasses.dataclass(frozen=True)
class Cells:
    """The cells that are on.

    Attributes:
      first: where in `places` each phrase begins; one more than there are, the last one the number of cells.
      places: for each cell, in the order of the phrases, how many cells stand before it in the dense array. As
        uint32 it is modulo 2^32, which is enough for who knows the phrase.
    """

    first: Int64[np.ndarray, " borders"]
    places: Integer[np.ndarray, " cells"]

    def of_phrases(self, start: int, stop: int) -> Bool[np.ndarray, "{stop}-{start} cells=80640"]:
        """The phrases from one number up to another, no more than some thousand."""
        dense = np.zeros((stop - start, pianoroll.CELLS_PER_PHRASE), bool)
        origin = np.array(start * pianoroll.CELLS_PER_PHRASE).astype(self.places.dtype)
        dense.reshape(-1)[self.places[self.first[start] : self.first[stop]] - origin] = True
        return dense


def read_shape(path: pathlib.Path) -> tuple[int, ...]:
    """The shape of the dense array, (N, 4, 48, 84, 5). Raises SourceError if the file holds something else."""
    names = npz_stream.array_names(path)
    if not {"nonzero", "shape"} <= set(names):
        raise SourceError(f"has the keys {', '.join(names) or '(none)'}; expected nonzero and shape")
    with npz_stream.open_array(path, "shape") as stream:
        # Nothing long is read on the way to a message.
        is_short = stream.dtype.kind in "iu" and len(stream.shape) == 1 and stream.shape[0] <= len(_STRIDES)
        shape = tuple(stream.read(stream.shape[0]).tolist()) if is_short else ()
        found = str(list(shape)) if is_short else f"an array of {stream.dtype} {stream.shape}"
    if shape[1:] != BARS_SHAPE or shape[0] < 0:
        raise SourceError(f"has shape = {found}; expected [N, {str(list(BARS_SHAPE))[1:]}")
    if shape[0] > _LARGEST_NUMBER_OF_PHRASES:
        raise SourceError(f"has shape = {found}; expected at most {_LARGEST_NUMBER_OF_PHRASES} phrases")
    with npz_stream.open_array(path, "nonzero") as stream:
        if stream.dtype.kind not in "iu" or len(stream.shape) != 2 or stream.shape[0] != len(shape):
            raise SourceError(
                f"has nonzero of {stream.dtype} {stream.shape}; "
                f"expected integers of shape ({len(shape)}, number of cells)"
            )
    return shape


def read_cells(path: pathlib.Path, shape: Sequence[int], start: int, stop: int) -> Cells:
    """Reads the whole file, so that damage anywhere in it is found; decompressing it is two thirds of the time.

    Memory is needed for the cells of the phrases that are asked for, four bytes each. Only where the phrases of the
    cells are out of order, which they never are from `np.nonzero`, is it eight bytes for each cell of the file.

    Args:
      path: the npz.
      shape: what `read_shape` gives for it.
      start: the first phrase whose cells are wanted.
      stop: the phrase after the last one.

    Returns:
      The cells; `places` means nothing for those of other phrases.

    Raises:
      SourceError: if an index is out of range.
      Exception: what the parsers of zips raise on damaged files.
    """
    return _read_in_order(path, shape, start, stop) or _read_and_sort(path, shape)


def _read_in_order(path: pathlib.Path, shape: Sequence[int], start: int, stop: int) -> Cells | None:
    """As `read_cells`; gives None where the phrases of the cells are out of order."""
    newest = -1
    with npz_stream.open_array(path, "nonzero") as nonzero:
        num_cells = nonzero.shape[1]
        # Of a phrase that has not come yet all that is known is that it begins behind the cells read so far.
        first = np.full(shape[0] + 1, num_cells)
        # Zeros take no memory until something is added to them.
        places = np.zeros(num_cells, np.uint32)
        for axis, column, indices in _checked_parts(nonzero, shape):
            if axis == 0:
                if indices[0] < newest or (indices[1:] < indices[:-1]).any():
                    return None
                begun = np.arange(newest + 1, int(indices[-1]) + 1)
                first[begun] = column + np.searchsorted(indices, begun)
                newest = int(indices[-1])
            wanted = slice(*np.clip(first[[start, stop]] - column, 0, len(indices)))
            places[column : column + len(indices)][wanted] += _scaled(indices[wanted], axis, np.uint32)
    return Cells(first, places)


def _read_and_sort(path: pathlib.Path, shape: Sequence[int]) -> Cells:
    """As `read_cells`, whatever order the cells are in."""
    with npz_stream.open_array(path, "nonzero") as nonzero:
        places = np.zeros(nonzero.shape[1], np.int64)
        for axis, column, indices in _checked_parts(nonzero, shape):
            places[column : column + len(indices)] += _scaled(indices, axis, np.int64)
    places.sort()
    return Cells(np.searchsorted(places, np.arange(shape[0] + 1) * _STRIDES[0]), places)


def _checked_parts(
    nonzero: npz_stream.ArrayStream, shape: Sequence[int]
) -> Iterator[tuple[int, int, Integer[np.ndarray, " some"]]]:
    """The `row_parts` of the indices. Raises SourceError where one is out of range."""
    parts = nonzero.row_parts()
    for axis, column, indices in parts:
        low, high = indices.min(), indices.max()
        if low < 0 or high >= shape[axis]:
            for _ in parts:  # To the checksum: if that is wrong too, the file is damaged, and this is not its content.
                pass
            raise SourceError(f"nonzero[{axis}] reaches from {low} to {high}; expected 0 to {shape[axis] - 1}")
        yield axis, column, indices


def _scaled(indices: Integer[np.ndarray, " n"], axis: int, dtype: type[np.integer]) -> Integer[np.ndarray, " n"]:
    """What the indices along one axis add to the places of their cells."""
    return indices.astype(dtype) * dtype(_STRIDES[axis])
