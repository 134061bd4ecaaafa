"""Memorization: the nearest training phrase of each phrase, over all transpositions.

The distance of two phrases is Jaccard's: of the cells that are active in either, the share that is not active in both;
0 for equal phrases, 1 for phrases that share nothing. A reference is compared as it is and with its pitched tracks
moved by every number of semitones up to `max_semitones` in both directions, all together; drums stay, since another row
there is another instrument. Cells moved past the lowest or highest row are shared with nothing but still count as
active, so that no transposition gains from losing cells.

The search is exact. Both sides become rows of 192 bits, one a track and pitch, so that a transposition is another row
and a phrase is a few dozen nonzero words of 64 steps. The number of cells that two phrases can share has an upper
bound, for every transposition, from how long each pitch of each track is active in them: a pitch that lasts 20 steps
here and 30 there shares at most 20. On real music this bound leaves one reference in twenty to be compared in full.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8, UInt64

from wae_jax.pianoroll import (
    BYTES_PER_PHRASE,
    NUM_PITCHES,
    NUM_STEPS,
    NUM_TRACKS,
    PITCHED_TRACKS,
    TRACKS,
    PackedPhrases,
    unpack,
)

_WORDS = NUM_STEPS // 64  # words a row of one pitch and track
_DRUMS = tuple(k for k, track in enumerate(TRACKS) if track.is_drum)
# References unpacked at once, 80 kB each, and references compared in full before the bound is checked again.
_CHUNK = 1024
_BLOCK = 64


class Nearest(NamedTuple):
    """The nearest reference of each query."""

    distance: Float64[np.ndarray, " B"]  # Jaccard's, from 0 to 1
    row: Int64[np.ndarray, " B"]  # of the reference, the first of equally near ones
    semitones: Int64[np.ndarray, " B"]  # of the reference's pitched tracks; the least, downwards first


class _Words(NamedTuple):
    """Phrases as words of 64 steps."""

    total: Int64[np.ndarray, " B"]  # number of active cells
    drums: UInt64[np.ndarray, "B drums=252"]  # words, which no transposition changes
    pitched: UInt64[np.ndarray, "B tracks=4 words=3 pitches"]  # pitches last, as neighbours in memory
    durations: UInt8[np.ndarray, "B tracks=4 pitches"]  # active steps of each pitch of each pitched track


def nearest_phrases(
    queries: PackedPhrases,
    references: UInt8[np.ndarray, "N bytes=10080"],
    *,
    max_semitones: int = 12,
    num_threads: int = 1,
) -> Nearest:
    """Finds the nearest reference of each query, over all transpositions of the reference's pitched tracks.

    A memory map is read a thousand rows at a time. The result is the same for any number of threads.

    Raises:
      ValueError: if there is no reference, a shape is wrong, or a number is out of range.
    """
    if len(references) == 0:
        raise ValueError("there are no references: expected at least one phrase to compare with")
    if not 0 <= max_semitones < NUM_PITCHES:
        raise ValueError(f"max_semitones is {max_semitones}; expected 0 to {NUM_PITCHES - 1}")
    if num_threads < 1:
        raise ValueError(f"num_threads is {num_threads}; expected at least 1")
    words = [_to_words(queries[start : start + _CHUNK]) for start in range(0, len(queries), _CHUNK)]
    best = Nearest(np.full(len(queries), np.inf), np.full(len(queries), -1), np.zeros(len(queries), np.int64))
    with ThreadPoolExecutor(num_threads) as threads:
        for start in range(0, len(references), _CHUNK):
            chunk = _Chunk(_to_words(np.asarray(references[start : start + _CHUNK]), padding=max_semitones))

            def search(i: int, start: int = start, chunk: _Chunk = chunk) -> None:
                query = _Words(*(part[i % _CHUNK][None] for part in words[i // _CHUNK]))
                distance, index, semitones = chunk.nearest(query, float(best.distance[i]))
                if index >= 0:
                    best.distance[i], best.row[i], best.semitones[i] = distance, start + index, semitones

            # Errors of threads are raised where their results are read.
            for _ in threads.map(search, range(len(queries))):
                pass
    return best


def flag_copies(
    distance: Float64[np.ndarray, " B"], baseline: Float64[np.ndarray, " held_out"], *, percentile: float = 1.0
) -> Bool[np.ndarray, " B"]:
    """Whether each phrase is nearer to the training set than nearly all music that is not from it.

    Held-out music has neighbors in the training set too: styles, shared patterns, versions of one song. A phrase is
    suspect only where it is nearer than that. By chance alone, `percentile` per cent of the phrases are flagged; a
    share well above it means copies. A baseline that itself holds copies hides those of the model, so songs must not
    be on both sides of the split. Both arguments are distances to the nearest training phrases.

    Raises:
      ValueError: if the baseline is empty.
    """
    if len(baseline) == 0:
        raise ValueError("the baseline is empty: expected the distances of held-out phrases to the training set")
    return distance < np.percentile(baseline, percentile)


def _to_words(packed: PackedPhrases, *, padding: int = 0) -> _Words:
    """Phrases as words of 64 steps, with `padding` empty pitches on both sides of the pitched rows."""
    if packed.ndim != 2 or packed.shape[1] != BYTES_PER_PHRASE:
        raise ValueError(f"packed phrases have shape {packed.shape}; expected [B, {BYTES_PER_PHRASE}]")
    eighths = unpack(packed).view(np.uint8).reshape(len(packed), NUM_STEPS // 8, 8, NUM_PITCHES * NUM_TRACKS)
    # Eight steps become a byte before the axes are exchanged: packbits along an axis that is not the last is slow.
    steps = np.zeros((len(packed), NUM_STEPS // 8, NUM_PITCHES * NUM_TRACKS), np.uint8)
    for bit in range(8):
        steps |= eighths[:, :, bit] << np.uint8(bit)
    rows = np.ascontiguousarray(steps.transpose(0, 2, 1)).view(np.uint64)
    words = rows.reshape(len(packed), NUM_PITCHES, NUM_TRACKS, _WORDS).transpose(0, 2, 3, 1)
    sides = (padding, padding)
    pitched = np.pad(words[:, PITCHED_TRACKS], ((0, 0), (0, 0), (0, 0), sides))
    return _Words(
        np.bitwise_count(words).sum(axis=(1, 2, 3), dtype=np.int64),
        words[:, _DRUMS].reshape(len(packed), -1),
        pitched,
        np.bitwise_count(pitched).sum(axis=2, dtype=np.uint8),
    )


class _Chunk:
    """Some of the references, laid out for comparison with one query after another."""

    def __init__(self, references: _Words) -> None:
        self._references = references
        # References last, since all are compared at once.
        self._drums = np.ascontiguousarray(references.drums.T)
        self._durations = np.ascontiguousarray(references.durations.transpose(1, 2, 0))
        self._max_semitones = (references.pitched.shape[3] - NUM_PITCHES) // 2
        # The smallest transposition first, so that argmax takes it among equals.
        self._shifts = np.array(sorted(range(-self._max_semitones, self._max_semitones + 1), key=abs))

    def nearest(self, query: _Words, best: float) -> tuple[float, int, int]:
        """Distance, index and transposition of the nearest reference; index -1 where none is nearer than `best`."""
        either = query.total[0] + self._references.total
        words = np.flatnonzero(query.drums[0])
        drums = np.bitwise_count(self._drums[words] & query.drums[0, words, None]).sum(axis=0, dtype=np.int64)
        bound = _jaccard_distance(drums + self._most_shared(query), either)
        candidates = np.flatnonzero(bound < best)
        candidates = candidates[np.argsort(bound[candidates], kind="stable")]
        index, semitones = -1, 0
        for begin in range(0, len(candidates), _BLOCK):
            block = candidates[begin : begin + _BLOCK]
            # Equal bounds stay: they may belong to an equally near reference with a smaller index.
            block = block[bound[block] <= best]
            if not len(block):
                break
            # The window of an upward transposition begins lower.
            shared = self._shared(query, block)[:, self._max_semitones - self._shifts]
            chosen = shared.argmax(axis=1)
            distance = _jaccard_distance(drums[block] + shared[np.arange(len(block)), chosen], either[block])
            i = np.lexsort((block, distance))[0]
            if distance[i] < best or (distance[i] == best and block[i] < index):
                best, index, semitones = distance[i], block[i], self._shifts[chosen[i]]
        return float(best), int(index), int(semitones)

    def _most_shared(self, query: _Words) -> Int64[np.ndarray, " references"]:
        """Upper bound of the cells of pitched tracks that each reference shares with the query, over transpositions."""
        windows = 2 * self._max_semitones + 1
        # At most 192 * 84 * 4 cells, which 16 bits hold.
        most = np.zeros((windows, self._durations.shape[2]), np.uint16)
        for track, pitch in np.argwhere(query.durations[0]):
            most += np.minimum(self._durations[track, pitch : pitch + windows], query.durations[0, track, pitch])
        return most.max(axis=0).astype(np.int64)

    def _shared(self, query: _Words, block: Int64[np.ndarray, " block"]) -> Int64[np.ndarray, "block windows"]:
        """Cells of pitched tracks shared with the query, from the highest transposition down to the lowest."""
        pitched = self._references.pitched[block]
        windows = 2 * self._max_semitones + 1
        shared = np.zeros((len(block), windows), np.int64)
        for track, word, pitch in np.argwhere(query.pitched[0]):
            cells = pitched[:, track, word, pitch : pitch + windows] & query.pitched[0, track, word, pitch]
            shared += np.bitwise_count(cells)
        return shared


def _jaccard_distance(
    shared: Int64[np.ndarray, " references"], total: Int64[np.ndarray, " references"]
) -> Float64[np.ndarray, " references"]:
    """One minus shared cells over cells active in either; equal ratios give equal floats. Two silences are equal."""
    either = total - shared
    return 1 - np.divide(shared, either, out=np.ones(len(shared)), where=either > 0)
