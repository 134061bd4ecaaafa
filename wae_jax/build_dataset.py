"""Makes one packed data set of any mix of inputs, and looks at those made: `python -m wae_jax.build_dataset --help`."""

from __future__ import annotations

import argparse
import errno
import gc
import pathlib
import re
import signal
import sys
from collections.abc import Sequence
from typing import Any

from wae_jax import pianoroll
from wae_jax.data import splits
from wae_jax.data.build import builder, read_inputs, workers
from wae_jax.data.build.build_spec import Recipe
from wae_jax.data.build.dataset_writer import escape
from wae_jax.data.build.sources import DRUM_LENGTHS, TONALITIES, Options
from wae_jax.errors import DatasetError

DEFAULT_FRACTION = 0.1

_EPILOG = """
examples:
  A folder of MIDI, phrases with at least three of the five tracks:
    build_dataset --input midi/ --min-tracks 3 --output data/mine
  Songs are split by the sha256 of their name and --seed; songs that share a phrase stay together.
    build_dataset --input free.npz more.npz --output data/free
  The first 8,192 phrases train and the last 2,048 test, as in the original code:
    build_dataset --train lpd.npz --rows 0:8192 --test lpd.npz --rows=-2048: --output data/original
  What is in a data set, and whether it is whole:
    build_dataset --describe data/mine
    build_dataset --verify data/mine

inputs are told apart by their content:
  MIDI  whole 4/4 bars, four at a time; General MIDI programs make the five tracks: 0-7 piano, 24-31 guitar,
        32-39 bass, other programs below 96 and 104-111 strings; the rest is left out
  .npz  a Multitrack of pypianoroll, such as LPD's, with a multiple or divisor of 12 steps a quarter
  .npz  MuseGAN's phrases: nonzero (5, cells) and shape = (N, 4, 48, 84, 5)
  .npy  (N, 4, 48, 84, 5) or (N, 192, 84, 5): bool, integers 0 and 1, or floats with --threshold
In a folder, and the folders in it, files named .mid .midi .kar .smf .npz .npy are read.
A MIDI file or a Multitrack is one song. Beside phrases.npz or .npy a file phrases.tsv with the columns
phrase, song, first_bar names the songs; without it the input is cut into contiguous blocks: train, valid, test.

Silent phrases are dropped, and of equal phrases all but the first, where train comes before valid and
valid before test. Files that give no phrase are listed in skipped.tsv; the others are used.
In the .tsv files written here \\t, \\n, \\\\ and the like stand for characters that would break a line.
"""


def _parse_rows(text: str) -> slice:
    """Reads `a:b` as Python reads the bounds of a slice."""
    match = re.fullmatch(r"(-?\d+)?:(-?\d+)?", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r}; expected a:b, where either may be left out or negative")
    return slice(*(int(bound) if bound else None for bound in match.groups()))


class _AddInputs(argparse.Action):
    """Appends the paths of one --input, --train, --valid or --test, as one group."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        split = None if self.const == "input" else self.const
        namespace.groups = [*namespace.groups, [read_inputs.Input(path, split) for path in values]]


class _SetRows(argparse.Action):
    """Restricts the input named just before."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        if not namespace.groups:
            raise argparse.ArgumentError(self, "stands before any input; expected after the one it belongs to")
        group = namespace.groups[-1]
        if len(group) > 1:
            raise argparse.ArgumentError(self, f"follows {len(group)} inputs; expected one: repeat the option for each")
        if group[0].rows is not None:
            raise argparse.ArgumentError(self, f"stands twice after {group[0].path}; expected once")
        namespace.groups = [*namespace.groups[:-1], [group[0]._replace(rows=values)]]


def _at_least_one(text: str) -> int:
    """Reads a whole number from 1."""
    if not re.fullmatch("[0-9]+", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}; expected a whole number of at least 1")
    return int(text)


def _number_of_tracks(text: str) -> int:
    """Reads a number of tracks."""
    if not re.fullmatch("[0-9]", text) or not 1 <= int(text) <= pianoroll.NUM_TRACKS:
        raise argparse.ArgumentTypeError(f"{text!r}; expected 1 to {pianoroll.NUM_TRACKS}")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m wae_jax.build_dataset",
        description="Makes one packed data set of piano-roll phrases.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(groups=[])
    parser.add_argument(
        "--input", nargs="+", metavar="PATH", dest="groups", action=_AddInputs, const="input",
        help="files and folders to read; the split is made by rule",
    )  # fmt: skip
    for split in splits.SPLITS:
        parser.add_argument(
            f"--{split}", nargs="+", metavar="PATH", dest="groups", action=_AddInputs, const=split,
            help=f"what to read for {split}, in place of --input",
        )  # fmt: skip
    parser.add_argument(
        "--rows", metavar="A:B", type=_parse_rows, dest="groups", action=_SetRows,
        help="take only these phrases of the one file named just before, as Python slices do; "
        "with a minus sign write --rows=-2048:",
    )  # fmt: skip
    parser.add_argument(
        "--output", metavar="DIR",
        help="the folder to make",
    )  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace the data set that is at DIR")
    parser.add_argument(
        "--min-tracks", type=_number_of_tracks, default=1, metavar="N",
        help="leave out phrases in which fewer than N of the five tracks sound (default: 1)",
    )  # fmt: skip
    parser.add_argument(
        "--threshold", type=float, metavar="X", help="a cell of a float array is on where it is above X"
    )
    parser.add_argument(
        "--workers", type=_at_least_one, default=workers.default_workers(), metavar="N",
        help="processes that read songs; the result is the same whatever N (default: one a CPU)",
    )  # fmt: skip
    songs = parser.add_argument_group("songs: MIDI and Multitracks")
    defaults = Options()
    songs.add_argument(
        "--hop-bars", type=_at_least_one, default=defaults.hop_bars, metavar="N",
        help=f"a phrase starts every N bars (default: {defaults.hop_bars}, so that phrases do not overlap)",
    )  # fmt: skip
    songs.add_argument(
        "--drum-length", choices=DRUM_LENGTHS, default=defaults.drum_length,
        help=f"drum notes last one step, or as long as they are written (default: {defaults.drum_length})",
    )  # fmt: skip
    songs.add_argument(
        "--tonality", choices=TONALITIES, default=defaults.tonality,
        help="keep: as it is; signature: transpose the pitched tracks to C major or A minor by the key signature, "
        f"or an estimated key where there is none; estimate: by an estimated key (default: {defaults.tonality})",
    )  # fmt: skip
    by_rule = parser.add_argument_group("split by rule")
    by_rule.add_argument("--seed", type=int, help="another seed, another split by song (default: 0)")
    for split in ("valid", "test"):
        by_rule.add_argument(
            f"--{split}-fraction", type=float, metavar="F",
            help=f"share of the songs, or of the phrases of a block, for {split} (default: {DEFAULT_FRACTION})",
        )  # fmt: skip
    look = parser.add_argument_group("data sets that are there")
    look.add_argument(
        "--describe", metavar="DIR", help="tell what is in a data set, and write sixteen random phrases beside it"
    )
    look.add_argument("--verify", metavar="DIR", help="check a data set for damage and contradictions")
    return parser


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line; `inputs` is a list of `Input`. Exits with status 2 where it makes no sense."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    arguments.inputs = [item for group in arguments.groups for item in group]
    if arguments.describe or arguments.verify:
        if arguments.inputs or arguments.output or (arguments.describe and arguments.verify):
            parser.error("--describe and --verify stand alone, each with one data set")
        return arguments
    if arguments.output is None:
        parser.error("expected --output, or --describe or --verify")
    given = {item.split is not None for item in arguments.inputs}
    if len(given) != 1:
        parser.error("expected either --input, or --train, --valid and --test")
    options = {"seed": 0, "valid_fraction": DEFAULT_FRACTION, "test_fraction": DEFAULT_FRACTION}
    for name, default in options.items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, default)
        elif given == {True}:
            parser.error(f"--{name.replace('_', '-')} has no say where --train, --valid and --test give the split")
    try:
        splits.check_fractions(arguments.valid_fraction, arguments.test_fraction)
    except ValueError as error:
        parser.error(str(error))
    return arguments


def run(arguments: argparse.Namespace) -> None:
    """Does what the command line says.

    Raises:
      DatasetError: if there is nothing to read, a folder may not be written, or a data set is not whole.
      OSError: if the disk does not do what is asked.
    """
    # Pictures and metrics, which only these need, take a second and memory to import.
    if arguments.describe or arguments.verify:
        from wae_jax.data.build import describe
    if arguments.describe:
        print(describe.describe(pathlib.Path(arguments.describe)))
    elif arguments.verify:
        print(describe.verify(pathlib.Path(arguments.verify)))
    else:
        recipe = Recipe(
            inputs=arguments.inputs,
            options=Options(
                threshold=arguments.threshold,
                hop_bars=arguments.hop_bars,
                drum_length=arguments.drum_length,
                tonality=arguments.tonality,
            ),
            min_tracks=arguments.min_tracks,
            seed=arguments.seed,
            valid_fraction=arguments.valid_fraction,
            test_fraction=arguments.test_fraction,
        )
        builder.build(recipe, arguments.output, overwrite=arguments.overwrite, workers=arguments.workers)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; the exit status is 0, 1 for an error, 2 for a wrong command line, 130 for Ctrl-C."""
    arguments = parse_arguments(argv)
    folder = arguments.output or arguments.describe or arguments.verify
    try:
        run(arguments)
    except KeyboardInterrupt:
        print("interrupted: no data set was written", file=sys.stderr)
        return 130
    except DatasetError as error:
        print(f"error: {escape(str(error))}", file=sys.stderr)
        return 1
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        need = f"needed are {2 * pianoroll.BYTES_PER_PHRASE} bytes a phrase, half of them only while it is made"
        what = f"the disk is full, {need}" if full else escape(str(error))
        print(f"error: cannot write {escape(folder)}: {what}; nothing was left behind", file=sys.stderr)
        return 1
    return 0


def _terminate(signal_number: int, frame: object) -> None:
    """Ends the run by an exception, so that it cleans up as after Ctrl-C."""
    raise SystemExit(128 + signal_number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _terminate)
    # jax has a callback in the garbage collector, and an exception that a signal raises in there is lost.
    gc.disable()
    sys.exit(main())
