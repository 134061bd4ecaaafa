"""Decides which phrases stay, in which order, and to which split each belongs."""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy.sparse
import scipy.sparse.csgraph
from jaxtyping import Int8, Int64, UInt8, UInt64

from wae_jax.data import splits
from wae_jax.data.build.near_duplicates import MIN_SIMILARITY, find_near_duplicates
from wae_jax.data.build.sources import UNKNOWN, BuildSpec, PhraseTable


@dataclasses.dataclass(frozen=True)
class Selection:
    """The phrases that make the dataset."""

    rows: Int64[np.ndarray, " N"]  # indices into the table of all phrases, in the order of the dataset
    codes: Int8[np.ndarray, " N"]  # the split of each, an index into `splits.SPLITS`; ascending
    num_duplicates: int
    num_across_splits: int  # duplicates whose equal is in another split
    num_near_across_splits: int  # phrases that stay and have a near-duplicate in an earlier split
    rule: str  # in words, how the splits were made


def deduplicate_and_split(table: PhraseTable, packed: UInt8[np.ndarray, "N bytes=10080"], spec: BuildSpec) -> Selection:
    """Drops all but the first of equal phrases, and sorts the others by split.

    Args:
      table: all phrases that were read.
      packed: the phrases themselves, which may be a memory map.
      spec: how to split.
    """
    first = first_equal(table.records["key"])
    kept = np.flatnonzero(first == np.arange(len(first)))
    num_across = 0
    if any(item.split for item in spec.inputs):
        of_input = np.array([splits.SPLITS.index(item.split or "train") for item in spec.inputs], np.int8)
        codes = of_input[table.records["source"]]
        pairs = find_near_duplicates(packed, codes.astype(np.int64), rows=kept)
        num_across = int((codes != codes[first]).sum())
        rule = "as given: --train, --valid, --test"
    else:
        songs = table.records["song"].astype(np.int64)
        # A phrase of an unknown song may be of any song.
        pairs = find_near_duplicates(packed, np.where(songs == UNKNOWN, -1 - np.arange(len(songs)), songs), rows=kept)
        codes, rule = _split_by_rule(table, first, pairs, spec)
    order = np.argsort(codes[kept], kind="stable")
    return Selection(
        kept[order], codes[kept][order], len(first) - len(kept), num_across, count_across_splits(pairs, codes), rule
    )


def count_across_splits(pairs: Int64[np.ndarray, "pairs 2"], codes: Int8[np.ndarray, " N"]) -> int:
    """Number of phrases that are in a pair with a phrase of an earlier split; `codes` are the splits of all phrases."""
    split = codes[pairs]
    later = np.take_along_axis(pairs, split.argmax(axis=1)[:, None], axis=1)[split[:, 0] != split[:, 1]]
    return len(np.unique(later))


def first_equal(keys: UInt64[np.ndarray, "N 2"]) -> Int64[np.ndarray, " N"]:
    """Index of the first key equal to each key."""
    # Stable, so that the first of equal keys comes first.
    order = np.lexsort(keys.T)
    is_new = np.append(True, (np.diff(keys[order], axis=0) != 0).any(axis=1))[: len(keys)]
    first = np.empty(len(keys), np.int64)
    first[order] = order[is_new][np.cumsum(is_new) - 1]
    return first


def _split_by_rule(
    table: PhraseTable, first: Int64[np.ndarray, " N"], near: Int64[np.ndarray, "pairs 2"], spec: BuildSpec
) -> tuple[Int8[np.ndarray, " N"], str]:
    """Codes of all rows, and a description: inputs with songs are split by song, each of the others into blocks.

    Repeated phrases, whose `first` equal is another, count among the songs, because they and pairs of near-duplicates
    tell which songs belong together, but not among the blocks, whose sizes should be those of what stays; their codes
    are meaningless there.
    """
    kept = np.flatnonzero(first == np.arange(len(first)))
    fractions = {"valid_fraction": spec.valid_fraction, "test_fraction": spec.test_fraction}
    codes = np.zeros(len(table.records), np.int8)
    rules = []
    has_song = table.records["song"] != UNKNOWN
    if has_song.any():
        songs = [table.songs[song] for song in table.records["song"][has_song].tolist()]
        alike = _components(first, near)[has_song].tolist()
        codes[has_song] = splits.split_by_song(songs, alike, seed=spec.seed, **fractions)
        rules.append(
            f"by song: sha256 of seed {spec.seed} and the song's name, songs with equal phrases, or "
            f"phrases that share {MIN_SIMILARITY:.0%} of their active cells, together, "
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


def _components(first: Int64[np.ndarray, " N"], near: Int64[np.ndarray, "pairs 2"]) -> Int64[np.ndarray, " N"]:
    """A number for each phrase, the same for phrases that equal ones and near-duplicates connect."""
    edges = np.concatenate([np.stack([np.arange(len(first)), first], axis=1), near])
    graph = scipy.sparse.coo_array((np.ones(len(edges), bool), tuple(edges.T)), shape=(len(first), len(first)))
    return scipy.sparse.csgraph.connected_components(graph, directed=False)[1].astype(np.int64)
