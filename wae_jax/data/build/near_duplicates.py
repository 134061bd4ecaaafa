"""Near-duplicates: pairs of phrases that differ in a few cells, among any number of phrases.

Their similarity is Jaccard's: of the cells that are active in either phrase, the share that is active in both. Versions
of a song have phrases that are not equal but near-duplicates; across splits they leak as equal ones do.

Comparing all pairs would take hours for 100,000 phrases. Instead every phrase gets 60 minima of random orders of all
cells (MinHash: A. Z. Broder, "On the resemblance and containment of documents", 1997): two phrases have one of them in
common with a probability equal to their similarity. Phrases with five in a row in common, in one of twelve groups, are
compared in full. A pair of similarity .9 is missed with probability 2e-5, one of .8 with .0083.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Int64, UInt8, UInt64

from wae_jax.pianoroll import CELLS_PER_PHRASE

# On 4,981 and 6,655 phrases of game music, similarities of .7 to .95 tie the same songs but for a few.
MIN_SIMILARITY = 0.9
DEFINITION = f"at least {MIN_SIMILARITY:.0%} of the cells that are active in either are active in both"

_BANDS, _MINIMA_PER_BAND = 12, 5
_SEED = 0
# Phrases of one key of a band, in order, that each is compared with. A thousand bars of one drum loop share a key, and
# all pairs of them would take for ever; neighbours tie them as well.
_FOLLOWING = 64
_PAIRS_AT_ONCE = 2048


def find_near_duplicates(
    packed: UInt8[np.ndarray, "N bytes=10080"], labels: Int64[np.ndarray, " N"], *, rows: Int64[np.ndarray, " M"]
) -> Int64[np.ndarray, "pairs 2"]:
    """Finds pairs of near-duplicates that have different labels.

    Args:
      packed: phrases, which may be a memory map; none of `rows` is silent.
      labels: a number for each phrase, such as its song; phrases with equal labels are not compared.
      rows: indices of the phrases to look at.

    Returns:
      Pairs of indices into `packed`, the smaller first, sorted. Of more than 64 phrases that agree in five minima, only
      those close to one another in `rows` are compared.
    """
    keys = _band_keys(packed, rows)
    found = [np.zeros((0, 2), np.int64)]
    for candidates in _candidates(keys, labels[rows]):
        pairs = np.sort(rows[candidates], axis=1)
        found.append(pairs[_is_similar(packed, pairs)])
    return np.unique(np.concatenate(found), axis=0)


def _band_keys(
    packed: UInt8[np.ndarray, "N bytes=10080"], rows: Int64[np.ndarray, " M"]
) -> UInt64[np.ndarray, "bands=12 M"]:
    """A number for each band of each phrase, equal where all its minima are."""
    rng = np.random.default_rng(_SEED)
    # 16 bits: two cells in 65,536 pairs share a number, which makes a few comparisons more.
    order = rng.integers(0, 1 << 16, (CELLS_PER_PHRASE, _BANDS * _MINIMA_PER_BAND), dtype=np.uint16)
    # Odd factors, so that the products of different minima differ.
    factors = rng.integers(0, 1 << 63, _MINIMA_PER_BAND, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    keys = np.empty((_BANDS, len(rows)), np.uint64)
    for i, row in enumerate(rows):
        cells = np.flatnonzero(np.unpackbits(packed[row]).view(bool))
        minima = order[cells].min(axis=0).reshape(_BANDS, _MINIMA_PER_BAND)
        keys[:, i] = (minima * factors).sum(axis=1)  # modulo 2 ** 64
    return keys


def _candidates(
    keys: UInt64[np.ndarray, "bands=12 M"], labels: Int64[np.ndarray, " M"]
) -> Iterator[Int64[np.ndarray, "pairs 2"]]:
    """Pairs of indices of phrases with a key in common and different labels, some at a time; a pair may come again."""
    for band in keys:
        order = np.argsort(band, kind="stable")
        # Where phrases end that have the same key as this one.
        end = np.searchsorted(band[order], band[order], side="right")
        for distance in range(1, _FOLLOWING + 1):
            first = np.flatnonzero(np.arange(len(order)) + distance < end)
            if not len(first):
                break
            pairs = np.stack([order[first], order[first + distance]], axis=1)
            pairs = pairs[labels[pairs[:, 0]] != labels[pairs[:, 1]]]
            for start in range(0, len(pairs), _PAIRS_AT_ONCE):
                yield pairs[start : start + _PAIRS_AT_ONCE]


def _is_similar(
    packed: UInt8[np.ndarray, "N bytes=10080"], pairs: Int64[np.ndarray, "pairs 2"]
) -> Bool[np.ndarray, " pairs"]:
    first, second = packed[pairs[:, 0]].view(np.uint64), packed[pairs[:, 1]].view(np.uint64)
    both, either = (np.bitwise_count(words).sum(axis=1, dtype=np.int64) for words in (first & second, first | second))
    return both >= MIN_SIMILARITY * either
