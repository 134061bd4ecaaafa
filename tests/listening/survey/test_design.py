"""The pairs of a survey: who meets whom, when, and on which side."""

import collections
import itertools

import numpy as np
import pytest

from wae_jax.listening.survey.design import NOISE, insert_checks, is_check, order_pairs


def spread(counts) -> int:
    return max(counts) - min(counts)


@pytest.mark.parametrize("num_sources", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("num_pairs", [15, 16, 23, 40, 61])
def test_pairs_are_balanced(num_sources, num_pairs):
    meetings = list(itertools.combinations(range(num_sources), 2))
    for seed in range(5):
        pairs = order_pairs(num_sources, num_pairs, np.random.default_rng(seed))
        assert len(pairs) == num_pairs
        for end in range(1, num_pairs + 1):
            met = collections.Counter(frozenset(pair) for pair in pairs[:end])
            assert spread([met[frozenset(meeting)] for meeting in meetings]) <= 1
        sides = collections.Counter(pairs)
        assert all(abs(sides[i, j] - sides[j, i]) <= 1 for i, j in meetings)
        for source in range(num_sources):
            lead = sum(a == source for a, _ in pairs) - sum(b == source for _, b in pairs)
            assert abs(lead) <= 1


def test_the_order_is_that_of_the_seed_and_random():
    drawn = [order_pairs(3, 30, np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]
    # Each of the six ways to meet stands first in a sixth of 600 surveys: 100, with a standard deviation of 9.
    first = collections.Counter(order_pairs(3, 7, np.random.default_rng(seed))[0] for seed in range(600))
    assert len(first) == 6
    assert all(60 < count < 140 for count in first.values())


@pytest.mark.parametrize(("num_pairs", "num_checks"), [(40, 4), (10, 3), (7, 7), (9, 1), (16, 15)])
def test_checks_stand_among_the_others(num_pairs, num_checks):
    places = collections.Counter()
    for seed in range(40):
        generator = np.random.default_rng(seed)
        pairs = order_pairs(3, num_pairs, generator)
        placed = insert_checks(pairs, num_checks, music=2, generator=generator)
        assert [pair for pair in placed if not is_check(pair)] == pairs
        checks = [place for place, pair in enumerate(placed) if is_check(pair)]
        assert len(checks) == num_checks
        assert {frozenset(placed[place]) for place in checks} == {frozenset((2, NOISE))}
        assert abs(2 * sum(placed[place] == (2, NOISE) for place in checks) - num_checks) <= 1
        # One in every stretch, of which each has the same number of pairs up to one.
        before = [sum(not is_check(pair) for pair in placed[:place]) for place in checks]
        for i, count in enumerate(before):
            assert num_pairs * i // num_checks < count <= num_pairs * (i + 1) // num_checks
        places.update(checks)
    assert len(places) > num_checks or num_checks == num_pairs


def test_both_sides_of_the_first_check_occur():
    sides = set()
    for seed in range(30):
        generator = np.random.default_rng(seed)
        placed = insert_checks([(0, 1)] * 4, 2, music=1, generator=generator)
        sides.add(next(pair for pair in placed if is_check(pair)))
    assert sides == {(1, NOISE), (NOISE, 1)}
