"""Other tracks for those that are there."""

import numpy as np
import pytest

from tests.helpers import random_rolls
from tests.searching import shorten_searches
from wae_jax.config import BinarizationRule
from wae_jax.errors import RequestError
from wae_jax.generation.modes import accompaniment, code_search
from wae_jax.generation.modes.accompaniment import accompany, choose_different
from wae_jax.generation.modes.input_phrase import InputPhrase
from wae_jax.generation.modes.request import Request
from wae_jax.metrics.reconstruction import cell_f1

KEEP = (0, 3)
KEPT = np.array([True, False, False, True, False])


@pytest.fixture(scope="module")
def run(corpus_model):
    return corpus_model.with_prior("normal")


@pytest.fixture(scope="module")
def songs(run):
    """Two phrases unlike each other."""
    return run.decode(run.sample_codes(32, 2)) > 0.5


@pytest.fixture(scope="module")
def made(run, songs):
    requests = [Request(3, seed=1, inputs=(InputPhrase(song, "mine.mid", 5),), keep=KEEP) for song in songs]
    with pytest.MonkeyPatch.context() as patch:
        shorten_searches(patch)
        return [accompany(run, request) for request in requests]


def test_kept_tracks_are_the_users_and_others_are_new(made, songs):
    for phrases, song in zip(made, songs, strict=True):
        assert phrases.rolls.shape == (3, 192, 84, 5)
        for roll in phrases.rolls:
            np.testing.assert_array_equal(roll[..., KEPT], song[..., KEPT])
            assert roll[..., ~KEPT].any()
        np.testing.assert_array_equal(phrases.originals[0], song)
        np.testing.assert_array_equal(phrases.rolls, phrases.probabilities > 0.5)


def test_how_near_the_decoder_itself_comes_is_told(made, songs, run):
    for phrases, song in zip(made, songs, strict=True):
        decoded = run.decode(phrases.codes) > 0.5
        found = cell_f1(decoded[..., KEPT], song[None, ..., KEPT])
        rows = phrases.report["accompaniments"]
        np.testing.assert_allclose([row["F1 of the kept tracks"] for row in rows], found, atol=0.01)
        np.testing.assert_allclose(
            [row["F1 of Bass"] for row in rows], cell_f1(decoded[..., [3]], song[None, ..., [3]]), atol=0.01
        )
        assert found.min() > 0.5
        assert f"{rows[0]['F1 of the kept tracks']:.3f}" in phrases.table
        np.testing.assert_array_equal(phrases.rolls[..., ~KEPT], decoded[..., ~KEPT])
        assert [row["new cells"] for row in rows] == decoded[..., ~KEPT].sum(axis=(1, 2, 3)).tolist()


def test_accompaniments_differ_and_depend_on_what_is_kept(made, run, songs):
    for phrases in made:
        others = phrases.rolls[..., ~KEPT]
        apart = [1 - cell_f1(others[[i]], others[[j]])[0] for i in range(3) for j in range(i)]
        assert min(apart) > 0.1
        assert phrases.report["difference_between_accompaniments"] == pytest.approx(np.mean(apart))
    one, other = (phrases.rolls[..., ~KEPT] for phrases in made)
    assert cell_f1(one, other).max() < 0.8


def test_silent_tracks_are_not_kept(run, songs):
    roll = songs[0].copy()
    roll[..., [0, 3]] = False
    own = (InputPhrase(roll, "mine.mid", 5),)
    with pytest.raises(RequestError, match=r"bars 5 to 8: Drums, Bass are silent; .* some of Piano"):
        accompany(run, Request(1, inputs=own, keep=KEEP))
    with pytest.raises(RequestError, match="Bass is silent; expected"):
        accompany(run, Request(1, inputs=own, keep=(3,)))


def test_the_farthest_are_chosen_and_silence_last():
    rolls = np.zeros((5, 192, 84, 5), bool)
    rolls[1] = random_rolls(1)[0]
    rolls[2] = rolls[1]
    rolls[2, 0] = True  # a little different
    rolls[4] = random_rolls(1, seed=1)[0]
    np.testing.assert_array_equal(choose_different(rolls, 5, num_tracks=1), [1, 4, 2, 0, 3])
    np.testing.assert_array_equal(choose_different(rolls[[0, 3]], 2, num_tracks=1), [0, 1])


def test_phrases_with_too_few_tracks_come_later():
    rolls = random_rolls(4)
    rolls[0, ..., 1:] = False  # one track
    rolls[1, ..., 2:] = False  # two
    np.testing.assert_array_equal(choose_different(rolls, 4, num_tracks=1)[:1], [0])
    # Two are enough, so that more are no better.
    np.testing.assert_array_equal(choose_different(rolls, 4, num_tracks=2)[[0, 3]], [1, 0])
    np.testing.assert_array_equal(choose_different(rolls, 4, num_tracks=4)[2:], [1, 0])


def num_others(rolls):
    """The number of active tracks besides the kept ones."""
    return np.count_nonzero(rolls[..., ~KEPT].any(axis=(1, 2)), axis=1)


def test_accompaniments_have_as_many_tracks_as_samples(run, songs, monkeypatch):
    """Of codes of which the cheapest have fewer, those that have as many are taken."""
    probabilities = run.decode(run.sample_codes(1, 64))
    # Each track is silent in half of the samples.
    gates = np.median(probabilities.sum(axis=(1, 2)), axis=0)
    rule = BinarizationRule(track_gates=tuple(gates.tolist()))
    usual = round(num_others(run.binarize(probabilities, rule)).mean())
    codes = run.sample_codes(77, 16)
    has_enough = num_others(run.binarize(run.decode(codes), rule)) >= usual
    assert 2 <= has_enough.sum() < 16
    costs = np.where(has_enough, 100.0, 0.0) + np.arange(16)
    monkeypatch.setattr(accompaniment, "search_codes", lambda *args, **options: (codes[None], costs[None]))
    request = Request(2, seed=1, rule=rule, inputs=(InputPhrase(songs[0], "mine.mid", 5),), keep=KEEP)
    phrases = accompany(run, request)
    assert (num_others(phrases.rolls) >= usual).all()
    np.testing.assert_array_equal(phrases.codes[0], codes[has_enough.argmax()])


@pytest.mark.slow
def test_there_are_as_many_starts_as_accompaniments_need(run, songs, monkeypatch):
    asked = []

    def search(run, target, kept, *, num_starts, seed):
        asked.append(num_starts)
        return code_search.search_codes(run, target, kept, num_starts=num_starts, seed=seed, num_steps=1)

    monkeypatch.setattr(accompaniment, "search_codes", search)
    own = (InputPhrase(songs[0], "mine.mid", 1),)
    assert accompany(run, Request(1, inputs=own, keep=(0,))).report["difference_between_accompaniments"] is None
    phrases = accompany(run, Request(5, inputs=own, keep=(1, 2)))
    assert len({code.tobytes() for code in phrases.codes}) == 5
    assert asked == [16, 20]
