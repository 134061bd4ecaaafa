"""Names of songs that are files: from a table, else from their paths, different for different files."""

from __future__ import annotations

import codecs
import collections
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from wae_jax.data.build.sources import Input
from wae_jax.errors import DatasetError

TABLE_COLUMNS = ("path", "song")


class NamedInputs(NamedTuple):
    """Inputs with names of songs."""

    inputs: list[Input]
    num_unlisted: int  # files that the table does not list; 0 without a table
    unused_paths: list[pathlib.Path]  # of the table, but of no input


def name_songs(inputs: Sequence[Input], table: Mapping[pathlib.Path, str] | None = None) -> NamedInputs:
    """Gives each input that is a song a name: the one in the table, else one made from its path.

    Raises:
      DatasetError: if a table is given and lists none of the inputs.
    """
    named = [item._replace(song=name) for item, name in zip(inputs, names_from_paths(inputs), strict=True)]
    if table is None:
        return NamedInputs(named, 0, [])
    # The table may name a file by another path than the command line, over a link, say.
    real_of = {path: os.path.realpath(path) for path in table}
    listed = {real_of[path]: song for path, song in table.items()}
    real = [os.path.realpath(item.path) for item in named]
    read = set(real)
    if not listed.keys() & read:
        example = next(iter(table), "nothing")
        raise DatasetError(
            f"the table of songs lists none of the {len(named)} files to read, but {example}; "
            "expected paths relative to the folder of the table"
        )
    named = [
        item._replace(song=listed[path], is_listed=True) if path in listed else item
        for item, path in zip(named, real, strict=True)
    ]
    unused = [path for path in table if real_of[path] not in read]
    return NamedInputs(named, sum(not item.is_listed for item in named), unused)


def names_from_paths(inputs: Sequence[Input]) -> list[str]:
    """Names from paths: a file's path in the folder that was named, with the name of that folder before it.

    A file that was named itself has the name of its folder before its own, so that `midi` and `midi/*.mid` name songs
    alike. Names do not depend on where the folder lies, nor on the other inputs; only where two files would have one
    name, more of their paths is added until they differ.
    """
    paths = []
    num_parts: dict[tuple[str, ...], int] = {}
    for item in inputs:
        path = pathlib.Path(item.path)
        folder = path.parent if item.folder is None else pathlib.Path(item.folder)
        inside = path.relative_to(folder).parts
        full = (*folder.resolve().parts[1:], *inside)
        paths.append(full)
        # A file that is named in two ways has one name, the longer one.
        num_parts[full] = max(num_parts.get(full, 0), min(len(inside) + 1, len(full)))
    while True:
        count = collections.Counter(full[-num:] for full, num in num_parts.items())
        alike = [full for full, num in num_parts.items() if count[full[-num:]] > 1]
        if not alike:
            return ["/".join(full[-num_parts[full] :]) for full in paths]
        for full in alike:
            num_parts[full] = min(num_parts[full] + 1, len(full))


def read_table(path: pathlib.Path) -> dict[pathlib.Path, str]:
    """Reads which files are which song: tab-separated, with a header that has at least `path` and `song`.

    Returns:
      The song of each file; relative paths follow the folder of the table, or the current folder if the table comes
      through a pipe.

    Raises:
      DatasetError: if the table cannot be read; naming the line, if a column is missing or empty, or one file has two
        songs.
    """

    def wrong(line: int, problem: str) -> DatasetError:
        return DatasetError(f"the table of songs {path}, line {line}: {problem}")

    try:
        content = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"the table of songs {path} cannot be read: {error.strerror}") from error
    # Names of files may hold bytes that are not UTF-8, which Python's paths keep in this way.
    text = content.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape")
    lines = [line.removesuffix("\r").split("\t") for line in text.removesuffix("\n").split("\n")]
    header = lines[0]
    for column in TABLE_COLUMNS:
        if header.count(column) != 1:
            raise wrong(1, f"the columns are {header!r:.200}; expected {' and '.join(TABLE_COLUMNS)}, each once")
    folder = path.parent if path.is_file() else pathlib.Path()
    songs: dict[pathlib.Path, str] = {}
    song_of: dict[str, str] = {}  # by the path without links
    for line, fields in enumerate(lines[1:], 2):
        if len(fields) != len(header):
            raise wrong(line, f"{len(fields)} columns; expected {len(header)}, with a tab between them")
        file, song = (fields[header.index(column)] for column in TABLE_COLUMNS)
        if not file or not song:
            raise wrong(line, f"no {'song' if file else 'path'}; expected both")
        songs[folder / file] = song
        if (before := song_of.setdefault(os.path.realpath(folder / file), song)) != song:
            raise wrong(line, f"{file} is of {song!r:.80} here, and of {before!r:.80} before")
    return songs
