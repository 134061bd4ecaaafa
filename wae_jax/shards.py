"""Shards of a data set: each made by a task of its own, that may be killed and run again, and later joined.

work.json             what all tasks agree on: the recipe, and how many shards there are
00003-of-00064/       a shard, renamed to this once it is whole: what comes of every 64th input, from the fourth on
  rows                its phrases, packed, one after another
  table.npy           an entry of `phrase_table` for each
  shard.json          what it was made by, what its inputs were, and which of them gave nothing
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from jaxtyping import Int64

from wae_jax import dataset_folder, pianoroll, recipe, splits
from wae_jax.dataset import DatasetError
from wae_jax.gathering import Gathered, Opened, gather
from wae_jax.phrase_table import ENTRY, NO_SONG, PhraseTable
from wae_jax.pianoroll import PackedPhrases
from wae_jax.recipe import Recipe

WORK_FILE = "work.json"
ROWS_FILE = "rows"
TABLE_FILE = "table.npy"
SHARD_FILE = "shard.json"
FORMAT = "wae_jax shards"
FORMAT_VERSION = 1

# A message names at most so many shards.
_SHARDS_NAMED = 8

_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class Shard:
    """Which share of the work: `index` from 0, of `count`."""

    index: int
    count: int

    @property
    def folder(self) -> str:
        """What the shard is called in the folder of all."""
        return f"{self.index:05}-of-{self.count:05}"

    def of(self, items: Sequence[_T]) -> Sequence[_T]:
        """The shard's share; neighbours go to different shards, as they are often of a kind."""
        return items[self.index :: self.count]

    def __str__(self) -> str:
        """As the flag has it."""
        return f"{self.index}/{self.count}"


class _NotWholeError(ValueError):
    """Why a shard cannot be used."""


def write_shard(folder: pathlib.Path, work: Recipe, shard: Shard, *, overwrite: bool, workers: int) -> Gathered | None:
    """Reads a shard's share of the inputs and puts the shard into the folder of all.

    Args:
      folder: of all shards; made where it is missing.
      work: what the data set is made of, with no folders among its inputs.
      shard: which share.
      overwrite: whether to make it again where it is there and whole; one that is not whole is made again anyway.
      workers: how many processes read songs; the result is the same.

    Returns:
      What was read; None where the shard was there.

    Raises:
      DatasetError: if shards of another recipe lie in the folder; the message names what differs.
      OSError: if writing fails. Either way nothing is left behind.
    """
    folder = folder.resolve()
    _agree(folder, work, shard.count)
    if not overwrite:
        try:
            _read_shard(folder, work, _inputs_sha256(work), shard)
            return None
        except _NotWholeError:
            pass
    with dataset_folder.new_folder(folder / shard.folder) as workshop:
        with (workshop.folder / ROWS_FILE).open("wb") as file:
            gathered = gather(
                shard.of(work.inputs), file, options=work.options, min_tracks=work.min_tracks, workers=workers
            )
        np.save(workshop.folder / TABLE_FILE, gathered.table.entries)
        description = {
            "settings": work.settings(),
            "inputs_sha256": _inputs_sha256(work),
            "num_phrases": len(gathered.table),
            "songs": gathered.table.songs,
            "opened": [(place, *opened) for place, opened in gathered.opened.items()],
            "skipped": list(gathered.skipped.items()),
            "num_silent": gathered.num_silent,
            "num_few_tracks": gathered.num_few_tracks,
        }
        (workshop.folder / SHARD_FILE).write_text(json.dumps(description) + "\n", encoding="utf-8")
    return gathered


def _agree(folder: pathlib.Path, work: Recipe, num_shards: int) -> None:
    """Writes down the work where that is still to be done; else compares."""
    path = folder / WORK_FILE
    if not path.exists():
        present = sorted(entry.name for entry in folder.iterdir())[:1] if folder.exists() else []
        if any(not name.startswith(".") for name in present):
            raise DatasetError(f"{folder} holds {present[0]} and no {WORK_FILE}; expected a folder of shards, or a new")
        folder.mkdir(parents=True, exist_ok=True)
        text = {"format": FORMAT, "format_version": FORMAT_VERSION, "num_shards": num_shards, **recipe.to_json(work)}
        with tempfile.TemporaryDirectory(prefix=".work.", suffix=".partial", dir=folder) as scratch:
            part = pathlib.Path(scratch, WORK_FILE)
            part.write_text(json.dumps(text) + "\n", encoding="utf-8")
            # Two tasks that begin at the same time write the same; and if not, joining finds out.
            part.replace(path)
    there = _read_work(folder)
    different = [
        f"--shard is of {num_shards} and not {there.num_shards}" if num_shards != there.num_shards else "",
        recipe.differing_settings(work.settings(), there.settings),
        recipe.differing_inputs(work.inputs, there.recipe.inputs),
    ]
    if any(different):
        raise DatasetError(
            f"this shard differs from the work that {path} tells of: {', '.join(filter(None, different))}; "
            "expected the same of all shards: name another folder, or remove this one to begin again"
        )


class _Work(NamedTuple):
    """What `WORK_FILE` tells; `settings` name the version of this package that it is of."""

    recipe: Recipe
    settings: Mapping[str, Any]
    num_shards: int


def _read_work(folder: pathlib.Path) -> _Work:
    """What all shards in a folder are to agree on."""
    path = folder / WORK_FILE
    try:
        text = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DatasetError(f"{folder} holds no {WORK_FILE}; expected a folder that --shard has written to") from error
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"{path} cannot be read as JSON: {error}; remove {folder} and make the shards again"
        ) from error
    try:
        kind = text["format"], text["format_version"]
        if kind != (FORMAT, FORMAT_VERSION):
            raise ValueError(f"it is of {kind[0]!r}, version {kind[1]!r}")
        return _Work(recipe.from_json(text), text["settings"], int(text["num_shards"]))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DatasetError(
            f"{path} does not tell of {FORMAT} of version {FORMAT_VERSION} ({type(error).__name__}: {error}); expected "
            "the folder of shards of one version of wae_jax"
        ) from error


def _inputs_sha256(work: Recipe) -> str:
    """Equal for equal lists of inputs."""
    return hashlib.sha256(json.dumps(recipe.to_json(work)["inputs"]).encode()).hexdigest()


class _ShardFiles(NamedTuple):
    """What lies in a shard's folder, with the places of inputs among all inputs."""

    rows: pathlib.Path
    gathered: Gathered


def _read_shard(folder: pathlib.Path, work: Recipe, inputs_sha256: str, shard: Shard) -> _ShardFiles:
    """Reads all of a shard but its rows. Raises _NotWholeError, saying why, if it is of no use."""
    place = folder / shard.folder
    if not place.is_dir():
        begun = any(folder.glob(dataset_folder.UNFINISHED.format(shard.folder)))
        raise _NotWholeError("begun, but not finished: its task was stopped or is at work" if begun else "missing")
    try:
        text = json.loads((place / SHARD_FILE).read_text(encoding="utf-8"))
        entries = np.load(place / TABLE_FILE, allow_pickle=False)
        size = (place / ROWS_FILE).stat().st_size
        different = recipe.differing_settings(text["settings"], work.settings())
        if not different and text["inputs_sha256"] != inputs_sha256:
            different = "its list of sources is another"
        gathered = _gathered(text, entries, shard)
    except (OSError, ValueError, EOFError, KeyError, TypeError) as error:
        raise _NotWholeError(f"damaged: {error}") from error
    if different:
        raise _NotWholeError(f"of other work than {WORK_FILE} tells of: {different}")
    num_phrases, num_inputs = text["num_phrases"], len(shard.of(work.inputs))
    if not (
        entries.dtype == ENTRY and len(entries) == num_phrases and size == num_phrases * pianoroll.BYTES_PER_PHRASE
    ):
        raise _NotWholeError(
            f"half-written: {len(entries)} entries and {size} bytes of rows; expected {num_phrases} phrases of "
            f"{pianoroll.BYTES_PER_PHRASE} bytes"
        )
    if len(gathered.opened) + len(gathered.skipped) != num_inputs:
        raise _NotWholeError(f"of {len(gathered.opened) + len(gathered.skipped)} inputs; expected {num_inputs}")
    return _ShardFiles(place / ROWS_FILE, gathered)


def _gathered(text: Mapping[str, Any], entries: np.ndarray, shard: Shard) -> Gathered:
    """What a shard tells, where inputs have their places among all."""
    if entries.dtype == ENTRY:
        entries["source"] = entries["source"] * shard.count + shard.index
    inputs = range(shard.index, 1 << 31, shard.count)
    return Gathered(
        PhraseTable(entries, text["songs"]),
        {inputs[i]: Opened(sha256, rows and (rows[0], rows[1]), notes) for i, sha256, rows, notes in text["opened"]},
        {inputs[i]: reason for i, reason in text["skipped"]},
        text["num_silent"],
        text["num_few_tracks"],
    )


@dataclasses.dataclass(frozen=True)
class Joined:
    """All shards as what one run would have gathered.

    Attributes:
      work: what the data set is made of.
      gathered: what all inputs gave.
      files: where the rows lie.
      places: for each entry of the table the number of its row, through all files.
    """

    work: Recipe
    gathered: Gathered
    files: Sequence[pathlib.Path]
    places: Int64[np.ndarray, " N"]

    def read_rows(self, rows: Int64[np.ndarray, " M"]) -> Iterator[PackedPhrases]:
        """The phrases of these entries, some at a time.

        Raises:
          DatasetError: naming the shard, if one is not what was written.
        """
        start = 0
        for part in dataset_folder.read_rows(self.files, self.places[rows]):
            mine = rows[start : start + len(part)]
            keys = np.frombuffer(b"".join(splits.phrase_keys(part)), "<u8").reshape(-1, 2)
            different = (keys != self.gathered.table.entries["key"][mine]).any(axis=1)
            if different.any():
                source = int(self.gathered.table.entries["source"][mine[different.argmax()]])
                shard = Shard(source % len(self.files), len(self.files))
                raise DatasetError(
                    f"shard {shard} is damaged: a phrase of {self.work.inputs[source].path} is not what was written; "
                    f"make it again with --shard {shard} --overwrite"
                )
            yield part
            start += len(part)


def join(folder: pathlib.Path) -> Joined:
    """Reads all shards in a folder, but not their rows.

    Raises:
      DatasetError: naming each shard that is missing, half-written or of other work.
    """
    work, settings, num_shards = _read_work(folder)
    different = recipe.differing_settings(settings, work.settings())
    if different:
        raise DatasetError(f"the shards in {folder} are of another version: {different}; join them with theirs")
    inputs_sha256 = _inputs_sha256(work)
    found: list[_ShardFiles] = []
    useless: dict[Shard, str] = {}
    for index in range(num_shards):
        shard = Shard(index, num_shards)
        try:
            found.append(_read_shard(folder, work, inputs_sha256, shard))
        except _NotWholeError as error:
            useless[shard] = str(error)
    if useless:
        named = [f"{shard} ({reason})" for shard, reason in useless.items()][:_SHARDS_NAMED]
        more = f" and {len(useless) - len(named)} more" if len(useless) > len(named) else ""
        raise DatasetError(
            f"{len(useless)} of the {num_shards} shards in {folder} cannot be joined: {', '.join(named)}{more}; "
            "run the tasks of these shards again"
        )
    table, places = _join_tables([shard.gathered.table for shard in found])
    gathered = Gathered(
        table,
        dict(sorted(item for shard in found for item in shard.gathered.opened.items())),
        dict(sorted(item for shard in found for item in shard.gathered.skipped.items())),
        sum(shard.gathered.num_silent for shard in found),
        sum(shard.gathered.num_few_tracks for shard in found),
    )
    return Joined(work, gathered, [shard.rows for shard in found], places)


def _join_tables(tables: Sequence[PhraseTable]) -> tuple[PhraseTable, Int64[np.ndarray, " N"]]:
    """One table in the order of the inputs, and for each of its entries its number, one table after another."""
    number: dict[str, int] = {}
    for table in tables:
        songs = np.array([number.setdefault(song, len(number)) for song in table.songs], np.int32)
        known = table.entries["song"] != NO_SONG
        table.entries["song"][known] = songs[table.entries["song"][known]]
    entries = np.concatenate([table.entries for table in tables])
    # All phrases of an input are of one shard, and in order there.
    places = np.argsort(entries["source"], kind="stable")
    return PhraseTable(entries[places], list(number)), places
