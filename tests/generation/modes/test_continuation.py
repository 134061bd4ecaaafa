"""Longer pieces without silent bars."""

import numpy as np
import pytest

from tests.searching import shorten_searches
from wae_jax.errors import RequestError
from wae_jax.generation.model import Model
from wae_jax.generation.modes import continuation
from wae_jax.generation.modes.continuation import continue_, fill_silent_bars
from wae_jax.generation.modes.input_phrase import InputPhrase
from wae_jax.generation.modes.request import Request, silent_bars
from wae_jax.metrics.reconstruction import cell_f1


@pytest.fixture(scope="module")
def run(shipped):
    return shipped.with_prior("normal")


def quiet(run, share):
    """The model with a decoder whose second bars are all but silent for a share of all codes, by their first number."""

    class Quiet(Model):
        def decode(self, codes):
            probabilities = super().decode(codes).copy()
            bound = np.quantile(self.sample_codes(9, 500)[:, 0], share)
            probabilities[codes[:, 0] < bound, 48:96] *= 0.01
            return probabilities

    return Quiet(run.config, run.variables, run.step, run.digest)


def test_neighbours_are_nearer_than_random_phrases(run):
    phrases = continue_(run, Request(10, seed=1))
    assert phrases.rolls.shape[0] == len(phrases.codes) == len(phrases.names) == 10
    assert not silent_bars(phrases.rolls).any()
    neighbours = 1 - cell_f1(phrases.rolls[1:], phrases.rolls[:-1])
    assert phrases.report["difference_of_neighbours"] == pytest.approx(neighbours.mean())
    draws = run.decode(run.sample_codes(1, 64)) > 0.5
    pairs = [1 - cell_f1(draws[i : i + 1], draws[i + 1 : i + 2])[0] for i in range(0, 64, 2)]
    assert phrases.report["difference_of_random_pairs"] == pytest.approx(np.mean(pairs))
    assert neighbours.mean() < 0.7 * np.mean(pairs)
    steps = np.linalg.norm(np.diff(phrases.codes, axis=0), axis=1)
    assert steps.max() < 0.5 * np.linalg.norm(phrases.codes, axis=1).mean()
    # A longer piece begins alike.
    longer = continue_(run, Request(11, seed=1))
    np.testing.assert_allclose(longer.codes[:10], phrases.codes, atol=1e-5)
    assert not np.allclose(continue_(run, Request(2, seed=2)).codes, phrases.codes[:2])


def test_anchors_with_silent_bars_are_drawn_anew(run):
    request = Request(9, seed=4)
    assert continue_(run, request).report["anchors_sampled_again"] == 0
    phrases = continue_(quiet(run, 0.7), request)
    assert phrases.report["anchors_sampled_again"] > 0
    assert phrases.report["bars_with_lower_threshold"] == 0
    assert not silent_bars(phrases.rolls).any()


def test_where_no_anchor_helps_the_threshold_is_lowered_there(run, monkeypatch):
    monkeypatch.setattr(continuation, "_MAX_NEW_ANCHORS", 2)
    phrases = continue_(quiet(run, 1.0), Request(5, seed=4))
    assert phrases.report["anchors_sampled_again"] == 2 * 2
    assert phrases.report["bars_with_lower_threshold"] == 5
    assert "bars with a lower threshold: 5" in phrases.table
    assert not silent_bars(phrases.rolls).any()


def test_silent_bars_are_filled_by_hand():
    probabilities = np.full((1, 192, 84, 5), 0.01, np.float32)
    probabilities[0, 0, 0, 0] = 0.9
    probabilities[0, 48, 1, 0], probabilities[0, 50, 2, 0], probabilities[0, 51, 2, 0] = 0.2, 0.11, 0.09
    probabilities[0, 96:, 3, 3] = 0.6
    rolls = probabilities > 0.5
    filled = fill_silent_bars(rolls, probabilities)
    added = {(48, 1, 0), (50, 2, 0)}
    assert set(zip(*(axis.tolist() for axis in np.nonzero((filled ^ rolls)[0])), strict=True)) == added
    assert not (rolls & ~filled).any()


def test_a_piece_begins_with_ones_own_music_as_it_is(run, monkeypatch):
    shorten_searches(monkeypatch)
    roll = np.roll(run.decode(run.sample_codes(5, 1))[0] > 0.5, 3, axis=0)
    phrases = continue_(run, Request(4, inputs=(InputPhrase(roll, "mine.mid", 1),)))
    np.testing.assert_array_equal(phrases.rolls[0], roll)
    assert phrases.names[0] == "bars 1 to 4: mine.mid, bars 1 to 4"
    assert "F1 of the code used" in phrases.table
    # It goes on from there, and not from anywhere.
    assert cell_f1(phrases.rolls[1:2], roll[None])[0] > cell_f1(phrases.rolls[3:], roll[None])[0]
    other = continue_(run, Request(4, inputs=(InputPhrase(np.roll(roll, 12, axis=1), "mine.mid", 1),)))
    assert not np.array_equal(other.rolls[1], phrases.rolls[1])
    roll[48:96] = False
    with pytest.raises(RequestError, match=r"mine\.mid is silent in bar 2"):
        continue_(run, Request(4, inputs=(InputPhrase(roll, "mine.mid", 1),)))
