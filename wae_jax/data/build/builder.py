"""Builds a dataset: ingests all inputs, drops duplicates, splits, writes, and prints what was done."""

from __future__ import annotations

import collections
import dataclasses
import json
import math
import pathlib
import re
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import Shaped

import wae_jax
from wae_jax import pianoroll
from wae_jax.data import dataset, splits
from wae_jax.data.build import dataset_writer, note_report, tonality
from wae_jax.data.build.dataset_writer import escape
from wae_jax.data.build.dedup_and_split import Selection, deduplicate_and_split
from wae_jax.data.build.near_duplicates import DEFINITION
from wae_jax.data.build.read_inputs import Ingested, expand_inputs, ingest
from wae_jax.data.build.song_names import name_songs, read_table
from wae_jax.data.build.sources import UNKNOWN, UNKNOWN_SHIFT, BuildSpec, PhraseTable
from wae_jax.errors import DatasetError


def build(spec: BuildSpec, output: str, *, overwrite: bool, num_workers: int) -> None:
    """Builds a dataset at `output` and reports on the terminal. If it fails, nothing is left behind.

    Raises:
      DatasetError: if no input gives a phrase, or `output` may not be written.
      OSError: if writing fails.
    """
    start = time.monotonic()
    spec = _with_names(dataclasses.replace(spec, inputs=expand_inputs(spec.inputs)))
    with dataset_writer.staging_folder(pathlib.Path(output), overwrite=overwrite) as staging:
        staged = staging.scratch / "rows"
        with staged.open("wb") as file:
            ingested = ingest(spec, file, num_workers=num_workers)
        cells = np.memmap(staged, np.uint8, "r") if staged.stat().st_size else np.zeros(0, np.uint8)
        rows = cells.reshape(-1, pianoroll.BYTES_PER_PHRASE)
        selection = deduplicate_and_split(ingested.table, rows, spec)
        table = ingested.table._replace(records=ingested.table.records[selection.rows])
        skipped = ingested.skipped | _without_phrases(spec, ingested, table)
        if not len(table.records):
            raise DatasetError(f"none of the {len(spec.inputs)} inputs gives a phrase; the reasons are above")
        description = _describe(spec, ingested, selection, table)
        kept = selection.rows[table.records["semitones"] == UNKNOWN_SHIFT]
        description |= tonality.fields(rows, kept, spec.options.tonality)
        description["phrases_sha256"] = dataset_writer.copy_phrases(
            staged, selection.rows, staging.folder / dataset.PHRASES_FILE
        )
        dataset_writer.write_tsv(staging.folder / dataset.INDEX_FILE, _index_lines(selection, table))
        reasons = [(spec.inputs[i].path, reason) for i, reason in sorted(skipped.items())]
        dataset_writer.write_tsv(staging.folder / dataset.SKIPPED_FILE, [("path", "reason"), *reasons])
        text = json.dumps(description, indent=2) + "\n"
        (staging.folder / dataset.DESCRIPTION_FILE).write_text(text, encoding="utf-8")
        _print_notes(spec, selection, table)
    _print_summary(description, skipped, len(spec.inputs))
    print(f"written: {escape(output)} in {time.monotonic() - start:.1f} s")


def _with_names(spec: BuildSpec) -> BuildSpec:
    """The spec with the songs of its inputs named; prints how the table of songs and the inputs differ."""
    table = None if spec.song_table is None else read_table(pathlib.Path(spec.song_table))
    named = name_songs(spec.inputs, table)
    name = escape(str(spec.song_table))
    if named.num_unlisted:
        _note(f"note: {name} does not list {named.num_unlisted} of {len(named.inputs)} files")
    if named.unused_paths:
        example = escape(str(named.unused_paths[0]))
        _note(f"note: {len(named.unused_paths)} paths of {name} are not read, such as {example}")
    return dataclasses.replace(spec, inputs=named.inputs)


def _without_phrases(spec: BuildSpec, ingested: Ingested, table: PhraseTable) -> dict[int, str]:
    """Reasons for inputs that were read but have no phrase in the dataset; prints those that were named."""
    used, staged = (set(each.records["source"].tolist()) for each in (table, ingested.table))
    few = spec.min_tracks
    none = "every phrase is silent" if few == 1 else f"no phrase has {few} active tracks"
    reasons = {
        i: "every phrase equals one read before" if i in staged else none
        for i in sorted(ingested.sources)
        if i not in used
    }
    for i, reason in reasons.items():
        if spec.inputs[i].folder is None:
            _note(f"skipped {escape(spec.inputs[i].path)}: {reason}")
    return reasons


def _describe(spec: BuildSpec, ingested: Ingested, selection: Selection, table: PhraseTable) -> dict[str, Any]:
    """The fields of dataset.json except for the digest of the rows, which are not written yet."""
    num_phrases = collections.Counter(table.records["source"].tolist())
    with_song = table.records[table.records["song"] != UNKNOWN]
    # Each song of a source once.
    pairs = np.unique(np.stack([with_song["source"], with_song["song"]]), axis=1)
    num_songs = collections.Counter(pairs[0].tolist())
    sources = []
    for i in sorted(num_phrases):
        source = ingested.sources[i]
        entry: dict[str, Any] = {"path": spec.inputs[i].path, "sha256": source.sha256, "phrases": num_phrases[i]}
        entry["songs"] = num_songs[i] or None
        if source.rows:
            entry["rows"] = list(source.rows)
        sources.append(entry | note_report.fields(source.changes))
    return {
        "format": dataset.FORMAT,
        "format_version": dataset.FORMAT_VERSION,
        "wae_jax_version": wae_jax.__version__,
        "num_phrases": len(table.records),
        "tracks": list(pianoroll.TRACK_NAMES),
        "splits": {name: list(rows) for name, rows in dataset.split_rows(selection.codes).items()},
        "split_rule": selection.rule,
        "songs": len(np.unique(pairs[1])) or None,
        "duplicates_dropped": selection.num_duplicates,
        "duplicates_across_splits": selection.num_across_splits,
        "near_duplicates_across_splits": selection.num_near_across_splits,
        "silent_dropped": ingested.num_silent,
        "few_tracks_dropped": ingested.num_few_tracks,
        "notes_out_of_range": sum(source.changes.num_out_of_range for source in ingested.sources.values()),
        "sources": sources,
        "options": {
            **dataclasses.asdict(spec.options),
            "min_tracks": spec.min_tracks,
            "song_table": spec.song_table,
        },
    }


def _index_lines(selection: Selection, table: PhraseTable) -> Iterator[tuple[str, ...]]:
    """The lines of index.tsv: the origin of each row; sources are numbered as in dataset.json."""
    _, number = np.unique(table.records["source"], return_inverse=True)
    yield dataset.INDEX_COLUMNS
    for row, record in enumerate(table.records):
        _, song, first_bar, tempo, semitones, _ = record.item()
        yield (
            str(row),
            splits.SPLITS[selection.codes[row]],
            str(number[row]),
            "" if song == UNKNOWN else table.songs[song],
            "" if first_bar == UNKNOWN else str(first_bar),
            "" if math.isnan(tempo) else f"{tempo:.6g}",
            "" if semitones == UNKNOWN_SHIFT else str(semitones),
        )


def _print_notes(spec: BuildSpec, selection: Selection, table: PhraseTable) -> None:
    """Prints warnings about the splits, such as songs or near-duplicates in two of them."""
    is_given = any(item.split for item in spec.inputs)
    has_song = table.records["song"] != UNKNOWN
    unknown = np.unique(table.records["source"][~has_song]).tolist()
    if unknown and not is_given:
        names = ", ".join(escape(spec.inputs[i].path) for i in unknown)
        _note(f"note: no songs known for {names}: split into contiguous blocks, so a song may lie across a border")
    fractions = {"train": 1.0, "valid": spec.valid_fraction, "test": spec.test_fraction}
    wanted = {item.split for item in spec.inputs} if is_given else {name for name in fractions if fractions[name] > 0}
    for code, name in enumerate(splits.SPLITS):
        if name in wanted and code not in selection.codes:
            _note(f"note: {name} is empty")
    if num_in_files := _num_songs_in_files(spec, table.records[has_song]):
        _note(f"note: {num_in_files} song names are in more than one file; each is taken as one song")
    pairs = np.unique(np.stack([table.records["song"], selection.codes])[:, has_song], axis=1)
    if num_shared := int((np.bincount(pairs[0]) > 1).sum()):
        _note(f"note: {num_shared} song names are in more than one split")
    if selection.num_near_across_splits:
        _note(
            f"note: {selection.num_near_across_splits} phrases are near-duplicates of one in an earlier split: "
            f"{DEFINITION}"
        )


def _num_songs_in_files(spec: BuildSpec, records: Shaped[np.ndarray, " N"]) -> int:
    """Number of songs of more than one file, other than those that the table of songs names."""
    sources = np.unique(np.stack([records["song"], records["source"]]), axis=1).T.tolist()
    songs = {(song, spec.inputs[source].path) for song, source in sources if not spec.inputs[source].is_listed}
    return sum(count > 1 for count in collections.Counter(song for song, _ in songs).values())


def _print_summary(description: Mapping[str, Any], skipped: Mapping[int, str], num_inputs: int) -> None:
    counts = ", ".join(f"{name} {stop - start}" for name, (start, stop) in description["splits"].items())
    print(f"phrases: {description['num_phrases']} ({counts})")
    print(f"songs: {description['songs'] or 'unknown'}")
    print(
        f"dropped: {description['duplicates_dropped']} duplicates "
        f"({description['duplicates_across_splits']} of a phrase in another split), "
        f"{description['silent_dropped']} silent, {description['few_tracks_dropped']} with too few tracks"
    )
    for line in note_report.lines(description):
        print(line)
    print(f"skipped: {len(skipped)} of {num_inputs} files")
    # The text after a colon or in brackets differs from file to file.
    kinds = collections.Counter(re.split(r"[:(;]", reason)[0].strip() for reason in skipped.values())
    for reason, count in kinds.most_common():
        print(f"  {count} {escape(reason)}")
    print(f"split: {description['split_rule']}")


def _note(text: str) -> None:
    print(text, file=sys.stderr)
