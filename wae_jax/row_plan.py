"""Deciding which phrases stay, in which order, and which split each belongs to, from their keys and songs alone."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int8, Int64

from wae_jax import splits


class Staged(NamedTuple):
    """What memory keeps of a phrase that was read.

    Attributes:
      source: the input it comes from, by its place among the inputs.
      song: its song, or None where that is not known.
      first_bar: the bar of the song at which it starts, from 0, or None.
      key: equal for equal phrases, see `splits.phrase_keys`.
      tempo: quarter notes a minute at its start, or None.
    """

    source: int
    song: str | None
    first_bar: int | None
    key: bytes
    tempo: float | None = None


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
