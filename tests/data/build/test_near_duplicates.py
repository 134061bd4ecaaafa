from __future__ import annotations

import itertools

import numpy as np
import pytest

from wae_jax.data.build.near_duplicates import find_near_duplicates


def phrases_of(cells):
    rolls = np.zeros((len(cells), 80_640), bool)
    for roll, active in zip(rolls, cells, strict=True):
        roll[list(active)] = True
    return np.packbits(rolls, axis=1)


def find(cells, labels=None):
    labels = np.arange(len(cells)) if labels is None else np.array(labels)
    return find_near_duplicates(phrases_of(cells), labels, rows=np.arange(len(cells))).tolist()


def versions(rng, num_cells, num_changed):
    """Two phrases of `num_cells` cells, of which `num_changed` of the first are not in the second."""
    cells = rng.choice(80_640, num_cells + num_changed, replace=False)
    return set(cells[:num_cells].tolist()), set(cells[num_changed:].tolist())


@pytest.mark.parametrize("num_cells", [20, 1500])
def test_pairs_from_a_similarity_of_nine_tenths_on_are_found(num_cells):
    rng = np.random.default_rng(num_cells)
    cells, expected = [], []
    # Of n cells each, n - c are shared: the similarity is (n - c) / (n + c), nine tenths at c = n / 19.
    for num_changed in itertools.chain(range(num_cells // 19 + 1), range(num_cells // 19 + 1, num_cells // 4)):
        if (num_cells - num_changed) / (num_cells + num_changed) >= 0.9:
            expected.append([len(cells), len(cells) + 1])
        cells += versions(rng, num_cells, num_changed)
    assert 1 < len(expected) < len(cells) // 2
    assert find(cells) == expected


def test_the_same_as_comparing_all_pairs():
    rng = np.random.default_rng(0)
    base = [set(rng.choice(2000, 60, replace=False).tolist()) for _ in range(20)]
    cells = [base[i % 20] ^ set(rng.choice(2000, i % 5, replace=False).tolist()) for i in range(120)]
    labels = rng.integers(0, 30, 120)
    expected = [
        [i, j]
        for i, j in itertools.combinations(range(120), 2)
        if labels[i] != labels[j] and len(cells[i] & cells[j]) >= 0.9 * len(cells[i] | cells[j])
    ]
    assert len(expected) > 100
    assert find(cells, labels) == expected


def test_phrases_of_one_label_and_others_than_the_chosen_are_left_out():
    phrases = phrases_of([{1, 2}, {1, 2}, {1, 2}, {3, 4}])
    find = find_near_duplicates
    assert find(phrases, np.array([5, 5, 6, 5]), rows=np.arange(4)).tolist() == [[0, 2], [1, 2]]
    assert find(phrases, np.array([5, 5, 6, 5]), rows=np.array([0, 1, 3])).tolist() == []
    assert find(phrases[:0], np.zeros(0, np.int64), rows=np.arange(0)).tolist() == []


def test_a_thousand_like_phrases_are_tied_without_comparing_all_pairs():
    # One loop in every phrase, and a note of its own; all similarities are 40 / 42.
    pairs = find([{*range(40), 1000 + i} for i in range(1000)])
    assert len(pairs) <= 12 * 64 * 1000
    assert {j for _, j in pairs} == set(range(1, 1000))
