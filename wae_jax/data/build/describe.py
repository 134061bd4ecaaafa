"""Describes a dataset, and verifies that it is intact."""

from __future__ import annotations

import collections
import hashlib
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from wae_jax import pianoroll
from wae_jax.data import dataset, splits
from wae_jax.data.build import key_report, note_report
from wae_jax.data.build.dataset_writer import MIDI_FILE, PICTURE_FILE, escape
from wae_jax.data.build.dedup_and_split import count_across_splits
from wae_jax.data.build.near_duplicates import DEFINITION, find_near_duplicates
from wae_jax.data.statistics import track_densities
from wae_jax.errors import DatasetError
from wae_jax.metrics.suite import music_table
from wae_jax.render import midi, phrase_plots
from wae_jax.render.style import save_figure

_PHRASES_IN_TABLE = 2048
_PHRASES_IN_PICTURE = 16
_ROWS_AT_A_TIME = 1024
_PROBLEMS_SHOWN = 20


def describe(folder: pathlib.Path, *, seed: int = 0) -> str:
    """Counts, songs and sources, splits, tempos and keys of a dataset, as text.

    Also writes sixteen random phrases into its folder, as a picture and as MIDI.

    Raises:
      DatasetError: if the folder holds no dataset, or the index does not fit it.
      OSError: if the picture cannot be written.
    """
    data, description, index = _load(folder)
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(len(data.phrases))[:_PHRASES_IN_PICTURE])
    rolls = pianoroll.unpack(np.asarray(data.phrases[chosen]))
    titles = [_title(int(row), index[row]) for row in chosen]
    save_figure(phrase_plots.plot_grid(rolls, titles=titles), folder / PICTURE_FILE)
    midi.write_midi(folder / MIDI_FILE, rolls, name=f"{len(chosen)} random phrases")

    sizes = ", ".join(f"{name} {stop - start:,}" for name, (start, stop) in data.splits.items())
    num_skipped = max((folder / dataset.SKIPPED_FILE).read_bytes().count(b"\n") - 1, 0)
    densities = track_densities(data.phrases)
    of_tracks = ", ".join(f"{name} {share:.3%}" for name, share in zip(pianoroll.TRACK_NAMES, densities, strict=True))
    lines = [
        f"{escape(str(folder))}: {len(index):,} phrases ({sizes})",
        f"sources: {len(description['sources']):,} files, and {num_skipped:,} that gave no phrase",
        f"songs: {_songs(index)}",
        f"split: {description['split_rule']}",
        "",
        music_table({name: _sample(data.split(name), rng) for name in data.splits}),
        f"(of at most {_PHRASES_IN_TABLE:,} random phrases a split)",
        "",
        f"active cells: {np.mean(densities):.3%} of all, {of_tracks}",
        f"tempo: {_tempos(index)}",
        *key_report.lines(data.phrases, index, is_transposed=description["options"].get("tonality", "keep") != "keep"),
        *note_report.lines(description),
        "",
        f"sixteen random phrases: {escape(str(folder / PICTURE_FILE))} and {MIDI_FILE}",
    ]
    return "\n".join(lines)


def _load(folder: pathlib.Path) -> tuple[dataset.Dataset, dict[str, Any], list[dataset.IndexLine]]:
    data = dataset.load_dataset(folder)
    description = json.loads((folder / dataset.DESCRIPTION_FILE).read_text(encoding="utf-8"))
    return data, description, dataset.read_index(folder, len(data.phrases))


def _title(row: int, line: dataset.IndexLine) -> str:
    song = "" if line.song is None else f": {pathlib.PurePath(line.song).stem[:24]}"
    return f"{row}{song}" if line.first_bar is None else f"{row}{song}, bar {line.first_bar}"


def _songs(index: Sequence[dataset.IndexLine]) -> str:
    counts = np.array(list(collections.Counter(line.song for line in index if line.song is not None).values()))
    unknown = sum(line.song is None for line in index)
    if not len(counts):
        return "unknown"
    text = f"{len(counts):,}, of {counts.min()} to {counts.max()} phrases, median {np.median(counts):g}"
    return f"{text}; unknown for {unknown:,} phrases" if unknown else text


def _sample(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    chosen = np.sort(rng.permutation(len(rows))[:_PHRASES_IN_TABLE])
    return pianoroll.unpack(np.asarray(rows[chosen]))


def _tempos(index: Sequence[dataset.IndexLine]) -> str:
    tempos = np.array([line.tempo for line in index if line.tempo is not None])
    if not len(tempos):
        return "unknown"
    low, median, high = np.percentile(tempos, [10, 50, 90])
    known = "" if len(tempos) == len(index) else f", known for {len(tempos):,} phrases"
    return f"median {median:.0f} quarter notes a minute, from {low:.0f} to {high:.0f} in 80 % of the phrases{known}"


def verify(folder: pathlib.Path) -> str:
    """Checks digests, that no phrase is in two splits or twice, that rows and index agree; returns sentences about it.

    The last sentence counts near-duplicates across splits.

    Raises:
      DatasetError: naming everything that is wrong.
    """
    data, description, index = _load(folder)
    problems = [*_check_rows(data, description), *_check_index(data, description, index)]
    if problems:
        more = f"\n  and {len(problems) - _PROBLEMS_SHOWN} more" if len(problems) > _PROBLEMS_SHOWN else ""
        shown = "\n  ".join(problems[:_PROBLEMS_SHOWN])
        raise DatasetError(f"{folder} is damaged; build it again:\n  {shown}{more}")
    return (
        f"{escape(str(folder))} is intact: the sha256 of {len(data.phrases):,} rows is as written, no phrase is in "
        f"two splits or twice, and every row has its line in {dataset.INDEX_FILE}\n{_near_duplicates(data)}"
    )


def _near_duplicates(data: dataset.Dataset) -> str:
    """A sentence on near-duplicates across splits."""
    codes = np.empty(len(data.phrases), np.int8)
    for name, (start, stop) in data.splits.items():
        codes[start:stop] = splits.SPLITS.index(name)
    pairs = find_near_duplicates(data.phrases, codes.astype(np.int64), rows=np.arange(len(codes)))
    held_out = int(np.count_nonzero(codes > 0))
    return (
        f"{count_across_splits(pairs, codes):,} of {held_out:,} held-out phrases are near-duplicates of one in an "
        f"earlier split: {DEFINITION}"
    )


def _check_rows(data: dataset.Dataset, description: Mapping[str, Any]) -> Iterator[str]:
    digest = hashlib.sha256()
    first: dict[bytes, int] = {}
    for start in range(0, len(data.phrases), _ROWS_AT_A_TIME):
        part = np.ascontiguousarray(data.phrases[start : start + _ROWS_AT_A_TIME])
        digest.update(part.data)
        for row, key in enumerate(splits.phrase_keys(part), start):
            if (other := first.setdefault(key, row)) != row:
                yield f"rows {other} ({_split_of(data, other)}) and {row} ({_split_of(data, row)}) are equal"
        yield from (f"row {start + row} is silent" for row in np.flatnonzero(~part.any(axis=1)).tolist())
    if digest.hexdigest() != description["phrases_sha256"]:
        yield (
            f"{dataset.PHRASES_FILE} has changed: its sha256 is {digest.hexdigest()}, "
            f"{dataset.DESCRIPTION_FILE} says {description['phrases_sha256']}"
        )


def _check_index(
    data: dataset.Dataset, description: Mapping[str, Any], index: Sequence[dataset.IndexLine]
) -> Iterator[str]:
    covered = sum(stop - start for start, stop in data.splits.values())
    if covered != len(data.phrases):
        yield f"the splits hold {covered} rows of {len(data.phrases)}"
    for row, line in enumerate(index):
        if line.split != (actual := _split_of(data, row)):
            yield f"row {row} is of {actual}; {dataset.INDEX_FILE} says {line.split!r}"
    promised = {i: source["phrases"] for i, source in enumerate(description["sources"])}
    counts = collections.Counter(line.source for line in index)
    for i in sorted(counts.keys() | promised.keys()):
        if counts[i] != (expected := promised.get(i, "no such source")):
            yield f"source {i} has {counts[i]} rows in {dataset.INDEX_FILE}; {dataset.DESCRIPTION_FILE} says {expected}"


def _split_of(data: dataset.Dataset, row: int) -> str:
    return next((name for name, (start, stop) in data.splits.items() if start <= row < stop), "no split")
