"""Packed phrases, their splits, and batches as a pure function of (seed, step).

A dataset is a folder written by `python -m wae_jax.build_dataset`:

    phrases.npy    uint8 [N, 10080], `pianoroll.pack` of all phrases: train rows, then valid, then test
    dataset.json   where each split starts and stops, where the phrases come from, digests
    index.tsv      one line a row: row, split, source, song, first bar, tempo in quarter notes a minute,
                   semitones up by which it was transposed
    skipped.tsv    the inputs that gave no phrase, and why
"""

from __future__ import annotations

import collections
import csv
import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import tokenize
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int64, Integer, Shaped

from wae_jax import pianoroll
from wae_jax.config.fields import Tonality
from wae_jax.data import splits
from wae_jax.errors import DatasetError, MissingDatasetError
from wae_jax.files import parse_json
from wae_jax.pianoroll import PackedPhrases
from wae_jax.programs import how_to_run

PHRASES_FILE = "phrases.npy"
DESCRIPTION_FILE = "dataset.json"
INDEX_FILE = "index.tsv"
INDEX_COLUMNS = ("row", "split", "source", "song", "first_bar", "tempo", "semitones")
SKIPPED_FILE = "skipped.tsv"
FORMAT = "wae_jax packed phrases"
FORMAT_VERSION = 2
_READABLE_VERSIONS = (1, FORMAT_VERSION)  # the first has no semitones
_REBUILD = "build the dataset again"


class IndexLine(NamedTuple):
    """A line of index.tsv: the origin of a row; the song's name is escaped as in the file."""

    split: str
    source: int
    song: str | None
    first_bar: int | None
    tempo: float | None
    semitones: int | None


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Packed phrases and their splits.

    Attributes:
      phrases: the packed phrases; a memmap if they are on disk.
      splits: for each split that has phrases, its first row and the row after its last.
      digest: sha256 of the rows and the splits, in hexadecimal; equal for equal data.
      name: the folder, or another name for log lines.
      read_index: returns the origin of each row.
      tonality: "c" if all music is in C major or A minor, "all" if it is in any key.
    """

    phrases: PackedPhrases
    splits: Mapping[str, tuple[int, int]]
    digest: str
    name: str
    read_index: Callable[[], Sequence[IndexLine]]
    tonality: Tonality = "all"

    def split(self, name: str) -> PackedPhrases:
        """The rows of one split, without copying.

        Raises:
          DatasetError: if there is no such split; the message names the existing ones.
        """
        return self.phrases[self._rows(name)]

    def songs(self, name: str) -> Int64[np.ndarray, " B"] | None:
        """A number for each row of a split, equal for rows of one song; None if no song is known.

        A row whose song is unknown counts as a song of its own.

        Raises:
          DatasetError: if there is no such split, or the index of the dataset cannot be read.
        """
        rows = self._rows(name)
        names = [line.song for line in self.read_index()[rows]]
        if not any(names):
            return None
        labels: list[object] = [song or (i,) for i, song in enumerate(names)]
        number = {label: i for i, label in enumerate(dict.fromkeys(labels))}
        return np.array([number[label] for label in labels])

    def following(self, name: str) -> Int64[np.ndarray, " B"]:
        """For each row of a split the one that goes on with its music, four bars later, in the same key; -1 without.

        Raises:
          DatasetError: if there is no such split, or the index of the dataset cannot be read.
        """
        lines = self.read_index()[self._rows(name)]
        places = [(line.source, line.song, line.semitones, line.first_bar) for line in lines]
        row_at = {place: row for row, place in enumerate(places) if None not in (place[1], place[3])}
        nexts = [(*place[:3], (place[3] or 0) + pianoroll.NUM_BARS) for place in places]
        return np.array(
            [row_at.get(after, -1) if place in row_at else -1 for place, after in zip(places, nexts, strict=True)]
        )

    def _rows(self, name: str) -> slice:
        if name not in self.splits:
            raise DatasetError(f"{self.name} has no {name} split; it has {', '.join(self.splits) or 'none'}")
        return slice(*self.splits[name])


def dataset_digest(phrases_sha256: str, rows_of: Mapping[str, Sequence[int]]) -> str:
    """The sha256 of the rows' own sha256 and the borders of the splits, in hexadecimal."""
    parts = [phrases_sha256, sorted((name, list(rows)) for name, rows in rows_of.items())]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def split_rows(codes: Integer[np.ndarray, " N"]) -> dict[str, tuple[int, int]]:
    """The first row of each split that has rows, and the row after its last.

    Args:
      codes: the split of each row, an index into `splits.SPLITS`; ascending.
    """
    stops = np.cumsum(np.bincount(codes, minlength=len(splits.SPLITS))).tolist()
    starts = [0, *stops[:-1]]
    return {name: (start, stop) for name, start, stop in zip(splits.SPLITS, starts, stops, strict=True) if start < stop}


def load_dataset(path: str | os.PathLike[str]) -> Dataset:
    """Opens a folder written by `build_dataset`; the rows stay on disk.

    Raises:
      DatasetError: if a file is missing, cannot be read, or disagrees with another.
    """
    folder = pathlib.Path(path)
    description = _read_description(folder)
    phrases = _open_phrases(folder / PHRASES_FILE, description["num_phrases"])
    rows = _check_splits(folder / DESCRIPTION_FILE, description["splits"], len(phrases))
    digest = dataset_digest(description["phrases_sha256"], rows)

    # Of version 1, only those that were asked to transposed anything.
    options = description.get("options")
    is_kept = not isinstance(options, dict) or options.get("tonality", "keep") == "keep"
    tonality: Tonality = "c" if description.get("tonality", "all" if is_kept else "c") == "c" else "all"
    return Dataset(phrases, rows, digest, str(folder), lambda: read_index(folder, len(phrases)), tonality)


def read_index(folder: pathlib.Path, num_phrases: int) -> list[IndexLine]:
    """Reads index.tsv. Raises DatasetError if it cannot be read or is not one line a row, in order."""
    file = folder / INDEX_FILE
    try:
        with file.open(encoding="utf-8", newline="") as opened:
            lines = list(csv.reader(opened, delimiter="\t", quoting=csv.QUOTE_NONE))
    except (OSError, ValueError, csv.Error) as error:
        raise DatasetError(f"{file} cannot be read: {error}; {_REBUILD}") from error
    if lines and tuple(lines[0]) == INDEX_COLUMNS[:-1]:  # of version 1
        lines = [list(INDEX_COLUMNS), *([*line, ""] for line in lines[1:])]
    if not lines or tuple(lines[0]) != INDEX_COLUMNS:
        raise DatasetError(f"{file} has the columns {str(lines[:1])[:200]}; expected {list(INDEX_COLUMNS)}: {_REBUILD}")
    index = []
    for number, line in enumerate(lines[1:]):
        try:
            row, split, source, song, bar, tempo, shift = line
            if int(row) != number:
                raise ValueError(f"row {row}; expected {number}")
            first_bar, bpm = int(bar) if bar else None, float(tempo) if tempo else None
            semitones = int(shift) if shift else None
            index.append(IndexLine(split, int(source), song or None, first_bar, bpm, semitones))
        except ValueError as error:
            raise DatasetError(f"{file}, line {number + 2}: {error}; {_REBUILD}") from error
    if len(index) != num_phrases:
        raise DatasetError(f"{file} has {len(index)} rows, {PHRASES_FILE} {num_phrases}: {_REBUILD}")
    return index


def _read_description(folder: pathlib.Path) -> dict[str, Any]:
    """The object in dataset.json, its fields checked as far as `load_dataset` needs them."""
    file = folder / DESCRIPTION_FILE
    if not file.is_file():
        raise MissingDatasetError(
            f"{folder} holds no {DESCRIPTION_FILE}; expected a folder made by {how_to_run('build_dataset')}"
        )
    try:
        description = parse_json(file.read_bytes())
    except (OSError, ValueError) as error:
        raise DatasetError(f"{file} cannot be read as JSON: {error}; {_REBUILD}") from error
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise DatasetError(f"{file} does not describe a dataset: expected an object with 'format': {FORMAT!r}")
    if (version := description.get("format_version")) not in _READABLE_VERSIONS:
        raise DatasetError(
            f"{file} has format_version {version!r}; this version of wae_jax reads "
            f"{' and '.join(map(str, _READABLE_VERSIONS))}: {_REBUILD}"
        )
    for field, kind in (("num_phrases", int), ("splits", dict), ("phrases_sha256", str)):
        if not isinstance(value := description.get(field), kind):
            raise DatasetError(f"{file} has {field} = {value!r}; expected {kind.__name__}: {_REBUILD}")
    if (tracks := description.get("tracks")) != list(pianoroll.TRACK_NAMES):
        raise DatasetError(f"{file} has tracks {tracks!r}; expected {list(pianoroll.TRACK_NAMES)}, in this order")
    return description


def _open_phrases(file: pathlib.Path, num_phrases: int) -> PackedPhrases:
    """The rows as a read-only memmap."""
    if not file.is_file():
        raise DatasetError(f"{file} is missing; {_REBUILD}")
    try:
        phrases = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, tokenize.TokenError) as error:  # the last for a damaged header
        raise DatasetError(f"{file} cannot be read: {error}; {_REBUILD}") from error
    expected = (num_phrases, pianoroll.BYTES_PER_PHRASE)
    if not isinstance(phrases, np.ndarray) or phrases.dtype != np.uint8 or phrases.shape != expected:
        raise DatasetError(
            f"{file} holds {getattr(phrases, 'dtype', 'no array')} {getattr(phrases, 'shape', '')}; {DESCRIPTION_FILE} "
            f"promises uint8 {expected}: {_REBUILD}"
        )
    return phrases


def _check_splits(file: pathlib.Path, given: dict[str, Any], num_phrases: int) -> dict[str, tuple[int, int]]:
    """The splits as pairs. Raises DatasetError unless they lie inside the rows and do not overlap."""
    rows: dict[str, tuple[int, int]] = {}
    for name, pair in given.items():
        if not (isinstance(pair, list) and len(pair) == 2 and all(type(row) is int for row in pair)):
            raise DatasetError(f"{file}: split {name!r} is {pair!r}; expected [start, stop]")
        if not 0 <= pair[0] <= pair[1] <= num_phrases:
            raise DatasetError(f"{file}: split {name!r} is {pair}; expected 0 <= start <= stop <= {num_phrases} rows")
        if pair[0] < pair[1]:
            rows[name] = (pair[0], pair[1])
    end, previous = 0, ""
    for name, (start, stop) in sorted(rows.items(), key=lambda item: item[1]):
        if start < end:
            raise DatasetError(f"{file}: splits {previous!r} and {name!r} share row {start}; expected no common row")
        end, previous = stop, name
    return rows


def from_songs(
    phrases: PackedPhrases,
    songs: Shaped[np.ndarray, " B"] | Sequence[object],
    *,
    name: str,
    tonality: Tonality = "all",
    seed: int = 0,
    valid_fraction: float,
    test_fraction: float,
) -> Dataset:
    """A dataset in memory, split by song as `build_dataset` would; every row is kept.

    Args:
      phrases: the rows.
      songs: the song of each row; anything that `str` tells apart. Rows of one song follow one another in the music.
      name: name of the dataset.
      tonality: "c" if all music is in C major or A minor, "all" if it is in any key.
      seed: seed of the split.
      valid_fraction: share of the songs for validation.
      test_fraction: share of the songs for testing.

    Returns:
      The rows in the order train, valid, test, and in the given order within each.

    Raises:
      ValueError: if the arrays do not fit one another or the fractions are impossible.
    """
    if len(phrases) != len(songs) or not len(phrases):
        raise ValueError(f"{len(phrases)} phrases and {len(songs)} songs; expected equal numbers, at least one of each")
    keys = splits.phrase_keys(phrases)
    codes = splits.split_by_song(
        [str(song) for song in songs],
        # A silent phrase does not tell which song copied from which, so it joins no songs.
        [key if row.any() else i for i, (key, row) in enumerate(zip(keys, phrases, strict=True))],
        seed=seed,
        valid_fraction=valid_fraction,
        test_fraction=test_fraction,
    )
    order = np.argsort(codes, kind="stable")
    ordered = np.ascontiguousarray(phrases[order])
    index, counts = [], collections.Counter[str]()
    for code, song in zip(codes[order].tolist(), (str(songs[i]) for i in order), strict=True):
        index.append(IndexLine(splits.SPLITS[code], 0, song, pianoroll.NUM_BARS * counts[song], None, None))
        counts[song] += 1
    rows = split_rows(codes[order])
    digest = dataset_digest(hashlib.sha256(ordered.data).hexdigest(), rows)
    return Dataset(ordered, rows, digest, name, lambda: index, tonality)


@functools.lru_cache(maxsize=4)
def _epoch_order(seed: int, epoch: int, num_rows: int) -> Int64[np.ndarray, " {num_rows}"]:
    """The order of the rows in one epoch.

    Sorts raw random words, because NumPy guarantees the stream of a bit generator for all versions, but not that of
    `Generator.permutation`: a run resumed under another NumPy must read the same batches.
    """
    words = np.random.PCG64(np.random.SeedSequence([seed, epoch])).random_raw(num_rows)
    order = np.argsort(words, kind="stable")
    order.flags.writeable = False  # the cache returns the same array to every caller
    return order


def batch_indices(seed: int, step: int, *, num_rows: int, batch_size: int) -> Int64[np.ndarray, " {batch_size}"]:
    """The rows of one batch: a pure function of its arguments, so that resuming needs no saved iterator.

    Batches run through one shuffled epoch after another. Each epoch visits every row exactly once, in an order of its
    own; a batch may span two or more epochs.

    Args:
      seed: seed of the shuffling, at least 0.
      step: index of the batch, from 0.
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


def random_bars(seed: int, step: int, *, batch_size: int) -> Int64[np.ndarray, " {batch_size}"]:
    """By how many bars, 0 to 3, each phrase of a batch begins later than its row: a function of its arguments alone."""
    words = np.random.PCG64(np.random.SeedSequence([seed, step, 1])).random_raw(batch_size)
    return (words % pianoroll.NUM_BARS).astype(np.int64)


def spread(num_rows: int, num: int) -> Int64[np.ndarray, " at_most_num"]:
    """Indices of up to `num` rows at equal distances, from the first to the last.

    Neighbors are often of one song, and look alike.
    """
    return np.linspace(0, num_rows - 1, min(num, num_rows)).astype(np.int64)
