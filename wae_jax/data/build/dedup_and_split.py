"""Deciding which phrases stay, in which order, and which split each belongs to, from their keys and songs alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int8, Int64, UInt64

from wae_jax.data import splits
from wae_jax.data.build.phrase_table import NO_SONG, PhraseTable


@dataclasses.dataclass(frozen=True)
class Plan:
    """Which rows that were read make the data set.

    Attributes:
      rows: in their final order.
      codes: for each its place in `splits.SPLITS`, ascending.
      num_duplicates: how many rows were dropped because an earlier one is equal.
      num_across: how many of these had their equal in another split.
      rule: how the splits came about, in words.
    """

    rows: Int64[np.ndarray, " N"]
    codes: Int8[np.ndarray, " N"]
    num_duplicates: int
    num_across: int
    rule: str


def plan_rows(
    table: PhraseTable,
    split_of_input: Sequence[str | None],
    *,
    seed: int,
    valid_fraction: float,
    test_fraction: float,
) -> Plan:
    """Drops repeated phrases and gives the others their places.

    Args:
      table: all phrases, in the order in which the first of equal ones stays.
      split_of_input: for each input the split that was asked for, or None for all of them.
      seed: of the split by song.
      valid_fraction: share of the songs, or of a block, to validate on.
      test_fraction: share to test on.
    """
    first = first_equal(table.entries["key"])
    kept = np.flatnonzero(first == np.arange(len(first)))
    num_across = 0
    if any(split_of_input):
        code_of = {split: code for code, split in enumerate(splits.SPLITS)}
        codes = np.array([code_of[split or ""] for split in split_of_input], np.int8)[table.entries["source"]]
        num_across = int((codes != codes[first]).sum())
        rule = "as given: --train, --valid, --test"
    else:
        codes, rule = _split_by_rule(table, kept, seed=seed, valid_fraction=valid_fraction, test_fraction=test_fraction)
    order = np.argsort(codes[kept], kind="stable")
    return Plan(kept[order], codes[kept][order], len(table) - len(kept), num_across, rule)


def first_equal(keys: UInt64[np.ndarray, "N 2"]) -> Int64[np.ndarray, " N"]:
    """For each key the number of the first that is equal to it."""
    # Stable, so that of equal keys the first comes first.
    order = np.lexsort(keys.T)
    ordered = keys[order]
    begins = np.append(True, (ordered[1:] != ordered[:-1]).any(axis=1))[: len(keys)]
    first = np.empty(len(keys), np.int64)
    first[order] = order[begins][np.cumsum(begins) - 1]
    return first


def _split_by_rule(
    table: PhraseTable, kept: np.ndarray, *, seed: int, valid_fraction: float, test_fraction: float
) -> tuple[np.ndarray, str]:
    """Splits by song what has songs, and each other input by blocks; the codes of all rows, and words.

    Repeated phrases count among the songs, because they tell which songs belong together, but not
    among the blocks, whose sizes should be those of what stays; their codes mean nothing there.
    """
    fractions = {"valid_fraction": valid_fraction, "test_fraction": test_fraction}
    codes = np.zeros(len(table), np.int8)
    rules = []
    has_song = table.entries["song"] != NO_SONG
    if has_song.any():
        codes[has_song] = _split_by_song(table.take(has_song), seed=seed, **fractions)
        rules.append(
            f"by song: sha256 of seed {seed} and the song's name, songs that share a phrase together, "
            f"{valid_fraction} of the songs valid, {test_fraction} test"
        )
    in_blocks = kept[~has_song[kept]]
    # Each input's phrases stand together.
    borders = np.flatnonzero(np.diff(table.entries["source"][in_blocks])) + 1
    for rows in np.split(in_blocks, borders) if in_blocks.size else []:
        codes[rows] = splits.split_by_block(len(rows), **fractions)
    if in_blocks.size:
        rules.append(
            f"by contiguous blocks, where songs are unknown: of each such input the first phrases train, "
            f"then {valid_fraction} of them valid, the last {test_fraction} test"
        )
    return codes, "; ".join(rules)


def _split_by_song(
    table: PhraseTable, *, seed: int, valid_fraction: float, test_fraction: float
) -> Int8[np.ndarray, " N"]:
    """For each phrase its place in `splits.SPLITS`."""
    used, song = np.unique(table.entries["song"], return_inverse=True)
    other = song[first_equal(table.entries["key"])]
    links = np.unique(np.stack([other, song])[:, other != song], axis=1)
    codes = splits.split_songs(
        [table.songs[i] for i in used.tolist()],
        np.bincount(song),
        zip(*links.tolist(), strict=True),
        seed=seed,
        valid_fraction=valid_fraction,
        test_fraction=test_fraction,
    )
    return codes[song]
