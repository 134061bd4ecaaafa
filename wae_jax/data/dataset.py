"""Packed phrases, their splits, and batches as a pure function of (seed, step).

A data set is a folder made by `python -m wae_jax.build_dataset`:

    phrases.npy    uint8 [N, 10080], `pianoroll.pack` of all phrases: train rows, then valid, then test
    dataset.json   where each split starts and stops, where the phrases come from, checksums
    index.tsv      one line a row: row, split, source, song, first bar, tempo in quarter notes a minute
    skipped.tsv    the inputs that gave no phrase, and why
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int32, Int64, Integer, Shaped

from wae_jax import pianoroll
from wae_jax.data import splits
from wae_jax.errors import DatasetError
from wae_jax.pianoroll import PackedPhrases

PHRASES_FILE = "phrases.npy"
DESCRIPTION_FILE = "dataset.json"
INDEX_FILE = "index.tsv"
INDEX_COLUMNS = ("row", "split", "source", "song", "first_bar", "tempo")
SKIPPED_FILE = "skipped.tsv"
FORMAT = "wae_jax packed phrases"
FORMAT_VERSION = 1


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Packed phrases and their splits.

    Attributes:
      phrases: a memmap where they lie on disk.
      splits: for each split that holds a phrase, the rows it starts at and stops before.
      digest: sha256 over the rows and the splits, in hexadecimal; equal for equal data.
      name: the folder or its address, or what the lines of a log should call it.
      read_songs: gives the name of each row's song, "" where it is not known.
    """

    phrases: PackedPhrases
    splits: Mapping[str, tuple[int, int]]
    digest: str
    name: str
    read_songs: Callable[[], Sequence[str]]

    def split(self, name: str) -> PackedPhrases:
        """The rows of one split, without copying.

        Raises:
          ValueError: if there is no such split; the message names those there are.
        """
        return self.phrases[self._rows(name)]

    def songs(self, name: str) -> Int64[np.ndarray, " B"] | None:
        """A number for each row of a split, equal for rows of one song, or None where no song is known.

        A row whose song is not known counts as a song of its own.

        Raises:
          ValueError: if there is no such split.
          DatasetError: if the file that tells cannot be read.
        """
        of_rows = self.read_songs()[self._rows(name)]
        if not any(of_rows):
            return None
        labels: list[object] = [song or (i,) for i, song in enumerate(of_rows)]
        number = {label: i for i, label in enumerate(dict.fromkeys(labels))}
        return np.array([number[label] for label in labels])

    def _rows(self, name: str) -> slice:
        if name not in self.splits:
            raise ValueError(f"{self.name} has no split {name!r}; it has {', '.join(self.splits)}")
        return slice(*self.splits[name])


def dataset_digest(phrases_sha256: str, rows_of: Mapping[str, Sequence[int]]) -> str:
    """The sha256 of the rows' own sha256 and of where the splits start and stop, in hexadecimal."""
    parts = [phrases_sha256, sorted((name, list(rows)) for name, rows in rows_of.items())]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def split_rows(codes: Integer[np.ndarray, " N"]) -> dict[str, tuple[int, int]]:
    """The first row and the one after the last of each split that holds a row.

    Args:
      codes: in ascending order, each a place in `splits.SPLITS`.
    """
    stops = np.cumsum(np.bincount(codes, minlength=len(splits.SPLITS))).tolist()
    starts = [0, *stops[:-1]]
    return {name: (start, stop) for name, start, stop in zip(splits.SPLITS, starts, stops, strict=True) if start < stop}


def load_dataset(path: str | os.PathLike[str]) -> Dataset:
    """Opens a folder made by `build_dataset`; the rows stay on disk.

    Raises:
      DatasetError: if a file is missing, cannot be read, or disagrees with another.
    """
    folder = pathlib.Path(path)
    description = _read_description(folder)
    phrases = _open_phrases(folder / PHRASES_FILE, description["num_phrases"])
    rows = _check_splits(folder / DESCRIPTION_FILE, description["splits"], len(phrases))
    read_songs = functools.partial(_read_songs, folder / INDEX_FILE, len(phrases))
    digest = dataset_digest(description["phrases_sha256"], rows)
    return Dataset(phrases, rows, digest, str(folder), read_songs)


def _read_songs(file: pathlib.Path, num_phrases: int) -> list[str]:
    """The column `song` of index.tsv."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise DatasetError(f"{file} cannot be read: {error}; build the data set again") from error
    header, *rows = (line.split("\t") for line in lines or [""])
    if "song" not in header or len(rows) != num_phrases or any(len(row) != len(header) for row in rows):
        raise DatasetError(
            f"{file} has {len(rows)} lines below its header, {' '.join(header)!r:.80}; expected {num_phrases} and a "
            "column song: build the data set again"
        )
    place = header.index("song")
    return [row[place] for row in rows]


def _read_description(folder: pathlib.Path) -> dict[str, Any]:
    """The object in dataset.json, with the fields that `load_dataset` needs."""
    file = folder / DESCRIPTION_FILE
    if not file.is_file():
        raise DatasetError(
            f"{folder} holds no {DESCRIPTION_FILE}; expected a folder made by python -m wae_jax.build_dataset"
        )
    try:
        description = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{file} cannot be read as JSON: {error}; build the data set again") from error
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise DatasetError(f"{file} does not describe a data set: expected an object with 'format': {FORMAT!r}")
    if description.get("format_version") != FORMAT_VERSION:
        raise DatasetError(
            f"{file} has format_version {description.get('format_version')!r}; this version of wae_jax reads "
            f"{FORMAT_VERSION}: build the data set again"
        )
    for field, kind in (("num_phrases", int), ("splits", dict), ("phrases_sha256", str)):
        if not isinstance(description.get(field), kind):
            raise DatasetError(
                f"{file} has {field} = {description.get(field)!r}; expected {kind.__name__}: build the data set again"
            )
    if description.get("tracks") != list(pianoroll.TRACK_NAMES):
        raise DatasetError(
            f"{file} has tracks {description.get('tracks')!r}; expected {list(pianoroll.TRACK_NAMES)}, in this order"
        )
    return description


def _open_phrases(file: pathlib.Path, num_phrases: int) -> PackedPhrases:
    """The rows as a read-only memmap."""
    if not file.is_file():
        raise DatasetError(f"{file} is missing; build the data set again")
    try:
        phrases = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DatasetError(f"{file} cannot be read: {error}; build the data set again") from error
    expected = (num_phrases, pianoroll.BYTES_PER_PHRASE)
    if not isinstance(phrases, np.ndarray) or phrases.dtype != np.uint8 or phrases.shape != expected:
        raise DatasetError(
            f"{file} holds {getattr(phrases, 'dtype', 'no array')} {getattr(phrases, 'shape', '')}; {DESCRIPTION_FILE} "
            f"promises uint8 {expected}: build the data set again"
        )
    return phrases


def _check_splits(file: pathlib.Path, given: dict[str, Any], num_phrases: int) -> dict[str, tuple[int, int]]:
    """The splits as pairs, known to be inside the rows and apart from one another."""
    end, end_of = 0, "row 0"
    rows: dict[str, tuple[int, int]] = {}
    for name, pair in given.items():
        if not (isinstance(pair, list) and len(pair) == 2 and all(type(row) is int for row in pair)):
            raise DatasetError(f"{file}: split {name!r} is {pair!r}; expected [start, stop]")
        if not 0 <= pair[0] <= pair[1] <= num_phrases:
            raise DatasetError(f"{file}: split {name!r} is {pair}; expected 0 <= start <= stop <= {num_phrases} rows")
        rows[name] = (pair[0], pair[1])
    for name, (start, stop) in sorted(rows.items(), key=lambda item: item[1]):
        if start < end:
            raise DatasetError(f"{file}: splits {end_of!r} and {name!r} share row {start}; expected them apart")
        end, end_of = stop, name
    return rows


def from_songs(
    phrases: PackedPhrases,
    songs: Shaped[np.ndarray, " B"] | Sequence[object],
    *,
    name: str,
    seed: int = 0,
    valid_fraction: float,
    test_fraction: float,
) -> Dataset:
    """Makes a data set in memory, split by song as `build_dataset` would; every row is kept.

    Args:
      phrases: the rows.
      songs: the song of each row; anything that `str` tells apart.
      name: what the data set is called.
      seed: of the split.
      valid_fraction: share of the songs to validate on.
      test_fraction: share of the songs to test on.

    Returns:
      The rows in the order train, valid, test, and in the given order within each.

    Raises:
      ValueError: if the arrays do not fit one another or the fractions are impossible.
    """
    if len(phrases) != len(songs) or not len(phrases):
        raise ValueError(f"{len(phrases)} phrases and {len(songs)} songs; expected as many of both, and at least one")
    keys = splits.phrase_keys(phrases)
    codes = splits.split_by_song(
        [str(song) for song in songs],
        # A silent phrase says nothing about who copied from whom, so it joins no songs.
        [key if row.any() else i for i, (key, row) in enumerate(zip(keys, phrases, strict=True))],
        seed=seed,
        valid_fraction=valid_fraction,
        test_fraction=test_fraction,
    )
    order = np.argsort(codes, kind="stable")
    ordered = np.ascontiguousarray(phrases[order])
    of_rows = [str(songs[i]) for i in order]
    rows = split_rows(codes[order])
    digest = dataset_digest(hashlib.sha256(ordered.data).hexdigest(), rows)
    return Dataset(ordered, rows, digest, name, lambda: of_rows)


@functools.lru_cache(maxsize=4)
def _epoch_order(seed: int, epoch: int, num_rows: int) -> Int64[np.ndarray, " {num_rows}"]:
    """The order of one epoch.

    Sorting raw random words, because NumPy promises the stream of a bit generator for ever, but not
    that of `Generator.permutation`: a run resumed under another NumPy must read the same batches.
    """
    words = np.random.PCG64(np.random.SeedSequence([seed, epoch])).random_raw(num_rows)
    order = np.argsort(words, kind="stable")
    order.flags.writeable = False  # The cache hands the same array to every caller.
    return order


def batch_indices(seed: int, step: int, *, num_rows: int, batch_size: int) -> Int64[np.ndarray, " {batch_size}"]:
    """The rows of one batch: a pure function of its arguments, so that resuming needs no saved iterator.

    Batch after batch runs through one shuffled epoch after another. Each epoch visits every row exactly
    once, in an order of its own; a batch may lie across the border of two or more epochs.

    Args:
      seed: of the shuffling, at least 0.
      step: which batch, from 0.
      num_rows: rows to choose from.
      batch_size: rows of a batch over all processes.

    Raises:
      ValueError: if a number is out of range.
    """
    if seed < 0 or step < 0 or num_rows < 1 or batch_size < 1:
        raise ValueError(
            f"seed {seed}, step {step}, num_rows {num_rows}, batch_size {batch_size}; "
            "expected seed and step of at least 0, num_rows and batch_size of at least 1"
        )
    start, stop = step * batch_size, (step + 1) * batch_size
    return np.concatenate(
        [
            _epoch_order(seed, epoch, num_rows)[max(start - epoch * num_rows, 0) : stop - epoch * num_rows]
            for epoch in range(start // num_rows, (stop - 1) // num_rows + 1)
        ]
    )


def local_indices(
    num_rows: int, seed: int, step: int, *, batch_size: int, process_index: int = 0, process_count: int = 1
) -> tuple[Integer[np.ndarray, " b"], Int32[np.ndarray, " b"]]:
    """The share of one process in a batch.

    The shares of all processes, in their order, are `batch_indices`.

    Args:
      num_rows: of the split to draw from.
      seed: of the shuffling.
      step: which batch, from 0.
      batch_size: rows of the batch over all processes.
      process_index: which process this is.
      process_count: how many there are.

    Returns:
      Which rows, b = batch_size / process_count, and the place of each within the global batch.

    Raises:
      ValueError: if the batch does not divide among the processes, or there is no such process.
    """
    if batch_size % process_count:
        raise ValueError(
            f"batch_size {batch_size} does not divide among {process_count} processes; "
            f"expected a multiple of {process_count}"
        )
    if not 0 <= process_index < process_count:
        raise ValueError(f"process_index {process_index}; expected 0 to {process_count - 1}")
    share = batch_size // process_count
    positions = np.arange(process_index * share, (process_index + 1) * share, dtype=np.int32)
    return batch_indices(seed, step, num_rows=num_rows, batch_size=batch_size)[positions], positions


def spread(num_rows: int, num: int) -> Int64[np.ndarray, " at_most_num"]:
    """The places of up to `num` rows, from the first to the last at equal distances.

    Neighbours are often of one song, and look alike.
    """
    return np.linspace(0, num_rows - 1, min(num, num_rows)).astype(np.int64)
