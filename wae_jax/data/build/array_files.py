"""Readers of phrase arrays: MuseGAN's sparse npz, dense npy, and the sidecar file that names their songs.

The sidecar of `music.npz` is `music.tsv` with the columns `phrase`, `song` and `first_bar`, one line a phrase.
"""

from __future__ import annotations

import codecs
import collections
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from wae_jax import pianoroll
from wae_jax.data.build import key_estimation, musegan_npz
from wae_jax.data.build.sources import Chunk, NoteChanges, Options, Source, Transposition
from wae_jax.data.build.transposition import transposition_of
from wae_jax.errors import SourceError
from wae_jax.files import file_sha256

SIDECAR_COLUMNS = ("phrase", "song", "first_bar")

# 2.6 MB as bool, most of it in the processor's cache: packing 16 to 64 phrases takes a third of the time of 256.
PHRASES_PER_CHUNK = 32
# In Fortran order a phrase is spread over the whole file, so that many are read at once: 165 MB of bool.
_PHRASES_AT_ONCE_IN_FORTRAN_ORDER = 2048


def open_musegan_npz(path: pathlib.Path, rows: slice | None, options: Options) -> Source:
    """Opens MuseGAN's sparse phrases; all cells are read with the first chunk, see `musegan_npz.read_cells`."""
    num_phrases = musegan_npz.read_shape(path)[0]

    def load(start: int, stop: int) -> Iterator[np.ndarray]:
        cells = musegan_npz.read_cells(path, num_phrases, start, stop)
        for first in range(start, stop, PHRASES_PER_CHUNK):
            yield cells.dense(first, min(first + PHRASES_PER_CHUNK, stop))

    return _array_source(path, num_phrases, rows, options, load)


def open_dense_npy(path: pathlib.Path, rows: slice | None, options: Options) -> Source:
    """Opens a dense array of bool, of 0 and 1, or (with a threshold) of floats."""
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.shape[1:] not in (musegan_npz.BARS_SHAPE, pianoroll.PHRASE_SHAPE):
        expected = " or ".join(f"(N, {str(shape)[1:]}" for shape in (musegan_npz.BARS_SHAPE, pianoroll.PHRASE_SHAPE))
        raise SourceError(f"has shape {array.shape}; expected {expected}")
    if array.dtype.kind not in "biuf":
        raise SourceError(f"has type {array.dtype}; expected bool, integers 0 and 1, or floats")
    if options.threshold is None and array.dtype.kind == "f":
        raise SourceError(f"is {array.dtype}; floats need --threshold of build_dataset, above which a cell is active")
    at_once = PHRASES_PER_CHUNK if array.flags.c_contiguous else _PHRASES_AT_ONCE_IN_FORTRAN_ORDER

    def load(start: int, stop: int) -> Iterator[np.ndarray]:
        for first in range(start, stop, at_once):
            # A new map each time gives back the memory of the pages read before.
            part = np.load(path, mmap_mode="r", allow_pickle=False)[first : min(first + at_once, stop)]
            active = _active_cells(part, options.threshold, f"phrases {first} to {first + len(part) - 1}")
            for chunk in range(0, len(active), PHRASES_PER_CHUNK):
                yield active[chunk : chunk + PHRASES_PER_CHUNK]

    return _array_source(path, len(array), rows, options, load)


def _active_cells(cells: np.ndarray, threshold: float | None, where: str) -> np.ndarray:
    """The cells as bool, in memory. Raises SourceError for values that are neither on nor off."""
    if threshold is not None and cells.dtype.kind == "f":
        if np.isnan(cells).any():
            raise SourceError(f"{where} hold NaN; expected numbers")
        return np.greater(cells, threshold)
    low, high = cells.min(), cells.max()
    if low < 0 or high > 1:
        raise SourceError(f"{where} hold values from {low} to {high}; expected 0 and 1")
    return cells.astype(bool)


def _array_source(
    path: pathlib.Path,
    num_phrases: int,
    rows: slice | None,
    options: Options,
    load: Callable[[int, int], Iterator[np.ndarray]],
) -> Source:
    """A source of numbered phrases; `load` yields those from one index to before another, some at a time, as bool."""
    if not num_phrases:
        raise SourceError("holds no phrase")
    start, stop, _ = (rows or slice(None)).indices(num_phrases)
    if rows is not None and start >= stop:
        text = ":".join("" if bound is None else str(bound) for bound in (rows.start, rows.stop))
        raise SourceError(f"rows {text} select none of its {num_phrases} phrases")
    sidecar = path.with_suffix(".tsv")
    songs, first_bars = read_sidecar(sidecar, num_phrases) if sidecar.is_file() else (None, None)
    keys: dict[str, Transposition] = {}
    shifts: list[int] | None = None
    if options.tonality == "estimate":
        if songs is None:
            raise SourceError(
                f"names no songs, so that their keys cannot be estimated; expected {sidecar.name} beside it, with the "
                f"columns {', '.join(SIDECAR_COLUMNS)}, or another --tonality, which keeps the pitches of arrays"
            )
        keys = _estimate_keys(load(0, num_phrases), songs)
        shifts = [keys[song].semitones if song in keys else 0 for song in songs]

    def chunks() -> Iterator[Chunk]:
        first = start
        for cells in load(start, stop):
            end = first + len(cells)
            rolls = cells.reshape(len(cells), *pianoroll.PHRASE_SHAPE)
            if shifts is not None:
                rolls = pianoroll.transpose(rolls, np.array(shifts[first:end]))
            yield Chunk(
                pianoroll.pack(rolls),
                songs and songs[first:end],
                first_bars and first_bars[first:end],
                semitones=shifts and shifts[first:end],
            )
            first = end

    changes = NoteChanges([keys[song] for song in dict.fromkeys((songs or [])[start:stop]) if song in keys])
    selected = None if rows is None else (start, stop)
    return Source(file_sha256(path), chunks(), num_phrases=stop - start, rows=selected, changes=changes)


def _estimate_keys(cells: Iterable[np.ndarray], songs: Sequence[str]) -> dict[str, Transposition]:
    """The transposition of each song with pitched notes, by the key of all its phrases together."""
    times: dict[str, np.ndarray] = collections.defaultdict(lambda: np.zeros(12))
    names = iter(songs)
    for part in cells:
        rolls = part.reshape(len(part), *pianoroll.PHRASE_SHAPE)
        for steps, song in zip(key_estimation.sounding_steps(rolls), names, strict=False):
            times[song] += steps
    return {
        song: transposition_of(*key_estimation.estimate_key(time), "estimate")
        for song, time in times.items()
        if time.any()
    }


def read_sidecar(path: pathlib.Path, num_phrases: int) -> tuple[list[str], list[int | None]]:
    """The song and the first bar, which may be unknown, of each of `num_phrases` phrases of an array.

    Raises:
      SourceError: naming the file and the line, if it is not UTF-8, tab-separated, with the header `phrase`, `song`,
        `first_bar` and then a line for each phrase in order.
    """

    def wrong(line: int, problem: str) -> SourceError:
        return SourceError(f"its sidecar {path}, line {line}: {problem}")

    # Bytes, so that only a line feed ends a line: the name of a song may hold any other character.
    lines = path.read_bytes().removeprefix(codecs.BOM_UTF8).removesuffix(b"\n").split(b"\n")
    if lines == [b""]:
        raise wrong(1, f"the file is empty; expected the columns {list(SIDECAR_COLUMNS)}")
    songs: list[str] = []
    first_bars: list[int | None] = []
    for line, raw in enumerate(lines, 1):
        try:
            fields = raw.removesuffix(b"\r").decode().split("\t")
        except UnicodeDecodeError as error:
            raise wrong(line, f"not UTF-8 ({error.reason} at byte {error.start})") from error
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
    if len(songs) < num_phrases:
        raise wrong(len(lines), f"the file ends after {len(songs)} phrases; expected {num_phrases}")
    return songs, first_bars
