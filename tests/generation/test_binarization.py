"""Which cells sound: against loops over single pitches, and by hand."""

from __future__ import annotations

import argparse
import dataclasses
import itertools

import numpy as np
import pytest

from tests.deciding import probabilities, runs
from tests.helpers import tiny_config
from wae_jax.command_line.run_flags import add_sampling_flags, check_sampling_flags, requested_rule
from wae_jax.config import BinarizationRule
from wae_jax.errors import RequestError
from wae_jax.generation.binarization import binarize, close_gaps, hold, keep_sure, remove_short


def lines(*texts):
    """Single pitches: # is on."""
    return np.array([[cell == "#" for cell in text] for text in texts])


def shown(cells):
    return ["".join("#" if cell else "." for cell in line) for line in cells]


def slow_hold(p, high, low):
    """A note is a state: on above `high`, then on while above `low`."""
    on = np.zeros(p.shape, bool)
    for i, line in enumerate(p):
        sounds = False
        for t, value in enumerate(line):
            sounds = value > high or (sounds and value > low)
            on[i, t] = sounds
    return on


def as_lines(phrases):
    """[B, T, P] to [B * P, T]."""
    return phrases.swapaxes(1, 2).reshape(-1, phrases.shape[1])


def test_notes_last_while_they_may():
    start = lines("..#......#", "#.........", "..........")
    stay = lines(".####..#.#", "##########", "####.#####")
    assert shown(hold(start, stay)) == ["..###....#", "##########", ".........."]


def test_holding_is_a_state_that_lasts():
    p = as_lines(probabilities()[:, :, ::8, 1])
    found = hold(p > 0.4, p > 0.2)
    np.testing.assert_array_equal(found, slow_hold(p, 0.4, 0.2))
    assert (p > 0.4).sum() < found.sum() < (p > 0.2).sum()


def test_gaps_are_closed_between_notes_alone():
    on = lines("#.#..#...#", "..#.....#.", ".#........", "..........")
    assert shown(close_gaps(on, 1)) == ["###..#...#", "..#.....#.", ".#........", ".........."]
    assert shown(close_gaps(on, 2))[0] == "######...#"
    assert shown(close_gaps(on, 5))[:2] == ["##########", "..#######."]


def test_short_notes_are_left_out_also_at_the_ends():
    on = lines("#.##.###.#", "##......##", "##########", "..........")
    assert shown(remove_short(on, 2)) == ["..##.###..", "##......##", "##########", ".........."]
    assert shown(remove_short(on, 3))[:3] == [".....###..", "..........", "##########"]


@pytest.mark.parametrize(("longest", "shortest"), [(1, 2), (3, 4)])
def test_gaps_and_specks_against_runs_of_single_pitches(longest, shortest):
    on = as_lines(probabilities()[:1, :, ::6, 2] > 0.3)
    closed, kept = close_gaps(on, longest), remove_short(on, shortest)
    for n, line in enumerate(on):
        expected, long_enough = line.copy(), line.copy()
        found = runs(line)
        for i, (state, start, length) in enumerate(found):
            if not state and length <= longest and 0 < i < len(found) - 1:
                expected[start : start + length] = True
            if state and length < shortest:
                long_enough[start : start + length] = False
        np.testing.assert_array_equal(closed[n], expected)
        np.testing.assert_array_equal(kept[n], long_enough)


def test_a_plain_cut_has_a_threshold_a_track():
    p = probabilities()
    thresholds = (0.1, 0.2, 0.3, 0.4, 0.5)
    found = binarize(p, BinarizationRule(thresholds=thresholds))
    for k, threshold in enumerate(thresholds):
        np.testing.assert_array_equal(found[..., k], p[..., k] > np.float32(threshold))


def test_a_cell_at_the_very_threshold_is_silent():
    p = np.full((1, 192, 84, 5), 0.25, np.float32)
    assert not binarize(p, BinarizationRule(thresholds=(0.25,) * 5)).any()
    assert binarize(p, BinarizationRule(thresholds=(0.2499,) * 5)).all()


def test_the_whole_rule_spares_the_drums():
    p = probabilities()
    rule = BinarizationRule(thresholds=(0.4,) * 5, hysteresis_ratio=0.5, close_gaps=2, min_note_length=3)
    found = binarize(p, rule)
    np.testing.assert_array_equal(found[..., 0], p[..., 0] > np.float32(0.4))
    for k in range(1, 5):
        held = slow_hold(as_lines(p[:1, :, ::12, k]), 0.4, 0.2)
        expected = remove_short(close_gaps(held, 2), 3)
        np.testing.assert_array_equal(as_lines(found[:1, :, ::12, k]), expected)
        lengths = [length for line in found[0, :, :, k].T for state, _, length in runs(line) if state]
        assert min(lengths) >= 3
    assert found[..., 1:].sum() != (p[..., 1:] > 0.4).sum()


def test_whole_notes_stay_that_have_a_sure_cell():
    on = lines("##.##.###.#", "##......###", "###########", "...........")
    sure = lines(".#.....#...", "#.........#", "#..........", "##.........")
    assert shown(keep_sure(on, sure)) == ["##....###..", "##......###", "###########", "..........."]
    # What sounds nowhere keeps no note, however sure it is.
    assert not keep_sure(lines("##.##"), lines("..#..")).any()


@pytest.mark.parametrize("rule", [{"hysteresis_ratio": 0.5, "close_gaps": 2}, {}])
def test_short_notes_stay_that_the_decoder_is_surer_of(rule):
    p = probabilities()
    plain = BinarizationRule(thresholds=(0.3, 0.2, 0.3, 0.4, 0.5), min_note_length=5, **rule)
    found = binarize(p, dataclasses.replace(plain, short_note_thresholds=(1.0, 1.5, 1.5, 1.2, 0.0)))
    every = binarize(p, dataclasses.replace(plain, min_note_length=1))
    np.testing.assert_array_equal(found[..., 0], every[..., 0])
    num_kept = num_left = 0
    for k in range(1, 5):
        for b, pitch in itertools.product(range(3), range(0, 84, 6)):
            expected = every[b, :, pitch, k].copy()
            for state, start, length in runs(expected):
                note = slice(start, start + length)
                if state and length < 5:
                    factor = (1.0, 1.5, 1.5, 1.2, np.inf)[k]
                    is_sure = p[b, note, pitch, k].max() > factor * plain.thresholds[k]
                    expected[note] = is_sure
                    num_kept, num_left = num_kept + is_sure, num_left + (not is_sure)
            np.testing.assert_array_equal(found[b, :, pitch, k], expected)
    assert min(num_kept, num_left) > 20
    # A factor of 1 keeps all.
    np.testing.assert_array_equal(binarize(p, dataclasses.replace(plain, short_note_thresholds=(1.0,) * 5)), every)


def test_a_track_rests_where_little_is_expected_of_it():
    p = probabilities(num=6)
    expected = p.sum(axis=(1, 2), dtype=np.float64)
    rests = tuple(float(np.sort(expected[:, k])[k]) for k in range(5))  # of k phrases less is expected
    plain = BinarizationRule(thresholds=(0.3,) * 5, hysteresis_ratio=0.8, min_note_length=2)
    found, every = binarize(p, dataclasses.replace(plain, track_gates=rests)), binarize(p, plain)
    assert every.any(axis=(1, 2)).all()
    plays = expected >= rests
    np.testing.assert_array_equal((~plays).sum(axis=0), np.arange(5))
    np.testing.assert_array_equal(found, every & plays[:, None, None])


def test_bernoulli_is_random_with_the_right_mean_and_each_phrase_by_itself():
    p = np.broadcast_to(probabilities(num=1), (4, 192, 84, 5))
    rule = BinarizationRule(method="bernoulli")
    found = binarize(p, rule, seed=3)
    deviation = (p * (1 - p)).sum() ** 0.5
    assert abs(found.sum() - p.sum()) < 5 * deviation
    assert not np.array_equal(found[0], found[1])
    np.testing.assert_array_equal(binarize(p[:2], rule, seed=3), found[:2])
    assert not np.array_equal(binarize(p, rule, seed=4), found)
    cleaned = binarize(p, dataclasses.replace(rule, min_note_length=2), seed=3)
    assert (cleaned <= found).all()
    assert cleaned[..., 1:].sum() < found[..., 1:].sum()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"method": "soft"}, "called 'soft'; there are hard and bernoulli"),
        ({"thresholds": (0.5,)}, "expected 5 numbers"),
        ({"thresholds": (0.5, 0.5, 0.5, 0.5, 1.5)}, "between 0 and 1"),
        ({"hysteresis_ratio": 1.5}, "hold is 1.5"),
        ({"close_gaps": -1}, "close_gaps is -1"),
        ({"min_note_length": 0}, "min_length 0"),
        ({"short_note_thresholds": (0, 0, 0, 0, 0.5)}, "expected 5 factors of at least 1, or 0"),
        ({"short_note_thresholds": (float("nan"),) * 5}, "short_note_thresholds is .nan"),
        ({"short_note_thresholds": (1.5,)}, "expected 5 factors"),
        ({"track_gates": (1.0,)}, "expected 5 numbers of cells"),
        ({"track_gates": (1.0, 1.0, 1.0, 1.0, -1.0)}, "at least 0"),
    ],
)
def test_rules_that_make_no_sense_are_refused(change, told):
    with pytest.raises(ValueError, match=told):
        BinarizationRule(**change)


def test_the_rule_of_a_configuration():
    config = tiny_config(eval__threshold=0.3)
    assert decision_of_config(config) == BinarizationRule(thresholds=(0.3,) * 5)
    config.rule = {
        "method": "bernoulli",
        "thresholds": "density",
        "hysteresis_ratio": 1,
        "close_gaps": 2,
        "min_note_length": 3,
    }
    config.rule.update({"short_note_thresholds": "data", "track_gates": "data"})
    assert decision_of_config(config) == BinarizationRule("bernoulli", None, 1.0, 2, 3, None, None)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], BinarizationRule(thresholds=(0.3,) * 5, hysteresis_ratio=0.5)),
        (["--threshold=.4"], BinarizationRule(thresholds=(0.4,) * 5, hysteresis_ratio=0.5)),
        (["--threshold=.1,.2,.3,.4,1", "--hysteresis_ratio=1"], BinarizationRule(thresholds=(0.1, 0.2, 0.3, 0.4, 1.0))),
        (["--threshold=density", "--close-gaps=0"], BinarizationRule(thresholds=None, hysteresis_ratio=0.5)),
        (["--binarize=bernoulli", "--min-length=4"], BinarizationRule("bernoulli", (0.3,) * 5, 0.5, 0, 4)),
        (["--keep-short=1.5", "--track_gates=data"], BinarizationRule("hard", (0.3,) * 5, 0.5, 0, 1, (1.5,) * 5, None)),
        (
            ["--keep-short=data"],
            BinarizationRule(thresholds=(0.3,) * 5, hysteresis_ratio=0.5, short_note_thresholds=None),
        ),
        (
            ["--keep-short=0,1,2,2,1"],
            BinarizationRule(thresholds=(0.3,) * 5, hysteresis_ratio=0.5, short_note_thresholds=(0, 1, 2, 2, 1)),
        ),
        (
            ["--track_gates=0,1.5,2,0,30"],
            BinarizationRule(thresholds=(0.3,) * 5, hysteresis_ratio=0.5, track_gates=(0, 1.5, 2, 0, 30)),
        ),
        (["--track_gates=4"], BinarizationRule(thresholds=(0.3,) * 5, hysteresis_ratio=0.5, track_gates=(4,) * 5)),
        (["--track_gates=4", "--track_gates=none"], BinarizationRule(thresholds=(0.3,) * 5, hysteresis_ratio=0.5)),
    ],
)
def test_flags_take_the_place_of_the_configuration(flags, expected):
    config = tiny_config(eval__threshold=0.3, binarization__hysteresis_ratio=0.5)
    parser = argparse.ArgumentParser()
    add_sampling_flags(parser, num=1)
    arguments = parser.parse_args(flags)
    check_sampling_flags(parser, arguments)
    asked = requested_rule(arguments, config)
    assert asked == expected
    # What is written down is what would be asked for.
    written = [f"--{name.replace('_', '-')}={value}" for name, value in as_flags(asked).items()]
    written = [flag.replace("[", "").replace("]", "").replace(" ", "") for flag in written]
    assert requested_rule(parser.parse_args(written), tiny_config()) == asked


def test_shares_of_short_notes_are_known_up_to_a_length():
    parser = argparse.ArgumentParser()
    add_sampling_flags(parser, num=1)
    config = tiny_config()
    asked = requested_rule(parser.parse_args(["--keep-short=data", "--min-length=13"]), config)
    assert (asked.short_note_thresholds, asked.min_note_length) == (None, 13)
    with pytest.raises(RequestError, match="of fewer than 14 steps, are to be as many"):
        requested_rule(parser.parse_args(["--keep-short=data", "--min-length=14"]), config)


@pytest.mark.parametrize("flag", ["--threshold=.1,.2", "--threshold=dense", "--threshold=-1", "--hysteresis_ratio=2",
                                  "--close-gaps=-1", "--min-length=0", "--keep-short=.5", "--keep-short=few",
                                  "--track_gates=-1", "--track_gates=1,2", "--track_gates=all"])  # fmt: skip
def test_a_wrong_flag_is_refused_with_what_would_be_right(flag, capsys):
    parser = argparse.ArgumentParser()
    add_sampling_flags(parser, num=1)
    with pytest.raises(SystemExit):
        check_sampling_flags(parser, parser.parse_args([flag]))
    assert "expected" in capsys.readouterr().err


def test_a_rule_tells_what_it_does():
    assert str(BinarizationRule()) == "above 0.5"
    told = str(
        BinarizationRule(min_note_length=3, short_note_thresholds=(0, 1.5, 0, 1.25, 0), track_gates=(0, 120, 0, 0, 7.5))
    )
    assert told.endswith(
        "without notes shorter than 3 steps that stay below 1.5 (Piano), 1.25 (Bass) times the threshold, with "
        "tracks at rest where fewer cells are expected than 120 (Piano), 7.5 (Strings)"
    )
    assert "that stay below 2 times" in str(BinarizationRule(min_note_length=3, short_note_thresholds=(2.0,) * 5))
    assert "as many empty bars" in str(BinarizationRule(track_gates=None))
    assert "but for as many as the training data have" in str(
        BinarizationRule(min_note_length=3, short_note_thresholds=None)
    )
    assert str(BinarizationRule("bernoulli")) == "at random with their probability"
    told = str(
        BinarizationRule(thresholds=(0.1, 0.2, 0.3, 0.4, 0.5), hysteresis_ratio=0.5, close_gaps=2, min_note_length=3)
    )
    for part in ("0.1 (Drums)", "0.5 (Strings)", "0.5 times", "up to 2 steps closed", "shorter than 3 steps"):
        assert part in told
