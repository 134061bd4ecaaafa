"""Decides which phrases stay, in which order, and to which split each belongs, from their keys and songs alone."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Int8, Int64, UInt64

from wae_jax.data import splits
from wae_jax.data.build.sources import UNKNOWN, BuildSpec, PhraseTable


@dataclasses.dataclass(frozen=True)
class Selection:
    """The phrases that make the dataset."""

    rows: Int64[np.ndarray, " N"]  # indices into the table of all phrases, in the order of the dataset
    codes: Int8[np.ndarray, " N"]  # the split of each, an index into `splits.SPLITS`; ascending
    num_duplicates: int
    num_across_splits: int  # duplicates whose equal is in another split
    rule: str  # in words, how the splits were made


def deduplicate_and_split(table: PhraseTable, spec: BuildSpec) -> Selection:
    """Drops all but the first of equal phrases, and sorts the others by split."""
    first = first_equal(table.records["key"])
    kept = np.flatnonzero(first == np.arange(len(first)))
    num_across = 0
    if any(item.split for item in spec.inputs):
        of_input = np.array([splits.SPLITS.index(item.split or "train") for item in spec.inputs], np.int8)
        codes = of_input[table.records["source"]]
        num_across = int((codes != codes[first]).sum())
        rule = "as given: --train, --valid, --test"
    else:
        codes, rule = _split_by_rule(table, kept, spec)
    order = np.argsort(codes[kept], kind="stable")
    return Selection(kept[order], codes[kept][order], len(first) - len(kept), num_across, rule)


def first_equal(keys: UInt64[np.ndarray, "N 2"]) -> Int64[np.ndarray, " N"]:
    """Index of the first key equal to each key."""
    # Stable, so that the first of equal keys comes first.
    order = np.lexsort(keys.T)
    is_new = np.append(True, (np.diff(keys[order], axis=0) != 0).any(axis=1))[: len(keys)]
    first = np.empty(len(keys), np.int64)
    first[order] = order[is_new][np.cumsum(is_new) - 1]
    return first


def _split_by_rule(
    table: PhraseTable, kept: Int64[np.ndarray, " M"], spec: BuildSpec
) -> tuple[Int8[np.ndarray, " N"], str]:
    """Codes of all rows, and a description: inputs with songs are split by song, each of the others into blocks.

    Repeated phrases count among the songs, because they tell which songs belong together, but not among the blocks,
    whose sizes should be those of what stays; their codes are meaningless there.
    """
    fractions = {"valid_fraction": spec.valid_fraction, "test_fraction": spec.test_fraction}
    codes = np.zeros(len(table.records), np.int8)
    rules = []
    has_song = table.records["song"] != UNKNOWN
    if has_song.any():
        records = table.records[has_song]
        songs = [table.songs[song] for song in records["song"].tolist()]
        codes[has_song] = splits.split_by_song(songs, first_equal(records["key"]).tolist(), seed=spec.seed, **fractions)
        rules.append(
            f"by song: sha256 of seed {spec.seed} and the song's name, songs that share a phrase together, "
            f"{spec.valid_fraction} of the songs valid, {spec.test_fraction} test"
        )
    in_blocks = kept[~has_song[kept]]
    # The phrases of an input are neighbours.
    borders = np.flatnonzero(np.diff(table.records["source"][in_blocks])) + 1
    for rows in np.split(in_blocks, borders) if in_blocks.size else []:
        codes[rows] = splits.split_by_block(len(rows), **fractions)
    if in_blocks.size:
        rules.append(
            f"by contiguous blocks, where songs are unknown: of each such input the first phrases train, "
            f"then {spec.valid_fraction} of them valid, the last {spec.test_fraction} test"
        )
    return codes, "; ".join(rules)
