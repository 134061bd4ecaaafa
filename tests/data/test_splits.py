from __future__ import annotations

import hashlib

import numpy as np
import pytest

from wae_jax.data import splits

TENTH = {"valid_fraction": 0.1, "test_fraction": 0.1}


def names_and_phrases(num_songs, rows_each=1):
    songs = [f"song {i}" for i in range(num_songs) for _ in range(rows_each)]
    return songs, list(range(len(songs)))


def test_keys_tell_phrases_apart():
    rows = np.random.default_rng(0).integers(0, 256, (6, 10080), np.uint8)
    rows[4] = rows[1]
    rows[5] = rows[0]
    rows[5, -1] ^= 1
    keys = splits.phrase_keys(rows)
    assert keys[4] == keys[1]
    assert len(set(keys)) == 5


def test_position_is_the_top_of_the_sha256():
    digest = hashlib.sha256(b"7:a song").hexdigest()
    assert splits.song_position("a song", 7) == pytest.approx(int(digest, 16) / 2**256, abs=1e-15)


def test_positions_spread_evenly_and_depend_on_the_seed():
    first = np.array([splits.song_position(f"song {i}", 0) for i in range(4000)])
    second = np.array([splits.song_position(f"song {i}", 1) for i in range(4000)])
    counts, _ = np.histogram(first, bins=10, range=(0, 1))
    # Binomial(4000, .1): mean 400, standard deviation 19.
    assert np.abs(counts - 400).max() < 95
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.08


def test_songs_join_through_chains_of_shared_phrases():
    songs = ["d", "c", "c", "b", "a", "b", "e", "e", "f"]
    phrases = [0, 0, 1, 1, 2, 2, 3, 3, 4]
    assert splits.group_songs(songs, phrases) == dict.fromkeys("abcd", "a") | {"e": "e", "f": "f"}


def test_grouping_does_not_depend_on_the_order_of_rows():
    rng = np.random.default_rng(3)
    rows = [(str(number), -number) for number in range(60)]
    for phrase, pair in enumerate(rng.integers(0, 60, (40, 2)).tolist()):
        rows += [(str(song), phrase) for song in pair]
    expected = splits.group_songs(*zip(*rows, strict=True))
    assert 1 < len(set(expected.values())) < 60
    for _ in range(5):
        shuffled = [rows[i] for i in rng.permutation(len(rows))]
        assert splits.group_songs(*zip(*shuffled, strict=True)) == expected


def test_rows_of_a_group_count_towards_half_of_all():
    songs = ["big"] * 50 + ["a", "b"]
    codes = splits.split_by_song(songs, [*range(50), 50, 50], seed=0, valid_fraction=0.4, test_fraction=0.4)
    assert set(codes[:50].tolist()) == {splits.TRAIN}
    assert codes[50] == codes[51] != splits.TRAIN


def test_no_song_and_no_phrase_is_in_two_splits():
    rng = np.random.default_rng(4)
    songs = [str(number) for number in rng.integers(0, 300, 1200)]
    phrases = [i if rng.random() < 0.9 else int(rng.integers(0, 1200)) for i in range(1200)]
    codes = splits.split_by_song(songs, phrases, seed=0, **TENTH)
    assert set(codes.tolist()) == {0, 1, 2}
    for label in (songs, phrases):
        seen = {}
        for name, code in zip(label, codes.tolist(), strict=True):
            assert seen.setdefault(name, code) == code


def test_a_song_goes_where_its_position_says():
    songs, phrases = names_and_phrases(400)
    codes = splits.split_by_song(songs, phrases, seed=5, valid_fraction=0.2, test_fraction=0.1)
    positions = [splits.song_position(song, 5) for song in songs]
    expected = [1 if position < 0.2 else 2 if position >= 0.9 else 0 for position in positions]
    assert codes.tolist() == expected
    assert codes.dtype == np.int8


def test_new_songs_move_no_other_song():
    songs, phrases = names_and_phrases(100)
    few = splits.split_by_song(songs[:60], phrases[:60], seed=0, **TENTH)
    many = splits.split_by_song(songs, phrases, seed=0, **TENTH)
    np.testing.assert_array_equal(few, many[:60])


def test_another_seed_gives_another_split():
    songs, phrases = names_and_phrases(50)
    first, again, other = (splits.split_by_song(songs, phrases, seed=seed, **TENTH) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("seed", range(20))
def test_few_songs_fill_every_split_that_is_asked_for(seed):
    def present(num_songs, valid_fraction, test_fraction):
        songs, phrases = names_and_phrases(num_songs, rows_each=2)
        codes = splits.split_by_song(
            songs, phrases, seed=seed, valid_fraction=valid_fraction, test_fraction=test_fraction
        )
        return set(codes.tolist())

    assert present(1, 0.1, 0.1) == {0}
    assert present(2, 0.1, 0.1) == {0, 1}
    assert present(3, 0.01, 0.01) == {0, 1, 2}
    assert present(3, 0.0, 0.01) == {0, 2}
    assert present(3, 0.01, 0.0) == {0, 1}
    assert present(5, 0.0, 0.0) == {0}
    assert 0 in present(4, 0.6, 0.39)


@pytest.mark.parametrize("seed", range(20))
def test_more_than_half_of_all_rows_never_leaves_training(seed):
    songs = ["big"] * 6 + ["a", "b", "c", "d", "e"]
    codes = splits.split_by_song(songs, range(11), seed=seed, valid_fraction=0.4, test_fraction=0.4)
    assert set(codes[:6].tolist()) == {0}
    assert {1, 2} <= set(codes.tolist())


def test_blocks_are_contiguous_and_in_order():
    codes = splits.split_by_block(25, valid_fraction=0.2, test_fraction=0.1)
    assert codes.tolist() == [0] * 18 + [1] * 5 + [2] * 2


@pytest.mark.parametrize("num_rows", [1, 2, 3, 7])
def test_blocks_always_leave_something_to_train_on(num_rows):
    codes = splits.split_by_block(num_rows, valid_fraction=0.5, test_fraction=0.49)
    assert len(codes) == num_rows
    assert codes[0] == 0


@pytest.mark.parametrize(("valid", "test"), [(-0.1, 0.1), (0.1, -0.1), (0.5, 0.5), (1.0, 0.0), (float("nan"), 0.1)])
def test_impossible_fractions_are_refused(valid, test):
    with pytest.raises(ValueError, match="sum is below 1"):
        splits.split_by_block(10, valid_fraction=valid, test_fraction=test)
    with pytest.raises(ValueError, match="sum is below 1"):
        splits.split_by_song(["a"], [0], seed=0, valid_fraction=valid, test_fraction=test)
