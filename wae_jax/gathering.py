"""Reading all inputs of a data set, and deciding which phrases stay and which split each belongs to.

The phrases are read once, a chunk at a time, into a scratch file, while memory keeps a 16-byte key and
the song of each. When all are read, `plan_rows` decides from these alone.
"""

from __future__ import annotations

import collections
import dataclasses
import pathlib
import sys
from collections.abc import Sequence
from typing import BinaryIO, NamedTuple

import numpy as np
import tqdm

from wae_jax import openers, pianoroll, sources, splits
from wae_jax.dataset_folder import escape


class Input(NamedTuple):
    """One path of the command line: what to read, for which split (None: by rule), which of its rows."""

    path: str
    split: str | None = None
    rows: slice | None = None


class Staged(NamedTuple):
    """What memory keeps of a phrase in the scratch file."""

    source: int
    song: str | None
    first_bar: int | None
    key: bytes


@dataclasses.dataclass(frozen=True)
class Gathered:
    """Everything that was read.

    Attributes:
      phrases: one entry for each row of the scratch file.
      opened: for each input that could be read to its end, by its place among the inputs, what it was.
      skipped: for each other input the reason, by its place.
      num_silent: how many silent phrases were left out.
    """

    phrases: list[Staged]
    opened: dict[int, sources.Source]
    skipped: dict[int, str]
    num_silent: int


@dataclasses.dataclass(frozen=True)
class Plan:
    """Which rows of the scratch file make the data set.

    Attributes:
      rows: int64 [N], in their final order.
      codes: int8 [N], for each its place in `splits.SPLITS`, ascending.
      num_duplicates: how many rows were dropped because an earlier one is equal.
      num_across: how many of these had their equal in another split.
      rule: how the splits came about, in words.
    """

    rows: np.ndarray
    codes: np.ndarray
    num_duplicates: int
    num_across: int
    rule: str


def gather(inputs: Sequence[Input], file: BinaryIO, *, options: sources.Options) -> Gathered:
    """Reads all inputs and writes their sounding phrases to `file`, packed, one after another.

    An input that fails half-way leaves nothing in `file`.
    """
    phrases: list[Staged] = []
    opened: dict[int, sources.Source] = {}
    skipped: dict[int, str] = {}
    num_silent = 0
    for i, item in enumerate(inputs):
        before, silent = len(phrases), 0
        try:
            source = openers.open_source(pathlib.Path(item.path), rows=item.rows, options=options)
            name = pathlib.Path(item.path).name
            # Switched off (disable=None) where the output is no terminal.
            with tqdm.tqdm(total=source.num_phrases, desc=name, unit=" phrases", leave=False, disable=None) as bar:
                for chunk in source.chunks:
                    sounding = np.any(chunk.rows, axis=1)
                    silent += int((~sounding).sum())
                    _stage(phrases, file, i, chunk, sounding)
                    bar.update(len(chunk.rows))
        except sources.SourceError as error:
            del phrases[before:]
            file.seek(before * pianoroll.BYTES_PER_PHRASE)
            file.truncate()
            skipped[i] = str(error)
            print(f"skipped {escape(item.path)}: {escape(str(error))}", file=sys.stderr)
            continue
        num_silent += silent
        opened[i] = source
        songs = {phrase.song for phrase in phrases[before:]} - {None}
        print(f"read {escape(item.path)}: {len(phrases) - before + silent} phrases, {len(songs) or 'unknown'} songs")
    return Gathered(phrases, opened, skipped, num_silent)


def _stage(phrases: list[Staged], file: BinaryIO, source: int, chunk: sources.Chunk, sounding: np.ndarray) -> None:
    """Appends the sounding phrases of one chunk to the list and to the file."""
    rows = chunk.rows[sounding]
    file.write(rows.data)
    for place, key in zip(np.flatnonzero(sounding).tolist(), splits.phrase_keys(rows), strict=True):
        song = chunk.songs[place] if chunk.songs else None
        first_bar = chunk.first_bars[place] if chunk.first_bars else None
        phrases.append(Staged(source, song, first_bar, key))


def plan_rows(
    phrases: Sequence[Staged],
    split_of_input: Sequence[str | None],
    *,
    seed: int,
    valid_fraction: float,
    test_fraction: float,
) -> Plan:
    """Drops repeated phrases and gives the others their places.

    Args:
      phrases: all there are, in the order in which the first of equal ones stays.
      split_of_input: for each input the split that was asked for, or None for all of them.
      seed: of the split by song.
      valid_fraction: share of the songs, or of a block, to validate on.
      test_fraction: share to test on.
    """
    first: dict[bytes, int] = {}
    for i, phrase in enumerate(phrases):
        first.setdefault(phrase.key, i)
    kept = np.fromiter(first.values(), np.int64, len(first))
    num_across = 0
    if any(split_of_input):
        codes = np.array([splits.SPLITS.index(split_of_input[phrase.source] or "") for phrase in phrases], np.int8)
        num_across = sum(int(codes[i] != codes[first[phrase.key]]) for i, phrase in enumerate(phrases))
        rule = "as given: --train, --valid, --test"
    else:
        codes, rule = _split_by_rule(
            phrases, kept, seed=seed, valid_fraction=valid_fraction, test_fraction=test_fraction
        )
    order = np.argsort(codes[kept], kind="stable")
    return Plan(kept[order], codes[kept][order], len(phrases) - len(kept), num_across, rule)


def _split_by_rule(
    phrases: Sequence[Staged], kept: np.ndarray, *, seed: int, valid_fraction: float, test_fraction: float
) -> tuple[np.ndarray, str]:
    """Splits by song what has songs, and each other input by blocks; the codes of all rows, and words.

    Repeated phrases count among the songs, because they tell which songs belong together, but not
    among the blocks, whose sizes should be those of what stays; their codes mean nothing there.
    """
    fractions = {"valid_fraction": valid_fraction, "test_fraction": test_fraction}
    codes = np.zeros(len(phrases), np.int8)
    rules = []
    with_song = [i for i, phrase in enumerate(phrases) if phrase.song is not None]
    if with_song:
        songs = [phrases[i].song or "" for i in with_song]
        codes[with_song] = splits.split_by_song(songs, [phrases[i].key for i in with_song], seed=seed, **fractions)
        rules.append(
            f"by song: sha256 of seed {seed} and the song's name, songs that share a phrase together, "
            f"{valid_fraction} of the songs valid, {test_fraction} test"
        )
    blocks = collections.defaultdict(list)
    for i in kept.tolist():
        if phrases[i].song is None:
            blocks[phrases[i].source].append(i)
    for rows in blocks.values():
        codes[rows] = splits.split_by_block(len(rows), **fractions)
    if blocks:
        rules.append(
            f"by contiguous blocks, where songs are unknown: of each such input the first phrases train, "
            f"then {valid_fraction} of them valid, the last {test_fraction} test"
        )
    return codes, "; ".join(rules)
