import collections
import os
import pathlib

import numpy as np
import pytest

from wae_jax.data.build import song_files, songs
from wae_jax.data.build.sources import Transposition
from wae_jax.data.build.transposition import find_transpositions

DRUMS, PIANO, GUITAR, BASS, STRINGS = range(5)
BAR = 1920
SHARED = os.environ.get("WAE_JAX_SHARED_DATA")
KNOWN_KEYS = pathlib.Path(SHARED or "/nonexistent") / "public_domain_songs"


def cadences(bars, tonic, *, keys=()):
    """Bars of tonic, subdominant, dominant and tonic of a major key, and signatures."""
    notes = [
        (bar * BAR, (bar + 1) * BAR, 48 + tonic + root + interval, PIANO)
        for bar, root in zip(bars, (0, 5, 7, 0) * len(bars), strict=False)
        for interval in (0, 4, 7)
    ]
    return notes, list(keys)


def song(*parts):
    notes = [note for part, _ in parts for note in part]
    keys = np.array([key for _, keys in parts for key in keys], np.int64).reshape(-1, 3)
    return songs.Song(480, *np.array(notes, np.int64).T, keys=keys)


def found(piece, tonality, *ticks):
    transpositions, index = find_transpositions(piece, tonality, np.array(ticks))
    return [transpositions[i] for i in index.tolist()]


def test_a_signature_that_nobody_chose_is_not_believed():
    piece = song(cadences(range(8), 1, keys=[(0, 0, 0)]))
    assert found(piece, "signature", 0) == [Transposition("C# major", "estimate", -1, "C major")]
    assert found(piece, "estimate", 0) == [Transposition("C# major", "estimate", -1, None)]
    # One that is far off is not believed either if somebody chose it.
    piece = song(cadences(range(8), 1, keys=[(0, 9, 1)]))
    assert found(piece, "signature", 0) == [Transposition("C# major", "estimate", -1, "A minor")]


def test_a_signature_that_fits_is_believed_where_the_estimate_differs():
    # D dorian: D minor and G major chords, without sharps and flats.
    notes = [(bar * BAR, (bar + 1) * BAR, pitch, PIANO) for bar in range(0, 8, 2) for pitch in (50, 53, 57)]
    notes += [(bar * BAR, (bar + 1) * BAR, pitch, PIANO) for bar in range(1, 8, 2) for pitch in (55, 59, 62)]
    [estimated] = found(song((notes, [])), "signature", 0)
    assert estimated.by == "estimate"
    assert found(song((notes, [(0, 0, 0)])), "signature", 0) == [Transposition("C major", "signature", 0, None)]


def test_signatures_hold_from_their_ticks_on():
    first, second = cadences(range(4), 7, keys=[(0, 7, 0)]), cadences(range(4, 8), 3, keys=[(4 * BAR, 3, 0)])
    both = [Transposition("G major", "signature", 5, None), Transposition("Eb major", "signature", -3, None)]
    ticks = (0, 4 * BAR - 1, 4 * BAR, 7 * BAR)
    assert found(song(first, second), "signature", *ticks) == [both[0], both[0], both[1], both[1]]
    # A program writes its signature for every track; of several at one tick, the last one holds.
    written = [(0, 0, 0), (0, 7, 0), (0, 7, 0), (BAR, 7, 0), (4 * BAR, 3, 0), (4 * BAR, 3, 0)]
    piece = song((first[0] + second[0], written))
    assert found(piece, "signature", *ticks) == [both[0], both[0], both[1], both[1]]
    shadowed = song(cadences(range(8), 5, keys=[(0, 7, 0), (0, 0, 0)]))
    assert found(shadowed, "signature", 0) == [Transposition("F major", "estimate", -5, "C major")]
    # Each is compared with the notes that start under it, and gives way to the key of the whole song.
    wrong = song((first[0] + second[0], [(0, 3, 0), (4 * BAR, 3, 0)]), cadences(range(8, 20), 3))
    # The second says nothing new, and most of the song is in its key.
    assert found(wrong, "signature", *ticks) == [both[1]] * 4
    wrong = song((first[0] + second[0], [(0, 6, 0), (4 * BAR, 3, 0)]), cadences(range(8, 20), 3))
    assert found(wrong, "signature", *ticks) == [
        *[Transposition("Eb major", "estimate", -3, "F# major")] * 2,
        *[Transposition("Eb major", "signature", -3, None)] * 2,
    ]


def test_the_natural_signature_is_believed_beside_others():
    # C major with chords of D: all notes are in the scale of G too, but those of C major miss F sharp.
    notes, _ = cadences(range(4), 0)
    notes += [(4 * BAR, 8 * BAR, pitch, PIANO) for pitch in (50, 54, 57)]
    assert found(song((notes, [(0, 0, 0)])), "signature", 0)[0].rejected_signature == "C major"
    # A program that writes a key of its own writes major.
    assert found(song((notes, [(0, 9, 1)])), "signature", 0) == [Transposition("A minor", "signature", 0, None)]
    # Somebody who wrote a signature of three flats later on chose this one as well.
    other = cadences(range(8, 16), 3, keys=[(0, 0, 0), (8 * BAR, 3, 0)])
    assert found(song((notes, []), other), "signature", 0) == [Transposition("C major", "signature", 0, None)]


def test_drums_and_doubled_notes_have_no_say():
    notes, _ = cadences(range(8), 2)
    drums = [(bar * BAR, (bar + 1) * BAR, 37, DRUMS) for bar in range(8)] * 20
    pads = [(bar * BAR, (bar + 1) * BAR, 81, STRINGS) for bar in (2, 6)] * 20
    for more in ([], drums, pads):
        assert found(song((notes + more, [])), "estimate", 0) == [Transposition("D major", "estimate", -2, None)]


@pytest.mark.skipif(not KNOWN_KEYS.is_dir(), reason="WAE_JAX_SHARED_DATA names no folder with public_domain_songs")
def test_songs_whose_key_is_known():
    """Lead sheets of 104 songs, each with two accompaniments. Signatures without sharps and flats are not all right."""
    shifts, right, num_signed = collections.defaultdict(set), collections.Counter(), 0
    for path in sorted(KNOWN_KEYS.glob("midi/*.mid")):
        piece = song_files.read_midi(path.read_bytes())
        shift = {tonality: found(piece, tonality, 0)[0].semitones for tonality in ("estimate", "signature")}
        shifts[path.name.partition("__")[0]].add(shift["estimate"])
        # The tonic of the major key with the same signature.
        tonics = {(tonic + 3 * is_minor) % 12 for _, tonic, is_minor in piece.keys.tolist()}
        if len(tonics) == 1 and tonics != {0}:
            num_signed += 1
            right.update(tonality for tonality, up in shift.items() if {(tonic + up) % 12 for tonic in tonics} == {0})
    assert (len(shifts), num_signed) == (104, 120)
    assert right == {"estimate": 120, "signature": 120}
    assert sum(len(each) == 1 for each in shifts.values()) >= 103
