"""The readings of MuseGAN's program against pypianoroll where that has the same slip, and against its formulas."""

from __future__ import annotations

import numpy as np
import pypianoroll
import pytest

from tests.metrics.test_music import BASS, DRUMS, GUITAR, PIANO, STRINGS, random_rolls, silence
from wae_jax.metrics import harmony, musegan, music

C4 = 60 - 24


@pytest.fixture(scope="module")
def rolls():
    """Two of six phrases have all tracks sounding all the time, so that no beat makes a tonal distance undefined."""
    rolls = random_rolls(6, seed=2)
    rng = np.random.default_rng(0)
    for roll in rolls[:2]:
        for beat in range(16):
            for track in range(5):
                roll[12 * beat + rng.integers(12), rng.integers(84, size=3), track] = True
    return rolls


def as_128(roll):
    """Counts of cells on [steps, P] as pypianoroll wants them: where we fold seven pitches it folds ten of 128."""
    wide = np.zeros((len(roll), 128), int)
    wide[:, [10 * (pitch // 7) + pitch % 7 for pitch in range(84)]] = roll
    return wide


def by_track(rolls, measure):
    """Values of a metric of one track for each track, NaN for silent ones."""
    return np.array([[measure(roll[..., k]) if roll[..., k].any() else np.nan for k in range(5)] for roll in rolls])


def test_empty_bars_are_the_others(rolls):
    expected = by_track(rolls, lambda roll: pypianoroll.empty_beat_rate(roll, 48))
    np.testing.assert_array_equal(musegan.empty_bar_rate(rolls), np.nan_to_num(expected))
    assert (musegan.empty_bar_rate(silence()) == 0).all()


def test_qualified_notes_are_all_notes():
    rolls = silence()
    rolls[0, ::2, 30:40, PIANO] = True
    assert musegan.qualified_note_rate(rolls)[0, PIANO] == 1
    assert music.qualified_note_rate(rolls)[0, PIANO] == 0
    assert np.isnan(musegan.qualified_note_rate(rolls)[0, [DRUMS, GUITAR, BASS, STRINGS]]).all()


@pytest.mark.parametrize("threshold", [2, 84, 85, 500, 1500])
def test_qualified_notes_pair_what_does_not_belong_together(rolls, threshold):
    """Integers, for with bool pypianoroll takes a difference of bytes, in which 0 - 1 is 255 and ends are starts."""
    expected = by_track(rolls, lambda roll: pypianoroll.metrics.qualified_note_rate(roll.astype(int), threshold))
    found = musegan.qualified_note_rate(rolls, threshold=threshold)
    np.testing.assert_allclose(found, expected, rtol=1e-15)
    assert (np.nanmin(found) == 1) == (threshold <= 84)


def test_used_pitches_are_cells():
    rolls = silence()
    rolls[0, :10, [C4, C4 + 1], STRINGS] = True
    rolls[0, 100:102, C4, STRINGS] = True
    assert musegan.used_pitches(rolls)[0].tolist() == [0, 0, 0, 0, 22 / 4]


def test_used_pitch_classes_are_registers_by_step(rolls):
    """Its formula: fold sevens, count what is above 0 at each step, add up a bar, average the bars."""
    expected = np.zeros((len(rolls), 5))
    for step_of_phrase in np.ndindex(len(rolls), 192):
        for track in range(5):
            pitches = np.flatnonzero(rolls[step_of_phrase][:, track])
            expected[step_of_phrase[0], track] += len({pitch // 7 for pitch in pitches}) / 4
    np.testing.assert_array_equal(musegan.used_pitch_classes(rolls), expected)


def test_semitones_are_one_class_and_octaves_two():
    rolls = silence()
    rolls[0, 0, [C4, C4 + 1], PIANO] = True  # Pitches 36 and 37, both of the sixth seven.
    rolls[0, 0, [C4, C4 + 12], BASS] = True
    assert musegan.used_pitch_classes(rolls)[0, [PIANO, BASS]].tolist() == [1 / 4, 2 / 4]
    assert harmony.used_pitch_classes(rolls)[0, [PIANO, BASS]].tolist() == [2, 1]


def test_polyphony_takes_three(rolls):
    expected = by_track(rolls, pypianoroll.metrics.polyphonic_rate)
    np.testing.assert_array_equal(musegan.polyphony_rate(rolls), np.nan_to_num(expected))
    assert expected[~np.isnan(expected)].any()


def test_scale_is_c_major_of_registers(rolls):
    expected = by_track(rolls, lambda roll: pypianoroll.metrics.in_scale_rate(as_128(roll)))
    np.testing.assert_allclose(musegan.in_scale_share(rolls), expected, rtol=1e-15)
    assert np.isnan(expected).any()


def test_drum_pattern_counts_cells(rolls):
    """pypianoroll takes one beat; the beats are weighted by their cells."""
    for roll, found in zip(rolls, musegan.drum_pattern(rolls), strict=True):
        beats = [beat for beat in np.split(roll[..., DRUMS], 16) if beat.any()]
        rates = [pypianoroll.metrics.drum_in_pattern_rate(beat, 12) for beat in beats]
        expected = np.average(rates, weights=[beat.sum() for beat in beats]) if beats else 0
        assert found == pytest.approx(expected, rel=1e-12)


def test_held_drums_fall_off_the_pattern():
    rolls = silence(2)
    rolls[0, 3:6, 12, DRUMS] = True
    np.testing.assert_allclose(musegan.drum_pattern(rolls), [1.2 / 3, 0], rtol=1e-12)
    assert music.drum_pattern(rolls)[0] == 1


def test_tonal_distance_is_that_of_registers_in_each_beat(rolls):
    """With the chroma and the matrix of pypianoroll, whose own distance fails for most resolutions."""
    matrix = pypianoroll.metrics._get_tonal_matrix(1, 1, 0.5)
    found = musegan.tonal_distance(rolls)
    for phrase, roll in enumerate(rolls):
        for pair, tracks in enumerate(harmony.TRACK_PAIRS):
            distances = []
            for beat in np.split(roll, 16):
                one, other = (pypianoroll.metrics._to_chroma(as_128(beat[..., k])).sum(axis=0) for k in tracks)
                if one.any() and other.any():
                    distances.append(np.linalg.norm(matrix @ (one / one.sum() - other / other.sum())))
            expected = np.mean(distances) if len(distances) == 16 else np.nan
            assert found[phrase, pair] == pytest.approx(expected, nan_ok=True)
    assert np.isfinite(found[:2]).all()
    assert np.isnan(found[2:]).any()


def test_a_rest_makes_tonal_distance_undefined():
    rolls = silence()
    rolls[0, :, C4, PIANO] = True
    rolls[0, :, C4 + 12, BASS] = True
    pair = harmony.PAIR_NAMES.index("Piano-Bass")
    assert musegan.tonal_distance(rolls)[0, pair] > 1  # An octave.
    rolls[0, :12, :, BASS] = False
    assert np.isnan(musegan.tonal_distance(rolls)[0, pair])
    assert harmony.tonal_distance(rolls)[0, pair] == pytest.approx(0, abs=1e-12)


def test_no_phrases():
    for measure in (
        musegan.empty_bar_rate,
        musegan.used_pitches,
        musegan.used_pitch_classes,
        musegan.in_scale_share,
        musegan.qualified_note_rate,
        musegan.polyphony_rate,
    ):
        assert measure(silence(0)).shape == (0, 5)
    assert musegan.tonal_distance(silence(0)).shape == (0, 6)
    assert musegan.drum_pattern(silence(0)).shape == (0,)
