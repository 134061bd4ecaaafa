"""The binarization rule of a command line."""

import argparse

import pytest

from wae_jax.command_line.model_flags import add_sampling_flags, requested_rule
from wae_jax.config import BinarizationRule
from wae_jax.errors import RequestError


def request(*flags, **rule):
    parser = argparse.ArgumentParser()
    add_sampling_flags(parser, num=1)
    return requested_rule(parser.parse_args(flags), BinarizationRule(**rule))


def test_parts_that_are_not_given_are_those_of_the_model():
    assert request("--threshold=.3", min_note_length=3) == BinarizationRule(thresholds=(0.3,) * 5, min_note_length=3)
    assert request("--binarization=bernoulli", thresholds="fit").method == "bernoulli"


@pytest.mark.parametrize(
    ("flags", "rule", "message"),
    [
        (
            ["--binarization=bernoulli", "--threshold=.3", "--track-gate=5"],
            {},
            "--threshold, --track-gate applies only to --binarization=hard; the rule is 'bernoulli'",
        ),
        (["--track-gate=5"], {"method": "bernoulli"}, "--track-gate applies only to --binarization=hard"),
        (["--short-note-threshold=2"], {}, "--short-note-threshold has no effect without a --min-note-length of at"),
        (["--short-note-threshold=fit", "--min-note-length=1"], {"min_note_length": 3}, "has no effect without"),
        (["--min-note-length=14", "--short-note-threshold=fit"], {}, "expected at most 13 steps, or numbers"),
    ],
)
def test_parts_without_an_effect_are_refused(flags, rule, message):
    with pytest.raises(RequestError, match=message):
        request(*flags, **rule)


def test_parts_that_agree_are_taken():
    assert request("--binarization=hard", "--threshold=.3", method="bernoulli").thresholds == (0.3,) * 5
    assert request("--binarization=bernoulli", "--min-note-length=2").min_note_length == 2
    assert request("--short-note-threshold=0").short_note_thresholds == (0,) * 5
    assert request("--short-note-threshold=2", "--min-note-length=2").short_note_thresholds == (2,) * 5
