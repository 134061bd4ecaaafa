"""The list of measures: its names and columns, packed phrases, chunks, and known numbers of real music."""

from __future__ import annotations

import numpy as np
import pytest

from tests.checking import unchecked
from tests.metrics.test_music import random_rolls, silence
from wae_jax.metrics import harmony, musegan, music, suite
from wae_jax.pianoroll import TRACK_NAMES, pack

PITCHED = slice(1, None)


@pytest.fixture(scope="module")
def rolls():
    """The last has all tracks in all beats, without which one of MuseGAN's readings is undefined."""
    rolls = random_rolls(7, seed=3)
    rolls[-1, ::5, 40:80:9] = True
    return rolls


@pytest.mark.parametrize("compat", suite.METRICS_BY_COMPAT)
def test_every_measure_has_its_columns(rolls, compat):
    found = suite.measure(rolls, compat=compat)
    metrics = suite.METRICS_BY_COMPAT[compat]
    assert list(found) == [metric.name for metric in metrics]
    for metric in metrics:
        assert suite.columns(metric.name) == metric.columns
        assert found[metric.name].shape == (len(rolls), len(metric.columns))
        np.testing.assert_array_equal(found[metric.name], metric.function(rolls))
        assert np.isfinite(found[metric.name]).any(axis=0).all()
        if metric.unit == "share":
            assert np.nanmin(found[metric.name]) >= 0
            assert np.nanmax(found[metric.name]) <= 1


def test_columns_are_those_they_are_named_for(rolls):
    found = suite.measure(rolls)
    np.testing.assert_array_equal(found["cells"][:, 0], rolls.sum(axis=(1, 2, 3)))
    np.testing.assert_array_equal(found["two_step_gap_share"], music.reonset_gap_share(rolls, min_gap=2))
    assert suite.columns("cells") == ("all",)
    assert suite.columns("active_track_rate") == TRACK_NAMES
    assert suite.columns("tonal_distance")[1] == "Piano-Bass"
    for name, values in found.items():
        if name in ("cells", "two_step_gap_share", "drum_pattern", "tonal_distance"):
            continue
        # The rest are functions of that name, of which all or some tracks are shown.
        expected = getattr(music, name, None) or getattr(harmony, name)
        tracks = [TRACK_NAMES.index(column) for column in suite.columns(name)]
        np.testing.assert_array_equal(values, expected(rolls)[:, tracks])
    np.testing.assert_array_equal(found["drum_pattern"][:, 0], music.drum_pattern(rolls))
    np.testing.assert_array_equal(found["tonal_distance"], harmony.tonal_distance(rolls))
    for name in ("lowest_pitch", "highest_pitch", "pitch_range", "used_pitch_classes", "in_scale_share"):
        assert suite.columns(name) == TRACK_NAMES[1:]


def test_names_of_the_two_readings_cannot_be_confused(rolls):
    names = [metric.name for metrics in suite.METRICS_BY_COMPAT.values() for metric in metrics]
    assert len(set(names)) == len(names)
    found = suite.measure(rolls, compat="musegan")
    assert all(name.startswith("musegan_") for name in found)
    np.testing.assert_array_equal(found["musegan_empty_bar_rate"], musegan.empty_bar_rate(rolls))
    np.testing.assert_array_equal(found["musegan_drum_pattern"][:, 0], musegan.drum_pattern(rolls))


@pytest.mark.parametrize("compat", suite.METRICS_BY_COMPAT)
def test_packed_phrases_and_chunks_make_no_difference(rolls, compat, monkeypatch):
    whole = suite.measure(rolls, compat=compat)
    monkeypatch.setattr(suite, "CHUNK", 3)
    for phrases in (rolls, pack(rolls), rolls.astype(np.int64)):
        for name, values in suite.measure(phrases, compat=compat).items():
            np.testing.assert_array_equal(values, whole[name])


def test_few_phrases_are_looked_at_at_a_time(rolls, monkeypatch):
    monkeypatch.setattr(suite, "CHUNK", 3)
    seen = []

    def histogram(chunk):
        seen.append(chunk.shape)
        return music.note_length_histogram(chunk)

    np.testing.assert_array_equal(suite.map_chunks(pack(rolls), histogram), music.note_length_histogram(rolls))
    assert seen == [(3, 192, 84, 5), (3, 192, 84, 5), (1, 192, 84, 5)]


def test_silence_is_empty_and_the_rest_is_undefined():
    found = suite.measure(silence(2))
    zero = {"cells", "active_track_rate", "active_cell_rate", "polyphony_rate", "notes_per_bar"}
    for name, values in found.items():
        if name == "empty_bar_rate":
            assert (values == 1).all()
        elif name in zero:
            assert (values == 0).all()
        else:
            assert np.isnan(values).all()


@pytest.mark.parametrize("compat", suite.METRICS_BY_COMPAT)
def test_no_phrases(compat):
    for phrases in (silence(0), np.zeros((0, 10_080), np.uint8)):
        for name, values in suite.measure(phrases, compat=compat).items():
            assert values.shape == (0, len(suite.columns(name)))


@unchecked()
def test_what_is_none_is_refused(rolls):
    with pytest.raises(ValueError, match="compat is 'muspy'; expected one of '', 'musegan'"):
        suite.measure(rolls, compat="muspy")
    with pytest.raises(ValueError, match="there is no metric 'groove'; expected one of cells, active_track_rate"):
        suite.columns("groove")
    with pytest.raises(ValueError, match="binarize"):
        suite.measure(rolls.astype(np.float32))
    with pytest.raises(ValueError, match="expected \\[B, 192, 84, 5\\]"):
        suite.measure(rolls.reshape(-1, 4, 48, 84, 5))
    with pytest.raises(ValueError, match="expected \\[B, 10080\\]"):
        suite.measure(pack(rolls)[:, :-1])


def test_known_numbers_of_real_music(shared_data):
    """A sixth of the training phrases; what the facts of the data say, and MuseGAN's table where it has its slips."""
    sparse = np.load(shared_data / "lpd5" / "free_train.npz")
    phrase, bar, step, pitch, track = sparse["nonzero"]
    mine = phrase % 6 == 0
    rolls = silence(-(-int(sparse["shape"][0]) // 6))
    rolls[phrase[mine] // 6, 48 * bar[mine] + step[mine], pitch[mine], track[mine]] = True
    found = suite.measure(rolls)
    number = found["notes_per_bar"][:, PITCHED]

    def of_all_notes(name):
        return np.nansum(found[name][:, PITCHED] * number) / number.sum()

    assert found["empty_bar_rate"].mean() == pytest.approx(0.29, abs=0.01)
    assert of_all_notes("qualified_note_rate") == pytest.approx(0.84, abs=0.02)
    assert of_all_notes("one_step_share") == pytest.approx(0.05, abs=0.01)
    # Real music keeps to its key, its drums to the grid, and its bass to few pitches.
    assert (np.nanmean(found["in_scale_share"], axis=0) > 0.9).all()
    assert np.nanmean(found["drum_pattern"]) > 0.9
    used = dict(zip(suite.columns("used_pitch_classes"), np.nanmean(found["used_pitch_classes"], axis=0), strict=True))
    assert min(used, key=used.get) == "Bass"
    assert used["Bass"] < 2.5
    assert np.nanmax(found["tonal_distance"]) < 3
    # The bass is furthest from the others, which is nearest to MuseGAN's table if registers pass for pitch classes.
    slips = np.nanmean(suite.measure(rolls, compat="musegan")["musegan_tonal_distance"], axis=0)
    bass = ["Bass" in pair for pair in harmony.PAIR_NAMES]
    assert slips[bass] == pytest.approx(1.55, abs=0.15)
    assert slips[np.invert(bass)] == pytest.approx(1.05, abs=0.15)
