"""Which sources a survey's listeners compare, in which order, and on which side each of the two stands.

Pure functions of numbers and a generator. A pair is (source on side A, source on side B).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

Pair = tuple[int, int]

# What stands for a source in pairs that check whether a listener listens.
NOISE = -1


def order_pairs(num_sources: int, num_pairs: int, generator: np.random.Generator) -> list[Pair]:
    """Pairs in random order, balanced.

    Every two sources meet equally often, up to one, not only in all but in any number of pairs from the start: nobody
    meets the one when fresh and the other when tired. Every two that meet stand equally often on either side, up to
    one, and so does every source over all pairs.

    Args:
      num_sources: at least 2.
      num_pairs: at least 1.
      generator: of the order and the sides.
    """
    meetings = list(itertools.combinations(range(num_sources), 2))
    drawn: list[Pair] = []
    while len(drawn) < num_pairs:
        drawn += [meetings[place] for place in generator.permutation(len(meetings))]
    places: dict[Pair, list[int]] = {meeting: [] for meeting in meetings}
    for place, meeting in enumerate(drawn[:num_pairs]):
        places[meeting].append(place)
    # Of two meetings of the same sources, one is turned; those left over are turned so that each source is in balance.
    odd = {
        frozenset(pair): pair
        for pair in _orient([meeting for meeting in meetings if len(places[meeting]) % 2], generator)
    }
    pairs: dict[int, Pair] = {}
    for (i, j), of_meeting in places.items():
        shuffled = generator.permutation(of_meeting)
        half = len(shuffled) // 2
        pairs |= dict.fromkeys(shuffled[:half].tolist(), (i, j))
        pairs |= dict.fromkeys(shuffled[half : 2 * half].tolist(), (j, i))
        if len(shuffled) % 2:
            pairs[int(shuffled[-1])] = odd[frozenset((i, j))]
    return [pairs[place] for place in range(num_pairs)]


def _orient(edges: Sequence[Pair], generator: np.random.Generator) -> list[Pair]:
    """Gives each edge of a graph a direction, so that as many leave as enter each place, up to one.

    Walks that use each edge once, begun where an odd number of edges is left while there is such a place: what comes
    in by one edge goes out by another, except at the ends of walks, and no place is the end of two open walks.
    """
    left = {frozenset(edge) for edge in edges}
    directed = []
    while left:
        degrees = [(place, sum(place in edge for edge in left)) for place in sorted(frozenset[int]().union(*left))]
        starts = [place for place, degree in degrees if degree % 2] or [place for place, _ in degrees]
        here = int(generator.choice(starts))
        while ways := sorted(there for edge in left if here in edge for there in edge - {here}):
            there = int(generator.choice(ways))
            left.remove(frozenset((here, there)))
            directed.append((here, there))
            here = there
    return directed


def place_checks(pairs: Sequence[Pair], num_checks: int, *, music: int, generator: np.random.Generator) -> list[Pair]:
    """Puts pairs of music and noise among the others, one at random in each of as many stretches of equal length.

    Args:
      pairs: those that count.
      num_checks: at most as many as there are pairs.
      music: the source that is compared with noise.
      generator: of the places and the sides, which are in balance up to one.
    """
    sides = generator.permutation([(music, NOISE) if i % 2 else (NOISE, music) for i in range(num_checks)]).tolist()
    placed: list[Pair] = []
    bounds = [len(pairs) * i // num_checks for i in range(num_checks + 1)] if num_checks else []
    for side, (start, stop) in zip(sides, itertools.pairwise(bounds), strict=True):
        place = int(generator.integers(start + 1, stop + 1))
        placed += [*pairs[start:place], (side[0], side[1]), *pairs[place:stop]]
    return placed if num_checks else list(pairs)


def is_check(pair: Sequence[int]) -> bool:
    """Whether a pair compares music with noise."""
    return NOISE in pair
