"""The nearest phrases against a walk through all references and transpositions, one roll moved at a time."""

from __future__ import annotations

import numpy as np
import pytest

from tests.checking import unchecked
from tests.metrics.test_music import random_rolls, silence
from wae_jax.evaluation import memorization
from wae_jax.pianoroll import pack


def moved(roll, semitones):
    """The pitched tracks as many rows higher, what leaves the range lost; the drums as they are."""
    result = np.zeros_like(roll)
    for pitch in range(84):
        if 0 <= pitch + semitones < 84:
            result[:, pitch + semitones, 1:] = roll[:, pitch, 1:]
    result[:, :, 0] = roll[:, :, 0]
    return result


def slow_nearest(queries, references, max_semitones):
    found = []
    for query in queries:
        best = None
        for index, reference in enumerate(references):
            for size in range(max_semitones + 1):
                for semitones in sorted({-size, size}):
                    both = int((query & moved(reference, semitones)).sum())
                    either = int(query.sum()) + int(reference.sum()) - both
                    distance = 1 - both / either if either else 0.0
                    if best is None or distance < best[0]:
                        best = distance, index, semitones
        found.append(best)
    return found


@pytest.fixture(scope="module")
def references():
    rolls = random_rolls(9, seed=1)
    rolls[4] = rolls[2]
    rolls[6] = False
    return rolls


@pytest.fixture(scope="module")
def queries(references):
    """Copies, moved and damaged; phrases of their own; silence; noise that fills every row; only drums."""
    rng = np.random.default_rng(2)
    damaged = moved(references[7], -5) & (rng.random((192, 84, 5)) < 0.8)
    drums = np.where(np.arange(5) == 0, references[3], False)
    noise = rng.random((192, 84, 5)) < 0.3
    own = random_rolls(3, seed=3)
    return np.stack([references[4], moved(references[1], 12), damaged, noise, drums, silence()[0], *own])


@pytest.mark.parametrize("max_semitones", [0, 3, 12])
def test_nearest_are_those_of_the_walk(queries, references, max_semitones, monkeypatch):
    # Several chunks and blocks, on both sides.
    monkeypatch.setattr(memorization, "_CHUNK", 4)
    monkeypatch.setattr(memorization, "_BLOCK", 2)
    nearest = memorization.nearest_phrases(pack(queries), pack(references), max_semitones=max_semitones)
    assert list(zip(*(part.tolist() for part in nearest), strict=True)) == slow_nearest(
        queries, references, max_semitones
    )


def test_copies_are_found_where_they_were_moved(queries, references):
    nearest = memorization.nearest_phrases(pack(queries), pack(references))
    assert nearest.row[[0, 1, 2]].tolist() == [2, 1, 7]
    assert nearest.semitones[[0, 1, 2]].tolist() == [0, 12, -5]
    assert nearest.distance[0] == 0
    assert 0.1 < nearest.distance[2] < 0.3
    assert (nearest.distance[5], nearest.row[5]) == (0, 6)


def test_drums_are_not_transposed():
    roll = silence(2)
    roll[0, ::12, 30, 0] = roll[1, ::12, 31, 0] = True
    assert memorization.nearest_phrases(pack(roll[:1]), pack(roll[1:])).distance.tolist() == [1]
    roll[:, :, 50, 2] = True
    shared, either = 192, 192 + 2 * 16
    distance = memorization.nearest_phrases(pack(roll[:1]), pack(roll[1:])).distance
    assert distance.tolist() == [1 - shared / either]


def test_cells_that_leave_the_range_count_as_missing():
    query, reference = silence(), silence()
    query[0, :, 80, 1] = True
    reference[0, :, [79, 83], 1] = True
    nearest = memorization.nearest_phrases(pack(query), pack(reference))
    assert (nearest.distance[0], nearest.semitones[0]) == (0.5, 1)


def test_full_rolls_do_not_overflow():
    full = np.ones((2, 192, 84, 5), bool)
    full[1, 0, 0, 0] = False
    nearest = memorization.nearest_phrases(pack(full[:1]), pack(full[1:]), max_semitones=1)
    assert nearest.distance.tolist() == [1 - (80640 - 1) / 80640]


def test_threads_and_memory_maps_change_nothing(queries, references, tmp_path, monkeypatch):
    monkeypatch.setattr(memorization, "_CHUNK", 4)
    np.save(tmp_path / "phrases.npy", pack(references))
    one = memorization.nearest_phrases(pack(queries), pack(references))
    other = memorization.nearest_phrases(pack(queries), np.load(tmp_path / "phrases.npy", mmap_mode="r"), num_threads=3)
    for mine, theirs in zip(one, other, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_no_queries(references):
    nearest = memorization.nearest_phrases(pack(silence(0)), pack(references))
    assert [len(part) for part in nearest] == [0, 0, 0]


def test_flags_are_those_below_the_percentile_of_held_out_music():
    baseline = np.linspace(0.5, 1, 101)
    distance = np.array([0.1, 0.5049, 0.505, 0.5051, 0.9])
    assert memorization.flag_copies(distance, baseline).tolist() == [True, True, False, False, False]
    assert memorization.flag_copies(distance, baseline, percentile=50).tolist() == [True] * 4 + [False]
    with pytest.raises(ValueError, match="baseline is empty"):
        memorization.flag_copies(distance, np.zeros(0))


def test_what_cannot_be_searched_is_refused(queries, references):
    packed = pack(queries)
    with pytest.raises(ValueError, match="no references"):
        memorization.nearest_phrases(packed, pack(silence(0)))
    with pytest.raises(ValueError, match="max_semitones is 84; expected 0 to 83"):
        memorization.nearest_phrases(packed, packed, max_semitones=84)
    with pytest.raises(ValueError, match="num_threads is 0"):
        memorization.nearest_phrases(packed, packed, num_threads=0)
    with unchecked(), pytest.raises(ValueError, match="expected \\[B, 10080\\]"):
        memorization.nearest_phrases(packed, packed[:, :10])


def test_held_out_music_is_no_copy_and_training_music_is(shared_data):
    def first_phrases(name, number):
        phrase, bar, step, pitch, track = np.load(shared_data / "lpd5" / f"{name}.npz")["nonzero"]
        rolls, wanted = silence(number), phrase < number
        rolls[phrase[wanted], (48 * bar + step)[wanted], pitch[wanted], track[wanted]] = True
        return rolls

    train, held_out = first_phrases("free_train", 64), first_phrases("free_valid", 24)
    baseline = memorization.nearest_phrases(pack(held_out), pack(train)).distance
    copies = np.stack([moved(roll, 2) for roll in train[:8]])
    distance = memorization.nearest_phrases(pack(copies), pack(train)).distance
    assert memorization.flag_copies(distance, baseline).all()
    assert baseline.min() > 0.3
