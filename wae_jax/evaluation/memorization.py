"""Whether a model plays by heart: the nearest training phrase of each phrase, over all transpositions.

The distance of two phrases is Jaccard's: of the cells that are on in either, the share that is not on in both; 0 for
equal phrases, 1 for phrases that share nothing. A reference is compared as it is and with its pitched tracks moved by
every number of semitones up to `max_semitones` in both directions; drums stay, since another row there is another
instrument. All pitched tracks move together. Cells moved past the lowest or highest row are shared with nothing but
still count as on, so no transposition is cheaper for what it loses.

The search is exact. Both sides become rows of 192 bits, one a track and pitch, so that a transposition is another row
and a phrase is a few dozen words of 64 steps that are not zero. How many cells two phrases can share at most is known
beforehand, for every transposition, from how long each pitch of each track sounds in them: of a pitch that sounds for
20 steps here and 30 there, no more than 20 can be shared. On real music one reference in twenty could by that bound
beat the best found, and only these are compared in full.
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

_WORDS = NUM_STEPS // 64  # Words a row of one pitch and track.
_DRUMS = tuple(k for k, track in enumerate(TRACKS) if track.is_drum)
# References held unpacked at once, 80 kB each; and those compared in full before the bound is looked at again.
_CHUNK = 1024
_BLOCK = 64


class Nearest(NamedTuple):
    """The nearest reference of each query.

    Attributes:
      distance: Jaccard distance, from 0 to 1.
      row: which reference; of several that are equally near, the first.
      semitones: how far the pitched tracks of the reference have to be moved to match, positive upwards; of several
        that are equally good, the smallest, downwards before upwards.
    """

    distance: Float64[np.ndarray, " B"]
    row: Int64[np.ndarray, " B"]
    semitones: Int64[np.ndarray, " B"]


class _Words(NamedTuple):
    """Phrases as words of 64 steps.

    Attributes:
      total: cells that are on.
      drums: words of the drums, which no transposition changes.
      pitched: words of the pitched tracks, pitches last so that neighbouring transpositions are neighbours.
      durations: steps for which each pitch of each pitched track sounds.
    """

    total: Int64[np.ndarray, " B"]
    drums: UInt64[np.ndarray, "B drums=252"]
    pitched: UInt64[np.ndarray, "B tracks=4 words=3 pitches"]
    durations: UInt8[np.ndarray, "B tracks=4 pitches"]


def nearest_phrases(
    queries: PackedPhrases,
    references: UInt8[np.ndarray, "N bytes=10080"],
    *,
    max_semitones: int = 12,
    num_threads: int = 1,
) -> Nearest:
    """Finds the nearest reference of each query, over all transpositions of the reference's pitched tracks.

    Args:
      queries: packed phrases.
      references: packed phrases, at least one; they may be a memory map, of which a thousand rows are read at a
        time.
      max_semitones: how far a reference is moved at most, upwards and downwards.
      num_threads: threads that share the queries; the result is the same for any number.

    Returns:
      Distance, index and transposition of the nearest reference.

    Raises:
      ValueError: if there is no reference, a shape is another, or a number is out of range.
    """
    if len(references) == 0:
        raise ValueError("there are no references: expected at least one phrase to compare with")
    if not 0 <= max_semitones < NUM_PITCHES:
        raise ValueError(f"max_semitones is {max_semitones}; expected 0 to {NUM_PITCHES - 1}")
    if num_threads < 1:
        raise ValueError(f"num_threads is {num_threads}; expected at least 1")
    asked = [_to_words(queries[start : start + _CHUNK]) for start in range(0, len(queries), _CHUNK)]
    best = Nearest(np.full(len(queries), np.inf), np.full(len(queries), -1), np.zeros(len(queries), np.int64))
    with ThreadPoolExecutor(num_threads) as threads:
        for start in range(0, len(references), _CHUNK):
            chunk = _Chunk(_to_words(np.asarray(references[start : start + _CHUNK]), padding=max_semitones))

            def search(place: int, start: int = start, chunk: _Chunk = chunk) -> None:
                query = _Words(*(part[place % _CHUNK][None] for part in asked[place // _CHUNK]))
                distance, index, semitones = chunk.nearest(query, float(best.distance[place]))
                if index >= 0:
                    best.distance[place], best.row[place], best.semitones[place] = distance, start + index, semitones

            # Threads raise only where their results are asked for.
            for _ in threads.map(search, range(len(queries))):
                pass
    return best


def flag_copies(
    distance: Float64[np.ndarray, " B"], baseline: Float64[np.ndarray, " held_out"], *, percentile: float = 1.0
) -> Bool[np.ndarray, " B"]:
    """Which phrases are nearer to the training set than nearly all music that is not from it.

    Held-out music has neighbours in the training set too: styles, shared patterns, second versions of one song. A
    phrase is suspect only where it is nearer than that. By chance alone, so many per cent of the phrases are flagged
    as `percentile` says; a share well above it means copies. A baseline that itself holds copies hides those of the
    model, so songs must not be on both sides of the split.

    Args:
      distance: distances of generated phrases to their nearest training phrases.
      baseline: distances of held-out phrases to their nearest training phrases.
      percentile: of the baseline's distances, below which a phrase is flagged.

    Returns:
      Whether each phrase is flagged.

    Raises:
      ValueError: if the baseline is empty.
    """
    if len(baseline) == 0:
        raise ValueError("the baseline is empty: expected the distances of held-out phrases to the training set")
    return distance < np.percentile(baseline, percentile)


def _to_words(packed: PackedPhrases, *, padding: int = 0) -> _Words:
    """Turns phrases into words of 64 steps, with so many empty pitches on both sides of the pitched rows."""
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
    """Some of the references, laid out for being compared with one query after another."""

    def __init__(self, references: _Words) -> None:
        self._references = references
        # References last: these are gone through for all references at once.
        self._drums = np.ascontiguousarray(references.drums.T)
        self._durations = np.ascontiguousarray(references.durations.transpose(1, 2, 0))
        self._max_semitones = (references.pitched.shape[3] - NUM_PITCHES) // 2
        # The smallest transposition first, so that argmax takes it among equals.
        self._shifts = np.array(sorted(range(-self._max_semitones, self._max_semitones + 1), key=abs))

    def nearest(self, query: _Words, best: float) -> tuple[float, int, int]:
        """Distance, index and transposition of the nearest reference if it is nearer than `best`; else index -1."""
        either = query.total[0] + self._references.total
        words = np.flatnonzero(query.drums[0])
        drums = np.bitwise_count(self._drums[words] & query.drums[0, words, None]).sum(axis=0, dtype=np.int64)
        bound = _jaccard_distance(drums + self._most_shared(query), either)
        places = np.flatnonzero(bound < best)
        places = places[np.argsort(bound[places], kind="stable")]
        index, semitones = -1, 0
        for begin in range(0, len(places), _BLOCK):
            block = places[begin : begin + _BLOCK]
            # An equal bound is looked at: it may be an equally near reference that comes first.
            block = block[bound[block] <= best]
            if not len(block):
                break
            # The window of a transposition upwards begins lower.
            shared = self._shared(query, block)[:, self._max_semitones - self._shifts]
            chosen = shared.argmax(axis=1)
            distance = _jaccard_distance(drums[block] + shared[np.arange(len(block)), chosen], either[block])
            place = np.lexsort((block, distance))[0]
            if distance[place] < best or (distance[place] == best and block[place] < index):
                best, index, semitones = distance[place], block[place], self._shifts[chosen[place]]
        return float(best), int(index), int(semitones)

    def _most_shared(self, query: _Words) -> Int64[np.ndarray, " references"]:
        """The most cells of pitched tracks that each reference can share with the query under any transposition."""
        windows = 2 * self._max_semitones + 1
        # At most 192 * 84 * 4 cells, which 16 bits hold.
        most = np.zeros((windows, self._durations.shape[2]), np.uint16)
        for track, pitch in np.argwhere(query.durations[0]):
            most += np.minimum(self._durations[track, pitch : pitch + windows], query.durations[0, track, pitch])
        return most.max(axis=0).astype(np.int64)

    def _shared(self, query: _Words, places: Int64[np.ndarray, " block"]) -> Int64[np.ndarray, "block windows"]:
        """Cells of pitched tracks shared with the query, from the highest transposition down to the lowest."""
        pitched = self._references.pitched[places]
        windows = 2 * self._max_semitones + 1
        shared = np.zeros((len(places), windows), np.int64)
        for track, word, pitch in np.argwhere(query.pitched[0]):
            cells = pitched[:, track, word, pitch : pitch + windows] & query.pitched[0, track, word, pitch]
            shared += np.bitwise_count(cells)
        return shared


def _jaccard_distance(
    shared: Int64[np.ndarray, " references"], total: Int64[np.ndarray, " references"]
) -> Float64[np.ndarray, " references"]:
    """One minus shared cells over cells on in either; equal shares give equal floats. Two silences are equal."""
    either = total - shared
    return 1 - np.divide(shared, either, out=np.ones(len(shared)), where=either > 0)
