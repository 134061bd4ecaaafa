"""The measures of music against hand-worked phrases, a slow double loop and known numbers of real music."""

from __future__ import annotations

import numpy as np
import pytest

from tests.checking import unchecked
from wae_jax.metrics import music
from wae_jax.pianoroll import notes

DRUMS, PIANO, GUITAR, BASS, STRINGS = range(5)


# Undefined without notes.
OF_NOTES = (
    music.drum_pattern,
    music.used_pitches,
    music.lowest_pitch,
    music.highest_pitch,
    music.pitch_range,
    music.note_length,
    music.qualified_note_rate,
    music.one_step_share,
    music.onset_grid_share,
    music.reonset_gap_share,
)


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
    found = notes.find_notes(rolls)
    assert list(zip(*(part.tolist() for part in found), strict=True)) == truth


def test_notes_do_not_reach_over_the_border_of_two_phrases():
    rolls = silence(2)
    rolls[0, 190:, 10, BASS] = True
    rolls[1, :3, 10, BASS] = True
    found = notes.find_notes(rolls)
    assert found.onset.tolist() == [190, 0]
    assert found.length.tolist() == [2, 3]


def test_notes_take_any_number_of_steps():
    found = notes.find_notes(np.ones((1, 7, 84, 5), bool))
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
    measures = (music.qualified_note_rate, music.note_length_histogram, music.reonset_gap_share)
    whole = [measure(rolls) for measure in measures]
    monkeypatch.setattr(notes, "CHUNK", 3)
    for measure, expected in zip(measures, whole, strict=True):
        np.testing.assert_array_equal(measure(rolls), expected)


def test_silence():
    rolls = silence(2)
    assert music.cells(rolls).tolist() == [0, 0]
    assert not music.active_track_rate(rolls).any()
    assert (music.empty_bar_rate(rolls) == 1).all()
    assert (music.polyphony_rate(rolls) == 0).all()
    assert (music.notes_per_bar(rolls) == 0).all()
    assert (music.active_cell_rate(rolls) == 0).all()
    assert not music.note_length_histogram(rolls).any()
    for measure in OF_NOTES:
        assert np.isnan(measure(rolls)).all()


def test_no_phrases():
    rolls = silence(0)
    assert music.cells(rolls).shape == (0,)
    assert music.drum_pattern(rolls).shape == (0,)
    assert music.note_length_histogram(rolls).shape == (0, 5, 7)
    for measure in (
        music.active_track_rate,
        music.empty_bar_rate,
        music.polyphony_rate,
        music.active_cell_rate,
        *OF_NOTES[1:],
    ):
        assert measure(rolls).shape == (0, 5)


def test_active_cell_rate_by_hand(rolls):
    full = silence()
    full[0, :, :42, BASS] = True
    full[0, 0, 0, DRUMS] = True
    full[0, ..., STRINGS] = True
    assert music.active_cell_rate(full)[0].tolist() == [1 / (192 * 84), 0, 0, 0.5, 1]
    np.testing.assert_allclose(music.active_cell_rate(rolls).sum(axis=1) * 192 * 84, music.cells(rolls), rtol=1e-12)


def test_pitches_by_hand():
    rolls = silence()
    rolls[0, 5, [0, 83], DRUMS] = True
    rolls[0, [3, 90], 36, PIANO] = True
    rolls[0, ::2, [36, 37, 48], BASS] = True
    np.testing.assert_array_equal(music.used_pitches(rolls)[0], [2, 1, np.nan, 3, np.nan])
    np.testing.assert_array_equal(music.lowest_pitch(rolls)[0], [24, 60, np.nan, 60, np.nan])
    np.testing.assert_array_equal(music.highest_pitch(rolls)[0], [107, 60, np.nan, 72, np.nan])
    np.testing.assert_array_equal(music.pitch_range(rolls)[0], [83, 0, np.nan, 12, np.nan])


def test_pitches_agree_with_the_walk(rolls, truth):
    for phrase in range(len(rolls)):
        for track in range(5):
            mine = {24 + note[1] for note in truth if note[0] == phrase and note[2] == track}
            expected = (len(mine), min(mine), max(mine), max(mine) - min(mine)) if mine else (np.nan,) * 4
            measures = (music.used_pitches, music.lowest_pitch, music.highest_pitch, music.pitch_range)
            np.testing.assert_array_equal([measure(rolls)[phrase, track] for measure in measures], expected)


def test_note_lengths_by_hand():
    rolls = silence()
    start = 0
    for length in (1, 2, 2, 3, 5, 6, 11, 12, 23, 24, 47):
        rolls[0, start : start + length, 30, GUITAR] = True
        start += length + 1
    rolls[0, :48, 31, GUITAR] = True
    rolls[0, :, 32, GUITAR] = True
    rolls[0, 191, 33, BASS] = True
    assert music.note_length_histogram(rolls)[0].tolist() == [
        [0] * 7,
        [0] * 7,
        [1, 2, 2, 2, 2, 2, 2],
        [1, 0, 0, 0, 0, 0, 0],
        [0] * 7,
    ]
    np.testing.assert_array_equal(music.note_length(rolls)[0], [np.nan, np.nan, (136 + 48 + 192) / 13, 1, np.nan])


def test_note_lengths_agree_with_the_walk(rolls, truth):
    edges = [*music.LENGTH_BINS, 193]
    histogram = music.note_length_histogram(rolls)
    mean = music.note_length(rolls)
    for phrase in range(len(rolls)):
        for track in range(5):
            lengths = [note[4] for note in truth if note[0] == phrase and note[2] == track]
            assert histogram[phrase, track].tolist() == np.histogram(lengths, edges)[0].tolist()
            assert mean[phrase, track] == pytest.approx(np.mean(lengths) if lengths else np.nan, nan_ok=True)


def test_reonset_gaps_by_hand():
    rolls = silence(2)
    # Gaps of 1, 2, 3 steps in one pitch; the fifth note is of another.
    for start, end in ((0, 4), (5, 6), (8, 10), (13, 20)):
        rolls[0, start:end, 30, PIANO] = True
    rolls[0, 21:25, 31, PIANO] = True
    # Neither another track's note nor another phrase's is before this one.
    rolls[0, 190:, 30, BASS] = True
    rolls[1, 1:3, 30, BASS] = True
    assert music.reonset_gap_share(rolls)[0, PIANO] == 2 / 5
    assert music.reonset_gap_share(rolls, max_gap=1)[0, PIANO] == 1 / 5
    assert music.reonset_gap_share(rolls, min_gap=2)[0, PIANO] == 1 / 5
    assert music.reonset_gap_share(rolls, min_gap=1, max_gap=3)[0, PIANO] == 3 / 5
    assert music.reonset_gap_share(rolls)[:, BASS].tolist() == [0, 0]
    assert np.isnan(music.reonset_gap_share(rolls)[1, PIANO])


def test_reonset_gaps_agree_with_the_walk(rolls):
    broken = rolls.copy()
    for width, start in ((1, 20), (2, 50), (3, 90), (2, 95), (1, 101)):
        broken[:, start : start + width] = False
    truth = slow_notes(broken)
    ends = {(*note[:3], note[3] + note[4]) for note in truth}
    follows = {note for note in truth if ends & {(*note[:3], note[3] - gap) for gap in (1, 2)}}
    share = music.reonset_gap_share(broken)
    for phrase in range(len(rolls)):
        for track in range(5):
            mine = [note for note in truth if note[0] == phrase and note[2] == track]
            expected = sum(note in follows for note in mine) / len(mine) if mine else np.nan
            np.testing.assert_array_equal(share[phrase, track], expected)
    assert len(follows) > 50


def test_drum_pattern_by_hand():
    rolls = silence(5)
    rolls[0, ::3, 12, DRUMS] = True  # All sixteenths.
    rolls[1, 1::3, 12, DRUMS] = True  # All one step late.
    rolls[2, [0, 12, 14, 24], 12, DRUMS] = True
    rolls[2, 12, 14, DRUMS] = True
    rolls[3, 3:6, 12, DRUMS] = True  # A held note counts where it starts.
    rolls[4, :, :, PIANO] = True
    expected = [1, 0.1, (4 + 0.1) / 5, 1, np.nan]
    np.testing.assert_allclose(music.drum_pattern(rolls), expected, rtol=1e-12)


def test_cells_sounds_and_empty_bars_by_hand():
    rolls = silence(2)
    rolls[0, 47:49, 3, GUITAR] = True  # Over the first bar line.
    rolls[0, 191, 83, DRUMS] = True
    rolls[1, :, :, BASS] = True
    assert music.cells(rolls).tolist() == [3, 192 * 84]
    assert music.active_track_rate(rolls).tolist() == [
        [True, False, True, False, False],
        [False, False, False, True, False],
    ]
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
    with pytest.raises(ValueError, match="binarize"):
        music.cells(np.zeros((1, 192, 84, 5), np.float32))
    with pytest.raises(ValueError, match="expected \\[B, 192, 84, 5\\]"):
        music.qualified_note_rate(np.zeros((1, 4, 48, 84, 5), bool))
    with pytest.raises(ValueError, match="84 pitches"):
        notes.find_notes(np.zeros((1, 192, 5, 84), bool))


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
