"""Which phrase trains and which is held out: by song where songs are known, else by contiguous blocks.

Phrases of one song resemble one another, and neighbouring rows of an array may overlap, so a split of
single phrases would test on what was trained on.
"""

from __future__ import annotations

import collections
import hashlib
from collections.abc import Hashable, Sequence

import numpy as np
from jaxtyping import Int8

from wae_jax.pianoroll import PackedPhrases

SPLITS = ("train", "valid", "test")
TRAIN, VALID, TEST = range(len(SPLITS))


def check_fractions(valid_fraction: float, test_fraction: float) -> None:
    """Raises ValueError unless both fractions are at least 0 and leave something to train on."""
    if not (valid_fraction >= 0 and test_fraction >= 0 and valid_fraction + test_fraction < 1):
        raise ValueError(
            f"valid fraction {valid_fraction} and test fraction {test_fraction}; "
            "expected two numbers of at least 0 whose sum is below 1"
        )


def phrase_keys(packed: PackedPhrases) -> list[bytes]:
    """A 16-byte digest of each packed phrase: equal phrases have equal keys, and only they."""
    return [hashlib.blake2b(np.ascontiguousarray(row).data, digest_size=16).digest() for row in packed]


def song_position(song: str, seed: int) -> float:
    """Where a song lies in [0, 1), by the sha256 of the seed and its name: evenly spread, the same for ever."""
    digest = hashlib.sha256(f"{seed}:{song}".encode("utf-8", "surrogateescape")).digest()
    # 53 bits are what a float holds exactly; more could round up to 1.
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


def group_songs(songs: Sequence[str], phrases: Sequence[Hashable]) -> dict[str, str]:
    """Joins the songs that share a phrase, directly or through other songs.

    Args:
      songs: the song of each row.
      phrases: what identifies the phrase of each row, such as its `phrase_keys`.

    Returns:
      For each song the name of its group, which is the alphabetically first song in it.
    """
    parent = {song: song for song in songs}

    def root(song: str) -> str:
        while parent[song] != song:
            parent[song] = parent[parent[song]]
            song = parent[song]
        return song

    first_song: dict[Hashable, str] = {}
    for song, phrase in zip(songs, phrases, strict=True):
        low, high = sorted((root(song), root(first_song.setdefault(phrase, song))))
        parent[high] = low
    return {song: root(song) for song in parent}


def split_by_song(
    songs: Sequence[str],
    phrases: Sequence[Hashable],
    *,
    seed: int,
    valid_fraction: float,
    test_fraction: float,
) -> Int8[np.ndarray, " N"]:
    """Splits whole songs; songs that share a phrase go together.

    A group of songs goes to valid where its `song_position` is below `valid_fraction`, to test where it
    is in the topmost `test_fraction`, else to train, so that adding songs moves no other song. Two
    exceptions keep small or tangled collections usable: where there are enough groups, each split that is
    asked for gets at least one (train first, then valid), and a group of more than half of all rows trains.

    Args:
      songs: the song of each row.
      phrases: what identifies the phrase of each row, such as its `phrase_keys`.
      seed: another seed gives another split.
      valid_fraction: share of the songs to validate on.
      test_fraction: share of the songs to test on.

    Returns:
      For each row its place in `SPLITS`.

    Raises:
      ValueError: if the fractions are impossible.
    """
    check_fractions(valid_fraction, test_fraction)
    group_of = group_songs(songs, phrases)
    rows_of = collections.Counter(group_of[song] for song in songs)
    position = {group: song_position(group, seed) for group in rows_of}
    movable = sorted((g for g in rows_of if 2 * rows_of[g] <= len(songs)), key=lambda g: (position[g], g))

    room = max(len(rows_of) - 1, 0)
    num_valid = min(max(sum(position[g] < valid_fraction for g in movable), valid_fraction > 0), room)
    num_test = min(max(sum(position[g] >= 1 - test_fraction for g in movable), test_fraction > 0), room - num_valid)
    split_of = dict.fromkeys(rows_of, TRAIN)
    split_of |= dict.fromkeys(movable[:num_valid], VALID)
    split_of |= dict.fromkeys(movable[len(movable) - num_test :], TEST)
    return np.array([split_of[group_of[song]] for song in songs], np.int8)


def split_by_block(num_rows: int, *, valid_fraction: float, test_fraction: float) -> Int8[np.ndarray, " {num_rows}"]:
    """Cuts rows without song names into three contiguous blocks: train, then valid, then test.

    Returns:
      For each row its place in `SPLITS`.

    Raises:
      ValueError: if the fractions are impossible.
    """
    check_fractions(valid_fraction, test_fraction)
    # Rounding down leaves at least one row to train on.
    num_valid = int(valid_fraction * num_rows)
    num_test = int(test_fraction * num_rows)
    counts = [num_rows - num_valid - num_test, num_valid, num_test]
    return np.repeat(np.arange(len(SPLITS), dtype=np.int8), counts)
