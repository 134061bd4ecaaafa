"""Making a data set: read all inputs, drop what is double, split, write, and tell about it."""

from __future__ import annotations

import collections
import dataclasses
import json
import pathlib
import re
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import wae_jax
from wae_jax import dataset, dataset_folder, gathering, pianoroll, row_plan, splits
from wae_jax.dataset_folder import escape
from wae_jax.sources import Options

_RANGE = f"{pianoroll.LOWEST_PITCH} to {pianoroll.LOWEST_PITCH + pianoroll.NUM_PITCHES - 1}"


def build(
    inputs: Sequence[gathering.Input],
    output: str,
    *,
    overwrite: bool,
    options: Options,
    min_tracks: int,
    workers: int,
    seed: int,
    valid_fraction: float,
    test_fraction: float,
) -> None:
    """Makes a data set and tells about it on the terminal.

    Args:
      inputs: files and folders to read; either all of them name a split or none does.
      output: the folder to make.
      overwrite: whether a data set that is there may be replaced.
      options: how songs and float arrays are read.
      min_tracks: a phrase in which fewer tracks sound is left out.
      workers: how many processes read songs; the result is the same.
      seed: of the split by song.
      valid_fraction: share of the songs, or of a block, to validate on.
      test_fraction: share to test on.

    Raises:
      DatasetError: if no input gives a phrase or `output` may not be written.
      OSError: if writing fails. Either way nothing is left behind.
    """
    start = time.monotonic()
    # Of equal phrases the first stays, and training has the first choice.
    inputs = sorted(gathering.expand(inputs), key=lambda item: splits.SPLITS.index(item.split) if item.split else 0)
    with dataset_folder.new_dataset_folder(pathlib.Path(output), overwrite=overwrite) as workshop:
        scratch = workshop.scratch / "rows"
        with scratch.open("wb") as file:
            gathered = gathering.gather(inputs, file, options=options, min_tracks=min_tracks, workers=workers)
        plan = row_plan.plan_rows(
            gathered.phrases,
            [item.split for item in inputs],
            seed=seed,
            valid_fraction=valid_fraction,
            test_fraction=test_fraction,
        )
        kept = [gathered.phrases[row] for row in plan.rows.tolist()]
        skipped = gathered.skipped | _all_dropped(inputs, gathered, kept, min_tracks)
        if not kept:
            raise dataset.DatasetError(f"none of the {len(inputs)} inputs gives a phrase; the reasons are above")
        description = _describe(inputs, gathered, plan, kept)
        description["options"] = {**dataclasses.asdict(options), "min_tracks": min_tracks}
        description["phrases_sha256"] = dataset_folder.write_phrases(
            workshop.folder / dataset.PHRASES_FILE, scratch, plan.rows
        )
        _write_index(workshop.folder / dataset.INDEX_FILE, plan, kept)
        dataset_folder.write_tsv(
            workshop.folder / dataset.SKIPPED_FILE,
            [("path", "reason"), *((inputs[i].path, reason) for i, reason in sorted(skipped.items()))],
        )
        text = json.dumps(description, indent=2) + "\n"
        (workshop.folder / dataset.DESCRIPTION_FILE).write_text(text, encoding="utf-8")
    _report_splits(inputs, plan, kept, held_out={"valid": valid_fraction > 0, "test": test_fraction > 0})
    _report(description, list(skipped.values()), len(inputs), output, time.monotonic() - start)


def _all_dropped(
    inputs: Sequence[gathering.Input],
    gathered: gathering.Gathered,
    kept: Iterable[row_plan.Staged],
    min_tracks: int,
) -> dict[int, str]:
    """The inputs that were read but gave nothing, with the reason."""
    useful = {phrase.source for phrase in kept}
    staged = {phrase.source for phrase in gathered.phrases}
    none = "every phrase is silent" if min_tracks == 1 else f"no phrase has {min_tracks} tracks that sound"
    reasons = {
        i: "every phrase equals one read before" if i in staged else none for i in gathered.opened if i not in useful
    }
    for i, reason in reasons.items():
        if inputs[i].folder is None:
            _tell(f"skipped {escape(inputs[i].path)}: {reason}")
    return reasons


def _describe(
    inputs: Sequence[gathering.Input],
    gathered: gathering.Gathered,
    plan: row_plan.Plan,
    kept: Sequence[row_plan.Staged],
) -> dict[str, Any]:
    """The fields of dataset.json, but for the checksum of rows that are not written yet."""
    count = collections.Counter(phrase.source for phrase in kept)
    songs = collections.defaultdict(set)
    for phrase in kept:
        songs[phrase.source].add(phrase.song)
    described = []
    for i in sorted(count):
        source = gathered.opened[i]
        entry: dict[str, Any] = {"path": inputs[i].path, "sha256": source.sha256, "phrases": count[i]}
        entry["songs"] = len(songs[i] - {None}) or None
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
        "songs": len({phrase.song for phrase in kept} - {None}) or None,
        "duplicates_dropped": plan.num_duplicates,
        "duplicates_across_splits": plan.num_across,
        "silent_dropped": gathered.num_silent,
        "few_tracks_dropped": gathered.num_few_tracks,
        "notes_out_of_range": sum(source.notes_out_of_range for source in gathered.opened.values()),
        "sources": described,
    }


def _write_index(path: pathlib.Path, plan: row_plan.Plan, kept: Sequence[row_plan.Staged]) -> None:
    """Writes index.tsv: where each row comes from; sources are numbered as in dataset.json."""
    number = {source: n for n, source in enumerate(sorted({phrase.source for phrase in kept}))}
    lines: list[tuple[str, ...]] = [dataset.INDEX_COLUMNS]
    for row, (code, phrase) in enumerate(zip(plan.codes.tolist(), kept, strict=True)):
        first_bar = "" if phrase.first_bar is None else str(phrase.first_bar)
        tempo = "" if phrase.tempo is None else f"{phrase.tempo:.6g}"
        lines.append((str(row), splits.SPLITS[code], str(number[phrase.source]), phrase.song or "", first_bar, tempo))
    dataset_folder.write_tsv(path, lines)


def _report_splits(
    inputs: Sequence[gathering.Input],
    plan: row_plan.Plan,
    kept: Sequence[row_plan.Staged],
    *,
    held_out: Mapping[str, bool],
) -> None:
    """Tells what one should know of the splits before trusting a number measured on them."""
    explicit = any(item.split for item in inputs)
    unknown = sorted({phrase.source for phrase in kept if phrase.song is None})
    if unknown and not explicit:
        names = ", ".join(escape(inputs[i].path) for i in unknown)
        _tell(f"note: no songs known for {names}: split into contiguous blocks, so a song may lie across a border")
    present = {splits.SPLITS[code] for code in set(plan.codes.tolist())}
    wanted = {item.split for item in inputs} if explicit else {"train"} | {name for name in held_out if held_out[name]}
    for name in splits.SPLITS:
        if name in wanted - present:
            _tell(f"note: {name} is empty")
    splits_of = collections.defaultdict(set)
    for code, phrase in zip(plan.codes.tolist(), kept, strict=True):
        if phrase.song is not None:
            splits_of[phrase.song].add(code)
    num_shared = sum(len(codes) > 1 for codes in splits_of.values())
    if num_shared:
        _tell(f"note: {num_shared} song names stand in more than one split")


def _report(
    description: Mapping[str, Any], skipped: Sequence[str], num_inputs: int, output: str, seconds: float
) -> None:
    """The last lines of a run."""
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
