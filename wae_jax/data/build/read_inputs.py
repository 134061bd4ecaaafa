"""Reading all inputs of a data set.

The phrases are read once, a chunk at a time, into a scratch file, while memory keeps a key and the song of each.
"""

from __future__ import annotations

import dataclasses
import itertools
import pathlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO, NamedTuple

import numpy as np
import tqdm

from wae_jax import pianoroll
from wae_jax.data import splits
from wae_jax.data.build import formats
from wae_jax.data.build.dataset_writer import escape
from wae_jax.data.build.phrase_table import PhraseTable, TableBuilder
from wae_jax.data.build.sources import Chunk, Options, Source, reasons
from wae_jax.data.build.workers import Request, SongReaders
from wae_jax.errors import DatasetError, SourceError

# A folder may hold thousands of files without a phrase; all of them are in skipped.tsv.
_SKIPS_TOLD_PER_FOLDER = 10


class Input(NamedTuple):
    """One file to read, or a folder in which there is none.

    Attributes:
      path: the file.
      split: the split that its phrases are for; None where that goes by rule.
      rows: which of its phrases to take; None takes all.
      folder: the folder of the command line that it was found in, or None where it was named itself.
    """

    path: str
    split: str | None = None
    rows: slice | None = None
    folder: str | None = None

    @property
    def song(self) -> str:
        """What the song is called if the file is one: alike wherever the folder lies."""
        path = pathlib.Path(self.path)
        if self.folder is None:
            return path.name
        return f"{pathlib.Path(self.folder).resolve().name}/{path.relative_to(self.folder).as_posix()}"


def expand(inputs: Iterable[Input]) -> list[Input]:
    """Puts in the place of each folder the files in it. Raises DatasetError if rows of a folder are asked for."""
    return list(itertools.chain.from_iterable(map(_expand_one, inputs)))


def _expand_one(item: Input) -> list[Input]:
    path = pathlib.Path(item.path)
    if not path.is_dir():
        return [item]
    if item.rows is not None:
        raise DatasetError(f"--rows stands after {item.path}, which is a folder; expected a file")
    files = formats.find_files(path)
    return [item._replace(path=str(file), folder=item.path) for file in files] or [item]


class Opened(NamedTuple):
    """What is kept of an input that was read to its end; the fields are those of `sources.Source`."""

    sha256: str
    rows: tuple[int, int] | None
    notes_out_of_range: int


@dataclasses.dataclass(frozen=True)
class Gathered:
    """Everything that was read.

    Attributes:
      table: one entry for each row of the scratch file.
      opened: what each input was that could be read to its end, by its place among the inputs.
      skipped: for each other input the reason, by its place.
      num_silent: how many silent phrases were left out.
      num_few_tracks: how many phrases were left out because too few tracks sound.
    """

    table: PhraseTable
    opened: dict[int, Opened]
    skipped: dict[int, str]
    num_silent: int
    num_few_tracks: int


def gather(inputs: Sequence[Input], file: BinaryIO, *, options: Options, min_tracks: int, workers: int) -> Gathered:
    """Reads inputs and writes their phrases to `file`, packed, one after another.

    An input that fails half-way leaves nothing in `file`.

    Args:
      inputs: what to read, no folders.
      file: where to write.
      options: how songs and float arrays are read.
      min_tracks: a phrase in which fewer tracks sound is left out.
      workers: how many processes read songs; what is read is the same.
    """
    table = TableBuilder()
    opened: dict[int, Opened] = {}
    skipped: dict[int, str] = {}
    num_silent = num_few_tracks = 0
    told = _Reporter(inputs)
    with (
        SongReaders(workers, options) as readers,
        # Switched off (disable=None) where the output is no terminal.
        tqdm.tqdm(total=len(inputs), unit=" files", leave=False, disable=None) as bar,
    ):
        for i, source in enumerate(_open_all(inputs, readers, options)):
            before, dropped = len(table), np.zeros(2, np.int64)
            try:
                if isinstance(source, SourceError):
                    raise source
                for chunk in _with_progress(source, inputs[i].path):
                    song = inputs[i].song if source.is_song else None
                    dropped += _stage(table, file, i, chunk, song, min_tracks)
            except SourceError as error:
                table.truncate(before)
                file.seek(before * pianoroll.BYTES_PER_PHRASE)
                file.truncate()
                skipped[i] = str(error)
                told.skipped(i, str(error))
            else:
                num_silent, num_few_tracks = (np.array([num_silent, num_few_tracks]) + dropped).tolist()
                opened[i] = Opened(source.sha256, source.rows, source.notes_out_of_range)
                told.read(i, len(table) - before + int(dropped.sum()), table.num_songs(before))
            bar.update()
        told.end()
    return Gathered(table.table(), opened, skipped, num_silent, num_few_tracks)


def _open_all(inputs: Sequence[Input], readers: SongReaders, options: Options) -> Iterator[Source | SourceError]:
    """Opens the inputs in their order: songs are read ahead by other processes, arrays here."""
    # Looked at while the first songs are read already.
    kinds, ahead = itertools.tee(map(_kind, inputs))
    songs = (Request(i.path, i.rows) for i, kind in zip(inputs, ahead, strict=True) if kind is True)
    read_songs = readers.read(songs)
    for item, kind in zip(inputs, kinds, strict=True):
        if isinstance(kind, SourceError):
            yield kind
        elif kind:
            yield next(read_songs)
        else:
            try:
                yield formats.open_source(pathlib.Path(item.path), rows=item.rows, options=options)
            except SourceError as error:
                yield error


def _kind(item: Input) -> bool | SourceError:
    """Whether an input is a song, or why it is nothing."""
    path = pathlib.Path(item.path)
    if path.is_dir():
        return SourceError(f"holds no file named {', '.join(sorted(f'*{end}' for end in formats.EXTENSIONS))}")
    try:
        return formats.kind_of(path).is_song
    except SourceError as error:
        return error


def _with_progress(source: Source, path: str) -> Iterator[Chunk]:
    """The chunks of a source, with a bar of its own if it is large."""
    if source.is_song:
        yield from source.chunks
        return
    name = pathlib.Path(path).name
    with tqdm.tqdm(total=source.num_phrases, desc=name, unit=" phrases", leave=False, disable=None) as bar:
        for chunk in source.chunks:
            yield chunk
            bar.update(len(chunk.rows))


def _stage(
    table: TableBuilder, file: BinaryIO, source: int, chunk: Chunk, song: str | None, min_tracks: int
) -> np.ndarray:
    """Appends the phrases of one chunk to the table and to the file.

    Returns:
      How many were left out: the silent ones, and those with too few tracks.
    """
    num_tracks = np.count_nonzero(pianoroll.active_tracks(chunk.rows), axis=1)
    chosen = num_tracks >= min_tracks
    picked: list[bool] = chosen.tolist()
    rows = chunk.rows if all(picked) else chunk.rows[chosen]
    unknown = [None] * len(picked)
    with reasons():
        table.add(
            source,
            splits.phrase_keys(rows),
            songs=itertools.compress(chunk.songs or [song] * len(picked), picked),
            first_bars=itertools.compress(chunk.first_bars or unknown, picked),
            tempos=itertools.compress(chunk.tempos or unknown, picked),
        )
    file.write(np.ascontiguousarray(rows).data)
    num_silent = np.count_nonzero(num_tracks == 0)
    return np.array([num_silent, len(picked) - len(rows) - num_silent])


class _Reporter:
    """Tells what was read: a line for each file that was named, and one for each folder."""

    def __init__(self, inputs: Sequence[Input]) -> None:
        self._inputs = inputs
        self._folder: str | None = None
        self._files = self._read = self._phrases = 0

    def read(self, place: int, num_phrases: int, num_songs: int) -> None:
        self._enter(place)
        self._read += 1
        self._phrases += num_phrases
        if self._folder is None:
            songs = num_songs or "unknown"
            _print(f"read {escape(self._inputs[place].path)}: {num_phrases} phrases, {songs} songs")

    def skipped(self, place: int, reason: str) -> None:
        self._enter(place)
        num_skipped = self._files - self._read
        if self._folder is None or num_skipped <= _SKIPS_TOLD_PER_FOLDER:
            _print(f"skipped {escape(self._inputs[place].path)}: {escape(reason)}", file=sys.stderr)
        elif num_skipped == _SKIPS_TOLD_PER_FOLDER + 1:
            _print(f"more files of {escape(self._folder)} are skipped: see skipped.tsv", file=sys.stderr)

    def end(self) -> None:
        """Tells about the folder whose files came last."""
        if self._folder is not None:
            _print(
                f"read {escape(self._folder)}: {self._phrases} phrases in {self._read} files, "
                f"{self._files - self._read} files without"
            )

    def _enter(self, place: int) -> None:
        folder = self._inputs[place].folder
        if folder != self._folder:
            self.end()
            self._folder = folder
            self._files = self._read = self._phrases = 0
        self._files += 1


def _print(text: str, file: object = None) -> None:
    tqdm.tqdm.write(text, file=file or sys.stdout)
