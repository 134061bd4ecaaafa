"""Edits of attributes, on a model of the built-in corpus."""

import dataclasses

import numpy as np
import pytest

from tests.searching import shorten_searches
from wae_jax.errors import RequestError
from wae_jax.generation.attributes import ATTRIBUTES, Directions, measure
from wae_jax.generation.latent_paths import slerp
from wae_jax.generation.modes import editing
from wae_jax.generation.modes.editing import edit, edit_own_phrase, effect, miss
from wae_jax.generation.modes.input_phrase import InputPhrase
from wae_jax.generation.modes.own_phrase import OwnPhrase
from wae_jax.generation.modes.request import Request
from wae_jax.metrics.reconstruction import cell_f1
from wae_jax.pianoroll import unpack

NAMES = list(ATTRIBUTES)
# The others are of the same kind, and take seconds each.
FAST = (("density", 1.0),)


@pytest.fixture(scope="module")
def run(corpus_model):
    return corpus_model


@pytest.mark.parametrize(
    ("name", "change"),
    [
        pytest.param(name, change, marks=[] if (name, change) in FAST else [pytest.mark.slow])
        for name in NAMES
        for change in (1.0, -1.0)
    ],
)
def test_edits_move_the_attribute_the_right_way(run, name, change):
    phrases = edit(run, Request(32, seed=2, attributes={name: change}))
    assert phrases.rolls.shape == phrases.originals.shape == (32, 192, 84, 5)
    rows = np.asarray(run.phrases("train"))
    training = measure(unpack(rows[np.linspace(0, len(rows) - 1, 2048).astype(int)]))[:, NAMES.index(name)]
    before, after = (measure(rolls)[:, NAMES.index(name)] for rolls in (phrases.originals, phrases.rolls))
    moved = np.nanmedian(after - before) / np.nanstd(training) * change
    # Directions explain a fifth of note length; and samples have less of most than music, which can hardly fall.
    assert moved > (0.1 if name == "note length" else 0.3)
    assert moved < 1.5
    told = {row["attribute"]: row for row in phrases.report["attributes"]}[name]
    assert told["reached"] * change == pytest.approx(moved, rel=1e-5)
    assert told["requested"] == change
    assert told["before"] == pytest.approx(np.nanmedian(before))
    assert told["after"] == pytest.approx(np.nanmedian(after))
    assert all(row["requested"] is None for row in phrases.report["attributes"] if row["attribute"] != name)


@pytest.mark.slow
def test_more_is_more_and_two_at_once_both_move(run):
    reached = []
    for change in (0.5, 1.0, 1.5):
        report = edit(run, Request(16, seed=5, attributes={"drum busyness": change})).report
        reached.append(report["attributes"][4]["reached"])
    assert reached == sorted(reached)
    assert reached[2] > reached[0] + 0.5
    both = edit(run, Request(16, seed=5, attributes={"density": 0.7, "drum busyness": -0.7})).report["attributes"]
    assert both[0]["reached"] > 0.2
    assert both[4]["reached"] < -0.2


def test_ones_own_music_is_edited_and_keeps_its_detail(run, monkeypatch):
    shorten_searches(monkeypatch)
    songs = np.roll(run.decode(run.sample_codes(41, 2)) > 0.5, 6, axis=1)
    inputs = [(InputPhrase(song, "mine.mid", 1),) for song in songs]
    made = [edit(run, Request(1, inputs=each, attributes={"density": -1.0})) for each in inputs]
    for phrases, song in zip(made, songs, strict=True):
        assert phrases.names == ["the phrase", "edited"]
        np.testing.assert_array_equal(phrases.originals[0], song)
        np.testing.assert_array_equal(phrases.rolls[0], song)
        assert phrases.rolls[1].sum() < song.sum()
        row = phrases.report["attributes"][0]
        assert (row["before"], row["after"]) == tuple(phrases.rolls.sum(axis=(1, 2, 3)))
        assert -1.5 < row["reached"] < -0.4
        # It has more of the song than what is decoded from its code.
        kept, decoded = (
            cell_f1(rolls, song[None])[0] for rolls in (phrases.rolls[1:], run.decode(phrases.codes[1:]) > 0.5)
        )
        assert phrases.report["f1_with_unedited"] == pytest.approx(kept)
        assert kept > decoded + 0.1
    assert not np.array_equal(made[0].rolls[1], made[1].rolls[1])


def test_ends_of_an_edit_are_where_the_linear_model_expects_the_change(run, monkeypatch):
    """Attributes that are numbers of the code: only the requested one changes."""
    code = run.sample_codes(9, 1)
    roll = run.decode(code) > 0.5
    slope = np.zeros((len(NAMES), 32))
    slope[np.arange(5), np.arange(5)] = 2.0
    directions = Directions(np.ones(5), slope, np.ones(5))
    asked = []
    monkeypatch.setattr(editing, "measure", lambda rolls: np.zeros((len(rolls), 5)))
    own = OwnPhrase(roll, code, run.decode(code), [])
    monkeypatch.setattr(
        OwnPhrase,
        "decode",
        lambda self, model, request, codes, weights: (
            asked.append(codes)
            or (np.zeros((len(codes), 192, 84, 5), np.float32), np.zeros((len(codes), 192, 84, 5), bool))
        ),
    )
    edit_own_phrase(run, Request(1, seed=4), own, directions, np.array([0, 0, 1.0, 0, 0]))
    samples = run.sample_codes(4, 1024)
    cost = []
    for sample in samples:
        change = 2 * (sample - code[0])[:5]
        cost.append(
            min(abs(t * change[2] - 1) + t * np.abs(change[[0, 1, 3, 4]]).mean() for t in (0.25, 0.4, 0.55, 0.7))
        )
    expected = [slerp(code[0], samples[i], t) for i in np.argsort(cost)[:16] for t in (0.25, 0.4, 0.55, 0.7)]
    np.testing.assert_allclose(asked[0], expected, atol=1e-5)


def test_what_is_missed_by_hand():
    changes = np.array([[0.5, 1.0, -0.5, np.nan], [np.nan, 0, 0, 0], [1, np.nan, np.nan, np.nan], [2, 0, 0, 0.3]])
    found = miss(changes, np.array([1.0, 0, 0, 0]))
    np.testing.assert_allclose(found, [0.5 + 0.75, np.inf, 0, 1 + 0.1])
    np.testing.assert_allclose(miss(changes[:1], np.array([1.0, -1, 0, 0])), [0.5 + 2 + 0.5])


def test_effects_by_hand():
    before = np.array([[10, 0, np.nan, 1, 5.0], [20, 0, np.nan, 2, 5], [30, 0, np.nan, 3, 5]])
    after = np.array([[14, 1, 3, 1, 5.0], [22, 1, np.nan, 2, 5], [36, 1, np.nan, np.nan, 5]])
    directions = Directions(np.array([2.0, 0.5, 1, 4, 0]), np.zeros((5, 3)), np.linspace(0, 1, 5))
    rows = effect(before, after, directions, np.array([1.5, 0, 0, 0, 0]))
    assert [row["attribute"] for row in rows] == NAMES
    assert [row["before"] for row in rows] == [20, 0, None, 2, 5]
    assert [row["after"] for row in rows] == [22, 1, 3, 1.5, 5]
    assert [row["requested"] for row in rows] == [1.5, None, None, None, None]
    assert [row["reached"] for row in rows] == [2, 2, None, 0, None]
    assert [row["fit"] for row in rows] == [0, 0.25, 0.5, 0.75, 1]


def test_what_does_not_vary_cannot_be_changed(run, monkeypatch):
    monkeypatch.setitem(ATTRIBUTES, "register", lambda rolls: np.full(len(rolls), 40.0))
    with pytest.raises(RequestError, match="register is the same in all training phrases"):
        edit(dataclasses.replace(run, code_statistics=None), Request(2, attributes={"register": 1.0}))
