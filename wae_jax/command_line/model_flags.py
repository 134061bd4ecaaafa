"""Flags of the commands that read a trained model: which one, how it samples, its binarization rule."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from typing import Any

from wae_jax.command_line.command import LARGEST_NUM, LARGEST_SEED, path, whole_number
from wae_jax.config import NUM_TRACKS, BinarizationRule, read_per_track
from wae_jax.config.kinds import find_problem, type_hints
from wae_jax.errors import RequestError
from wae_jax.generation.load import load
from wae_jax.generation.model import Model

# The parts of the binarization rule: by flag, field, reader, metavar and help.
_RULE_FLAGS: dict[str, tuple[str, Callable[[str], Any], str, str]] = {
    "--threshold": (
        "thresholds",
        read_per_track,
        "T|T,T,T,T,T|fit",
        "of all tracks, or of each; fit: samples are as dense as the training data",
    ),
    "--min-note-length": ("min_note_length", int, "STEPS", "shorter notes of pitched tracks are dropped"),
    "--short-note-threshold": (
        "short_note_thresholds",
        read_per_track,
        "F|F,F,F,F,F|fit",
        "shorter notes stay that reach this multiple of the threshold, 0 for none; fit: as many as training data have",
    ),
    "--track-gate": (
        "track_gates",
        read_per_track,
        "C|C,C,C,C,C|fit",
        "a track is silent in phrases with fewer expected active cells; fit: as many empty bars as training data have",
    ),
}
# Parts of the rule "hard" alone.
_HARD = {"thresholds", "short_note_thresholds", "track_gates"}
_NONE = (0.0,) * NUM_TRACKS
# Flags that have no effect without a model, by their names in the parsed arguments.
ONLY_WITH_MODEL = {
    **{name: f"--{name}" for name in ("checkpoint", "prior")},
    "method": "--binarization",
    **{name: flag for flag, (name, *_) in _RULE_FLAGS.items()},
}


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that choose a trained model, --workdir and --checkpoint."""
    parser.add_argument(
        "--workdir",
        type=path,
        help="a run, what `export` wrote, or hf://user/name (default: the model that ships)",
    )
    add_checkpoint_flag(parser)


def add_checkpoint_flag(parser: argparse.ArgumentParser) -> None:
    """Adds the flag that chooses a checkpoint of a run."""
    parser.add_argument("--checkpoint", default="best", help="best (default), latest, or the number of a step")


def add_sampling_flags(parser: argparse.ArgumentParser, *, num: int | None, min_num: int = 1) -> None:
    """Adds --num, whose default may depend on the mode, --seed, and the parts of the binarization rule."""
    default = "the default depends on the mode" if num is None else f"default {num}"
    parser.add_argument(
        "--num", type=whole_number(min_num, LARGEST_NUM), default=num, help=f"number of phrases ({default})"
    )
    parser.add_argument("--seed", type=whole_number(0, LARGEST_SEED), default=0, help="random seed (default 0)")
    rule = parser.add_argument_group("binarization", "parts that are not given are those of the model's configuration")
    rule.add_argument(
        "--binarization",
        dest="method",
        choices=("hard", "bernoulli"),
        help="above a threshold, or at random with the probability of the cell",
    )
    for flag, (name, convert, metavar, text) in _RULE_FLAGS.items():
        rule.add_argument(flag, dest=name, type=_rule_part(name, convert), metavar=metavar, help=text)


def _rule_part(name: str, convert: Callable[[str], Any]) -> Callable[[str], Any]:
    """Returns a reader of one part of a binarization rule, which refuses what the rule refuses."""

    def read(text: str) -> Any:
        try:
            value = convert(text)
        except ValueError:
            expected = find_problem(type_hints(BinarizationRule)[name], None)
            raise argparse.ArgumentTypeError(f"{text!r}; expected {expected}") from None
        try:
            BinarizationRule(**{name: value})
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
        return value

    return read


def requested_rule(arguments: argparse.Namespace, rule: BinarizationRule) -> BinarizationRule:
    """The model's binarization rule with the parts that are given.

    Raises:
      RequestError: if they contradict each other, or a part that is given has no effect on the others.
    """
    names = [field.name for field in dataclasses.fields(BinarizationRule)]
    given = {name: value for name in names if (value := getattr(arguments, name)) is not None}
    try:
        rule = dataclasses.replace(rule, **given)
    except ValueError as error:
        raise RequestError(str(error)) from error
    if rule.method != "hard" and (
        hard := [flag for flag, (name, *_) in _RULE_FLAGS.items() if name in _HARD & given.keys()]
    ):
        raise RequestError(f"{', '.join(hard)} applies only to --binarization=hard; the rule is {rule.method!r}")
    if rule.min_note_length == 1 and given.get("short_note_thresholds", _NONE) != _NONE:
        raise RequestError("--short-note-threshold has no effect without a --min-note-length of at least 2 steps")
    return rule


def add_prior_flag(parser: argparse.ArgumentParser) -> None:
    """Adds the flag of the distribution that codes are sampled from."""
    parser.add_argument(
        "--prior",
        choices=("normal", "kernel_density"),
        help="sample codes from the normal distribution that training aims at, or from a density estimated from "
        "codes of training phrases (default: as configured for training)",
    )


def open_model(arguments: argparse.Namespace) -> Model:
    """The model that --workdir and --checkpoint choose, sampling as --prior says."""
    model = load(arguments.workdir, arguments.checkpoint)
    return model if arguments.prior is None else model.with_prior(arguments.prior)
