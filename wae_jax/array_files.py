"""Arrays of phrases as inputs: MuseGAN's sparse npz, dense npy, and the sidecar that names their songs.

Songs come from a sidecar: beside `music.npz` a file `music.tsv` with the columns `phrase`, `song` and
`first_bar`, one line a phrase.
"""

from __future__ import annotations

import codecs
import pathlib
from collections.abc import Callable, Iterator

import numpy as np

from wae_jax import pianoroll
from wae_jax.sources import Chunk, Options, Source, SourceError, file_sha256

SIDECAR_COLUMNS = ("phrase", "song", "first_bar")

# A dense chunk of bool is 20 MB, of float64 165 MB: memory stays far below 1 GB whatever the file.
PHRASES_PER_CHUNK = 256
# Numbers looked at in one go when a huge index is checked for order.
_INDICES_AT_A_TIME = 1 << 22

_BARS_SHAPE = (pianoroll.NUM_BARS, pianoroll.STEPS_PER_BAR, pianoroll.NUM_PITCHES, pianoroll.NUM_TRACKS)


def _array_source(
    path: pathlib.Path, num_phrases: int, rows: slice | None, load: Callable[[int, int], np.ndarray]
) -> Source:
    """What all files have in common whose phrases are numbered.

    Args:
      path: the file.
      num_phrases: how many it holds.
      rows: which of them to take.
      load: gives the phrases from one number up to another, as bool of any shape with the phrases first.
    """
    if not num_phrases:
        raise SourceError("holds no phrase")
    start, stop, _ = (rows or slice(None)).indices(num_phrases)
    if start >= stop:
        raise SourceError(f"rows {_slice_text(rows)} select none of its {num_phrases} phrases")
    sidecar = path.with_suffix(".tsv")
    songs, first_bars = read_sidecar(sidecar, num_phrases) if sidecar.is_file() else (None, None)

    def chunks() -> Iterator[Chunk]:
        for a in range(start, stop, PHRASES_PER_CHUNK):
            b = min(a + PHRASES_PER_CHUNK, stop)
            packed = pianoroll.pack(load(a, b).reshape(b - a, *pianoroll.PHRASE_SHAPE))
            yield Chunk(packed, songs and songs[a:b], first_bars and first_bars[a:b])

    return Source(file_sha256(path), chunks(), num_phrases=stop - start, rows=None if rows is None else (start, stop))


def _slice_text(rows: slice | None) -> str:
    rows = rows or slice(None)
    return ":".join("" if end is None else str(end) for end in (rows.start, rows.stop))


def open_musegan_npz(path: pathlib.Path, rows: slice | None, options: Options) -> Source:
    """MuseGAN's phrases: the five indices of each cell that is on; `options` have nothing to decide."""
    # Opened here, because NumPy leaves the file open where it turns out not to be a whole zip.
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        if not {"nonzero", "shape"} <= set(file.files):
            raise SourceError(f"has the keys {', '.join(sorted(file.files)) or '(none)'}; expected nonzero and shape")
        shape, nonzero = file["shape"], file["nonzero"]
    if not _is_integer(shape) or shape.ndim != 1 or tuple(shape[1:]) != _BARS_SHAPE or shape[0] < 0:
        raise SourceError(f"has shape = {np.asarray(shape).tolist()!r:.80}; expected [N, {str(list(_BARS_SHAPE))[1:]}")
    if not _is_integer(nonzero) or nonzero.ndim != 2 or len(nonzero) != len(shape):
        raise SourceError(
            f"has nonzero of {getattr(nonzero, 'dtype', 'no array')} {getattr(nonzero, 'shape', '')}; "
            f"expected integers of shape ({len(shape)}, number of cells)"
        )
    for axis, (indices, size) in enumerate(zip(nonzero, shape, strict=True)):
        if indices.size and not 0 <= indices.min() <= indices.max() < size:
            raise SourceError(
                f"nonzero[{axis}] reaches from {indices.min()} to {indices.max()}; expected 0 to {size - 1}"
            )
    # np.nonzero gives the phrases in order; a file made otherwise is sorted first.
    order = None if _is_sorted(nonzero[0]) else np.argsort(nonzero[0], kind="stable")
    first_cell = np.searchsorted(nonzero[0], np.arange(shape[0] + 1), sorter=order)

    def load(start: int, stop: int) -> np.ndarray:
        first, last = first_cell[[start, stop]]
        cells = (nonzero[:, first:last] if order is None else nonzero[:, order[first:last]]).astype(np.int64)
        dense = np.zeros((stop - start, *_BARS_SHAPE), bool)
        # A tuple, because NumPy takes a list of index arrays for one index array of whole phrases.
        dense[(cells[0] - start, *cells[1:])] = True
        return dense

    return _array_source(path, int(shape[0]), rows, load)


def _is_integer(array: object) -> bool:
    return isinstance(array, np.ndarray) and array.dtype.kind in "iu"


def _is_sorted(numbers: np.ndarray) -> bool:
    """Whether the numbers never fall; in parts, because a difference of all would double the memory."""
    parts = (numbers[i : i + _INDICES_AT_A_TIME + 1] for i in range(0, len(numbers), _INDICES_AT_A_TIME))
    return all(bool((part[1:] >= part[:-1]).all()) for part in parts)


def open_dense_npy(path: pathlib.Path, rows: slice | None, options: Options) -> Source:
    """A dense array of bool, of 0 and 1, or with a threshold of floats."""
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.shape[1:] not in (_BARS_SHAPE, pianoroll.PHRASE_SHAPE):
        expected = " or ".join(f"(N, {str(shape)[1:]}" for shape in (_BARS_SHAPE, pianoroll.PHRASE_SHAPE))
        raise SourceError(f"has shape {array.shape}; expected {expected}")
    if array.dtype.kind not in "biuf":
        raise SourceError(f"has type {array.dtype}; expected bool, integers 0 and 1, or floats")
    if options.threshold is None and array.dtype.kind == "f":
        raise SourceError(f"has type {array.dtype}; floats need --threshold to say above which value a cell is on")
    # What is left without a threshold are types that never ask for one.
    above = 0.0 if options.threshold is None else options.threshold

    def load(start: int, stop: int) -> np.ndarray:
        # Mapped anew each time: dropping a map gives back the memory of the pages that were read through it.
        part = np.load(path, mmap_mode="r", allow_pickle=False)[start:stop]
        return _switch_on(part, above, f"phrases {start} to {stop - 1}")

    return _array_source(path, len(array), rows, load)


def _switch_on(cells: np.ndarray, threshold: float, where: str) -> np.ndarray:
    """The cells as bool, in memory. Raises SourceError for values that do not say on or off."""
    if cells.dtype.kind == "f":
        if np.isnan(cells).any():
            raise SourceError(f"{where} hold NaN; expected numbers")
        return np.greater(cells, threshold)
    low, high = cells.min(), cells.max()
    if low < 0 or high > 1:
        raise SourceError(f"{where} hold values from {low} to {high}; expected 0 and 1")
    return cells.astype(bool)


def read_sidecar(path: pathlib.Path, num_phrases: int) -> tuple[list[str], list[int | None]]:
    """Reads the songs of an array's phrases.

    Args:
      path: UTF-8, tab-separated, with the header `phrase`, `song`, `first_bar` and then a line for each
        phrase in order; `first_bar` may be empty.
      num_phrases: how many phrases the array holds.

    Returns:
      The song and the first bar of each phrase.

    Raises:
      SourceError: naming the file and the line, if it is anything else.
    """

    def wrong(line: int, what: str) -> SourceError:
        return SourceError(f"its sidecar {path}, line {line}: {what}")

    songs: list[str] = []
    first_bars: list[int | None] = []
    line = 0
    with path.open("rb") as file:
        # Bytes, so that nothing but a line feed ends a line: a song's name may hold any other character.
        for line, raw in enumerate(file, 1):
            try:
                text = raw.removeprefix(codecs.BOM_UTF8).removesuffix(b"\n").removesuffix(b"\r").decode()
            except UnicodeDecodeError as error:
                raise wrong(line, f"not UTF-8 ({error.reason} at byte {error.start})") from error
            fields = text.split("\t")
            if line == 1:
                if tuple(fields) != SIDECAR_COLUMNS:
                    raise wrong(1, f"the columns are {fields!r:.200}; expected {list(SIDECAR_COLUMNS)}")
                continue
            if len(fields) != len(SIDECAR_COLUMNS):
                raise wrong(line, f"{len(fields)} columns; expected {len(SIDECAR_COLUMNS)}, with a tab between them")
            phrase, song, first_bar = fields
            if len(songs) == num_phrases:
                raise wrong(line, f"one line too many for {num_phrases} phrases")
            if phrase != str(len(songs)):
                raise wrong(line, f"phrase {phrase!r:.80}; expected {len(songs)}, one line for each phrase in order")
            if not song:
                raise wrong(line, "no song; expected its name")
            if first_bar and not (first_bar.isascii() and first_bar.isdigit()):
                raise wrong(line, f"first_bar {first_bar!r:.80}; expected a whole number from 0, or nothing")
            songs.append(song)
            first_bars.append(int(first_bar) if first_bar else None)
    if not line:
        raise wrong(1, f"the file is empty; expected the columns {list(SIDECAR_COLUMNS)}")
    if len(songs) < num_phrases:
        raise wrong(line, f"the file ends after {len(songs)} phrases; expected {num_phrases}")
    return songs, first_bars
