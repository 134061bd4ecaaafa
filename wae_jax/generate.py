"""Music from a trained run: `python -m wae_jax.generate --output music` for the run that ships with the package.

--mode=draw          decodes draws from the prior
--mode=reconstruct   encodes and decodes phrases of the run's validation data, originals beside them
--mode=interpolate   walks from one of these phrases to the next through latent space; or from --from to --to
--mode=encode        writes the codes of validation phrases, and which rows of the validation split they are
--mode=vary          four bars of --input, and variations at growing distance
--mode=continue      a longer piece without silent bars, from --input on where it is given
--mode=accompany     the tracks --keep of --input as they are, with other tracks found for them
--mode=edit          draws, or four bars of --input, with each --attribute changed

Music of one's own is a MIDI file, a Multitrack of pypianoroll, or phrases as npz or npy, as `build_dataset` reads them.
How faithful the music is stands in a table that is printed, and in report.json.
"""

from __future__ import annotations

import argparse
import json
import math
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from wae_jax.accompaniment import accompany
from wae_jax.attributes import ATTRIBUTES
from wae_jax.audio import DEFAULT_AUDIO
from wae_jax.command_line import RequestError, add_sampling_flags, check_sampling_flags, exit_status
from wae_jax.continuation import continue_
from wae_jax.dataset import DatasetError
from wae_jax.editing import edit
from wae_jax.files import whole_file
from wae_jax.metrics.table import music_table
from wae_jax.modes import Phrases, Request, draw, encode, interpolate, reconstruct
from wae_jax.own_music import read_own_phrase
from wae_jax.phrase_files import write_phrases
from wae_jax.pianoroll import NUM_TRACKS, TRACK_NAMES, unpack
from wae_jax.trained_run import Run, open_run
from wae_jax.variation import vary

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

    make: Callable[[Run, Request], Phrases]
    num: int
    num_of_own: int | None
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()


MODES = {
    "draw": Mode(draw, 64, 64),
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


def generate(arguments: argparse.Namespace) -> None:
    """Does what the command line asks for; writes nothing before all is made.

    Raises:
      RequestError, WorkdirError, CheckpointError, DatasetError, ConfigError, OSError: with what is wrong.
    """
    output = pathlib.Path(arguments.output)
    if output.exists() and (not output.is_dir() or any(output.iterdir())) and not arguments.overwrite:
        raise RequestError(f"{output} exists and is not an empty folder; choose another, or pass --overwrite")
    request = Request(
        arguments.num,
        arguments.seed,
        arguments.binarize,
        arguments.threshold,
        tuple(
            read_own_phrase(_value(arguments, file), _value(arguments, bar))
            for file, bar in _FILES.items()
            if _value(arguments, file) is not None
        ),
        arguments.keep or (),
        dict(arguments.attribute or ()),
    )
    run = open_run(arguments.workdir, arguments.checkpoint)
    name = arguments.workdir or "the run that ships with wae_jax"
    phrases = MODES[arguments.mode].make(run, request)
    print(f"{name}: step {run.step}, checkpoint {run.digest[:12]}")

    output.mkdir(parents=True, exist_ok=True)
    np.save(output / "codes.npy", phrases.codes)
    if phrases.rows is not None:
        np.save(output / "rows.npy", phrases.rows)
    if phrases.rolls is None:
        print(f"wrote the codes of {len(phrases.codes)} phrases to {output / 'codes.npy'}")
        return
    options: dict[str, Any] = {
        "tempo": arguments.tempo,
        "audio": DEFAULT_AUDIO if arguments.audio else None,
        "pictures": arguments.pictures,
    }
    probabilities = phrases.probabilities if arguments.probabilities else None
    write_phrases(output, phrases.rolls, probabilities=probabilities, names=phrases.names, **options)
    sets = {arguments.mode: phrases.rolls}
    if phrases.originals is not None:
        write_phrases(output / "originals", phrases.originals, names=phrases.original_names, **options)
        sets["originals"] = phrases.originals
    _write_report(output / "report.json", arguments, name, run, phrases)
    try:
        sets["training data"] = unpack(np.asarray(run.phrases("train")[:2048]))
    except DatasetError as error:
        # A run in one file may have left its data behind.
        print(f"the table below is without training data: {error}")
    print(music_table(sets))
    if phrases.table:
        print(f"\n{phrases.table}\n")
    print(f"wrote {len(phrases.rolls)} phrases to {output}")


def _write_report(path: pathlib.Path, arguments: argparse.Namespace, name: str, run: Run, phrases: Phrases) -> None:
    """Writes what was asked for, of which run, and how faithful the outcome is."""
    asked = ("mode", "num", "seed", "binarize", "threshold", *map(_destination, _OF_MODES))
    content = {
        "run": {"source": name, "step": run.step, "digest": run.digest},
        "asked": {flag: getattr(arguments, flag) for flag in asked if getattr(arguments, flag) is not None},
        **phrases.report,
    }
    with whole_file(path) as part:
        part.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parses and checks the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m wae_jax.generate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--workdir", help="folder of a trained run, or a file made by wae_jax.export")
    parser.add_argument("--output", required=True, help="folder to write to")
    parser.add_argument("--mode", choices=MODES, default="draw")
    add_sampling_flags(parser, num=64)
    parser.add_argument("--probabilities", action="store_true", help="write the probabilities too")
    parser.add_argument("--tempo", type=float, default=100.0, help="bpm (default 100)")
    parser.add_argument("--no-audio", dest="audio", action="store_false", help="no sound files")
    parser.add_argument("--no-pictures", dest="pictures", action="store_false", help="no pictures")
    parser.add_argument(
        "--overwrite", action="store_true", help="write into a folder that is not empty, over files of the same names"
    )
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
    # Which number goes without saying depends on the mode.
    parser.set_defaults(num=None)
    arguments = parser.parse_args(argv)
    _check_flags_of_modes(parser, arguments)
    check_sampling_flags(parser, arguments)
    if not 10 <= arguments.tempo <= 1000:
        parser.error(f"--tempo is {arguments.tempo}; expected 10 to 1000 bpm")
    return arguments


def _check_flags_of_modes(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
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


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    return exit_status(generate, parse_arguments(argv))


if __name__ == "__main__":
    sys.exit(main())
