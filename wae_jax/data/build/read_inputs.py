"""Ingestion: reads all inputs of a dataset once, a chunk at a time, into a staging file.

Memory keeps 41 bytes a phrase (`sources.RECORD`), where the phrase itself has ten thousand.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import pathlib
import sys
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import BinaryIO

import numpy as np
import tqdm
from jaxtyping import Shaped

from wae_jax import pianoroll
from wae_jax.data import splits
from wae_jax.data.build import formats
from wae_jax.data.build.dataset_writer import escape
from wae_jax.data.build.sources import (
    RECORD,
    UNKNOWN,
    UNKNOWN_SHIFT,
    BuildSpec,
    Chunk,
    Input,
    Options,
    PhraseTable,
    Source,
    reasons,
)
from wae_jax.data.build.workers import read_songs
from wae_jax.errors import DatasetError, SourceError

# A folder may hold thousands of files without a phrase; all of them are in skipped.tsv.
_SKIPS_PRINTED_PER_FOLDER = 10


@dataclasses.dataclass(frozen=True)
class Ingested:
    """Everything that was read."""

    table: PhraseTable  # one record for each phrase of the staging file
    sources: dict[int, Source]  # inputs read to their end, by index; their chunks are used up
    skipped: dict[int, str]  # the reason for each other input, by index
    num_silent: int
    num_few_tracks: int


def expand_inputs(inputs: Iterable[Input]) -> list[Input]:
    """Replaces each folder by its files, and sorts by split, so that training keeps the first of equal phrases.

    Raises:
      DatasetError: if rows of a folder are selected.
    """
    expanded: list[Input] = []
    for item in inputs:
        if not pathlib.Path(item.path).is_dir():
            expanded.append(item)
            continue
        if item.rows is not None:
            raise DatasetError(f"--rows follows {item.path}, which is a folder; expected a file")
        files = formats.find_files(pathlib.Path(item.path))
        expanded += [item._replace(path=str(file), folder=item.path) for file in files] or [item]
    return sorted(expanded, key=lambda item: splits.SPLITS.index(item.split) if item.split else 0)


def ingest(spec: BuildSpec, staging: BinaryIO, *, num_workers: int) -> Ingested:
    """Reads inputs, and writes their packed phrases to `staging`, one after another.

    An input that fails half-way leaves nothing there. The result does not depend on the number of worker processes.
    """
    records = [np.zeros(0, RECORD)]
    songs: dict[str, int] = {}
    read: dict[int, Source] = {}
    skipped: dict[int, str] = {}
    num_silent = num_few_tracks = 0
    with (
        contextlib.closing(_open_all(spec.inputs, spec.options, num_workers)) as sources,
        # disable=None switches the bar off where the output is no terminal.
        tqdm.tqdm(total=len(spec.inputs), unit=" files", leave=False, disable=None) as bar,
    ):
        for folder, items in itertools.groupby(enumerate(spec.inputs), key=lambda each: each[1].folder):
            num_read = num_skipped = num_phrases = 0
            for index, item in items:
                start = staging.tell()
                try:
                    source = next(sources)
                    if isinstance(source, SourceError):
                        raise source
                    new_records, silent, few_tracks = _stage(source, index, spec, songs, staging)
                except SourceError as error:
                    staging.seek(start)
                    staging.truncate()
                    skipped[index] = str(error)
                    num_skipped += 1
                    _print_skipped(item, str(error), num_skipped)
                else:
                    records.append(new_records)
                    num_silent += silent
                    num_few_tracks += few_tracks
                    read[index] = source
                    num_read += 1
                    num_phrases += (num_found := len(new_records) + silent + few_tracks)
                    if folder is None:
                        num_songs = len(set(new_records["song"].tolist()) - {UNKNOWN}) or "unknown"
                        tqdm.tqdm.write(f"read {escape(item.path)}: {num_found} phrases, {num_songs} songs")
                bar.update()
            if folder is not None:
                tqdm.tqdm.write(
                    f"read {escape(folder)}: {num_phrases} phrases in {num_read} files, {num_skipped} files without"
                )
    return Ingested(PhraseTable(np.concatenate(records), list(songs)), read, skipped, num_silent, num_few_tracks)


def _open_all(
    inputs: Sequence[Input], options: Options, num_workers: int
) -> Generator[Source | SourceError, None, None]:
    """Opens the inputs in order: songs are read ahead by other processes, arrays by this one."""
    is_song = [_is_song(item) for item in inputs]
    songs = [item for item, known in zip(inputs, is_song, strict=True) if known is True]
    with contextlib.closing(read_songs(songs, options, num_workers=num_workers)) as read:
        for item, known in zip(inputs, is_song, strict=True):
            if isinstance(known, SourceError):
                yield known
            elif known:
                yield next(read)
            else:
                try:
                    yield formats.open_source(pathlib.Path(item.path), rows=item.rows, options=options)
                except SourceError as error:
                    yield error


def _is_song(item: Input) -> bool | SourceError:
    path = pathlib.Path(item.path)
    if path.is_dir():
        return SourceError(f"holds no file named {', '.join(sorted(f'*{end}' for end in formats.EXTENSIONS))}")
    try:
        return formats.format_of(path).is_song
    except SourceError as error:
        return error


def _stage(
    source: Source, index: int, spec: BuildSpec, songs: dict[str, int], staging: BinaryIO
) -> tuple[Shaped[np.ndarray, " N"], int, int]:
    """Writes the phrases of one input to the staging file; adds new names to `songs`.

    Returns:
      The records of the phrases; how many others are silent, and how many have too few active tracks.
    """
    item = spec.inputs[index]
    song = item.song if source.is_song else None
    if item.is_listed and not source.is_song:
        raise SourceError("holds many phrases, and the table of songs names it as one song; name songs in its own .tsv")
    records = [np.zeros(0, RECORD)]
    num_silent = num_few_tracks = 0
    for chunk in _with_progress(source, item.path):
        num_tracks = np.count_nonzero(pianoroll.active_tracks(chunk.rows), axis=1)
        chosen = num_tracks >= spec.min_tracks
        with reasons():
            records.append(_records(index, chunk, song, songs)[chosen])
        staging.write(chunk.rows[chosen].data)
        num_silent += int(np.count_nonzero(num_tracks == 0))
        num_few_tracks += int(np.count_nonzero(~chosen & (num_tracks > 0)))
    return np.concatenate(records), num_silent, num_few_tracks


def _records(index: int, chunk: Chunk, song: str | None, songs: dict[str, int]) -> Shaped[np.ndarray, " N"]:
    """Records of the phrases of a chunk; `song` is the name for all of them if the chunk has no names."""
    records = np.zeros(len(chunk.rows), RECORD)
    records["source"] = index
    records["key"] = np.frombuffer(b"".join(splits.phrase_keys(chunk.rows)), np.uint64).reshape(-1, 2)
    records["tempo"] = np.nan if chunk.tempos is None else chunk.tempos
    records["semitones"] = UNKNOWN_SHIFT if chunk.semitones is None else chunk.semitones
    records["first_bar"] = records["song"] = UNKNOWN
    if chunk.first_bars is not None:
        records["first_bar"] = [UNKNOWN if bar is None else bar for bar in chunk.first_bars]
    if chunk.songs is not None:
        records["song"] = [songs.setdefault(name, len(songs)) for name in chunk.songs]
    elif song is not None:
        records["song"] = songs.setdefault(song, len(songs))
    return records


def _with_progress(source: Source, path: str) -> Iterator[Chunk]:
    """The chunks of a source; arrays have a progress bar of their own."""
    name = pathlib.Path(path).name
    disable = True if source.is_song else None
    with tqdm.tqdm(total=source.num_phrases, desc=name, unit=" phrases", leave=False, disable=disable) as bar:
        for chunk in source.chunks:
            yield chunk
            bar.update(len(chunk.rows))


def _print_skipped(item: Input, reason: str, num_in_folder: int) -> None:
    if item.folder is None or num_in_folder <= _SKIPS_PRINTED_PER_FOLDER:
        tqdm.tqdm.write(f"skipped {escape(item.path)}: {escape(reason)}", file=sys.stderr)
    elif num_in_folder == _SKIPS_PRINTED_PER_FOLDER + 1:
        tqdm.tqdm.write(f"more files of {escape(item.folder)} are skipped: see skipped.tsv", file=sys.stderr)
