from __future__ import annotations

import numpy as np

from wae_jax.data.build import dedup_and_split
from wae_jax.data.build.sources import RECORD, UNKNOWN, BuildSpec, Input, Options, PhraseTable


def staged(*entries):
    """A table of (source, song, key)."""
    songs = list(dict.fromkeys(song for _, song, _ in entries if song is not None))
    records = np.zeros(len(entries), RECORD)
    for record, (source, song, key) in zip(records, entries, strict=True):
        record["source"], record["key"] = source, np.frombuffer(key.encode().ljust(16), np.uint64)
        record["song"] = UNKNOWN if song is None else songs.index(song)
    return PhraseTable(records, songs)


def select(table, input_splits, valid_fraction=0.1, test_fraction=0.1, near=()):
    """The selection for rows of 40 random cells; of each pair of `near` rows, one has a cell more than the other."""
    spec = BuildSpec([Input("", split) for split in input_splits], Options(), 1, 0, valid_fraction, test_fraction)
    rng = np.random.default_rng(1)
    cells = [set(rng.choice(80_640, 40, replace=False).tolist()) for _ in table.records]
    for first, second in near:
        cells[second] = cells[first] | {min(set(range(100)) - cells[first])}
    rows = np.zeros((len(cells), 80_640), bool)
    for row, active in zip(rows, cells, strict=True):
        row[list(active)] = True
    return dedup_and_split.deduplicate_and_split(table, np.packbits(rows, axis=1), spec)


def test_the_first_of_equal_keys():
    keys = np.random.default_rng(0).integers(0, 3, (200, 2), np.uint64)
    seen = {}
    expected = [seen.setdefault(tuple(key), i) for i, key in enumerate(keys.tolist())]
    assert len(seen) == 9
    assert dedup_and_split.first_equal(keys).tolist() == expected
    assert dedup_and_split.first_equal(keys[:0]).tolist() == []


def test_songs_that_share_a_phrase_with_an_input_without_songs_stay_apart():
    # The phrase that both songs share is first in an input that names none; and there it stays.
    shared = [(0, None, "x"), (1, "a", "x"), (2, "b", "x")]
    own = [(1, "a", "own a"), (2, "b", "own b"), *((3, f"song {i}", f"c{i}") for i in range(40))]
    table = staged(*shared, *own)
    selection = select(table, [None] * 4, valid_fraction=0.4, test_fraction=0.4)
    assert selection.num_duplicates == 2
    codes = dict(zip(selection.rows.tolist(), selection.codes.tolist(), strict=True))
    assert codes[3] == codes[4]
    assert codes[0] == 0
    assert table.records["song"][0] == UNKNOWN


def test_training_keeps_what_two_splits_share():
    phrases = staged((0, None, "x"), (0, None, "x"), (1, None, "x"), (1, None, "y"), (2, None, "y"), (2, None, "z"))
    selection = select(phrases, ["train", "valid", "test"])
    assert selection.rows.tolist() == [0, 3, 5]
    assert selection.codes.tolist() == [0, 1, 2]
    assert (selection.num_duplicates, selection.num_across_splits) == (3, 2)
    assert "--train" in selection.rule


def test_blocks_of_each_input_without_songs():
    phrases = staged(*[(0, None, f"a{i // 2}") for i in range(40)], *[(1, None, f"b{i}") for i in range(10)])
    selection = select(phrases, [None, None])
    # Twenty phrases remain of the first input: 16 train, 2 valid, 2 test; of the second 8, 1 and 1.
    train = [*range(0, 32, 2), *range(40, 48)]
    assert selection.rows.tolist() == [*train, 32, 34, 48, 36, 38, 49]
    assert selection.codes.tolist() == [0] * 24 + [1] * 3 + [2] * 3
    assert (selection.num_duplicates, selection.num_across_splits) == (20, 0)
    assert "contiguous blocks" in selection.rule
    assert "song:" not in selection.rule


def test_songs_that_share_a_phrase_go_together_over_inputs():
    rng = np.random.default_rng(0)
    entries = [(i % 2, f"song {i // 4}", f"own {i}") for i in range(400)]
    shared = [
        (int(i % 2), f"song {song}", f"shared {i // 2}") for i, song in enumerate(rng.permutation(100)[:40].tolist())
    ]
    phrases = staged(*entries, *shared)
    selection = select(phrases, [None, None])
    assert selection.num_duplicates == 20
    assert len(selection.rows) == 420
    assert set(selection.codes.tolist()) == {0, 1, 2}
    assert (np.diff(selection.codes) >= 0).all()
    split_of = {}
    for row, code in zip(selection.rows.tolist(), selection.codes.tolist(), strict=True):
        assert split_of.setdefault(phrases.records["song"][row], code) == code
    for (_, first, _), (_, second, _) in zip(shared[::2], shared[1::2], strict=True):
        assert split_of[phrases.songs.index(first)] == split_of[phrases.songs.index(second)]
    assert "by song: sha256 of seed 0" in selection.rule
    assert "blocks" not in selection.rule


def test_songs_and_blocks_side_by_side():
    phrases = staged(*[(0, f"song {i}", f"a{i}") for i in range(50)], *[(1, None, f"b{i}") for i in range(10)])
    selection = select(phrases, [None, None])
    codes = dict(zip(selection.rows.tolist(), selection.codes.tolist(), strict=True))
    assert [codes[row] for row in range(50, 60)] == [0] * 8 + [1, 2]
    assert {codes[row] for row in range(50)} == {0, 1, 2}
    assert "by song" in selection.rule
    assert "contiguous blocks" in selection.rule


def test_songs_with_near_duplicates_go_together():
    # 60 songs of a phrase each; every even one has a near-duplicate in the next.
    phrases = staged(*[(0, f"song {i}", f"own {i}") for i in range(60)])
    apart = select(phrases, [None], 0.4, 0.3)
    together = select(phrases, [None], 0.4, 0.3, near=[(i, i + 1) for i in range(0, 60, 2)])
    codes = [dict(zip(each.rows.tolist(), each.codes.tolist(), strict=True)) for each in (apart, together)]
    assert sum(codes[0][i] != codes[0][i + 1] for i in range(0, 60, 2)) > 10
    assert all(codes[1][i] == codes[1][i + 1] for i in range(0, 60, 2))
    assert set(codes[1].values()) == {0, 1, 2}
    assert len(together.rows) == 60
    assert (apart.num_near_across_splits, together.num_near_across_splits) == (0, 0)


def test_a_near_duplicate_of_a_repeated_phrase_ties_both_of_its_songs():
    # "a" and "b" share x, of which only the first stays; the phrase of "c" is nearly x.
    entries = [(0, "a", "x"), (0, "b", "x"), (0, "c", "y"), *((0, f"song {i}", f"own {i}") for i in range(40))]
    found = select(staged(*entries), [None], 0.4, 0.4, near=[(0, 1), (0, 2)])
    phrases = dedup_and_split._components(np.array([0, 0, 2, 3]), np.array([[0, 2]]))
    assert phrases[0] == phrases[1] == phrases[2] != phrases[3]
    assert found.num_duplicates == 1
    assert found.num_near_across_splits == 0


def test_near_duplicates_across_given_splits_are_counted():
    phrases = staged(*[(i // 4, None, f"own {i}") for i in range(12)])
    # Rows 4 to 7 are for validation, 8 to 11 for testing. Row 5 is near row 1; rows 2, 6 and 9 are near one another.
    found = select(phrases, ["train", "valid", "test"], near=[(0, 1), (1, 5), (2, 9), (9, 6)])
    assert found.num_near_across_splits == 3
    assert len(found.rows) == 12


def test_near_duplicates_in_blocks_are_counted():
    found = select(staged(*[(0, None, f"own {i}") for i in range(20)]), [None], near=[(3, 19), (4, 5)])
    assert found.num_near_across_splits == 1
