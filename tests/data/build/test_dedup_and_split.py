from __future__ import annotations

import numpy as np

from wae_jax.data.build import dedup_and_split
from wae_jax.data.build.phrase_table import NO_SONG, TableBuilder

OPTIONS = {"seed": 0, "valid_fraction": 0.1, "test_fraction": 0.1}


def staged(*entries):
    """A table of (source, song, key)."""
    table = TableBuilder()
    for source, song, key in entries:
        table.add(source, [key.encode().ljust(16)], songs=[song], first_bars=[None], tempos=[None])
    return table.table()


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
    plan = dedup_and_split.plan_rows(table, [None] * 4, **OPTIONS | {"valid_fraction": 0.4, "test_fraction": 0.4})
    assert plan.num_duplicates == 2
    codes = dict(zip(plan.rows.tolist(), plan.codes.tolist(), strict=True))
    assert codes[3] == codes[4]
    assert codes[0] == 0
    assert table.entries["song"][0] == NO_SONG


def test_training_keeps_what_two_splits_share():
    phrases = staged((0, None, "x"), (0, None, "x"), (1, None, "x"), (1, None, "y"), (2, None, "y"), (2, None, "z"))
    plan = dedup_and_split.plan_rows(phrases, ["train", "valid", "test"], **OPTIONS)
    assert plan.rows.tolist() == [0, 3, 5]
    assert plan.codes.tolist() == [0, 1, 2]
    assert (plan.num_duplicates, plan.num_across) == (3, 2)
    assert "--train" in plan.rule


def test_blocks_of_each_input_without_songs():
    phrases = staged(*[(0, None, f"a{i // 2}") for i in range(40)], *[(1, None, f"b{i}") for i in range(10)])
    plan = dedup_and_split.plan_rows(phrases, [None, None], **OPTIONS)
    # Twenty phrases remain of the first input: 16 train, 2 valid, 2 test; of the second 8, 1 and 1.
    train = [*range(0, 32, 2), *range(40, 48)]
    assert plan.rows.tolist() == [*train, 32, 34, 48, 36, 38, 49]
    assert plan.codes.tolist() == [0] * 24 + [1] * 3 + [2] * 3
    assert (plan.num_duplicates, plan.num_across) == (20, 0)
    assert "contiguous blocks" in plan.rule
    assert "song:" not in plan.rule


def test_songs_that_share_a_phrase_go_together_over_inputs():
    rng = np.random.default_rng(0)
    entries = [(i % 2, f"song {i // 4}", f"own {i}") for i in range(400)]
    shared = [
        (int(i % 2), f"song {song}", f"shared {i // 2}") for i, song in enumerate(rng.permutation(100)[:40].tolist())
    ]
    phrases = staged(*entries, *shared)
    plan = dedup_and_split.plan_rows(phrases, [None, None], **OPTIONS)
    assert plan.num_duplicates == 20
    assert len(plan.rows) == 420
    assert set(plan.codes.tolist()) == {0, 1, 2}
    assert (np.diff(plan.codes) >= 0).all()
    split_of = {}
    for row, code in zip(plan.rows.tolist(), plan.codes.tolist(), strict=True):
        assert split_of.setdefault(phrases.entries["song"][row], code) == code
    for (_, first, _), (_, second, _) in zip(shared[::2], shared[1::2], strict=True):
        assert split_of[phrases.songs.index(first)] == split_of[phrases.songs.index(second)]
    assert "by song: sha256 of seed 0" in plan.rule
    assert "blocks" not in plan.rule


def test_songs_and_blocks_side_by_side():
    phrases = staged(*[(0, f"song {i}", f"a{i}") for i in range(50)], *[(1, None, f"b{i}") for i in range(10)])
    plan = dedup_and_split.plan_rows(phrases, [None, None], **OPTIONS)
    codes = dict(zip(plan.rows.tolist(), plan.codes.tolist(), strict=True))
    assert [codes[row] for row in range(50, 60)] == [0] * 8 + [1, 2]
    assert {codes[row] for row in range(50)} == {0, 1, 2}
    assert "by song" in plan.rule
    assert "contiguous blocks" in plan.rule
