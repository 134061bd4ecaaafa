import numpy as np
import pytest

from wae_jax.data.build import rasterize


def slowly(notes, steps):
    """Which steps of which places are on, as a set, note by note: what `rasterize.merge_notes` says."""
    on = {(place, step) for place, start, end in notes for step in range(start, max(end, start + 1))}
    starts = {(place, start) for place, start, _ in notes}
    paused = {(place, start - 1) for place, start in starts} - starts
    return {(place, step) for place, step in on - paused if step < steps}, on & paused


def test_notes_are_merged_as_in_a_slow_way():
    generator = np.random.default_rng(0)
    for num_notes in (0, 1, 5, 60):
        place, start = generator.integers(0, 4, num_notes), generator.integers(0, 40, num_notes)
        end = np.maximum(0, start + generator.integers(-2, 15, num_notes))
        found = rasterize.merge_notes(place, start, end)
        cells = [
            (place, step)
            for place, start, length in zip(found.pitch_track, found.start, found.length, strict=True)
            for step in range(start, start + length)
        ]
        on, paused = slowly(list(zip(place.tolist(), start.tolist(), end.tolist(), strict=True)), 100)
        assert len(cells) == len(set(cells)) == len(on)
        assert set(cells) == on
        assert len(found.pitch_track) == num_notes
        behind = found.start + found.length
        assert set(zip(found.pitch_track[found.pauses], behind[found.pauses], strict=True)) == paused


def test_runs_by_hand():
    # A note in another, two that touch, two at once, and the same steps of another place.
    found = rasterize.merge_notes(
        np.array([5, 5, 5, 5, 5, 5, 9]), np.array([0, 3, 10, 12, 20, 20, 3]), np.array([8, 5, 12, 14, 21, 23, 3])
    )
    assert [tuple(run) for run in np.transpose(found).tolist()] == [
        (5, 0, 2, True),
        (5, 3, 5, False),
        (5, 10, 1, True),
        (5, 12, 2, False),
        (5, 20, 0, False),
        (5, 20, 3, False),
        (9, 3, 1, False),
    ]


@pytest.mark.parametrize("at_once", [1, 7, 1 << 14])
def test_runs_are_activated_against_a_slow_way(at_once, monkeypatch):
    monkeypatch.setattr(rasterize, "_CELLS_AT_ONCE", at_once)
    generator = np.random.default_rng(0)
    num_steps = 200
    on = np.zeros((num_steps, rasterize.CELLS_PER_STEP), bool)
    on[generator.integers(0, num_steps, 50), generator.integers(0, rasterize.CELLS_PER_STEP, 50)] = True
    packed = np.packbits(on)
    first, lengths = [], []
    for place in generator.permutation(rasterize.CELLS_PER_STEP)[:80].tolist():
        start, length = int(generator.integers(0, 150)), int(generator.choice([0, 1, 3, 50]))
        length *= not on[start : start + length, place].any()
        on[start : start + length, place] = True
        first.append(start * rasterize.CELLS_PER_STEP + place)
        lengths.append(length)
    assert sum(lengths) > 500
    rasterize.activate_runs(packed, np.array(first), np.array(lengths))
    np.testing.assert_array_equal(packed, np.packbits(on))


def test_nothing_to_activate():
    packed = np.full(10, 3, np.uint8)
    rasterize.activate_runs(packed, np.zeros(0, np.int64), np.zeros(0, np.int64))
    rasterize.activate_runs(packed, np.array([8, 16]), np.array([0, 0]))
    rasterize.activate_cells(packed, np.zeros(0, np.int64))
    assert packed.tolist() == [3] * 10


def test_cells_are_activated():
    packed = np.array([0b00000001, 0, 0b10000000], np.uint8)
    rasterize.activate_cells(packed, np.array([23, 0, 6, 8, 17]))
    assert packed.tolist() == [0b10000011, 0b10000000, 0b11000001]
