"""Which phrase trains and which is held out: by song where songs are known, else by contiguous blocks.

Phrases of one song resemble one another, and neighbouring rows of an array may overlap, so a split of
single phrases would test on what was trained on.
"""

from __future__ import annotations

import collections
import hashlib
from collections.abc import Hashable, Iterable, Sequence

import numpy as np
from jaxtyping import Int8, Int64

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


def group_songs(songs: Sequence[str], links: Iterable[tuple[int, int]]) -> list[int]:
    """Joins the songs that share a phrase, directly or through other songs.

    Args:
      songs: their names, each once.
      links: pairs of places in `songs`: two songs that share a phrase.

    Returns:
      For each song the place of the alphabetically first song of its group.
    """
    parent = list(range(len(songs)))

    def root(song: int) -> int:
        while parent[song] != song:
            parent[song] = parent[parent[song]]
            song = parent[song]
        return song

    for pair in links:
        low, high = sorted(map(root, pair), key=songs.__getitem__)
        parent[high] = low
    return [root(song) for song in range(len(songs))]


def split_by_song(
    songs: Sequence[str],
    phrases: Sequence[Hashable],
    *,
    seed: int,
    valid_fraction: float,
    test_fraction: float,
) -> Int8[np.ndarray, " N"]:
    """Splits whole songs; songs that share a phrase go together.

    Args:
      songs: the song of each row.
      phrases: what identifies the phrase of each row, such as its `phrase_keys`.
      seed: another seed gives another split.
      valid_fraction: share of the songs to validate on.
      test_fraction: share of the songs to test on.

    Returns:
      For each row its place in `SPLITS`; see `split_songs`.

    Raises:
      ValueError: if the fractions are impossible.
    """
    number = {song: i for i, song in enumerate(dict.fromkeys(songs))}
    of_rows = np.array([number[song] for song in songs], np.int64)
    first_song: dict[Hashable, int] = {}
    links = {
        (first_song.setdefault(phrase, song), song) for song, phrase in zip(of_rows.tolist(), phrases, strict=True)
    }
    codes = split_songs(
        list(number),
        np.bincount(of_rows, minlength=len(number)),
        links,
        seed=seed,
        valid_fraction=valid_fraction,
        test_fraction=test_fraction,
    )
    return codes[of_rows]


def split_songs(
    songs: Sequence[str],
    num_rows: Int64[np.ndarray, " songs"],
    links: Iterable[tuple[int, int]],
    *,
    seed: int,
    valid_fraction: float,
    test_fraction: float,
) -> Int8[np.ndarray, " songs"]:
    """Splits songs; those that share a phrase go together.

    A group of songs goes to valid where its `song_position` is below `valid_fraction`, to test where it
    is in the topmost `test_fraction`, else to train, so that adding songs moves no other song. Two
    exceptions keep small or tangled collections usable: where there are enough groups, each split that is
    asked for gets at least one (train first, then valid), and a group of more than half of all rows trains.

    Args:
      songs: their names, each once.
      num_rows: how many rows each has.
      links: pairs of places in `songs`: two songs that share a phrase.
      seed: another seed gives another split.
      valid_fraction: share of the songs to validate on.
      test_fraction: share of the songs to test on.

    Returns:
      For each song its place in `SPLITS`.

    Raises:
      ValueError: if the fractions are impossible.
    """
    check_fractions(valid_fraction, test_fraction)
    group_of = group_songs(songs, links)
    rows_of: dict[int, int] = collections.Counter()
    for group, rows in zip(group_of, num_rows.tolist(), strict=True):
        rows_of[group] += rows
    position = {group: song_position(songs[group], seed) for group in rows_of}
    num_all = sum(rows_of.values())
    movable = sorted((g for g in rows_of if 2 * rows_of[g] <= num_all), key=lambda g: (position[g], songs[g]))

    room = max(len(rows_of) - 1, 0)
    num_valid = min(max(sum(position[g] < valid_fraction for g in movable), valid_fraction > 0), room)
    num_test = min(max(sum(position[g] >= 1 - test_fraction for g in movable), test_fraction > 0), room - num_valid)
    split_of = dict.fromkeys(rows_of, TRAIN)
    split_of |= dict.fromkeys(movable[:num_valid], VALID)
    split_of |= dict.fromkeys(movable[len(movable) - num_test :], TEST)
    return np.array([split_of[group] for group in group_of], np.int8)


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
