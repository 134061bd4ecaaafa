"""What the programs that read a trained run have in common: flags, and how they say what is wrong."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from wae_jax.data.statistics import LONGEST_SHORT
from wae_jax.errors import CheckpointError, ConfigError, DatasetError, RequestError, WorkdirError
from wae_jax.generation.binarization import DATA, DENSITY, METHODS, NONE, Decision, decision_of_config
from wae_jax.pianoroll import NUM_TRACKS

if TYPE_CHECKING:
    import ml_collections

    from wae_jax.generation.model import Run


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
    how = parser.add_argument_group("which cells sound", "what is not given here is as the run's configuration has it")
    how.add_argument("--binarize", choices=METHODS, help="above a threshold, or at random with their probability")
    how.add_argument(
        "--threshold",
        type=_numbers_or(DENSITY, number="a number between 0 and 1", make=lambda found: Decision(thresholds=found)),
        metavar="T|T,T,T,T,T|density",
        help="for hard: of all tracks, or of each; density: those at which draws are as dense as the training data",
    )
    how.add_argument("--hold", type=float, help="for hard: notes last while above this share of the threshold, 0 to 1")
    how.add_argument("--close-gaps", type=int, metavar="STEPS", help="gaps up to so long become part of one note")
    how.add_argument("--min-length", type=int, metavar="STEPS", help="shorter notes are left out; drums are not")
    how.add_argument(
        "--keep-short",
        type=_numbers_or(DATA, NONE, number="a factor of at least 1", make=lambda found: Decision(keep_short=found)),
        metavar="none|F|F,F,F,F,F|data",
        help="for hard: short notes stay that get above so many times the threshold; data: such that draws have as "
        "many as the training data",
    )
    how.add_argument(
        "--rests",
        type=_numbers_or(DATA, NONE, number="a number of at least 0 cells", make=lambda found: Decision(rests=found)),
        metavar="none|C|C,C,C,C,C|data",
        help="for hard: tracks are silent throughout phrases of which fewer cells are expected; data: so that draws "
        "have as many empty bars as the training data",
    )


def _numbers_or(
    *words: str, number: str, make: Callable[[tuple[float, ...]], Decision]
) -> Callable[[str], tuple[float, ...] | str]:
    """Reads what a rule has for each track, if `make` can make one of it: a number for all, five, or a word."""

    def read(text: str) -> tuple[float, ...] | str:
        if text in words:
            return text
        try:
            found = tuple(float(each) for each in text.split(","))
            found *= NUM_TRACKS if len(found) == 1 else 1
            make(found)
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"{text!r}; expected {number}, {NUM_TRACKS} of them with commas between, or {' or '.join(words)}"
            ) from None
        return found

    return read


def asked_decision(arguments: argparse.Namespace, config: ml_collections.ConfigDict) -> Decision:
    """The rule of a run's configuration, with what the command line asks for in its place.

    Args:
      arguments: of a parser with `add_sampling_flags`.
      config: the run's configuration.

    Raises:
      RequestError: if the two together make no sense.
    """
    given = {
        "method": arguments.binarize,
        "hold": arguments.hold,
        "close_gaps": arguments.close_gaps,
        "min_length": arguments.min_length,
    }
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    words = {DENSITY: None, DATA: None, NONE: (0.0,) * NUM_TRACKS}
    of_tracks = {"thresholds": arguments.threshold, "keep_short": arguments.keep_short, "rests": arguments.rests}
    changes |= {name: words.get(value, value) for name, value in of_tracks.items() if value is not None}
    decision = dataclasses.replace(decision_of_config(config), **changes)
    if decision.keep_short is None and decision.min_length > LONGEST_SHORT + 1:
        raise RequestError(
            f"short notes, of fewer than {decision.min_length} steps, are to be as many as in the training data; "
            f"expected --min-length of at most {LONGEST_SHORT + 1} steps, or --keep-short={NONE}"
        )
    return decision


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


def asked_run(run: Run, latent: str, components: int | None) -> Run:
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
    try:
        return run.drawing_from_mixture(components or 0)
    except ValueError as error:
        raise RequestError(f"--latent=mixture: {error}") from error


def check_sampling_flags(parser: argparse.ArgumentParser, arguments: argparse.Namespace, *, least_num: int = 1) -> None:
    """Leaves with a usage error where one of these flags is out of range."""
    if arguments.num < least_num:
        parser.error(f"--num is {arguments.num}; expected at least {least_num}")
    if arguments.hold is not None and not 0 <= arguments.hold <= 1:
        parser.error(f"--hold is {arguments.hold}; expected 0 to 1")
    if arguments.close_gaps is not None and arguments.close_gaps < 0:
        parser.error(f"--close-gaps is {arguments.close_gaps}; expected at least 0 steps")
    if arguments.min_length is not None and arguments.min_length < 1:
        parser.error(f"--min-length is {arguments.min_length}; expected at least 1 step")
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
    except (RequestError, WorkdirError, CheckpointError, DatasetError, ConfigError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {error.filename or arguments.output}: {os.strerror(error.errno or 0)}", file=sys.stderr)
        return 1
    return 0
