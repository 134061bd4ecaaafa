import numpy as np
import pytest

from wae_jax import pianoroll
from wae_jax.data.build import segmentation, songs
from wae_jax.data.build.sources import Options, OutOfRange

DRUMS, PIANO, GUITAR, BASS, STRINGS = range(5)
BAR = 1920


def song(*notes, keys=()):
    keys = np.array(keys, np.int64).reshape(-1, 3)
    last = max(4 * BAR, *(end for _, end, _, _ in notes))
    return songs.Song(480, *np.array(notes, np.int64).T, keys=keys, end_tick=last)


def line(track, *pitches, first=0):
    """A quarter note of each pitch."""
    return [(480 * i, 480 * i + 480, pitch, track) for i, pitch in enumerate(pitches, first)]


def cut(piece, **options):
    chunk, changes = segmentation.cut(piece, Options(**options))
    return pianoroll.unpack(chunk.rows), changes


def heard(rolls, track):
    """The MIDI numbers at the first step of each beat that is not silent, one phrase after another."""
    beats = rolls[..., track].reshape(-1, 12, 84)[:, 0]
    return [(np.flatnonzero(beat) + 24).tolist() for beat in beats if beat.any()]


def folded_slowly(pitches, shifts):
    """Octaves of a whole part, and its folded pitches for each shift, one note and one octave at a time."""
    outside = [p for p in pitches if any(not 24 <= p + shift <= 107 for shift in shifts)]
    fitting = [o for o in range(-9, 10) if all(24 <= p + shift + 12 * o <= 107 for p in pitches for shift in shifts)]
    octaves = min(fitting, key=abs, default=0) if 10 * len(outside) >= len(pitches) else 0
    found = {}
    for shift in shifts:
        found[shift] = [p + shift + 12 * octaves for p in pitches]
        for i in range(len(pitches)):
            while found[shift][i] < 24:
                found[shift][i] += 12
            while found[shift][i] > 107:
                found[shift][i] -= 12
    return octaves, found


def test_a_part_that_lies_too_low_moves_as_a_whole():
    # A five-string bass from B0, and the piano's own line, which stays.
    low = (23, 24, 28, 23, 31, 23, 26, 24)
    piece = song(*line(BASS, *low), *line(PIANO, 24, 107, first=8), *line(DRUMS, *[36] * 16))
    rolls, changes = cut(piece, out_of_range="fold")
    assert heard(rolls, BASS) == [[pitch + 12] for pitch in low]
    assert heard(rolls, PIANO) == [[24], [107]]
    assert changes.out_of_range == {"Bass": OutOfRange(outside=3, notes=8, octaves=1)}
    # By default the three notes are missing.
    rolls, changes = cut(piece)
    assert heard(rolls, BASS) == [[pitch] for pitch in low if pitch > 23]
    assert changes.out_of_range == {"Bass": OutOfRange(outside=3, notes=8, octaves=0)}


def test_a_stray_note_moves_alone():
    rolls, changes = cut(song(*line(STRINGS, *[60] * 10, 109)), out_of_range="fold")
    assert heard(rolls, STRINGS) == [[60]] * 10 + [[97]]
    assert changes.out_of_range == {"Strings": OutOfRange(1, 11, 0)}
    # One of ten is no stray note.
    rolls, changes = cut(song(*line(STRINGS, *[60] * 9, 109)), out_of_range="fold")
    assert heard(rolls, STRINGS) == [[48]] * 9 + [[97]]
    assert changes.out_of_range == {"Strings": OutOfRange(1, 10, -1)}


def test_a_part_too_wide_for_the_range_moves_note_by_note():
    rolls, changes = cut(song(*line(GUITAR, 5, 12, 23, 24, 107, 108, 127)), out_of_range="fold", hop_bars=1)
    assert heard(rolls[:1], GUITAR) == [[29], [24], [35], [24], [107], [96], [103]]
    assert changes.out_of_range == {"Guitar": OutOfRange(5, 7, 0)}


def test_drums_are_instruments_and_never_move():
    piece = song(*line(DRUMS, 10, 36, 120), *line(PIANO, *[60] * 16))
    rolls, changes = cut(piece, out_of_range="fold")
    assert heard(rolls, DRUMS) == [[36]]
    assert changes.out_of_range == {"Drums": OutOfRange(2, 3, 0)}


def test_the_range_is_that_of_transposed_notes():
    # F major goes up by 7 - 12 semitones: what was in range is not, and the part moves by an octave after all.
    low = (29, 24, 28, 29, 24, 26, 28, 29)
    piece = song(*line(BASS, *low), *line(PIANO, *[65] * 16), keys=[(0, 5, 0)])
    rolls, changes = cut(piece, out_of_range="fold", tonality="signature")
    assert heard(rolls, BASS) == [[pitch - 5 + 12] for pitch in low]
    assert changes.out_of_range == {"Bass": OutOfRange(5, 8, 1)}
    # G major goes up by five, which brings G0 and B0 into the range.
    low = (19, 23, 26, 31)
    piece = song(*line(BASS, *low), *line(PIANO, *[67] * 16), keys=[(0, 7, 0)])
    rolls, changes = cut(piece, out_of_range="fold", tonality="signature")
    assert heard(rolls, BASS) == [[24], [28], [31], [36]]
    assert changes.out_of_range == {}


@pytest.mark.parametrize("seed", range(20))
def test_a_part_moves_alike_in_all_keys_of_a_song(seed):
    generator = np.random.default_rng(seed)
    lowest, highest = np.sort(generator.integers([0, 30], [90, 128]))
    # Four bars in G, four in F; G, A, C, D and E belong to both.
    pitches = [p for p in generator.integers(lowest, highest + 1, 300).tolist() if p % 12 in (0, 2, 4, 7, 9)] or [60]
    pitches = (pitches * 32)[:32]
    piece = song(*line(GUITAR, *pitches), *line(PIANO, *[67] * 32), keys=[(0, 7, 0), (4 * BAR, 5, 0)])
    rolls, changes = cut(piece, out_of_range="fold", tonality="signature")
    octaves, found = folded_slowly(pitches, (5, -5))
    assert heard(rolls, GUITAR) == [[pitch] for pitch in found[5][:16] + found[-5][16:]]
    outside = sum(not 24 <= p + shift <= 107 for p, shift in zip(pitches, [5] * 16 + [-5] * 16, strict=True))
    expected = {"Guitar": OutOfRange(outside, 32, octaves)} if outside or octaves else {}
    assert changes.out_of_range == expected


@pytest.mark.parametrize("hop_bars", [1, 4])
def test_folded_notes_that_meet_are_one_run(hop_bars):
    """The same phrases as of a song that was written with the folded pitches."""
    generator = np.random.default_rng(hop_bars)
    starts = generator.integers(0, 8 * BAR, 400)
    ends = starts + generator.integers(0, BAR, 400)
    pitches, tracks = generator.choice([11, 23, 35, 107, 119], 400), generator.integers(1, 5, 400)
    _, folded = folded_slowly(pitches.tolist(), (0,))
    piece, written = (songs.Song(480, starts, ends, each, tracks) for each in (pitches, np.array(folded[0])))
    expected, _ = segmentation.cut(written, Options(hop_bars=hop_bars))
    chunk, changes = segmentation.cut(piece, Options(hop_bars=hop_bars, out_of_range="fold"))
    np.testing.assert_array_equal(chunk.rows, expected.rows)
    assert sum(each.outside for each in changes.out_of_range.values()) > 100
    assert {each.octaves for each in changes.out_of_range.values()} == {0}
