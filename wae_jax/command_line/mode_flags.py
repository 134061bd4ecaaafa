"""The modes of `generate`, and the flags that belong to them."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from wae_jax.generation.model import Model
from wae_jax.generation.modes.accompaniment import accompany
from wae_jax.generation.modes.attributes import ATTRIBUTES
from wae_jax.generation.modes.basic import Phrases, Request, encode, interpolate, reconstruct, sample
from wae_jax.generation.modes.continuation import continue_
from wae_jax.generation.modes.editing import edit
from wae_jax.generation.modes.own_music import read_own_phrase
from wae_jax.generation.modes.variation import vary
from wae_jax.pianoroll import NUM_TRACKS, TRACK_NAMES

_LARGEST_CHANGE = 5.0


class Mode(NamedTuple):
    """A row of the table of modes.

    Attributes:
      make: what it does.
      num: phrases, if --num does not say.
      num_of_own: the same with music of the user's; None where it is always one, and --num has no say.
      needs: flags of its own that it cannot do without.
      takes: others that it takes.
    """

    make: Callable[[Model, Request], Phrases]
    num: int
    num_of_own: int | None
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()


MODES = {
    "sample": Mode(sample, 64, 64),
    "reconstruct": Mode(reconstruct, 64, 64),
    "interpolate": Mode(interpolate, 64, 9, takes=("--from", "--to", "--from-bar", "--to-bar")),
    "encode": Mode(encode, 64, 64),
    "vary": Mode(vary, 8, 8, needs=("--input",), takes=("--start-bar",)),
    "continue": Mode(continue_, 16, 16, takes=("--input", "--start-bar")),
    "accompany": Mode(accompany, 4, 4, needs=("--input", "--keep"), takes=("--start-bar",)),
    "edit": Mode(edit, 8, None, needs=("--attribute",), takes=("--input", "--start-bar")),
}
# Files of the user's, each with the flag that says where in it to start.
_FILES = {"--input": "--start-bar", "--from": "--from-bar", "--to": "--to-bar"}
_OF_MODES = (*_FILES, *_FILES.values(), "--keep", "--attribute")


def add_mode_flags(parser: argparse.ArgumentParser) -> None:
    """Adds --mode and what belongs to single modes."""
    parser.add_argument("--mode", choices=MODES, default="sample")
    own = parser.add_argument_group(
        "music of one's own; bars count from 1, and the first four that sound are the default"
    )
    for file, bar in _FILES.items():
        own.add_argument(file, dest=_destination(file), metavar="FILE", help=f"four bars of it, from {bar} on")
        own.add_argument(bar, dest=_destination(bar), type=int, metavar="BAR")
    own.add_argument(
        "--keep", type=parse_tracks, metavar="TRACK,...", help="of " + ", ".join(map(str.lower, TRACK_NAMES))
    )
    own.add_argument(
        "--attribute",
        type=parse_attribute,
        action="append",
        metavar="NAME:CHANGE",
        help="change in standard deviations, as density:+1; may be given for several of "
        + ", ".join(name.replace(" ", "-") for name in ATTRIBUTES),
    )


def asked_for(arguments: argparse.Namespace) -> dict[str, Any]:
    """The flags of modes that were given, by name."""
    names = ("mode", *map(_destination, _OF_MODES))
    return {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}


def make_request(arguments: argparse.Namespace) -> Request:
    """What the mode is asked for, but for the rule, which takes a run.

    Raises:
      RequestError: if a file of the user's cannot be read, or does not hold four bars.
    """
    return Request(
        num=arguments.num,
        seed=arguments.seed,
        own=tuple(
            read_own_phrase(_value(arguments, file), _value(arguments, bar))
            for file, bar in _FILES.items()
            if _value(arguments, file) is not None
        ),
        keep=arguments.keep or (),
        attributes=dict(arguments.attribute or ()),
    )


def check_mode_flags(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Leaves with a usage error where a flag has no say in the mode, or one is missing; sets the number of phrases."""
    mode = MODES[arguments.mode]
    given = {flag for flag in _OF_MODES if _value(arguments, flag) is not None}
    for flag in _OF_MODES:
        if flag in given and flag not in (*mode.needs, *mode.takes):
            users = [name for name, other in MODES.items() if flag in (*other.needs, *other.takes)]
            parser.error(f"{flag} has no say in --mode={arguments.mode}; it belongs to --mode={' or '.join(users)}")
        if flag in mode.needs and flag not in given:
            parser.error(f"--mode={arguments.mode} needs {' and '.join(mode.needs)}")
    for file, bar in _FILES.items():
        if bar in given and file not in given:
            parser.error(f"{bar} says where in the file of {file} to start; expected {file} too")
        if bar in given and _value(arguments, bar) < 1:
            parser.error(f"{bar} is {_value(arguments, bar)}; bars count from 1")
    if len(given & {"--from", "--to"}) == 1:
        parser.error("--from and --to are the two ends of a walk; expected both")
    if arguments.attribute and len(dict(arguments.attribute)) < len(arguments.attribute):
        parser.error("--attribute names one attribute twice; expected each once")
    has_own = any(file in given for file in _FILES)
    default = mode.num_of_own if has_own else mode.num
    if default is None and arguments.num is not None:
        parser.error(f"--num has no say in --mode={arguments.mode} with --input, which makes one phrase")
    arguments.num = arguments.num if arguments.num is not None else default or 1


def parse_tracks(text: str) -> tuple[int, ...]:
    """The tracks behind --keep, by number, in the order of `TRACKS`.

    Args:
      text: such as "drums,bass".

    Raises:
      ArgumentTypeError: if one is unknown, or all are named.
    """
    known = [name.lower() for name in TRACK_NAMES]
    names = [name.strip().lower() for name in text.split(",")]
    for name in names:
        if name not in known:
            raise argparse.ArgumentTypeError(f"{name!r} is no track; expected some of {', '.join(known)}")
    tracks = tuple(sorted({known.index(name) for name in names}))
    if len(tracks) == NUM_TRACKS:
        raise argparse.ArgumentTypeError("all tracks are kept, which leaves none to make; expected one to four")
    return tracks


def parse_attribute(text: str) -> tuple[str, float]:
    """An attribute and its change in standard deviations.

    Args:
      text: such as "note-length:-1.5".

    Raises:
      ArgumentTypeError: if there is no such attribute, or the change is no number, 0, or too large.
    """
    name, _, number = text.rpartition(":")
    name = name.strip().lower().replace("-", " ").replace("_", " ")
    if name not in ATTRIBUTES:
        known = ", ".join(each.replace(" ", "-") for each in ATTRIBUTES)
        raise argparse.ArgumentTypeError(f"{text!r}; expected NAME:CHANGE with a name out of {known}")
    try:
        change = float(number)
    except ValueError:
        change = math.nan
    if not 0 < abs(change) <= _LARGEST_CHANGE:
        raise argparse.ArgumentTypeError(
            f"{text!r}; expected a change of up to {_LARGEST_CHANGE:g} standard deviations either way, as +1 or -0.5"
        )
    return name, change


def _destination(flag: str) -> str:
    return flag.removeprefix("--").replace("-", "_")


def _value(arguments: argparse.Namespace, flag: str) -> Any:
    return getattr(arguments, _destination(flag))
