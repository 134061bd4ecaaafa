"""The pairs of sources that the listeners of a survey compare, their order, and the side of each source.

Pure functions of numbers and a random generator. A pair is (source on side A, source on side B).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

Pair = tuple[int, int]

# The source that music is compared with in attention checks.
NOISE = -1


def order_pairs(num_sources: int, num_pairs: int, generator: np.random.Generator) -> list[Pair]:
    """Balanced pairs in random order.

    In any number of pairs from the start, all combinations of two sources occur equally often, up to one, so that
    listeners do not hear one of them fresh and another one tired. In either order of its two sources a combination
    occurs equally often, up to one, and over all pairs each source is equally often on either side, up to one.

    Args:
      num_sources: at least 2.
      num_pairs: at least 1.
      generator: of the order and the sides.
    """
    combinations = list(itertools.combinations(range(num_sources), 2))
    order: list[Pair] = []
    while len(order) < num_pairs:
        order += [combinations[i] for i in generator.permutation(len(combinations))]
    indices: dict[Pair, list[int]] = {combination: [] for combination in combinations}
    for i, combination in enumerate(order[:num_pairs]):
        indices[combination].append(i)
    # Half of the pairs of each combination are swapped. One pair of it may be left over: the sides of these balance
    # the sources.
    left_over = [combination for combination in combinations if len(indices[combination]) % 2]
    oriented = {frozenset(pair): pair for pair in _orient(left_over, generator)}
    pairs: dict[int, Pair] = {}
    for (i, j), of_combination in indices.items():
        shuffled = generator.permutation(of_combination)
        half = len(shuffled) // 2
        pairs |= dict.fromkeys(shuffled[:half].tolist(), (i, j))
        pairs |= dict.fromkeys(shuffled[half : 2 * half].tolist(), (j, i))
        if len(shuffled) % 2:
            pairs[int(shuffled[-1])] = oriented[frozenset((i, j))]
    return [pairs[i] for i in range(num_pairs)]


def _orient(edges: Sequence[Pair], generator: np.random.Generator) -> list[Pair]:
    """Directs the edges of a graph so that each node has as many outgoing as incoming ones, up to one.

    Follows paths that use each edge once, started at nodes with an odd number of unused edges as long as there are
    any: a path enters and leaves each node but its ends, and no node is the end of two open paths.
    """
    unused = {frozenset(edge) for edge in edges}
    directed = []
    while unused:
        degrees = [(node, sum(node in edge for edge in unused)) for node in sorted(frozenset[int]().union(*unused))]
        starts = [node for node, degree in degrees if degree % 2] or [node for node, _ in degrees]
        node = int(generator.choice(starts))
        while neighbours := sorted(other for edge in unused if node in edge for other in edge - {node}):
            following = int(generator.choice(neighbours))
            unused.remove(frozenset((node, following)))
            directed.append((node, following))
            node = following
    return directed


def insert_checks(pairs: Sequence[Pair], num_checks: int, *, music: int, generator: np.random.Generator) -> list[Pair]:
    """Inserts attention checks, pairs of music and noise, one at random into each of equally long parts.

    Args:
      pairs: the pairs that count.
      num_checks: at most the number of pairs.
      music: the source compared with noise.
      generator: of the positions and the sides; noise is on both sides equally often, up to one.
    """
    sides = generator.permutation([(music, NOISE) if i % 2 else (NOISE, music) for i in range(num_checks)]).tolist()
    if not num_checks:
        return list(pairs)
    checked: list[Pair] = []
    bounds = [len(pairs) * i // num_checks for i in range(num_checks + 1)]
    for (a, b), (start, stop) in zip(sides, itertools.pairwise(bounds), strict=True):
        position = int(generator.integers(start + 1, stop + 1))
        checked += [*pairs[start:position], (a, b), *pairs[position:stop]]
    return checked


def is_check(pair: Sequence[int]) -> bool:
    """Whether a pair compares music with noise."""
    return NOISE in pair
