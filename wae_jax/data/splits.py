"""Splits phrases into training, validation and test: by song where songs are known, else by contiguous blocks.

Phrases of one song resemble one another, and neighboring rows of an array may overlap, so a split of single phrases
would test on what was trained on.
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
    """16-byte digests of packed phrases: equal for equal phrases, and only for them."""
    return [hashlib.blake2b(np.ascontiguousarray(row).data, digest_size=16).digest() for row in packed]


def song_position(song: str, seed: int) -> float:
    """Position of a song in [0, 1) by the sha256 of the seed and its name: uniform, and the same on every machine."""
    digest = hashlib.sha256(f"{seed}:{song}".encode("utf-8", "surrogateescape")).digest()
    # A float holds 53 bits exactly; more could round up to 1.
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


def group_songs(songs: Sequence[str], phrases: Sequence[Hashable]) -> dict[str, str]:
    """Groups songs that share a phrase, directly or through other songs.

    Args:
      songs: the song of each row.
      phrases: an identifier of the phrase of each row.

    Returns:
      For each song the alphabetically first song of its group.
    """
    parent = {song: song for song in songs}

    def root(song: str) -> str:
        while parent[song] != song:
            parent[song] = parent[parent[song]]
            song = parent[song]
        return song

    first_song: dict[Hashable, str] = {}
    for song, phrase in zip(songs, phrases, strict=True):
        first, second = sorted((root(first_song.setdefault(phrase, song)), root(song)))
        parent[second] = first
    return {song: root(song) for song in parent}


def split_by_song(
    songs: Sequence[str], phrases: Sequence[Hashable], *, seed: int, valid_fraction: float, test_fraction: float
) -> Int8[np.ndarray, " N"]:
    """Splits whole songs; songs that share a phrase stay together.

    A group of songs is for validation if its `song_position` is below `valid_fraction`, for testing if it is in the
    topmost `test_fraction`, else for training, so adding songs moves no other song. Two exceptions keep small or
    tangled collections usable: if there are enough groups, each requested split gets at least one (training first,
    then validation), and a group of more than half of all rows is for training.

    Args:
      songs: the song of each row.
      phrases: an identifier of the phrase of each row, such as its `phrase_keys`.
      seed: another seed gives another split.
      valid_fraction: share of the songs for validation.
      test_fraction: share of the songs for testing.

    Returns:
      The index in `SPLITS` of each row.

    Raises:
      ValueError: if the fractions are impossible.
    """
    check_fractions(valid_fraction, test_fraction)
    group_of = group_songs(songs, phrases)
    num_rows = collections.Counter(group_of[song] for song in songs)
    position = {group: song_position(group, seed) for group in num_rows}
    movable = sorted((g for g in num_rows if 2 * num_rows[g] <= len(songs)), key=lambda g: (position[g], g))

    room = max(len(num_rows) - 1, 0)
    num_valid = min(max(sum(position[g] < valid_fraction for g in movable), valid_fraction > 0), room)
    num_test = min(max(sum(position[g] >= 1 - test_fraction for g in movable), test_fraction > 0), room - num_valid)
    split_of = dict.fromkeys(num_rows, TRAIN)
    split_of |= dict.fromkeys(movable[:num_valid], VALID)
    split_of |= dict.fromkeys(movable[len(movable) - num_test :], TEST)
    return np.array([split_of[group_of[song]] for song in songs], np.int8)


def split_by_block(num_rows: int, *, valid_fraction: float, test_fraction: float) -> Int8[np.ndarray, " {num_rows}"]:
    """Cuts rows without song names into three contiguous blocks: training, then validation, then test.

    Returns:
      The index in `SPLITS` of each row.

    Raises:
      ValueError: if the fractions are impossible.
    """
    check_fractions(valid_fraction, test_fraction)
    # Rounding down leaves at least one row to train on.
    num_valid = int(valid_fraction * num_rows)
    num_test = int(test_fraction * num_rows)
    counts = [num_rows - num_valid - num_test, num_valid, num_test]
    return np.repeat(np.arange(len(SPLITS), dtype=np.int8), counts)
