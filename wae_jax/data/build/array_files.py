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
from wae_jax.data.build import musegan_npz
from wae_jax.data.build.sources import Chunk, Options, Source
from wae_jax.errors import SourceError
from wae_jax.files import file_sha256

SIDECAR_COLUMNS = ("phrase", "song", "first_bar")

# As bool they are 2.6 MB: memory stays far below 1 GB whatever the file, and most of it in the processor's cache,
# which is why packing 16 to 64 phrases at a time takes a third of the time of 256.
PHRASES_PER_CHUNK = 32
# In Fortran order a phrase lies all over the file, so that many are read at once: 165 MB.
_CHUNKS_INTERLEAVED = 64


def _array_source(
    path: pathlib.Path, num_phrases: int, rows: slice | None, load: Callable[[int, int], Iterator[np.ndarray]]
) -> Source:
    """What all files have in common whose phrases are numbered.

    Args:
      path: the file.
      num_phrases: how many it holds.
      rows: which of them to take.
      load: reads the phrases from one number up to another; gives those of one `_borders` after another, as bool of
        any shape with the phrases first.
    """
    if not num_phrases:
        raise SourceError("holds no phrase")
    start, stop, _ = (rows or slice(None)).indices(num_phrases)
    if start >= stop:
        raise SourceError(f"rows {_slice_text(rows)} select none of its {num_phrases} phrases")
    sidecar = path.with_suffix(".tsv")
    songs, first_bars = read_sidecar(sidecar, num_phrases) if sidecar.is_file() else (None, None)

    def chunks() -> Iterator[Chunk]:
        for (a, b), cells in zip(_borders(start, stop), load(start, stop), strict=True):
            packed = pianoroll.pack(cells.reshape(b - a, *pianoroll.PHRASE_SHAPE))
            yield Chunk(packed, songs and songs[a:b], first_bars and first_bars[a:b])

    return Source(file_sha256(path), chunks(), num_phrases=stop - start, rows=None if rows is None else (start, stop))


def _borders(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """The first phrase of each chunk and the one after its last."""
    for a in range(start, stop, PHRASES_PER_CHUNK):
        yield a, min(a + PHRASES_PER_CHUNK, stop)


def _slice_text(rows: slice | None) -> str:
    rows = rows or slice(None)
    return ":".join("" if end is None else str(end) for end in (rows.start, rows.stop))


def open_musegan_npz(path: pathlib.Path, rows: slice | None, options: Options) -> Source:
    """MuseGAN's phrases: the five indices of each cell that is on; `options` have nothing to decide.

    The cells are read when the first chunk is asked for, and all of them before it is there: see
    `musegan_npz.read_cells` for the memory and the time.
    """
    shape = musegan_npz.read_shape(path)

    def load(start: int, stop: int) -> Iterator[np.ndarray]:
        cells = musegan_npz.read_cells(path, shape, start, stop)
        for a, b in _borders(start, stop):
            yield cells.of_phrases(a, b)

    return _array_source(path, shape[0], rows, load)


def open_dense_npy(path: pathlib.Path, rows: slice | None, options: Options) -> Source:
    """A dense array of bool, of 0 and 1, or with a threshold of floats."""
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.shape[1:] not in (musegan_npz.BARS_SHAPE, pianoroll.PHRASE_SHAPE):
        expected = " or ".join(f"(N, {str(shape)[1:]}" for shape in (musegan_npz.BARS_SHAPE, pianoroll.PHRASE_SHAPE))
        raise SourceError(f"has shape {array.shape}; expected {expected}")
    if array.dtype.kind not in "biuf":
        raise SourceError(f"has type {array.dtype}; expected bool, integers 0 and 1, or floats")
    if options.threshold is None and array.dtype.kind == "f":
        raise SourceError(f"has type {array.dtype}; floats need --threshold to say above which value a cell is on")
    # What is left without a threshold are types that never ask for one.
    above = 0.0 if options.threshold is None else options.threshold

    # Mapped anew for each part: dropping a map gives back the memory of the pages that were read through it.
    def load(start: int, stop: int) -> Iterator[np.ndarray]:
        for a, b in _borders(start, stop):
            part = np.load(path, mmap_mode="r", allow_pickle=False)[a:b]
            yield _switch_on(part, above, f"phrases {a} to {b - 1}")

    def load_interleaved(start: int, stop: int) -> Iterator[np.ndarray]:
        for a in range(start, stop, _CHUNKS_INTERLEAVED * PHRASES_PER_CHUNK):
            b = min(a + _CHUNKS_INTERLEAVED * PHRASES_PER_CHUNK, stop)
            block = np.empty((b - a, *array.shape[1:]), bool)
            for place in np.ndindex(array.shape[-2:]):
                part = np.load(path, mmap_mode="r", allow_pickle=False)[a:b, ..., *place]
                block[..., *place] = _switch_on(part, above, f"phrases {a} to {b - 1}")
            yield from (block[i:j] for i, j in _borders(0, b - a))

    return _array_source(path, len(array), rows, load if array.flags.c_contiguous else load_interleaved)


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
