"""The numbers of a rule that are left to be found: those at which draws of a run are like the music it learnt from.

A decoder of blurred probabilities seldom reaches one half where it ought to: cut there, its music is thin. So
thresholds may be left open: they are then those at which draws are as dense, track by track, as the training data. A
decoder is as seldom sure that a track is silent, and so may rests be left open: the phrases in which least is expected
of a track go without it, so many of them that its bars are as often empty as in the training data. Of the short notes,
most of which are splinters, the surest stay, as many as there are in the training data.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

from wae_jax.config import FIT, LONGEST_FITTED_SHORT_NOTE, BinarizationRule
from wae_jax.data.statistics import TrackStatistics
from wae_jax.generation.binarization import Lines, TrackRule, clean, expected_cells, track_rule
from wae_jax.pianoroll import NUM_BARS, NUM_PITCHES, NUM_TRACKS, STEPS_PER_BAR, Probabilities

_HALVINGS = 16
# Thresholds, rests and what short notes take depend on each other; they are found in turn, and soon hardly change.
_LARGEST_NUM_ROUNDS = 2


def calibrate(rule: BinarizationRule, sampler: Any, statistics: Callable[[], TrackStatistics]) -> BinarizationRule:
    """`Model.calibrated`, until callers follow."""
    return dataclasses.replace(sampler, track_statistics=statistics()).calibrated(rule) if rule.fitted_parts else rule


def fit_rule(probabilities: Probabilities, statistics: TrackStatistics, rule: BinarizationRule) -> BinarizationRule:
    """The rule with what is to be found of it, such that phrases become like other music.

    Args:
      probabilities: of the phrases: draws of the prior, say.
      statistics: of the other music.
      rule: a hard rule.

    Returns:
      The rule. Its thresholds, where they are to be found, are the lowest at which a track's share of cells that sound,
      after the whole rule, is at most the density. Its rests are such that a track's share of empty bars is as large as
      it can be without being larger than that of the other music, and 0 where it is large enough without any. Of short
      notes so many stay, from the surest on, that their share of a track's notes, as the mean over phrases, is at most
      that of the other music.

    Raises:
      ValueError: if the rule is not a hard one, or if what short notes take is to be found and these are longer than
        the statistics tell of.
    """
    if rule.method != "hard":
        raise ValueError(f"method is {rule.method!r}; only a hard rule has parts to be fitted")
    if rule.short_note_thresholds == FIT and rule.min_note_length > LONGEST_FITTED_SHORT_NOTE + 1:
        raise ValueError(
            f"min_note_length is {rule.min_note_length}; expected at most {LONGEST_FITTED_SHORT_NOTE + 1} steps, where "
            "short notes are to be as many as in the training data"
        )
    expected = expected_cells(probabilities)
    # None is shorter than a step.
    short_shares = [
        (0.0, *shares)[min(rule.min_note_length - 1, LONGEST_FITTED_SHORT_NOTE)]
        for shares in statistics.short_note_shares
    ]
    found = [
        _fit_track(
            _Track.of(probabilities[..., k], expected[:, k]),
            track_rule(rule, k),
            density=statistics.densities[k] if rule.thresholds == FIT else None,
            empty_bar_rate=statistics.empty_bar_rates[k] if rule.track_gates == FIT else None,
            short_share=short_shares[k] if rule.short_note_thresholds == FIT else None,
            rest=rule.track_gates[k] if rule.track_gates != FIT else 0.0,
        )
        for k in range(NUM_TRACKS)
    ]
    rules, rests = zip(*found, strict=True)
    return dataclasses.replace(
        rule,
        thresholds=tuple(each.threshold for each in rules),
        short_note_thresholds=tuple(each.short_note_threshold for each in rules)
        if rule.short_note_thresholds == FIT
        else rule.short_note_thresholds,
        track_gates=rests,
    )


class _Track(NamedTuple):
    """A track of some phrases.

    Attributes:
      lines: probabilities of the pitches of all phrases. Most never sound: the likeliest come first, so that at each
        threshold only those that do are looked at.
      largest: probability of each line.
      phrase: of each line.
      expected: number of cells in each phrase.
    """

    lines: Float[np.ndarray, "N T"]
    largest: Float[np.ndarray, " N"]
    phrase: Int64[np.ndarray, " N"]
    expected: Float64[np.ndarray, " B"]

    @classmethod
    def of(cls, probabilities: Float[np.ndarray, "B T P"], expected: Float64[np.ndarray, " B"]) -> _Track:
        lines = np.ascontiguousarray(probabilities.transpose(0, 2, 1)).reshape(-1, probabilities.shape[1])
        largest = lines.max(axis=1)
        order = np.argsort(-largest)
        return cls(lines[order], largest[order], order // NUM_PITCHES, expected)

    def without(self, rest: float) -> _Track:
        """What is left of it where it rests in phrases of which less is expected; they keep their numbers."""
        if not rest:
            return self
        plays = (self.expected >= rest)[self.phrase]
        return self._replace(lines=self.lines[plays], largest=self.largest[plays], phrase=self.phrase[plays])

    def active(self, rule: TrackRule) -> Lines:
        """The cells of its first lines that sound, as `decide` has it; in the other lines none does."""
        assert rule.threshold is not None
        threshold = self.lines.dtype.type(rule.threshold)
        likely = self.lines[: np.count_nonzero(self.largest > threshold)]
        cells = likely > threshold
        return clean(cells, likely, rule) if rule.cleans else cells

    def sounding_bars(self, rule: TrackRule) -> Bool[np.ndarray, "B bars=4"]:
        """In which bars of each phrase it sounds."""
        cells = self.active(rule)
        found = np.zeros((len(self.expected), NUM_BARS), bool)
        np.logical_or.at(
            found, self.phrase[: len(cells)], cells.reshape(len(cells), NUM_BARS, STEPS_PER_BAR).any(axis=2)
        )
        return found


def _fit_track(
    track: _Track,
    rule: TrackRule,
    *,
    density: float | None,
    empty_bar_rate: float | None,
    short_share: float | None,
    rest: float,
) -> tuple[TrackRule, float]:
    """The rule of a track with what is to be found of it, and its rest; None for what is to stay as it is."""

    def with_threshold(rule: TrackRule, rest: float) -> TrackRule:
        if density is None:
            return rule
        wanted = int(density * len(track.expected) * NUM_PITCHES * track.lines.shape[1])
        return rule._replace(threshold=_find_threshold(track.without(rest), rule, wanted))

    rule = with_threshold(rule, rest)
    for _ in range(_LARGEST_NUM_ROUNDS):
        before = rule.short_note_threshold, rest
        if empty_bar_rate is not None:
            wanted = int(empty_bar_rate * len(track.expected) * NUM_BARS)
            rest = _find_rest(track.sounding_bars(rule), track.expected, wanted)
        if short_share is not None and rule.min_note_length > 1:
            rule = rule._replace(short_note_threshold=_find_keep_short(track.without(rest), rule, short_share))
        if (rule.short_note_threshold, rest) == before:
            break
        rule = with_threshold(rule, rest)
    return rule, rest


def _find_threshold(track: _Track, rule: TrackRule, wanted: int) -> float:
    """The lowest threshold at which no more than `wanted` cells sound, by halving intervals."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if np.count_nonzero(track.active(rule._replace(threshold=middle))) > wanted:
            low = middle
        else:
            high = middle
    return high


class _Notes(NamedTuple):
    """The notes of a track: which phrase each is of, how many steps it lasts, its largest probability."""

    phrase: Int64[np.ndarray, " notes"]
    length: Int64[np.ndarray, " notes"]
    largest: Float[np.ndarray, " notes"]


def _notes(track: _Track, rule: TrackRule) -> _Notes:
    cells = track.active(rule)
    edges = np.diff(np.pad(cells, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    (row, start), (_, end) = np.nonzero(edges == 1), np.nonzero(edges == -1)
    # From each note's first step to behind its last, and from there to the next note's, which is of no use.
    bounds = (row * cells.shape[1])[:, None] + np.stack([start, end], axis=1)
    flat = np.append(track.lines[: len(cells)].ravel(), 0)
    largest = np.maximum.reduceat(flat, bounds.ravel())[::2] if len(row) else flat[:0]
    return _Notes(track.phrase[row], end - start, largest)


def _find_keep_short(track: _Track, rule: TrackRule, wanted: float) -> float:
    """What the largest probability of a short note has to be, in thresholds, so that no more are short than wanted.

    It lies halfway between those of the last note that stays and of the first that does not; 0 where none stays.
    """
    assert rule.threshold is not None
    if not rule.threshold:
        return 1.0  # all that is above it is above any number of times it
    notes = _notes(track, rule._replace(min_note_length=1))
    is_short = notes.length < rule.min_note_length
    factor = notes.largest[is_short] / rule.threshold
    order = np.argsort(-factor, kind="stable")
    factor, phrase = factor[order], notes.phrase[is_short][order]
    # As notes come back one by one, each has some long ones and some short ones of its phrase before it.
    num_long = np.bincount(notes.phrase[~is_short], minlength=len(track.expected))
    long = num_long[phrase]
    by_phrase = np.argsort(phrase, kind="stable")
    short = np.empty_like(by_phrase)
    short[by_phrase] = np.arange(len(phrase)) - np.searchsorted(phrase[by_phrase], phrase[by_phrase])
    share_before = np.divide(short, long + short, out=np.zeros(len(phrase)), where=short > 0)
    share = (short + 1) / (long + short + 1)
    num_phrases = np.count_nonzero(num_long) + np.cumsum(long + short == 0)
    mean = np.cumsum(share - share_before) / num_phrases
    num = int(np.argmax(mean > wanted)) if (mean > wanted).any() else len(mean)
    if num == 0:
        return 0.0
    following = factor[num] if num < len(factor) else 1.0
    return max(float(factor[num - 1] + following) / 2, 1.0)


def _find_rest(sounding: Bool[np.ndarray, "B bars=4"], expected: Float64[np.ndarray, " B"], wanted: int) -> float:
    """The number of expected cells below which phrases rest, so that no more than `wanted` bars are empty.

    It lies halfway between what is expected of the last phrase that rests and of the first that does not.
    """
    order = np.argsort(expected, kind="stable")
    filled = sounding[order].sum(axis=1)
    # With 0, 1, 2 ... phrases at rest.
    empty = np.concatenate([[0], np.cumsum(filled)]) + np.count_nonzero(~sounding)
    if empty[0] >= wanted:
        return 0.0
    most = empty[np.searchsorted(empty, wanted, side="right") - 1]
    # As few phrases as will do: those of which nothing sounds need no rest.
    num = np.searchsorted(empty, most, side="left")
    if num == 0:
        return 0.0
    last = expected[order[num - 1]]
    following = expected[order[num]] if num < len(order) else last + 1
    return float(last + following) / 2
