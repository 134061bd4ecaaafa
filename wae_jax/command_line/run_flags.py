"""What the programs that read a trained run have in common: flags, and how they say what is wrong."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from wae_jax.config import FIT, LONGEST_FITTED_SHORT_NOTE, BinarizationRule, PerTrack, read_per_track
from wae_jax.errors import RequestError, UserError

if TYPE_CHECKING:
    from wae_jax.generation.model import Model


def add_run_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that say which trained run; `trained_run.open_run` takes their values."""
    parser.add_argument(
        "--workdir",
        help="folder of a trained run, or a file of python -m wae_jax.export (default: the run that ships)",
    )
    add_checkpoint_flag(parser)


def add_checkpoint_flag(parser: argparse.ArgumentParser) -> None:
    """Adds the flag that says which checkpoint of a run."""
    parser.add_argument("--checkpoint", default="best", help="best (default), latest, or a step")


def add_sampling_flags(parser: argparse.ArgumentParser, *, num: int | None) -> None:
    """Adds the flags that say how many phrases a run makes, and how; `num` is the default number.

    None leaves the number to the mode of the program.
    """
    default = "the default depends on the mode" if num is None else f"default {num}"
    parser.add_argument("--num", type=int, default=num, help=f"phrases ({default})")
    parser.add_argument("--seed", type=int, default=0)
    rule = parser.add_argument_group("binarization", "what is not given here is as in the configuration of the run")
    rule.add_argument(
        "--binarization",
        dest="method",
        choices=("hard", "bernoulli"),
        help="above a threshold, or at random with the cells' probability",
    )
    rule.add_argument(
        "--threshold",
        dest="thresholds",
        type=_per_track("thresholds"),
        metavar="T|T,T,T,T,T|fit",
        help="of all tracks, or of each; fit: those at which samples are as dense as the training data",
    )
    rule.add_argument(
        "--hysteresis-ratio",
        type=float,
        metavar="R",
        help="a note lasts while above this share of the threshold, 0 to 1",
    )
    rule.add_argument(
        "--close-gaps", type=int, metavar="STEPS", help="gaps of up to so many steps become part of a note"
    )
    rule.add_argument(
        "--min-note-length", type=int, metavar="STEPS", help="shorter notes are dropped; those of drums are not"
    )
    rule.add_argument(
        "--short-note-threshold",
        dest="short_note_thresholds",
        type=_per_track("short_note_thresholds"),
        metavar="F|F,F,F,F,F|fit",
        help="shorter notes stay that get above so many times the threshold, 0 for none; fit: as many as in the "
        "training data",
    )
    rule.add_argument(
        "--track-gate",
        dest="track_gates",
        type=_per_track("track_gates"),
        metavar="C|C,C,C,C,C|fit",
        help="a track is silent throughout phrases with fewer expected active cells; fit: as many empty bars as in the "
        "training data",
    )


def _per_track(part: str) -> Callable[[str], PerTrack]:
    """A reader of one part of a rule that has a number for each track."""

    def read(text: str) -> PerTrack:
        try:
            value = read_per_track(text)
            BinarizationRule(**{part: value})  # type: ignore[arg-type]
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r}; {error}") from None
        return value

    return read


def requested_rule(arguments: argparse.Namespace, rule: BinarizationRule) -> BinarizationRule:
    """A run's binarization rule, with the parts that the command line asks for in their place.

    Args:
      arguments: of a parser with `add_sampling_flags`.
      rule: of the run's configuration.

    Raises:
      RequestError: if the two together make no sense.
    """
    names = [field.name for field in dataclasses.fields(BinarizationRule)]
    given = {name: value for name in names if (value := getattr(arguments, name)) is not None}
    try:
        asked = dataclasses.replace(rule, **given)
    except ValueError as error:
        raise RequestError(str(error)) from error
    longest = LONGEST_FITTED_SHORT_NOTE + 1
    if asked.short_note_thresholds == FIT and asked.min_note_length > longest:
        raise RequestError(
            f"--min-note-length is {asked.min_note_length} and short notes are to be as many as in the training data; "
            f"expected at most {longest} steps, or --short-note-threshold=0"
        )
    return asked


def add_latent_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that say what codes are drawn from; `asked_run` heeds them."""
    parser.add_argument(
        "--latent",
        choices=("prior", "mixture"),
        default="prior",
        help="draw codes from the prior (default), or from a mixture of Gaussians fitted to those of training phrases",
    )
    parser.add_argument(
        "--components", type=int, help="of --latent=mixture (default: as many as make codes held out likeliest)"
    )


def check_latent_flags(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Leaves with a usage error where one of these flags is out of range or has no say."""
    if arguments.components is None:
        return
    if arguments.latent != "mixture":
        parser.error(f"--components has no say in --latent={arguments.latent}; it belongs to --latent=mixture")
    if arguments.components < 1:
        parser.error(f"--components is {arguments.components}; expected at least 1")


def asked_run(run: Model, latent: str, components: int | None) -> Model:
    """The run, drawing codes from what the command line asks for.

    Args:
      run: as it was opened, drawing from the prior.
      latent: what is behind --latent.
      components: what is behind --components.

    Raises:
      RequestError: if no such mixture can be fitted to the codes of its training phrases, or these are no longer where
        they were.
    """
    if latent == "prior":
        return run
    return run.with_mixture(components or 0)


def check_sampling_flags(parser: argparse.ArgumentParser, arguments: argparse.Namespace, *, least_num: int = 1) -> None:
    """Leaves with a usage error where one of these flags is out of range."""
    if arguments.num < least_num:
        parser.error(f"--num is {arguments.num}; expected at least {least_num}")
    if arguments.hysteresis_ratio is not None and not 0 <= arguments.hysteresis_ratio <= 1:
        parser.error(f"--hysteresis-ratio is {arguments.hysteresis_ratio}; expected 0 to 1")
    if arguments.close_gaps is not None and arguments.close_gaps < 0:
        parser.error(f"--close-gaps is {arguments.close_gaps}; expected at least 0 steps")
    if arguments.min_note_length is not None and arguments.min_note_length < 1:
        parser.error(f"--min-note-length is {arguments.min_note_length}; expected at least 1 step")
    if arguments.seed < 0:
        parser.error(f"--seed is {arguments.seed}; expected at least 0")


def exit_status(program: Callable[[argparse.Namespace], None], arguments: argparse.Namespace) -> int:
    """Runs a program; says in a sentence what a user can mend, and then returns 1.

    Args:
      program: what to run.
      arguments: of the command line, with `output` among them.
    """
    try:
        program(arguments)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {error.filename or arguments.output}: {os.strerror(error.errno or 0)}", file=sys.stderr)
        return 1
    return 0
