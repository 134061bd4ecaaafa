"""Worked by hand, and against loops on random rolls."""

import numpy as np
import pytest

from tests.helpers import random_rolls
from wae_jax.metrics import music

DRUMS, PIANO, GUITAR, BASS, STRINGS = range(5)


def silence(num=1):
    return np.zeros((num, 192, 84, 5), bool)


def loop_notes(roll):
    """(track, pitch, onset, length) of every note of one phrase, cell by cell."""
    found = []
    for pitch in range(84):
        for track in range(5):
            length = 0
            for step in range(193):
                on = step < 192 and roll[step, pitch, track]
                if on:
                    length += 1
                elif length:
                    found.append((track, pitch, step - length, length))
                    length = 0
    return found


def test_notes_of_random_rolls_are_the_loops():
    rolls = random_rolls(2, density=0.3)
    found = music.notes(rolls)
    for b in range(2):
        mine = found.phrase == b
        listed = zip(found.track[mine], found.pitch[mine], found.onset[mine], found.length[mine], strict=True)
        assert sorted(listed) == sorted(loop_notes(rolls[b]))


def test_shares_of_random_rolls_are_the_loops():
    rolls = random_rolls(2, density=0.3)
    measured = {
        "qualified": music.qualified_note_rate(rolls),
        "two": music.qualified_note_rate(rolls, min_steps=2),
        "one_step": music.one_step_share(rolls),
        "grid": music.onset_grid_share(rolls, grid=6),
        "per_bar": music.notes_per_bar(rolls),
    }
    for b in range(2):
        for track in range(5):
            mine = [note for note in loop_notes(rolls[b]) if note[0] == track]
            lengths = np.array([note[3] for note in mine])
            starts = np.array([note[2] for note in mine])
            assert measured["qualified"][b, track] == pytest.approx((lengths >= 3).mean())
            assert measured["two"][b, track] == pytest.approx((lengths >= 2).mean())
            assert measured["one_step"][b, track] == pytest.approx((lengths == 1).mean())
            assert measured["grid"][b, track] == pytest.approx((starts % 6 == 0).mean())
            assert measured["per_bar"][b, track] == len(mine) / 4


def test_one_step_notes_are_not_qualified_and_silence_has_no_share():
    rolls = silence()
    rolls[0, ::4, 40, PIANO] = True
    rates = music.qualified_note_rate(rolls)
    assert rates[0, PIANO] == 0.0
    assert np.isnan(rates[0, [DRUMS, GUITAR, BASS, STRINGS]]).all()
    assert music.one_step_share(rolls)[0, PIANO] == 1.0


def test_a_note_across_a_bar_line_is_one_note():
    rolls = silence()
    rolls[0, 46:50, 40, BASS] = True
    assert music.qualified_note_rate(rolls, min_steps=4)[0, BASS] == 1.0
    assert music.notes_per_bar(rolls)[0, BASS] == 0.25
    np.testing.assert_array_equal(music.empty_bar_rate(rolls)[0], [1, 1, 1, 0.5, 1])


def test_polyphony_counts_steps_with_several_pitches():
    rolls = silence()
    rolls[0, :96, 40, PIANO] = True
    rolls[0, 48:144, 44, PIANO] = True
    assert music.polyphony_rate(rolls)[0, PIANO] == 0.25
    assert music.polyphony_rate(rolls, min_pitches=1)[0, PIANO] == 0.75
    assert music.polyphony_rate(rolls, min_pitches=3)[0, PIANO] == 0.0


def test_cells_and_sounding_tracks():
    rolls = silence(2)
    rolls[1, 5, 7, STRINGS] = rolls[1, 6, 7, STRINGS] = rolls[1, 0, 0, DRUMS] = True
    np.testing.assert_array_equal(music.cells(rolls), [0, 3])
    np.testing.assert_array_equal(music.track_sounds(rolls), [[False] * 5, [True, False, False, False, True]])


def test_probabilities_and_other_shapes_are_refused():
    with pytest.raises(ValueError, match="float"):
        music.cells(silence().astype(np.float32))
    with pytest.raises(ValueError, match="shape"):
        music.cells(silence()[0])
