"""Builds a packed dataset from any mix of inputs, and inspects datasets: `python -m wae_jax.build_dataset --help`."""

from __future__ import annotations

import argparse
import errno
import pathlib
import re
from collections.abc import Sequence
from typing import Any

from wae_jax import pianoroll
from wae_jax.command_line.command import (
    describe_failure,
    local_path,
    make_parser,
    run_command,
    run_program,
    whole_number,
)
from wae_jax.data import splits
from wae_jax.data.build import builder, workers
from wae_jax.data.build.sources import (
    DEFAULT_TONALITY,
    DRUM_LENGTHS,
    OUT_OF_RANGE,
    TONALITIES,
    BuildSpec,
    Input,
    Options,
)
from wae_jax.errors import DatasetError

_DEFAULT_FRACTION = 0.1

_COMMON = (
    *("--input", "--train", "--valid", "--test", "--output", "--overwrite", "--min-tracks", "--hop-bars", "--tonality"),
    *("--valid-fraction", "--test-fraction", "--describe", "--verify"),
)
_EXAMPLES = (
    "python -m wae_jax.build_dataset --input midi/ --min-tracks 3 --output data/mine",
    "python -m wae_jax.build_dataset --train free.npz --valid other.npz --output data/free",
    "python -m wae_jax.build_dataset --describe data/mine",
)
_DETAILS = """
more examples:
  Songs are split by the sha256 of their name and --seed; songs with equal or nearly equal phrases stay together.
    build_dataset --input free.npz more.npz --output data/free
  Two renditions of a song, in two files, stay together where a table says so.
    build_dataset --input midi/ --songs songs.tsv --output data/mine
  The first 8,192 phrases for training and the last 2,048 for validation, as in the original code:
    build_dataset --train lpd.npz --rows 0:8192 --valid lpd.npz --rows=-2048: --output data/original
  Whether a dataset is intact:
    build_dataset --verify data/mine

inputs (the format is recognized by the content, not by the name):
  MIDI  whole 4/4 bars, four at a time; General MIDI programs make the five tracks: 0-7 piano, 24-31 guitar,
        32-39 bass, other programs below 96 and 104-111 strings; the rest is left out; tracks named Drums, Piano,
        Guitar, Bass and Strings, each name once, go by their names
  .npz  a Multitrack of pypianoroll, such as LPD's, with a multiple or divisor of 12 steps a quarter
  .npz  MuseGAN's phrases: nonzero (5, cells) and shape = (N, 4, 48, 84, 5)
  .npy  (N, 4, 48, 84, 5) or (N, 192, 84, 5): bool, integers 0 and 1, or floats with --threshold
In folders and their subfolders, files named .mid .midi .kar .smf .npz .npy are read.
A MIDI file or a Multitrack is one song, named after its folder and itself; where --songs names it in a tab-separated
file with the columns path (relative to that file) and song, it is that song, as are all others of this name.
Beside phrases.npz or .npy a file phrases.tsv with the columns phrase, song, first_bar names the songs; without it the
input is cut into contiguous blocks: train, valid, test.

Silent phrases are dropped, and of equal phrases all but the first, where train comes before valid and
valid before test. Files that give no phrase are listed in skipped.tsv; the others are used.
In the .tsv files written here \\t, \\n, \\\\ and the like stand for characters that would break a line.
"""


def _rows(text: str) -> slice:
    match = re.fullmatch(r"(-?\d+)?:(-?\d+)?", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r}; expected a:b, where either may be left out or negative")
    return slice(*(int(bound) if bound else None for bound in match.groups()))


class _AddInputs(argparse.Action):
    """Appends the paths of one --input, --train, --valid or --test, as one group."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        split = None if self.const == "input" else self.const
        namespace.groups = [*namespace.groups, [Input(path, split) for path in values]]


class _SetRows(argparse.Action):
    """Restricts the input named just before."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        *others, group = namespace.groups or [[]]
        if len(group) != 1:
            raise argparse.ArgumentError(self, f"follows {len(group)} inputs; expected exactly one before it")
        if group[0].rows is not None:
            raise argparse.ArgumentError(self, f"given twice after {group[0].path}; expected once")
        namespace.groups = [*others, [group[0]._replace(rows=values)]]


def _parser() -> argparse.ArgumentParser:
    summary = "Packs MIDI files, Multitracks and arrays of phrases into a dataset, and inspects datasets."
    parser = make_parser(
        "build_dataset", summary, common=_COMMON, examples=_EXAMPLES, details=_DETAILS, allow_abbrev=False
    )
    parser.set_defaults(groups=[])
    inputs: dict[str, Any] = {
        "nargs": "+",
        "metavar": "PATH",
        "dest": "groups",
        "action": _AddInputs,
        "type": local_path,
    }
    parser.add_argument("--input", **inputs, const="input", help="files and folders to read; a rule makes the splits")
    for split in splits.SPLITS:
        parser.add_argument(f"--{split}", **inputs, const=split, help=f"what to read for {split}, instead of --input")
    add = parser.add_argument
    add("--rows", metavar="A:B", type=_rows, dest="groups", action=_SetRows,
        help="only these phrases of the one file named just before, as in Python slices; "
        "with a minus sign write --rows=-2048:")  # fmt: skip
    add("--output", metavar="DIR", type=local_path, help="the folder to create")
    add("--overwrite", action="store_true", help="replace the dataset at DIR")
    add("--min-tracks", type=int, choices=range(1, pianoroll.NUM_TRACKS + 1), default=1, metavar="N",
        help="leave out phrases with fewer than N active tracks of the five (default: %(default)s)")  # fmt: skip
    add("--threshold", type=float, metavar="X", help="cells of a float array are active above X")
    add("--workers", type=whole_number(1), default=workers.default_workers(), metavar="N",
        help="processes that read songs; the result is the same for any N (default: one a CPU)")  # fmt: skip
    add = parser.add_argument_group("songs: MIDI and Multitracks").add_argument
    add("--hop-bars", type=whole_number(1), default=Options.hop_bars, metavar="N",
        help="a phrase starts every N bars (default: %(default)s, so that phrases do not overlap)")  # fmt: skip
    add("--drum-length", choices=DRUM_LENGTHS, default=Options.drum_length,
        help="onset: drum notes last one step; full: as long as they are written (default: %(default)s)")  # fmt: skip
    add("--tonality", choices=TONALITIES, default=DEFAULT_TONALITY,
        help="keep: pitches as they are; signature: transpose the pitched tracks to C major or A minor by the key "
        "signature, or an estimated key where there is none that fits the notes; estimate: by an estimated key, also "
        "arrays whose songs are named, which are kept otherwise (default: %(default)s)")  # fmt: skip
    add("--songs", metavar="TABLE", type=local_path,
        help="a .tsv file with the columns path, song: which files are one song")  # fmt: skip
    add("--out-of-range", choices=OUT_OF_RANGE, default=Options.out_of_range,
        help="notes outside MIDI numbers 24 to 107: drop them, or fold those of pitched tracks into the range by "
        "octaves, whole tracks where that serves all their notes (default: %(default)s)")  # fmt: skip
    add = parser.add_argument_group("split by rule").add_argument
    add("--seed", type=int, help="seed of the split by song (default: 0)")
    for split in ("valid", "test"):
        add(f"--{split}-fraction", type=float, metavar="F",
            help=f"share of the songs, or of the phrases of a block, for {split} "
            f"(default: {_DEFAULT_FRACTION})")  # fmt: skip
    add = parser.add_argument_group("existing datasets").add_argument
    add("--describe", metavar="DIR", type=local_path,
        help="print what is in a dataset; write sixteen random phrases into it, as a picture and as MIDI")  # fmt: skip
    add("--verify", metavar="DIR", type=local_path, help="check a dataset for damage and contradictions")
    return parser


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line; `inputs` is a list of `Input`. Exits with status 2 if the options contradict."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    arguments.inputs = [item for group in arguments.groups for item in group]
    if arguments.describe or arguments.verify:
        if arguments.inputs or arguments.output or arguments.songs or (arguments.describe and arguments.verify):
            parser.error("--describe and --verify are used alone, each with one dataset")
        return arguments
    if arguments.output is None:
        parser.error("expected --output, or --describe or --verify")
    has_split = {item.split is not None for item in arguments.inputs}
    if len(has_split) != 1:
        parser.error("expected either --input, or --train, --valid and --test")
    for name, default in (("seed", 0), ("valid_fraction", _DEFAULT_FRACTION), ("test_fraction", _DEFAULT_FRACTION)):
        if getattr(arguments, name) is None:
            setattr(arguments, name, default)
        elif has_split == {True}:
            parser.error(f"--{name.replace('_', '-')} applies only to --input, where a rule makes the splits")
    try:
        splits.check_fractions(arguments.valid_fraction, arguments.test_fraction)
    except ValueError as error:
        parser.error(str(error))
    return arguments


def run(arguments: argparse.Namespace) -> None:
    """Does what the command line says. Raises DatasetError, and OSError where a dataset is inspected."""
    if arguments.describe or arguments.verify:
        # Pictures and metrics, which only these need, take a second and memory to import.
        from wae_jax.data.build import describe

        inspect = describe.describe if arguments.describe else describe.verify
        print(inspect(pathlib.Path(arguments.describe or arguments.verify)))
        return
    spec = BuildSpec(
        inputs=arguments.inputs,
        options=Options(
            threshold=arguments.threshold,
            hop_bars=arguments.hop_bars,
            drum_length=arguments.drum_length,
            tonality=arguments.tonality,
            out_of_range=arguments.out_of_range,
        ),
        min_tracks=arguments.min_tracks,
        seed=arguments.seed,
        valid_fraction=arguments.valid_fraction,
        test_fraction=arguments.test_fraction,
        song_table=arguments.songs,
    )
    try:
        builder.build(spec, arguments.output, overwrite=arguments.overwrite, num_workers=arguments.workers)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        need = f"a build needs {2 * pianoroll.BYTES_PER_PHRASE} bytes a phrase, half of them only until it ends"
        problem = f"the disk is full ({need})" if full else describe_failure(error, None)
        raise DatasetError(f"cannot write {arguments.output}: {problem}; nothing was left behind") from error


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; the exit status is 0, 1 for an error, 2 for a wrong command line, 130 for Ctrl-C."""
    return run_command(run, parse_arguments(argv), when_interrupted=": no dataset was written")


if __name__ == "__main__":
    run_program(main)
