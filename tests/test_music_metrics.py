"""The measures of music against hand-worked phrases, a slow double loop and known numbers of real music."""

from __future__ import annotations

import numpy as np
import pytest

from tests.checking import unchecked
from wae_jax.metrics import music, notes

DRUMS, PIANO, GUITAR, BASS, STRINGS = range(5)


def silence(num_phrases=1):
    return np.zeros((num_phrases, 192, 84, 5), bool)


def random_rolls(num_phrases, seed=0):
    """Notes of all lengths, some touching the ends, some tracks silent."""
    rng = np.random.default_rng(seed)
    rolls = silence(num_phrases)
    for roll in rolls:
        for track in np.flatnonzero(rng.random(5) < 0.8):
            for _ in range(rng.integers(1, 30)):
                start, pitch = rng.integers(192), rng.integers(84)
                roll[start : start + rng.integers(1, 40), pitch, track] = True
    return rolls


def slow_notes(rolls):
    """(phrase, pitch, track, onset, length) of each note, one cell after another."""
    found = []
    for phrase, roll in enumerate(rolls):
        for pitch in range(roll.shape[1]):
            for track in range(roll.shape[2]):
                length = 0
                for step, on in enumerate([*roll[:, pitch, track].tolist(), False]):
                    if on:
                        length += 1
                    elif length:
                        found.append((phrase, pitch, track, step - length, length))
                        length = 0
    return found


@pytest.fixture(scope="module")
def rolls():
    return random_rolls(7)


@pytest.fixture(scope="module")
def truth(rolls):
    return slow_notes(rolls)


def share_by_hand(truth, num_phrases, condition):
    share = np.full((num_phrases, 5), np.nan)
    for phrase in range(num_phrases):
        for track in range(5):
            mine = [note for note in truth if note[0] == phrase and note[2] == track]
            if mine:
                share[phrase, track] = sum(condition(*note[3:]) for note in mine) / len(mine)
    return share


def test_notes_are_those_of_a_walk_through_all_cells(rolls, truth):
    found = notes.notes(rolls)
    assert list(zip(*(part.tolist() for part in found), strict=True)) == truth


def test_notes_do_not_reach_over_the_border_of_two_phrases():
    rolls = silence(2)
    rolls[0, 190:, 10, BASS] = True
    rolls[1, :3, 10, BASS] = True
    found = notes.notes(rolls)
    assert found.onset.tolist() == [190, 0]
    assert found.length.tolist() == [2, 3]


def test_notes_take_any_number_of_steps():
    found = notes.notes(np.ones((1, 7, 84, 5), bool))
    assert len(found.length) == 84 * 5
    assert set(found.length.tolist()) == {7}


def test_one_step_notes_are_not_qualified():
    rolls = silence()
    rolls[0, ::2, 30:40, PIANO] = True
    rate = music.qualified_note_rate(rolls)
    assert rate[0, PIANO] == 0
    assert np.isnan(rate[0, [DRUMS, GUITAR, BASS, STRINGS]]).all()
    assert music.one_step_share(rolls)[0, PIANO] == 1


def test_qualified_notes_by_hand():
    rolls = silence()
    for start, length in ((0, 1), (10, 2), (20, 3), (40, 48)):
        rolls[0, start : start + length, 30, STRINGS] = True
    assert music.qualified_note_rate(rolls)[0, STRINGS] == 2 / 4
    assert music.qualified_note_rate(rolls, min_steps=2)[0, STRINGS] == 3 / 4
    assert music.one_step_share(rolls)[0, STRINGS] == 1 / 4
    assert music.notes_per_bar(rolls)[0].tolist() == [0, 0, 0, 0, 1]


def test_shares_of_notes_agree_with_the_walk(rolls, truth):
    for measured, condition in (
        (music.qualified_note_rate(rolls), lambda onset, length: length >= 3),
        (music.qualified_note_rate(rolls, min_steps=20), lambda onset, length: length >= 20),
        (music.one_step_share(rolls), lambda onset, length: length == 1),
        (music.onset_grid_share(rolls), lambda onset, length: onset % 6 == 0),
        (music.onset_grid_share(rolls, grid=4), lambda onset, length: onset % 4 == 0),
    ):
        expected = share_by_hand(truth, len(rolls), condition)
        assert np.isnan(expected).any()
        np.testing.assert_array_equal(measured, expected)


def test_notes_per_bar_agrees_with_the_walk(rolls, truth):
    expected = np.zeros((len(rolls), 5))
    for phrase, _, track, _, _ in truth:
        expected[phrase, track] += 1 / 4
    np.testing.assert_array_equal(music.notes_per_bar(rolls), expected)


def test_chunks_do_not_show(rolls, monkeypatch):
    whole = music.qualified_note_rate(rolls)
    monkeypatch.setattr(notes, "CHUNK", 3)
    np.testing.assert_array_equal(music.qualified_note_rate(rolls), whole)


def test_silence():
    rolls = silence(2)
    assert music.cells(rolls).tolist() == [0, 0]
    assert not music.track_sounds(rolls).any()
    assert (music.empty_bar_rate(rolls) == 1).all()
    assert (music.polyphony_rate(rolls) == 0).all()
    assert (music.notes_per_bar(rolls) == 0).all()
    for measure in (music.qualified_note_rate, music.one_step_share, music.onset_grid_share):
        assert np.isnan(measure(rolls)).all()


def test_no_phrases():
    rolls = silence(0)
    assert music.cells(rolls).shape == (0,)
    for measure in (music.track_sounds, music.empty_bar_rate, music.polyphony_rate, music.qualified_note_rate):
        assert measure(rolls).shape == (0, 5)


def test_cells_sounds_and_empty_bars_by_hand():
    rolls = silence(2)
    rolls[0, 47:49, 3, GUITAR] = True  # Over the first bar line.
    rolls[0, 191, 83, DRUMS] = True
    rolls[1, :, :, BASS] = True
    assert music.cells(rolls).tolist() == [3, 192 * 84]
    assert music.track_sounds(rolls).tolist() == [[True, False, True, False, False], [False, False, False, True, False]]
    assert music.empty_bar_rate(rolls).tolist() == [[0.75, 1, 0.5, 1, 1], [1, 1, 1, 0, 1]]


def test_polyphony_counts_all_steps_and_at_least_so_many_pitches():
    rolls = silence()
    rolls[0, :96, 40, PIANO] = True
    rolls[0, :48, 44, PIANO] = True
    rolls[0, :12, 47, PIANO] = True
    rolls[0, :, :, STRINGS] = True
    assert music.polyphony_rate(rolls)[0].tolist() == [0, 0.25, 0, 0, 1]
    assert music.polyphony_rate(rolls, min_pitches=1)[0, PIANO] == 0.5
    assert music.polyphony_rate(rolls, min_pitches=3)[0, PIANO] == 12 / 192
    assert music.polyphony_rate(rolls, min_pitches=84)[0, STRINGS] == 1


def test_integers_read_as_bool(rolls):
    np.testing.assert_array_equal(music.qualified_note_rate(rolls.astype(np.uint8)), music.qualified_note_rate(rolls))
    np.testing.assert_array_equal(music.polyphony_rate(rolls.astype(np.int64)), music.polyphony_rate(rolls))


@unchecked()
def test_probabilities_and_other_shapes_are_refused():
    with pytest.raises(ValueError, match="binarise"):
        music.cells(np.zeros((1, 192, 84, 5), np.float32))
    with pytest.raises(ValueError, match="expected \\[B, 192, 84, 5\\]"):
        music.qualified_note_rate(np.zeros((1, 4, 48, 84, 5), bool))
    with pytest.raises(ValueError, match="84 pitches"):
        notes.notes(np.zeros((1, 192, 5, 84), bool))


def test_known_numbers_of_real_music(shared_data):
    sparse = np.load(shared_data / "lpd5" / "free_train.npz")
    phrase, bar, step, pitch, track = sparse["nonzero"]
    rolls = np.zeros((sparse["shape"][0], 192, 84, 5), bool)
    rolls[phrase, 48 * bar + step, pitch, track] = True
    number = music.notes_per_bar(rolls)
    pitched = slice(1, None)

    def share_of_all_notes(rate):
        return np.nansum(rate[:, pitched] * number[:, pitched]) / number[:, pitched].sum()

    assert music.cells(rolls).mean() == pytest.approx(1057, abs=0.5)
    assert music.empty_bar_rate(rolls).mean() == pytest.approx(0.29, abs=0.005)
    assert music.polyphony_rate(rolls)[:, pitched].mean() == pytest.approx(0.30, abs=0.005)
    assert share_of_all_notes(music.qualified_note_rate(rolls)) == pytest.approx(0.84, abs=0.005)
    assert share_of_all_notes(music.qualified_note_rate(rolls, min_steps=2)) == pytest.approx(0.95, abs=0.005)
    assert share_of_all_notes(music.one_step_share(rolls)) == pytest.approx(0.05, abs=0.005)
    assert number[:, pitched].mean() == pytest.approx(5.0, abs=0.05)
    assert number[:, DRUMS].mean() == pytest.approx(15.9, abs=0.05)
