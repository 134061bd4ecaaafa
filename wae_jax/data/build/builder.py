"""Making a data set: read all inputs, drop what is double, split, write, and tell about it."""

from __future__ import annotations

import collections
import dataclasses
import functools
import json
import math
import pathlib
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int64

import wae_jax
from wae_jax import pianoroll
from wae_jax.data import dataset, splits
from wae_jax.data.build import dataset_writer, dedup_and_split, read_inputs
from wae_jax.data.build.build_spec import Recipe
from wae_jax.data.build.dataset_writer import escape
from wae_jax.data.build.phrase_table import NO_BAR, NO_SONG, PhraseTable
from wae_jax.errors import DatasetError
from wae_jax.pianoroll import PackedPhrases

_RANGE = f"{pianoroll.LOWEST_PITCH} to {pianoroll.LOWEST_PITCH + pianoroll.NUM_PITCHES - 1}"


def build(recipe: Recipe, output: str, *, overwrite: bool, workers: int) -> None:
    """Makes a data set and tells about it on the terminal.

    Args:
      recipe: what it is made of; either all inputs name a split or none does.
      output: the folder to make.
      overwrite: whether a data set that is there may be replaced.
      workers: how many processes read songs; the result is the same.

    Raises:
      DatasetError: if no input gives a phrase or `output` may not be written.
      OSError: if writing fails. Either way nothing is left behind.
    """
    start = time.monotonic()
    recipe = recipe.expanded()
    with dataset_writer.new_dataset_folder(pathlib.Path(output), overwrite=overwrite) as workshop:
        scratch = workshop.scratch / "rows"
        with scratch.open("wb") as file:
            gathered = read_inputs.gather(
                recipe.inputs, file, options=recipe.options, min_tracks=recipe.min_tracks, workers=workers
            )
        read_rows = functools.partial(dataset_writer.read_rows, [scratch])
        report = _fill(workshop.folder, recipe, gathered, read_rows)
    _report(report, output, time.monotonic() - start)


class _Report(NamedTuple):
    """What is told at the end: the fields of dataset.json, and why inputs gave nothing."""

    description: Mapping[str, Any]
    skipped: Sequence[str]
    num_inputs: int


def _fill(
    folder: pathlib.Path,
    recipe: Recipe,
    gathered: read_inputs.Gathered,
    read_rows: Callable[[Int64[np.ndarray, " N"]], Iterator[PackedPhrases]],
) -> _Report:
    """Writes the files of a data set, and tells what one should know of its splits."""
    inputs = recipe.inputs
    plan = dedup_and_split.plan_rows(
        gathered.table,
        [item.split for item in inputs],
        seed=recipe.seed,
        valid_fraction=recipe.valid_fraction,
        test_fraction=recipe.test_fraction,
    )
    kept = gathered.table.take(plan.rows)
    skipped = gathered.skipped | _all_dropped(recipe, gathered, kept)
    if not len(kept):
        raise DatasetError(f"none of the {len(inputs)} inputs gives a phrase; the reasons are above")
    description = _describe(recipe, gathered, plan, kept)
    description["options"] = {**dataclasses.asdict(recipe.options), "min_tracks": recipe.min_tracks}
    description["phrases_sha256"] = dataset_writer.write_phrases(
        folder / dataset.PHRASES_FILE, len(kept), read_rows(plan.rows)
    )
    _write_index(folder / dataset.INDEX_FILE, plan, kept)
    dataset_writer.write_tsv(
        folder / dataset.SKIPPED_FILE,
        [("path", "reason"), *((inputs[i].path, reason) for i, reason in sorted(skipped.items()))],
    )
    with (folder / dataset.DESCRIPTION_FILE).open("w", encoding="utf-8") as file:
        json.dump(description, file, indent=2)
        file.write("\n")
    _report_splits(recipe, plan, kept)
    return _Report(description, list(skipped.values()), len(inputs))


def _all_dropped(recipe: Recipe, gathered: read_inputs.Gathered, kept: PhraseTable) -> dict[int, str]:
    """The inputs that were read but gave nothing, with the reason."""
    useful, staged = (set(np.unique(table.entries["source"]).tolist()) for table in (kept, gathered.table))
    few = recipe.min_tracks
    none = "every phrase is silent" if few == 1 else f"no phrase has {few} tracks that sound"
    reasons = {
        i: "every phrase equals one read before" if i in staged else none
        for i in sorted(gathered.opened)
        if i not in useful
    }
    for i, reason in reasons.items():
        if recipe.inputs[i].folder is None:
            _tell(f"skipped {escape(recipe.inputs[i].path)}: {reason}")
    return reasons


def _describe(
    recipe: Recipe, gathered: read_inputs.Gathered, plan: dedup_and_split.Plan, kept: PhraseTable
) -> dict[str, Any]:
    """The fields of dataset.json, but for the checksum of rows that are not written yet."""
    num_phrases = collections.Counter(kept.entries["source"].tolist())
    with_song = kept.entries[kept.entries["song"] != NO_SONG]
    # Each song of a source once.
    pairs = np.unique(np.stack([with_song["source"], with_song["song"]]), axis=1)
    num_songs = collections.Counter(pairs[0].tolist())
    described = []
    for i in sorted(num_phrases):
        source = gathered.opened[i]
        entry: dict[str, Any] = {"path": recipe.inputs[i].path, "sha256": source.sha256, "phrases": num_phrases[i]}
        entry["songs"] = num_songs[i] or None
        if source.rows:
            entry["rows"] = list(source.rows)
        described.append(entry)
    return {
        "format": dataset.FORMAT,
        "format_version": dataset.FORMAT_VERSION,
        "wae_jax_version": wae_jax.__version__,
        "num_phrases": len(kept),
        "tracks": list(pianoroll.TRACK_NAMES),
        "splits": {name: list(rows) for name, rows in dataset.split_rows(plan.codes).items()},
        "split_rule": plan.rule,
        "songs": len(np.unique(pairs[1])) or None,
        "duplicates_dropped": plan.num_duplicates,
        "duplicates_across_splits": plan.num_across,
        "silent_dropped": gathered.num_silent,
        "few_tracks_dropped": gathered.num_few_tracks,
        "notes_out_of_range": sum(source.notes_out_of_range for source in gathered.opened.values()),
        "sources": described,
    }


def _write_index(path: pathlib.Path, plan: dedup_and_split.Plan, kept: PhraseTable) -> None:
    """Writes index.tsv: where each row comes from; sources are numbered as in dataset.json."""
    _, number = np.unique(kept.entries["source"], return_inverse=True)

    def lines() -> Iterator[tuple[str, ...]]:
        yield dataset.INDEX_COLUMNS
        for row, entry in enumerate(kept.entries):
            _, song, first_bar, tempo, _ = entry.item()
            yield (
                str(row),
                splits.SPLITS[plan.codes[row]],
                str(number[row]),
                kept.song_name(song),
                "" if first_bar == NO_BAR else str(first_bar),
                "" if math.isnan(tempo) else f"{tempo:.6g}",
            )

    dataset_writer.write_tsv(path, lines())


def _report_splits(recipe: Recipe, plan: dedup_and_split.Plan, kept: PhraseTable) -> None:
    """Tells what one should know of the splits before trusting a number measured on them."""
    explicit = any(item.split for item in recipe.inputs)
    has_song = kept.entries["song"] != NO_SONG
    unknown = np.unique(kept.entries["source"][~has_song]).tolist()
    if unknown and not explicit:
        names = ", ".join(escape(recipe.inputs[i].path) for i in unknown)
        _tell(f"note: no songs known for {names}: split into contiguous blocks, so a song may lie across a border")
    present = {splits.SPLITS[code] for code in set(plan.codes.tolist())}
    asked = {"train": 1.0, "valid": recipe.valid_fraction, "test": recipe.test_fraction}
    wanted = {item.split for item in recipe.inputs} if explicit else {name for name in asked if asked[name] > 0}
    for name in splits.SPLITS:
        if name in wanted - present:
            _tell(f"note: {name} is empty")
    pairs = np.unique(np.stack([kept.entries["song"], plan.codes])[:, has_song], axis=1)
    num_shared = int((np.bincount(pairs[0]) > 1).sum())
    if num_shared:
        _tell(f"note: {num_shared} song names stand in more than one split")


def _report(report: _Report, output: str, seconds: float) -> None:
    """The last lines of a run."""
    description, skipped, num_inputs = report
    counts = ", ".join(f"{name} {stop - start}" for name, (start, stop) in description["splits"].items())
    print(f"phrases: {description['num_phrases']} ({counts})")
    print(f"songs: {description['songs'] or 'unknown'}")
    print(
        f"dropped: {description['duplicates_dropped']} duplicates "
        f"({description['duplicates_across_splits']} of a phrase in another split), "
        f"{description['silent_dropped']} silent, {description['few_tracks_dropped']} with too few tracks"
    )
    if description["notes_out_of_range"]:
        print(f"left out: {description['notes_out_of_range']} notes outside MIDI numbers {_RANGE}")
    print(f"skipped: {len(skipped)} of {num_inputs} files")
    # What follows a colon or stands in brackets differs from file to file.
    for reason, count in collections.Counter(re.split(r"[:(;]", reason)[0].strip() for reason in skipped).most_common():
        print(f"  {count} {escape(reason)}")
    print(f"split: {description['split_rule']}")
    print(f"written: {escape(output)} in {seconds:.1f} s")


def _tell(text: str) -> None:
    print(text, file=sys.stderr)
