"""Statistics of packed phrases, against those of unpacked ones."""

from __future__ import annotations

import numpy as np
import pytest

from tests.checking import unchecked
from wae_jax import pianoroll
from wae_jax.data import statistics


def random_rolls(num=8, chances=(0.01, 0.0, 0.3, 1.0, 0.05)):
    return np.random.default_rng(0).random((num, *pianoroll.PHRASE_SHAPE)) < np.array(chances)


def test_statistics_agree_with_unpacked_cells(monkeypatch):
    monkeypatch.setattr(statistics, "_ROWS_AT_A_TIME", 3)
    rolls = random_rolls(chances=(0.01, 0.0, 0.3, 1.0, 1e-4))
    found = statistics.track_statistics(pianoroll.pack(rolls))
    np.testing.assert_allclose(found.densities, rolls.mean(axis=(0, 1, 2)), rtol=1e-14)
    empty = [
        [not rolls[i, 48 * bar : 48 * bar + 48, :, k].any() for k in range(5)] for i in range(8) for bar in range(4)
    ]
    np.testing.assert_allclose(found.empty_bar_rates, np.mean(empty, axis=0), rtol=1e-14)
    assert 0 < found.empty_bar_rates[4] < 1
    assert [type(each) for each in found.densities + found.empty_bar_rates] == [float] * 10
    assert statistics.track_densities(pianoroll.pack(rolls)) == found.densities


def test_shares_of_short_notes_are_means_over_phrases():
    rolls = np.zeros((4, *pianoroll.PHRASE_SHAPE), bool)
    rolls[0, 0:1, 3, 1] = rolls[0, 5:7, 3, 1] = rolls[0, 0:100, 9, 1] = True  # of 1, 2 and 100 steps
    rolls[2, 10:13, 0, 1] = True  # of 3, in a phrase of its own
    rolls[3, 180:192, 83, 4] = rolls[3, 0:13, 2, 4] = True  # of 12 and 13
    found = statistics.track_statistics(pianoroll.pack(rolls)).short_note_shares
    np.testing.assert_allclose(found[1], [1 / 6, 1 / 3] + [2 / 3 / 2 + 1 / 2] * 10)
    np.testing.assert_allclose(found[4], [0.0] * 11 + [0.5])
    assert found[0] == found[2] == (0.0,) * 12


def test_shares_of_short_notes_are_of_phrases_spread_over_all(monkeypatch):
    monkeypatch.setattr(statistics, "_PHRASES_WITH_LENGTHS", 2)
    rolls = np.zeros((5, *pianoroll.PHRASE_SHAPE), bool)
    rolls[[0, 4], :1] = True
    rolls[1:4, :50] = True
    found = statistics.track_statistics(pianoroll.pack(rolls)).short_note_shares
    assert found == ((1.0,) * 12,) * 5


def test_a_cell_at_the_edge_of_a_bar_belongs_to_it():
    for step, bar in ((0, 0), (47, 0), (48, 1), (143, 2), (144, 3), (191, 3)):
        for pitch, track in ((0, 0), (83, 4), (41, 2)):
            rolls = np.zeros((1, *pianoroll.PHRASE_SHAPE), bool)
            rolls[0, step, pitch, track] = True
            expected = np.zeros((1, 4, 5), bool)
            expected[0, bar, track] = True
            np.testing.assert_array_equal(pianoroll.active_track_bars(pianoroll.pack(rolls)), expected)


@unchecked()
@pytest.mark.parametrize(
    "spoil",
    [lambda rows: rows[:0], lambda rows: rows[:, :-1], lambda rows: rows.astype(np.int32), lambda rows: rows[0]],
)
def test_statistics_want_packed_rows(spoil):
    with pytest.raises(ValueError, match=r"expected \[N, 10080\] of uint8"):
        statistics.track_statistics(spoil(pianoroll.pack(random_rolls(2))))
