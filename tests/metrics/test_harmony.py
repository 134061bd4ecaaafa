"""Pitch classes, scales and tonal distance against hand-worked phrases and slow loops."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.metrics.test_music import BASS, DRUMS, GUITAR, PIANO, STRINGS, random_rolls, silence
from wae_jax.metrics import harmony

C4 = 60 - 24
MAJOR = (0, 2, 4, 5, 7, 9, 11)
# Distance of a fifth: 30 degrees on the circle of fifths, 90 on the minor thirds, 120 on the major ones.
FIFTH = np.sqrt((2 - np.sqrt(3)) + 2 + 3 / 4)


@pytest.fixture(scope="module")
def rolls():
    return random_rolls(6, seed=1)


def test_octaves_are_one_pitch_class():
    rolls = silence()
    rolls[0, :12, [C4, C4 + 1, C4 + 12], PIANO] = True
    assert harmony.used_pitch_classes(rolls)[0, PIANO] == 2


def test_pitch_classes_are_counted_by_bar_and_empty_bars_left_out():
    rolls = silence()
    rolls[0, 40:50, C4, STRINGS] = True  # Over the first bar line: in both bars.
    rolls[0, 60, [C4 + 3, C4 + 7], STRINGS] = True
    rolls[0, 191, [5, 17, 29], STRINGS] = True
    used = harmony.used_pitch_classes(rolls)
    assert used[0, STRINGS] == (1 + 3 + 1) / 3
    assert np.isnan(used[0, :STRINGS]).all()


def test_pitch_classes_agree_with_a_slow_loop(rolls):
    used = harmony.used_pitch_classes(rolls)
    for phrase, track in np.ndindex(len(rolls), 5):
        bars = [{pitch % 12 for pitch in np.nonzero(bar)[1]} for bar in np.split(rolls[phrase, :, :, track], 4)]
        sounding = [len(bar) for bar in bars if bar]
        expected = np.mean(sounding) if sounding and track != DRUMS else np.nan
        assert used[phrase, track] == pytest.approx(expected, nan_ok=True)


def test_all_octaves_at_once_do_not_overflow():
    rolls = silence()
    rolls[0, :, C4 % 12 :: 12, BASS] = True
    chroma = harmony.beat_chroma(rolls)
    assert chroma[0, :, 0, BASS].tolist() == [7 * 12] * 16
    assert chroma.sum(dtype=int) == rolls.sum()


def test_c_is_the_first_class():
    rolls = silence()
    rolls[0, 12:15, C4, GUITAR] = True
    chroma = harmony.beat_chroma(rolls)
    assert np.argwhere(chroma).tolist() == [[0, 1, 0, GUITAR]]
    assert chroma[0, 1, 0, GUITAR] == 3


def test_a_scale_is_in_scale_in_any_key():
    rolls = silence(12)
    for tonic, roll in enumerate(rolls):
        roll[np.arange(7), C4 + tonic + np.array(MAJOR), PIANO] = True
        # The natural minor scale of the same pitches begins on the sixth degree.
        roll[np.arange(7), C4 - 3 + tonic + np.array([0, 2, 3, 5, 7, 8, 10]), BASS] = True
    share = harmony.in_scale_share(rolls)
    assert (share[:, [PIANO, BASS]] == 1).all()
    assert np.isnan(share[:, [DRUMS, GUITAR, STRINGS]]).all()


def test_scales_begin_with_the_white_keys():
    assert np.flatnonzero(harmony.scales()[0]).tolist() == list(MAJOR)
    assert np.flatnonzero(harmony.scales()[7]).tolist() == [0, 2, 4, 6, 7, 9, 11]  # G major has one sharp.


def test_all_tracks_share_one_key():
    """The piano's C major sounds longest; the bass has four of its pitches in it, and F sharp major would hold more."""
    rolls = silence()
    for place, pitch in enumerate(MAJOR):
        rolls[0, 12 * place : 12 * (place + 1), C4 + pitch, PIANO] = True
    rolls[0, 100 + np.arange(5), C4 - 24 + np.array([6, 8, 10, 11, 5]), BASS] = True
    rolls[0, 50:, :, DRUMS] = True  # Of no key.
    share = harmony.in_scale_share(rolls)[0]
    assert share[PIANO] == 1
    assert share[BASS] == 2 / 5


def test_time_counts_and_not_notes():
    rolls = silence()
    rolls[0, :7, C4 + np.array(MAJOR), PIANO] = True
    rolls[0, :3, C4 + 6, PIANO] = True
    assert harmony.in_scale_share(rolls)[0, PIANO] == 49 / 52


def test_keys_that_hold_as_much_are_averaged():
    """No key has C, C#, F# and G; those with three of them leave out a note of the one track or of the other."""
    rolls = silence()
    rolls[0, 0, [C4, C4 + 1], PIANO] = True
    rolls[0, 0, [C4 + 6, C4 + 7], BASS] = True
    # G major has C, F# and G, D flat major has C, C# and F#, A flat major C, C# and G, D major C#, F# and G.
    expected = np.mean([[1, 2], [2, 1], [2, 1], [1, 2]], axis=0) / 2
    assert harmony.in_scale_share(rolls)[0, [PIANO, BASS]].tolist() == expected.tolist()


def test_in_scale_share_agrees_with_a_slow_loop(rolls):
    share = harmony.in_scale_share(rolls)
    for phrase, roll in enumerate(rolls):
        inside = np.zeros((12, 5))
        for _, pitch, track in np.argwhere(roll):
            for tonic in range(12):
                inside[tonic, track] += (pitch - tonic) % 12 in MAJOR
        total = inside[:, 1:].sum(axis=1)
        number = roll.sum(axis=(0, 1))
        for track in range(5):
            expected = inside[total == total.max(), track].mean() / number[track] if number[track] and track else np.nan
            assert share[phrase, track] == pytest.approx(expected, nan_ok=True)


def test_transposing_changes_nothing(rolls):
    """All pitched tracks by so many semitones, notes that leave above coming back below: 84 is seven octaves."""
    for semitones in (1, 5):
        moved = np.roll(rolls, semitones, axis=2)
        for measure in (harmony.used_pitch_classes, harmony.in_scale_share, harmony.tonal_distance):
            np.testing.assert_allclose(measure(moved), measure(rolls), rtol=1e-12, atol=1e-12)


def test_pairs_have_names():
    assert harmony.PAIR_NAMES == (
        "Piano-Guitar",
        "Piano-Bass",
        "Piano-Strings",
        "Guitar-Bass",
        "Guitar-Strings",
        "Bass-Strings",
    )
    assert harmony.TRACK_PAIRS[1] == (PIANO, BASS)


def test_tonal_distance_by_hand():
    rolls = silence()
    rolls[0, :12, C4, PIANO] = True
    rolls[0, :6, C4 + 12, BASS] = True  # The first beat: one class, whatever the octave and the length.
    rolls[0, 12, C4, PIANO] = True
    rolls[0, 23, C4 + 7, BASS] = True  # The second: a fifth apart.
    rolls[0, 24:36, C4, PIANO] = True  # The third: the bass rests.
    rolls[0, 100, C4, STRINGS] = True
    rolls[0, 100, C4, DRUMS] = True
    distance = dict(zip(harmony.PAIR_NAMES, harmony.tonal_distance(rolls)[0], strict=True))
    assert distance.pop("Piano-Bass") == pytest.approx(FIFTH / 2, rel=1e-12)
    assert np.isnan(list(distance.values())).all()


def test_the_circles_are_those_of_fifths_and_thirds():
    """On each circle, the interval it is named for is the smallest step, and going round it comes back."""
    circles = harmony.tonal_matrix().reshape(3, 2, 12)
    for circle, interval, steps in zip(circles, (7, 3, 4), (12, 4, 3), strict=True):
        round_it = circle[:, np.arange(steps + 1) * interval % 12]
        np.testing.assert_allclose(round_it[:, 0], round_it[:, -1], atol=1e-12)
        lengths = np.linalg.norm(np.diff(round_it, axis=1), axis=0)
        radius = np.linalg.norm(circle[:, 0])
        np.testing.assert_allclose(lengths, 2 * radius * np.sin(np.pi / steps), rtol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(circles, axis=1), [[1] * 12, [1] * 12, [0.5] * 12], rtol=1e-12)


def test_tonal_distance_agrees_with_a_slow_loop(rolls):
    turns = ((1, 7 / 6), (1, 3 / 2), (0.5, 2 / 3))
    found = harmony.tonal_distance(rolls)
    for phrase, roll in enumerate(rolls):
        for pair, (one, other) in enumerate(itertools.combinations((PIANO, GUITAR, BASS, STRINGS), 2)):
            distances = []
            for beat in np.split(roll, 16):
                pitches = [np.nonzero(beat[:, :, track])[1] for track in (one, other)]
                if all(map(len, pitches)):
                    points = [[r * np.exp(1j * np.pi * a * p).mean() for r, a in turns] for p in pitches]
                    distances.append(np.linalg.norm(np.subtract(*points)))
            expected = np.mean(distances) if distances else np.nan
            assert found[phrase, pair] == pytest.approx(expected, nan_ok=True)
    assert np.isfinite(found).any()


def test_silence_and_no_phrases():
    for measure, columns in ((harmony.used_pitch_classes, 5), (harmony.in_scale_share, 5), (harmony.tonal_distance, 6)):
        assert np.isnan(measure(silence(2))).all()
        assert measure(silence(0)).shape == (0, columns)
