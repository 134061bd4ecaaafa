"""Longer pieces without silent bars."""

import dataclasses

import numpy as np
import pytest

from tests.searching import shorten_searches
from wae_jax.errors import RequestError
from wae_jax.generation.latent_paths import slerp
from wae_jax.generation.model import Model
from wae_jax.generation.modes import continuation
from wae_jax.generation.modes.continuation import continue_, fill_silent_bars
from wae_jax.generation.modes.input_phrase import InputPhrase
from wae_jax.generation.modes.request import Request, silent_bars
from wae_jax.metrics.reconstruction import cell_f1


@pytest.fixture(scope="module")
def run(corpus_model):
    return corpus_model.with_prior("normal")


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
    apart = 1 - cell_f1(phrases.rolls, roll[None])
    assert 0 < apart[1] < apart[2] < apart[3]
    assert apart[1] < 1 - cell_f1(run.decode(phrases.codes[:1]) > 0.5, roll[None])[0]
    np.testing.assert_allclose(phrases.report["difference_from_first"], apart)
    other = continue_(run, Request(4, inputs=(InputPhrase(np.roll(roll, 12, axis=1), "mine.mid", 1),)))
    assert not np.array_equal(other.rolls[1], phrases.rolls[1])
    roll[48:96] = False
    with pytest.raises(RequestError, match=r"mine\.mid is silent in bar 2"):
        continue_(run, Request(4, inputs=(InputPhrase(roll, "mine.mid", 1),)))


def test_a_piece_leaves_ones_own_music_and_goes_on(run, monkeypatch):
    shorten_searches(monkeypatch)
    roll = np.roll(run.decode(run.sample_codes(6, 1))[0] > 0.5, 6, axis=0)
    request = Request(13, seed=2, inputs=(InputPhrase(roll, "mine.mid", 1),))
    phrases = continue_(run, request)
    # From the ninth phrase on the other tracks are the decoder's alone, and drums where it has none.
    plain = phrases.probabilities > 0.5
    np.testing.assert_array_equal(phrases.rolls[9:, ..., 1:], plain[9:, ..., 1:])
    has_none = (phrases.probabilities[..., 0] < 0.1) & (phrases.probabilities[0, ..., 0] < 0.1)
    expected = np.broadcast_to(roll[..., 0], has_none.shape)
    np.testing.assert_array_equal(phrases.rolls[..., 0][has_none], expected[has_none])
    # Anchors lie at three quarters of the way to samples, and the first phrase at (1/4)^0.7 of the way to its anchor.
    samples = run.sample_codes(2, 32)
    ends = np.stack([slerp(phrases.codes[0], sample, 0.75) for sample in samples])
    nearest = np.linalg.norm(ends - phrases.codes[4], axis=1)
    assert nearest.min() == pytest.approx(0, abs=1e-4)
    np.testing.assert_allclose(phrases.codes[1], slerp(phrases.codes[0], ends[nearest.argmin()], 0.25**0.7), atol=1e-4)
    # No phrase comes back, and what is farther along is farther from the start.
    apart = 1 - cell_f1(phrases.rolls, roll[None])
    assert apart[9:].min() > apart[1:4].max()
    later = phrases.rolls[5:]
    assert all(cell_f1(np.delete(later, i, axis=0), later[[i]]).max() < 1 for i in range(len(later)))
    # A shorter piece begins alike.
    shorter = continue_(run, dataclasses.replace(request, num=7))
    np.testing.assert_array_equal(shorter.rolls, phrases.rolls[:7])


def test_the_anchor_that_is_taken_is_the_likest_without_silent_bars(run, monkeypatch):
    shorten_searches(monkeypatch)
    roll = run.decode(run.sample_codes(5, 1))[0] > 0.5
    request = Request(5, inputs=(InputPhrase(roll, "mine.mid", 1),))
    order = np.random.default_rng(0).permutation(32)
    monkeypatch.setattr(continuation, "likeness", lambda phrase, rolls: -order.astype(float))
    ends = [slerp(z, s, 0.75) for z in continue_(run, request).codes[:1] for s in run.sample_codes(0, 32)]
    by_likeness = [ends[i] for i in np.argsort(order)]
    np.testing.assert_allclose(continue_(run, request).codes[4], by_likeness[0], atol=1e-4)
    asked = []

    def silent_at_first(rolls):
        asked.append(len(rolls))
        # The first call is for the user's phrase; then the second bar of all stretches but the third is silent.
        found = np.zeros((len(rolls), 4), bool)
        found[0, 1] = len(asked) in (2, 3)
        return found

    monkeypatch.setattr(continuation, "silent_bars", silent_at_first)
    phrases = continue_(run, request)
    assert phrases.report["anchors_sampled_again"] == 2
    np.testing.assert_allclose(phrases.codes[4], by_likeness[2], atol=1e-4)
