"""Binarization, against loops over single pitches and by hand; and its rule in flags, configuration and JSON."""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json

import numpy as np
import pytest

from tests.binarizing import probabilities, runs
from tests.checking import unchecked
from wae_jax.command_line.model_flags import add_sampling_flags, requested_rule
from wae_jax.config import FIT, BinarizationRule, default_config, read_config
from wae_jax.errors import RequestError
from wae_jax.generation.binarization import binarize, describe, keep_long_notes, keep_notes_with


def lines(*texts):
    """Single pitches: # is on."""
    return np.array([[cell == "#" for cell in text] for text in texts])


def shown(cells):
    return ["".join("#" if cell else "." for cell in line) for line in cells]


def as_lines(phrases):
    """[B, T, P] to [B * P, T]."""
    return phrases.swapaxes(1, 2).reshape(-1, phrases.shape[1])


def long_runs(on, shortest):
    """Lines without the runs that are shorter, one run after another."""
    kept = on.copy()
    for line, found in zip(on, kept, strict=True):
        for state, start, length in runs(line):
            if state and length < shortest:
                found[start : start + length] = False
    return kept


def test_short_notes_are_left_out_also_at_the_ends():
    on = lines("#.##.###.#", "##......##", "##########", "..........")
    assert shown(keep_long_notes(on, 2)) == ["..##.###..", "##......##", "##########", ".........."]
    assert shown(keep_long_notes(on, 3))[:3] == [".....###..", "..........", "##########"]


@pytest.mark.parametrize("shortest", [2, 4])
def test_short_notes_against_runs_of_single_pitches(shortest):
    on = as_lines(probabilities()[:1, :, ::6, 2] > 0.3)
    np.testing.assert_array_equal(keep_long_notes(on, shortest), long_runs(on, shortest))


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
    found = binarize(p, BinarizationRule(thresholds=(0.4,) * 5, min_note_length=3))
    np.testing.assert_array_equal(found[..., 0], p[..., 0] > np.float32(0.4))
    for k in range(1, 5):
        expected = long_runs(as_lines(p[:1, :, ::12, k]) > np.float32(0.4), 3)
        np.testing.assert_array_equal(as_lines(found[:1, :, ::12, k]), expected)
        lengths = [length for line in found[0, :, :, k].T for state, _, length in runs(line) if state]
        assert min(lengths) >= 3
    assert found[..., 1:].sum() != (p[..., 1:] > 0.4).sum()


def test_whole_notes_stay_that_have_a_marked_cell():
    on = lines("##.##.###.#", "##......###", "###########", "...........")
    sure = lines(".#.....#...", "#.........#", "#..........", "##.........")
    assert shown(keep_notes_with(on, sure)) == ["##....###..", "##......###", "###########", "..........."]
    # A mark beside a note keeps nothing.
    assert not keep_notes_with(lines("##.##"), lines("..#..")).any()


def test_short_notes_with_a_high_probability_stay():
    p = probabilities()
    plain = BinarizationRule(thresholds=(0.3, 0.2, 0.3, 0.4, 0.5), min_note_length=5)
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
                    is_high = p[b, note, pitch, k].max() > factor * plain.thresholds[k]
                    expected[note] = is_high
                    num_kept, num_left = num_kept + is_high, num_left + (not is_high)
            np.testing.assert_array_equal(found[b, :, pitch, k], expected)
    assert min(num_kept, num_left) > 20
    # A factor of 1 keeps all.
    np.testing.assert_array_equal(binarize(p, dataclasses.replace(plain, short_note_thresholds=(1.0,) * 5)), every)


def test_a_gate_silences_phrases_with_few_expected_cells():
    p = probabilities(num=6)
    expected = p.sum(axis=(1, 2), dtype=np.float64)
    gates = tuple(float(np.sort(expected[:, k])[k]) for k in range(5))  # k phrases have less
    plain = BinarizationRule(thresholds=(0.3,) * 5, min_note_length=2)
    found, every = binarize(p, dataclasses.replace(plain, track_gates=gates)), binarize(p, plain)
    assert every.any(axis=(1, 2)).all()
    plays = expected >= gates
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
    ("change", "message"),
    [
        ({"method": "soft"}, "method is 'soft'; expected one of 'hard', 'bernoulli'"),
        ({"thresholds": (0.5,)}, "expected 5 numbers"),
        ({"thresholds": (0.5, 0.5, 0.5, 0.5, 1.5)}, "between 0 and 1"),
        ({"min_note_length": 0}, "min_note_length is 0"),
        ({"short_note_thresholds": (0, 0, 0, 0, 0.5)}, "expected 5 numbers, each at least 1, or 0"),
        ({"short_note_thresholds": (float("nan"),) * 5}, "short_note_thresholds is .nan"),
        ({"short_note_thresholds": FIT, "min_note_length": 14}, "min_note_length is 14 .* at most 13 steps"),
        ({"track_gates": (1.0,)}, "track_gates is .* expected 5 numbers"),
        ({"track_gates": (1.0, 1.0, 1.0, 1.0, -1.0)}, "each between 0 and the 16128 cells"),
    ],
)
def test_rules_that_make_no_sense_are_refused(change, message):
    with unchecked(), pytest.raises(ValueError, match=message):
        BinarizationRule(**change)


@pytest.mark.parametrize("part", ["thresholds", "short_note_thresholds", "track_gates"])
def test_a_rule_with_open_parts_does_not_binarize(part):
    rule = BinarizationRule(min_note_length=2, **{part: FIT})
    assert rule.fitted_parts == (part,)
    with pytest.raises(ValueError, match=f"{part} of the rule are still to be fitted"):
        binarize(probabilities(num=1), rule)


def parse(*flags):
    parser = argparse.ArgumentParser()
    add_sampling_flags(parser, num=1)
    return parser.parse_args(flags)


OF_MODEL = BinarizationRule(thresholds=(0.3,) * 5, min_note_length=2)


@pytest.mark.parametrize(
    ("flags", "change"),
    [
        ([], {}),
        (["--threshold=.4"], {"thresholds": (0.4,) * 5}),
        (["--threshold=.1,.2,.3,.4,1"], {"thresholds": (0.1, 0.2, 0.3, 0.4, 1.0)}),
        (["--threshold=fit"], {"thresholds": FIT}),
        (["--binarization=bernoulli", "--min-note-length=4"], {"method": "bernoulli", "min_note_length": 4}),
        (
            ["--short-note-threshold=1.5", "--track-gate=fit"],
            {"short_note_thresholds": (1.5,) * 5, "track_gates": FIT},
        ),
        (["--short-note-threshold=fit", "--min-note-length=13"], {"short_note_thresholds": FIT, "min_note_length": 13}),
        (["--short-note-threshold=0,1,2,2,1"], {"short_note_thresholds": (0, 1, 2, 2, 1)}),
        (["--track-gate=0,1.5,2,0,30"], {"track_gates": (0, 1.5, 2, 0, 30)}),
        (["--track-gate=4", "--track-gate=0"], {"track_gates": (0.0,) * 5}),
    ],
)
def test_flags_configuration_and_json_read_the_same_text(flags, change):
    expected = dataclasses.replace(OF_MODEL, **change)
    assert requested_rule(parse(*flags), OF_MODEL) == expected
    config = default_config()
    for name, value in dataclasses.asdict(OF_MODEL).items():
        config.binarization[name] = ",".join(map(str, value)) if isinstance(value, tuple) else value
    names = {"binarization": "method", "threshold": "thresholds", "short_note_threshold": "short_note_thresholds"}
    for flag in flags:
        name, text = flag.removeprefix("--").replace("-", "_").split("=")
        name = {**names, "track_gate": "track_gates"}.get(name, name)
        config.binarization[name] = type(config.binarization[name])(text)
    assert read_config(config).binarization == expected
    stored = json.loads(json.dumps(read_config(config).to_dict()))
    assert read_config(stored).binarization == expected


def test_parts_that_contradict_each_other_are_refused():
    with pytest.raises(RequestError, match="min_note_length is 14"):
        requested_rule(parse("--short-note-threshold=fit", "--min-note-length=14"), OF_MODEL)


@pytest.mark.parametrize(
    "flag",
    [
        "--threshold=.1,.2",
        "--threshold=dense",
        "--threshold=-1",
        "--min-note-length=0",
        "--short-note-threshold=.5",
        "--short-note-threshold=few",
        "--track-gate=-1",
        "--track-gate=1,2",
        "--track-gate=all",
        "--num=0",
        "--num=two",
        "--seed=-1",
        "--seed=4294967296",
        "--seed=9223372036854775808",
    ],
)
def test_a_wrong_flag_is_refused_with_what_would_be_right(flag, capsys):
    with pytest.raises(SystemExit):
        parse(flag)
    assert "expected" in capsys.readouterr().err


def test_the_largest_seed_is_read():
    assert parse("--seed=4294967295").seed == 2**32 - 1


def test_a_rule_is_described_in_words():
    assert describe(BinarizationRule()) == "above 0.5"
    found = describe(
        BinarizationRule(min_note_length=3, short_note_thresholds=(0, 1.5, 0, 1.25, 0), track_gates=(0, 120, 0, 0, 7.5))
    )
    assert found.endswith(
        "without notes shorter than 3 steps that stay below 1.5 (Piano), 1.25 (Bass) times the threshold, with "
        "tracks silent where fewer active cells are expected than 120 (Piano), 7.5 (Strings)"
    )
    assert "that stay below 2 times" in describe(BinarizationRule(min_note_length=3, short_note_thresholds=(2.0,) * 5))
    assert "as many empty bars" in describe(BinarizationRule(track_gates=FIT))
    assert "as dense as the training data" in describe(BinarizationRule(thresholds=FIT))
    assert "as many as the training data" in describe(BinarizationRule(min_note_length=3, short_note_thresholds=FIT))
    assert describe(BinarizationRule("bernoulli")) == "sampled at random with their probability"
    found = describe(BinarizationRule(thresholds=(0.1, 0.2, 0.3, 0.4, 0.5), min_note_length=3))
    for part in ("0.1 (Drums)", "0.5 (Strings)", "shorter than 3 steps"):
        assert part in found
